"""`metamon errors`: an app's errors as patterns, and a person's word on what belongs together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from cli.actor import actor
from cli.output import JsonFlag, err, print_json, print_table

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

app = typer.Typer(help="Errors by pattern: list, merge, split.", no_args_is_help=True)

AppName = Annotated[str, typer.Option("--app", help="Name of the app.")]


@app.command("list")
def list_(
    app_name: AppName,
    since: Annotated[str, typer.Option(help="Start of the window: 2h (ago), 2026-11-26 07:00.")] = "24h",
    until: Annotated[str, typer.Option(help="End of the window.")] = "now",
    as_json: JsonFlag = False,
) -> None:
    """Sort an app's errors of a window into patterns, the most frequent first.

    Example: metamon errors list --app fa-ai --since 2h
    """
    from agents.research.errors import patterns_of
    from cli.research import moment
    from cli.review_text import clean
    from core import clock
    from core.settings import settings
    from db.session import session_factory

    now = clock.utc_now()
    records = patterns_of(
        session_factory(), settings(), app_name, since=moment(since, now=now), until=moment(until, now=now)
    )
    if as_json:
        print_json(records)
        return
    print_table(
        ["KEY", "COUNT", "SHARE", "TYPE", "WHERE", "MESSAGE", "LAST"],
        [
            [
                r.key,
                r.count,
                f"{r.share:.0%}",
                clean(r.kind),
                clean(" < ".join(reversed(r.frames))),
                clean(r.template[:120]),
                r.last,
            ]
            for r in records
        ],
        empty="No run ended in an error.",
    )


@app.command()
def merge(
    key: Annotated[str, typer.Argument(help="The pattern that shall count for another.")],
    into: Annotated[str, typer.Argument(help="That other one.")],
    app_name: AppName,
) -> None:
    """Let a pattern count for another from now on.

    Example: metamon errors merge e2-0a1b2c3d4e5f e2-5f4e3d2c1b0a --app fa-ai
    """
    from db.repositories import error_patterns

    with _app(app_name) as (session, app_id):
        error_patterns.merge(session, app_id, key, into, by=actor())
    err.print(f"{key} counts for {into} now.")


@app.command()
def unmerge(key: str, app_name: AppName) -> None:
    """Let a merged pattern stand for itself again.

    Example: metamon errors unmerge e2-0a1b2c3d4e5f --app fa-ai
    """
    from db.repositories import error_patterns

    with _app(app_name) as (session, app_id):
        error_patterns.unmerge(session, app_id, key, by=actor())
    err.print(f"{key} stands for itself.")


@app.command()
def split(
    key: str,
    containing: Annotated[str, typer.Option(help="Text that the errors to take out hold, in any case.")],
    app_name: AppName,
) -> None:
    """Take the errors that hold a text out of a pattern; prints the key that they have from now on.

    Example: metamon errors split e2-0a1b2c3d4e5f --containing "quota" --app fa-ai
    """
    from core.clock import utc_now
    from db.repositories import error_patterns

    with _app(app_name) as (session, app_id):
        made = error_patterns.split(session, app_id, key, containing, by=actor(), now=utc_now())
    print(made)


@app.command()
def join(key: str, app_name: AppName) -> None:
    """Put back what was split off.

    Example: metamon errors join e2-0a1b2c3d4e5f --app fa-ai
    """
    from db.repositories import error_patterns

    with _app(app_name) as (session, app_id):
        error_patterns.join(session, app_id, key, by=actor())
    err.print(f"{key} is part of its pattern again.")


@contextmanager
def _app(name: str) -> Iterator[tuple[Session, int]]:
    from db.queries.golden import app_id_of
    from db.session import session_factory

    with session_factory().begin() as session:
        yield session, app_id_of(session, name)
