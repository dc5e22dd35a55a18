"""`metamon impact`: predicted against measured."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.output import JsonFlag, out, print_json, print_table

app = typer.Typer(help="What rolled-out changes were really worth.", no_args_is_help=True)


@app.command("list")
def list_(
    app_name: Annotated[str | None, typer.Option("--app", help="Only this app's.")] = None, as_json: JsonFlag = False
) -> None:
    """List what was measured, newest first.

    Example: metamon impact list --json
    """
    from db.queries.impact import list_impacts
    from db.session import session_factory

    with session_factory()() as session:
        records = list_impacts(session, app=app_name)
    if as_json:
        print_json(records)
        return
    print_table(
        ["PROPOSAL", "APP", "TITLE", "METRIC", "PREDICTED", "MEASURED", "95 % INTERVAL", "ROI", "BY"],
        [
            [
                r.proposal_id,
                r.app,
                r.title,
                r.metric,
                f"{r.predicted_pct:+.1f} %",
                _percent(r.measured_pct),
                _interval(r.measured_interval),
                r.roi,
                r.method,
            ]
            for r in records
        ],
        empty="Nothing measured yet: an impact is measured while the hold-back still stands.",
    )


@app.command()
def show(proposal_id: int, as_json: JsonFlag = False) -> None:
    """Show the impact of a proposal, and what its ROI stands on.

    Example: metamon impact show 12
    """
    from db.queries.impact import show_impact
    from db.session import session_factory

    with session_factory()() as session:
        record = show_impact(session, proposal_id)
    if as_json:
        print_json(record)
        return
    lines = [
        f"Proposal {record.proposal_id}: {record.title}",
        f"{record.metric}: {record.before.get('value')} ({_basis(record.before, ' held back')}) → "
        f"{record.after.get('value')} ({_basis(record.after)})",
        f"predicted {record.predicted_pct:+.1f} % {_interval(record.predicted_interval)}, measured "
        f"{_percent(record.measured_pct) or 'nothing'} {_interval(record.measured_interval) or ''}",
        "by a randomised hold-back"
        if record.method == "holdback"
        else "a test against the days before, with nobody held back: it says nothing of causes"
        if record.method == "placebo"
        else "a description without a control: it says nothing of causes",
    ]
    if record.explanation:
        lines.append(f"{record.explanation}  ({record.explained_by})")
    for line in lines:
        out.print(line, markup=False, highlight=False)
    print_table(
        ["BENEFIT", "COST", "ROI", "95 % INTERVAL"],
        [[record.benefit, record.cost, record.roi, str(record.roi_interval or "unbounded")]],
        empty="",
    )
    print_table(["ASSUMPTION", "VALUE"], sorted(record.assumptions.items()), empty="")


def _basis(side: dict[str, Any], which: str = "") -> str:
    return f"{side['days']} days" if "days" in side else f"{side.get('units')} units{which}"


def _percent(value: float | None) -> str | None:
    return None if value is None else f"{value:+.1f} %"


def _interval(pair: tuple[float, float] | None) -> str | None:
    return None if pair is None else f"({pair[0]:+.1f} … {pair[1]:+.1f} %)"
