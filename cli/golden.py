"""`metamon golden`: the questions whose right answers are known."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

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
    from agents.validation.plan import MARGIN
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
    checks: Annotated[
        list[str] | None,
        typer.Option(
            "--check", help="What a right answer looks like, as JSON; may repeat. Without one, the run is shown."
        ),
    ] = None,
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
    from db.queries.exemplars import case_key
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
            "key": key or case_key(run_id),
            "inputs": run.inputs if isinstance(run.inputs, dict) else {"input": run.inputs},
            "checks": [_json(check) for check in checks or []],
            "tags": {
                tag: value
                for tag, value in attributes.items()
                if not tag.startswith(("rollout.", "ls_", "LANGSMITH_", "revision_id", "targeting_key"))
            },
        }
        answered = run.error or json.dumps(run.outputs, ensure_ascii=False)
        app_id = app_id_of(session, app_name)
        if not checks:
            _show_run(case, answered)
            fail(
                "what would a right answer look like? Say the same again with --check, such as "
                """--check '{"type": "numeric", "metric": "fact_accuracy", "path": "value", "expected": 41.2}' or """
                """--check '{"type": "model", "metric": "tone", "criteria": "names the risk, gives no advice"}'""",
                2,
            )
        present = golden.newest(session, app_id, name)
        before = [] if present is None else list_cases(session, present.id)
        lines = [json.dumps(each.model_dump(), ensure_ascii=False) for each in before]
        made = parse_lines([*lines, json.dumps(case, ensure_ascii=False)], source="case")
        if not yes:
            if not sys.stdin.isatty():
                fail("add changes what candidates are judged by: say --yes", 2)
            _show_run(case, answered)
            typer.confirm(f"Add this case to {name} of {app_name}?", abort=True)
        record = show_set(session, golden.import_set(session, app_id, name, made).id)
    if as_json:
        print_json(record)
    else:
        out.print(f"{record.name} version {record.version}: {record.cases} cases", highlight=False)


def _show_run(case: dict[str, Any], answered: str) -> None:
    import json

    err.print(json.dumps(case, ensure_ascii=False, indent=2), markup=False, highlight=False)
    err.print(f"It answered then: {answered[:2000]}", markup=False, highlight=False)


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
def agreement(set_id: Annotated[int, typer.Argument(help="Number of a version.")], as_json: JsonFlag = False) -> None:
    """Tell how far the model that judges agrees with people, on the answers of a version that people labelled.

    A check of the type `model` may hold labels: {"type": "model", "metric": "tone", "criteria": "…", "labels":
    [{"answer": "…", "meets": true}, …]}. κ is agreement beyond chance: 1 for full, 0 for none. Each label is two calls.

    Example: metamon golden agreement 3
    """
    from agents import judge_agreement
    from cli.output import bar
    from core.settings import settings
    from db.queries.golden import list_cases, show_set
    from db.session import session_factory
    from llm.grading import grader

    with session_factory()() as session:
        show_set(session, set_id)
        answers = judge_agreement.labelled(list_cases(session, set_id))
    if not answers:
        fail(
            f'version {set_id} has no labels: give a check of the type model "labels": '
            '[{"answer": "…", "meets": true}], and import it again',
            2,
        )
    judge = grader(settings())
    if judge is None:
        fail("no model is configured that could judge: set OPENAI_API_KEY or OPENAI_BASE_URL", 4)
    err.print(f"{len(answers)} labelled answers, each asked twice: {judge.version}", markup=False, highlight=False)
    with bar("judging") as progress:
        report = judge_agreement.measure(answers, judge, progress=progress)
    if as_json:
        print_json(report)
    else:
        print_table(
            ["METRIC", "LABELS", "JUDGED", "AGREES", "95 % CI", "κ", "95 % CI", "TOO KIND", "TOO STRICT"],
            [
                [
                    row.metric,
                    row.labels,
                    row.judged,
                    None if row.agreement is None else f"{100 * row.agreement:.1f} %",
                    _interval(row.agreement_interval, "{:.0%}"),
                    None if row.kappa is None else f"{row.kappa:.2f}",
                    _interval(row.kappa_interval, "{:.2f}"),
                    row.too_kind,
                    row.too_strict,
                ]
                for row in (report.metrics if len(report.metrics) == 1 else [*report.metrics, report.all])
            ],
            empty="",
        )
        for each in report.disputed[:20]:
            people, model = ("meets" if said else "does not meet" for said in (each.people, each.judge))
            out.print(
                f"  {each.key}, {each.metric}: people say it {people} the criteria, the model says it {model} them: "
                f"{' '.join(each.answer.split())[:80]}",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
    if report.first_error is not None:
        missing = report.all.labels - report.all.judged
        err.print(f"{missing} not judged, for example: {report.first_error}", style="yellow", markup=False)
    if not report.all.judged:
        raise typer.Exit(4)


def _interval(bounds: tuple[float, float] | None, form: str) -> str | None:
    return None if bounds is None else f"{form.format(bounds[0])} … {form.format(bounds[1])}"


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
