"""What commands print: one JSON document, or a table for a person. Data on stdout, the rest on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any, NoReturn

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]

# A pipe has no width: whoever reads it wants a row on one line.
PIPE_WIDTH = 240
out = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
err = Console(stderr=True)


def print_json(document: BaseModel | Sequence[BaseModel] | dict[str, Any] | list[Any]) -> None:
    """Print exactly one JSON document."""

    def plain(value: Any) -> Any:
        return value.model_dump(mode="json") if isinstance(value, BaseModel) else value

    content = plain(document) if not isinstance(document, list | tuple) else [plain(item) for item in document]
    sys.stdout.write(json.dumps(content, indent=2, default=str) + "\n")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, empty: str) -> None:
    """Print a table, or what it means that there is nothing."""
    if not rows:
        err.print(f"[dim]{empty}[/dim]")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        # Text from a trace or a model is shown, never interpreted as markup.
        table.add_row(*(cell if hasattr(cell, "__rich__") else _plain(cell) for cell in row))
    out.print(table)


@contextmanager
def bar(what: str) -> Iterator[Callable[[float], None]]:
    """Show on stderr how far long work is; yields a function that takes the share that is done. Silent in a pipe."""
    from rich.progress import Progress

    with Progress(console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task(what, total=1.0)
        yield lambda done: progress.update(task, completed=done)


def _plain(value: Any) -> Any:
    from rich.text import Text

    if value is None:
        return Text("–", style="dim")
    if isinstance(value, datetime):
        return Text(value.astimezone().strftime("%Y-%m-%d %H:%M:%S"))
    if isinstance(value, float):
        return Text(f"{value:.4g}")
    return Text(str(value))


def fail(message: str, code: int = 1) -> NoReturn:
    """Say what was wrong on stderr and leave with the code."""
    err.print(message, style="red", markup=False, highlight=False)
    raise typer.Exit(code)
