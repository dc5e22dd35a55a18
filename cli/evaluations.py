"""`metamon evaluations`: the days' scores."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.output import JsonFlag, out, print_json, print_table

app = typer.Typer(help="Daily scores against yesterday and the baseline.", no_args_is_help=True)


@app.command("list")
def list_(
    app_name: Annotated[str | None, typer.Option("--app", help="Only this app's.")] = None,
    limit: Annotated[int, typer.Option(help="How many, the latest day first.", min=1)] = 60,
    as_json: JsonFlag = False,
) -> None:
    """List the days, the latest first.

    Example: metamon evaluations list --app fa-ai
    """
    from db.queries.evaluations import list_evaluations
    from db.session import session_factory

    with session_factory()() as session:
        records = list_evaluations(session, app=app_name, limit=limit)
    if as_json:
        print_json(records)
        return
    print_table(
        ["ID", "APP", "DAY", "RUNS", "SCORE", "ACCURACY", "GUARDRAIL", "SLA", "ERRORS", "P95 S", "COST"],
        [
            [
                r.id,
                r.app,
                r.day,
                r.runs,
                r.quality_score,
                r.fact_accuracy,
                r.guardrail_pass_rate,
                r.sla_compliance,
                r.error_rate,
                r.latency_p95_s,
                r.cost,
            ]
            for r in records
        ],
        empty="No day has been scored yet; a day is scored when it has ended where the app lives.",
    )


@app.command()
def show(evaluation_id: int, as_json: JsonFlag = False) -> None:
    """Show one day with its comparisons.

    Example: metamon evaluations show 4
    """
    from db.queries.evaluations import show_evaluation
    from db.session import session_factory

    with session_factory()() as session:
        record = show_evaluation(session, evaluation_id)
    if as_json:
        print_json(record)
    else:
        print_day(record)


def print_day(record: Any) -> None:
    """Print an `EvaluationDetail` for a person."""
    out.print(f"{record.app} on {record.day}: {record.summary} {record.runs} runs.", markup=False, highlight=False)
    print_table(
        ["METRIC", "THE DAY", "DAY BEFORE", "CHANGE", "95 % INTERVAL", "WEEK BEFORE", "CHANGE", "95 % INTERVAL"],
        [
            [
                name,
                entry["mean"],
                *_side(record.vs_previous_day.get(name)),
                *_side(record.vs_baseline.get(name)),
            ]
            for name, entry in sorted(record.metrics.items())
            if isinstance(entry, dict)
        ],
        empty="Nothing was measured on this day.",
    )


def _side(entry: dict[str, Any] | None) -> list[Any]:
    if entry is None:
        return [None, None, None]
    interval = entry["interval"]
    marks = "*" if entry["significant"] else ""
    return [
        entry["value"],
        f"{entry['delta']:+.4f}{marks}",
        None if interval is None else f"{interval[0]:+.4f} … {interval[1]:+.4f}",
    ]
