"""The story as it happens, one line an event, read from Postgres: whoever wrote the row, it is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from core.clock import utc_now
from db.session import Sessions
from demo.story import Line, Story

if TYPE_CHECKING:
    from rich.console import Console

Say = Callable[[str], None]
Command = Callable[..., str]
"""Returns a command line that can be pasted: `command("proposals", "approve", "3")`."""

POLL_S = 1.0
WORD_WIDTH = 11


def plain_command(*arguments: str) -> str:
    """Return the command as it is called from an installed package."""
    return " ".join(("metamon", *arguments))


def follow(
    sessions: Sessions,
    out: Console | Say,
    stop: threading.Event | None = None,
    *,
    command: Command = plain_command,
    since: datetime | None = None,
) -> None:
    """Print what happens until told to stop; a database that is away for a while is waited for.

    Args:
        out: a rich console, or what takes a line of plain text.
        command: spells the command that a person is asked to type.
        since: the moment that times count from; now where it is missing.
    """
    stop = stop or threading.Event()
    begun = since or utc_now()
    story = Story(command)
    printed_end = False
    while True:
        try:
            with sessions() as session:
                lines = story.news(session)
                ended = story.ending(session) if not printed_end else []
        except SQLAlchemyError:
            lines, ended = [], []
        for line in lines:
            show(out, line, line.at - begun)
        if ended:
            printed_end = True
            summarise(out, ended, utc_now() - begun)
        if stop.wait(POLL_S):
            return


def show(out: Console | Say, line: Line, after: timedelta) -> None:
    """Print one line: how long after the start, a word, the text; a second line for what to type."""
    clock = time.strftime("%M:%S", time.gmtime(max(0, int(after.total_seconds()))))
    if callable(out):
        out(f"{clock}  {line.word:<{WORD_WIDTH}} {line.text}")
        if line.todo:
            out(f"{'':>7}{'':<{WORD_WIDTH}} {line.todo}")
        return
    from rich.table import Table
    from rich.text import Text

    # A grid wraps long text under itself; Text never reads markup out of what a trace or a model wrote.
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True, min_width=WORD_WIDTH + 2)  # an icon and a space before it
    grid.add_column(overflow="fold")
    grid.add_row(Text(clock, style="dim"), Text(f"{line.icon} {line.word}", style=line.style), Text(line.text))
    if line.todo:
        grid.add_row("", "", Text(line.todo, style="bold"))
    out.print(grid)


def summarise(out: Console | Say, facts: list[tuple[str, str]], after: timedelta) -> None:
    """Print what came of the three stories."""
    title = f"All three stories are told, {after.total_seconds():.0f} s after the start"
    if callable(out):
        out(title)
        for name, fact in facts:
            out(f"  {name:<12} {fact}")
        return
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for name, fact in facts:
        grid.add_row(Text(name, style="dim"), Text(fact))
    out.print(Panel(grid, title=title, title_align="left", border_style="green", expand=False))
