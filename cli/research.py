"""`metamon research`: ask for a cause without an alert, and see how far predictions can be believed."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from cli.actor import actor
from cli.output import JsonFlag, err, fail, print_json, print_table

if TYPE_CHECKING:
    from agents.research.ad_hoc import Answer

app = typer.Typer(help="Ask for a cause; how far predictions can be believed.", no_args_is_help=True)

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def moment(text: str, *, now: datetime) -> datetime:
    """Return a moment as people type it: `2h` ago, `now`, or `2026-11-26 07:00` (local unless it names its zone)."""
    if text == "now":
        return now
    if match := re.fullmatch(r"(\d{1,5})([smhd])", text.strip()):
        return now - timedelta(**{UNITS[match[2]]: int(match[1])})
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        fail(f"{text!r} is no moment; write 2h (ago), now, or 2026-11-26 07:00", code=2)
    return found.astimezone(UTC)


@app.command()
def run(
    *,
    alert: Annotated[int | None, typer.Option(help="The alert to look at again.")] = None,
    app_name: Annotated[str | None, typer.Option("--app", help="The app to ask about, instead of an alert.")] = None,
    since: Annotated[
        str | None, typer.Option(help="Start of the window that looks bad: 2h (ago), 2026-11-26 07:00.")
    ] = None,
    until: Annotated[str, typer.Option(help="End of that window.")] = "now",
    metric: Annotated[
        str | None,
        typer.Option(help="error_rate, sla_compliance, latency_p95 or a feedback key; all of them where not given."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Look for the cause in a window against what came before it, and for what would help. Writes nothing.

    Example: metamon research run --alert 3

    Example: metamon research run --app fa-ai --since 2h

    Example: metamon research run --app fa-ai --since "2026-11-26 07:00" --until 30m --metric error_rate
    """
    from agents.research import ad_hoc
    from core.clock import utc_now
    from core.settings import settings
    from db.session import session_factory

    if (alert is None) == (app_name is None):
        fail("ask about an alert (--alert 3) or about an app and a window (--app fa-ai --since 2h)", code=2)
    now = utc_now()
    if alert is not None:
        answers = [ad_hoc.about_alert(session_factory(), settings(), alert, now=now)]
    else:
        assert app_name is not None
        if since is None:
            fail("say since when it looks bad: --since 2h", code=2)
        start, end = moment(since, now=now), moment(until, now=now)
        if start >= end:
            fail(f"--since {since} is not before --until {until}", code=2)
        answers = ad_hoc.about_window(
            session_factory(), settings(), app_name, since=start, until=end, now=now, metric=metric
        )
    if as_json:
        print_json([answer.as_json() for answer in answers])
        return
    for answer in answers:
        _print(answer)


def _print(answer: Answer) -> None:
    from agents.research.evidence import FIRST
    from cli.review_text import clean

    lines = [f"{answer.app} · {answer.metric}", f"  {answer.summary}"]
    for number, cause in enumerate(answer.causes, 1):
        lines.append(
            f"  cause {number}: {cause.words} ({cause.failures} of {cause.runs} runs, {cause.expected:.0f} expected, "
            f"p = {cause.p_value:.2g})"
        )
        lines += [f"    the same runs: {' and '.join(f'{k} = {v}' for k, v in alias.items())}"
                  for alias in cause.aliases[:3]]  # fmt: skip
        lines += [] if cause.onset is None else [f"    since {cause.onset:%Y-%m-%d %H:%M:%S} UTC"]
        lines += _seen(answer, cause.id, "    ")
    if not answer.causes:
        lines += _seen(answer, FIRST, "  ")
    numbers = {cause.id: number for number, cause in enumerate(answer.causes, 1)}

    def which(cause: str) -> str:
        return f" for cause {numbers[cause]}" if len(numbers) > 1 else ""

    for idea in answer.hypotheses:
        if idea.rejected is not None:
            lines.append(f"  ruled out: {idea.title}: {idea.rejected}")
        elif idea.predicted_pct is not None and idea.predicted_interval is not None:
            low, high = idea.predicted_interval
            lines.append(
                f"  would try{which(idea.cause)}: {idea.title}; "
                f"{idea.predicted_pct:+.1f} % ({low:+.1f} … {high:+.1f}), "
                f"{idea.effort_hours:g} h ({idea.effort_basis}), {idea.impact} impact"
            )
    print("\n".join(clean(line) for line in lines))


def _seen(answer: Answer, cause: str, indent: str) -> list[str]:
    """Return the errors and bad runs of one cause."""
    if answer.evidence is None:
        return []
    own = answer.evidence.about(cause)
    errors = [f"{indent}{entry.bad} × {entry.kind or 'error'}: {entry.template[:120]}" for entry in own.errors[:3]]
    return errors + [f"{indent}bad run {entry.url or entry.run_id}" for entry in own.exemplars if entry.kind == "bad"]


@app.command()
def calibration(
    app_name: Annotated[str | None, typer.Option("--app", help="Only this app's.")] = None, as_json: JsonFlag = False
) -> None:
    """Show how far predictions could be believed: coverage, bias, and what each kind of fix has delivered.

    Example: metamon research calibration --json
    """
    from agents.research.history import calibration as compare
    from cli.output import out
    from db.queries.fixes import past_fixes
    from db.session import session_factory

    with session_factory()() as session:
        found = compare(past_fixes(session, app=app_name))
    if as_json:
        print_json(found)
        return
    if found.predictions and found.coverage is not None and found.coverage_interval is not None:
        low, high = found.coverage_interval
        out.print(
            f"{found.predictions} predictions were measured: {found.coverage:.0%} lie within their 90 % interval "
            f"(95 %: {low:.0%} … {high:.0%}), bias {found.bias_pct:+.1f} points, mean error "
            f"{found.mean_error_pct:.1f} points.",
            markup=False,
            highlight=False,
        )
    else:
        out.print("No prediction was measured yet: what follows is what is believed beforehand.", markup=False)
    if found.effort_within_p80 is not None:
        out.print(f"{found.efforts} efforts are on record: {found.effort_within_p80:.0%} within their P80.")
    print_table(
        ["KIND", "DECIDED", "SURVIVED", "MEASURED", "COVERAGE", "BIAS", "DELIVERS", "EFFORT P50", "P80", "BASIS"],
        [
            [
                r.kind,
                r.decided,
                r.survived,
                r.measured,
                None if r.coverage is None else f"{r.coverage:.0%}",
                None if r.bias_pct is None else f"{r.bias_pct:+.1f}",
                f"{r.efficacy:.0%} ({r.efficacy_interval[0]:.0%} … {r.efficacy_interval[1]:.0%})",
                f"{r.effort_p50:g} h",
                f"{r.effort_p80:g} h",
                r.effort_basis,
            ]
            for r in found.kinds
        ],
        empty="",
    )


@app.command()
def effort(
    proposal_id: int,
    hours: Annotated[float, typer.Argument(min=0.01, max=10_000, help="Hours of people that it really took.")],
) -> None:
    """Write down what a proposal really took: five of a class make its next estimate.

    Example: metamon research effort 12 1.5
    """
    from agents.research.effort import write_down
    from db.session import session_factory

    with session_factory().begin() as session:
        write_down(session, proposal_id, hours, by=actor())
    err.print(f"Proposal {proposal_id} took {hours:g} h.")
