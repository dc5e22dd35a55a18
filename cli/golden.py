"""`metamon golden`: the questions whose right answers are known."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.output import JsonFlag, err, fail, out, print_json, print_table

app = typer.Typer(help="Golden sets: import, list, show, export.", no_args_is_help=True)

AppOption = Annotated[str, typer.Option("--app", help="The app that the set belongs to.")]


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="JSON lines: one case per line.")],
    app_name: AppOption,
    name: Annotated[str, typer.Option(help="Name of the set.")] = "default",
    as_json: JsonFlag = False,
) -> None:
    """Import a file as a new version; the same content again is the same version.

    A line reads {"key": "…", "inputs": {…}, "checks": [{"type": "numeric", "metric": "fact_accuracy", "path": "value",
    "expected": 1.2, "tolerance": 0.01}], "tags": {"region": "emea"}}.

    Example: metamon golden import cases.jsonl --app fa-ai
    """
    from agents.validation_plan import MARGIN
    from analysis.paired import smallest_passing
    from db.queries.golden import app_id_of, show_set
    from db.repositories import golden
    from db.session import session_factory
    from targets.golden import coverage, parse_lines

    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{file} cannot be read: {error}", 2)
    cases = parse_lines(text.splitlines(), source=f"{file.name}: line")
    with session_factory().begin() as session:
        made = golden.import_set(session, app_id_of(session, app_name), name, cases)
        record = show_set(session, made.id)
    if as_json:
        print_json(record)
    else:
        out.print(f"{record.name} version {record.version}: {record.cases} cases, {record.hash[:12]}", highlight=False)
    fewest = smallest_passing(MARGIN)
    for metric, count in sorted(coverage(cases).items()):
        if count < fewest:
            err.print(
                f"{metric} has {count} cases: a change can pass it with {fewest} or more only",
                style="yellow",
                markup=False,
            )


@app.command("list")
def list_(
    app_name: Annotated[str | None, typer.Option("--app", help="One app's.")] = None, as_json: JsonFlag = False
) -> None:
    """List all versions, newest first.

    Example: metamon golden list --app fa-ai
    """
    from db.queries.golden import list_sets
    from db.session import session_factory

    with session_factory()() as session:
        records = list_sets(session, app_name)
    if as_json:
        print_json(records)
        return
    print_table(
        ["ID", "APP", "NAME", "VERSION", "CASES", "HASH", "CREATED"],
        [[r.id, r.app, r.name, r.version, r.cases, r.hash[:12], r.created_at] for r in records],
        empty="No golden set yet: metamon golden import FILE --app NAME",
    )


@app.command()
def show(set_id: Annotated[int, typer.Argument(help="Number of a version.")], as_json: JsonFlag = False) -> None:
    """Show what a version covers.

    Example: metamon golden show 1
    """
    from db.queries.golden import show_set
    from db.session import session_factory

    with session_factory()() as session:
        record = show_set(session, set_id)
    if as_json:
        print_json(record)
        return
    out.print(
        f"{record.app}: {record.name} version {record.version}, {record.cases} cases, {record.hash}", markup=False
    )
    print_table(["METRIC", "CASES"], [list(item) for item in sorted(record.metrics.items())], empty="No checks.")
    print_table(
        ["TAG", "VALUE", "CASES"],
        [[tag, value, count] for tag, values in record.tags.items() for value, count in sorted(values.items())],
        empty="No tags.",
    )


@app.command()
def export(
    app_name: AppOption,
    name: Annotated[str | None, typer.Option(help="Name of the set.")] = None,
    set_id: Annotated[int | None, typer.Option("--id", help="A certain version instead of the newest.")] = None,
) -> None:
    """Write a version's cases to stdout, as JSON lines that `import` takes.

    Example: metamon golden export --app fa-ai > cases.jsonl
    """
    import json

    from db.queries.golden import list_cases, newest_id, show_set
    from db.session import session_factory

    with session_factory()() as session:
        if set_id is None:
            set_id = newest_id(session, app_name, name)
        elif show_set(session, set_id).app != app_name:
            fail(f"version {set_id} is not {app_name}'s; `metamon golden list` shows whose it is", 2)
        for case in list_cases(session, set_id):
            sys.stdout.write(json.dumps(case.model_dump(), ensure_ascii=False) + "\n")
