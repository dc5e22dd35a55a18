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
    file: Annotated[Path | None, typer.Argument(help="JSON lines: one case per line.")] = None,
    *,
    app_name: AppOption,
    langsmith: Annotated[str | None, typer.Option(help="Name of a LangSmith dataset, instead of a file.")] = None,
    name: Annotated[str, typer.Option(help="Name of the set.")] = "default",
    as_json: JsonFlag = False,
) -> None:
    """Import a file as a new version; the same content again is the same version.

    A line reads {"key": "…", "inputs": {…}, "checks": [{"type": "numeric", "metric": "fact_accuracy", "path": "value",
    "expected": 1.2, "tolerance": 0.01}], "tags": {"region": "emea"}}.

    Example: metamon golden import cases.jsonl --app fa-ai

    Example: metamon golden import --langsmith "support questions" --app fa-ai
    """
    from agents.validation_plan import MARGIN
    from analysis.paired import smallest_passing
    from core.settings import settings
    from db.queries.golden import app_id_of, show_set
    from db.repositories import golden
    from db.session import session_factory
    from targets.golden import coverage, parse_lines
    from traces.datasets import cases as cases_of_dataset

    if (file is None) == (langsmith is None):
        fail("name either a FILE or --langsmith DATASET", 2)
    if langsmith is not None:
        cases = parse_lines(cases_of_dataset(langsmith, settings()), source=f"{langsmith}: example")
    else:
        assert file is not None
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


@app.command()
def add(
    *,
    app_name: AppOption,
    from_run: Annotated[str, typer.Option(help="Id of a traced run: its inputs become the question.")],
    checks: Annotated[list[str], typer.Option("--check", help="What a right answer looks like, as JSON; may repeat.")],
    key: Annotated[str | None, typer.Option(help="Name of the case.")] = None,
    name: Annotated[str, typer.Option(help="Name of the set.")] = "default",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Make a case of a production run, such as one that failed: a new version of the set with one case more.

    What the run answered is shown, and what would be checked; nothing is added before somebody said yes. Personal data
    of the question would become part of the set: look at it.

    Example: metamon golden add --app fa-ai --from-run 0199…  --check '{"type": "numeric", "metric": "fact_accuracy",
    "path": "value", "expected": 41.2}'
    """
    import json
    from uuid import UUID

    from db.queries import runs
    from db.queries.golden import app_id_of, list_cases, show_set
    from db.repositories import golden
    from db.session import session_factory
    from targets.golden import parse_lines

    try:
        run_id = UUID(from_run)
    except ValueError:
        fail(f"{from_run!r} is no run id; `metamon alerts show N` lists the ids of runs", 2)
    with session_factory().begin() as session:
        run = runs.get(session, run_id)
        if run is None:
            fail(f"there is no run {run_id} in the collector; it may be past its retention", 2)
        attributes = {tag: value for tag, value in run.metadata.items() if isinstance(value, str | int | float | bool)}
        case = {
            "key": key or f"run-{run_id}",
            "inputs": run.inputs if isinstance(run.inputs, dict) else {"input": run.inputs},
            "checks": [_json(check) for check in checks],
            "tags": {
                tag: value
                for tag, value in attributes.items()
                if not tag.startswith(("rollout.", "ls_", "LANGSMITH_", "revision_id", "targeting_key"))
            },
        }
        app_id = app_id_of(session, app_name)
        present = golden.newest(session, app_id, name)
        before = [] if present is None else list_cases(session, present.id)
        lines = [json.dumps(each.model_dump(), ensure_ascii=False) for each in before]
        made = parse_lines([*lines, json.dumps(case, ensure_ascii=False)], source="case")
        if not yes:
            if not sys.stdin.isatty():
                fail("add changes what candidates are judged by: say --yes", 2)
            err.print(json.dumps(case, ensure_ascii=False, indent=2), markup=False, highlight=False)
            answered = run.error or json.dumps(run.outputs, ensure_ascii=False)
            err.print(f"It answered then: {answered[:2000]}", markup=False, highlight=False)
            typer.confirm(f"Add this case to {name} of {app_name}?", abort=True)
        record = show_set(session, golden.import_set(session, app_id, name, made).id)
    if as_json:
        print_json(record)
    else:
        out.print(f"{record.name} version {record.version}: {record.cases} cases", highlight=False)


def _json(text: str) -> object:
    import json

    try:
        return json.loads(text)
    except ValueError as error:
        fail(f'--check takes JSON, such as {{"type": "contains", …}}; {text!r} is none: {error}', 2)


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
