"""`metamon evaluate`: score a day now."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from cli.output import JsonFlag, fail, print_json

app = typer.Typer(help="Score a day now.", no_args_is_help=True)


@app.callback()
def _area() -> None:
    """Score a day now."""


@app.command()
def run(
    app_name: Annotated[str, typer.Option("--app", help="Name of the app.")],
    day: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Local date of the app; yesterday where not given.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Score one day of an app, over what stood there.

    Example: metamon evaluate run --app fa-ai --day 2026-11-25
    """
    from datetime import timedelta
    from zoneinfo import ZoneInfo

    from agents import evaluation
    from cli.evaluations import print_day
    from core.clock import utc_now
    from db.queries.evaluations import evaluation_of
    from db.session import session_factory

    with session_factory().begin() as session:
        monitored = evaluation.app_named(session, app_name)
        today = utc_now().astimezone(ZoneInfo(monitored.timezone)).date()
        date = day.date() if day else today - timedelta(days=1)
        if date > today:
            fail(f"{date} has not begun where {app_name} lives (it is {today} there)", 2)
        evaluation.write_day(session, evaluation.score_day(session, monitored.id, date))
        record = evaluation_of(session, app_name, date)
    assert record is not None
    if as_json:
        print_json(record)
    else:
        print_day(record)
