"""`metamon validate`: is this change safe? Exit codes for a build: 0 passed, 1 regression, 3 cannot tell, 4 error."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cli.output import JsonFlag, err, fail, print_json, print_table

app = typer.Typer(
    help="Candidate against baseline on a golden set.\n\n"
    "Exit codes: 0 passed, 1 regression, 2 usage, 3 inconclusive, 4 infrastructure or judge error, 5 budget spent, "
    "124 time-out.",
    no_args_is_help=True,
)

REGRESSION, USAGE, INCONCLUSIVE, ERROR, BUDGET, TIMEOUT = 1, 2, 3, 4, 5, 124


@app.command()
def run(
    *,
    file: Annotated[Path | None, typer.Argument(help="With --json: write the document here; watches.")] = None,
    app_name: Annotated[str | None, typer.Option("--app", help="Try a change of this app's configuration.")] = None,
    sets: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE of the candidate; may repeat.")] = None,
    proposal: Annotated[int | None, typer.Option(help="Validate a proposal instead.")] = None,
    resume: Annotated[
        int | None, typer.Option(help="Take over what this run finished, run what is missing, and judge.")
    ] = None,
    repeat: Annotated[int, typer.Option(min=1, max=20, help="Runs of each case: the cheapest power.")] = 1,
    smoke: Annotated[int, typer.Option(min=0, help="Run a sample of so many cases first, stop on a disaster.")] = 0,
    golden_set: Annotated[str | None, typer.Option(help="Golden set; the newest version is used.")] = None,
    baseline: Annotated[
        int | None, typer.Option(help="Compare with the candidate of this run, not with what is in force.")
    ] = None,
    only_failed: Annotated[
        int | None, typer.Option(help="Run only the cases that went wrong in this run. It cannot pass then.")
    ] = None,
    budget: Annotated[
        float | None, typer.Option(min=0.000001, help="USD after which it stops without a verdict.")
    ] = None,
    budget_tokens: Annotated[
        int | None, typer.Option(min=1, help="Tokens after which it stops without a verdict.")
    ] = None,
    watch: Annotated[bool, typer.Option(help="Follow it to its verdict; the exit code tells.")] = False,
    timeout: Annotated[float | None, typer.Option(min=1, help="Seconds to watch at most.")] = None,
    junit: Annotated[Path | None, typer.Option(help="Write a JUnit report here; watches.")] = None,
    as_json: JsonFlag = False,
    dry_run: Annotated[bool, typer.Option(help="Say what it would take, run nothing.")] = False,
) -> None:
    """Enqueue a validation. It says first how many cases, what it costs, how long, and what it could detect.

    Example: metamon validate run --app fa-ai --set retrieval.k=6 --watch

    Example: metamon validate run --proposal 12 --watch --repeat 3 --budget 2.00 --junit out.xml --json out.json
    """
    import secrets

    from agents.validation import prepare
    from agents.validation.start import enqueue_start
    from core.clock import utc_now
    from core.errors import MetamonError
    from db.session import session_factory

    _check_file(file, as_json)
    if sum(given is not None for given in (proposal, app_name, resume)) != 1:
        fail("name either --app with --set KEY=VALUE, or --proposal N, or --resume RUN", USAGE)
    if app_name is not None and not sets and baseline is None:
        fail("--app needs at least one --set KEY=VALUE", USAGE)
    if app_name is None and (sets or baseline is not None or only_failed is not None):
        fail("--set, --baseline and --only-failed go with --app NAME", USAGE)
    changes = dict(_key_value(entry) for entry in sets or [])
    wish = prepare.Wish(
        by=_actor(),
        seed=secrets.randbelow(2**31),
        repeats=repeat,
        smoke=smoke,
        set_name=golden_set,
        budget_usd=budget,
        budget_tokens=budget_tokens,
        only_failed=only_failed,
    )
    with session_factory()() as session:
        try:
            if resume is not None:
                made, plan = prepare.prepare_resume(session, resume, wish, now=utc_now())
            elif proposal is not None:
                made, plan = prepare.prepare_proposal(session, proposal, wish, now=utc_now())
            else:
                made, plan = prepare.prepare_ad_hoc(
                    session, app_name or "", changes, wish, now=utc_now(), baseline_of=baseline
                )
        except MetamonError as error:
            fail(str(error), USAGE)
        run_id = made.id
        _say_plan(plan)
        if dry_run:
            session.rollback()
            if as_json:
                print_json(plan)
            return
        enqueue_start(session, run_id)
        session.commit()
    err.print(f"Validation {run_id} is enqueued.", highlight=False)
    if not (watch or junit or file or timeout):
        if as_json:
            _print_record(run_id)
        else:
            err.print(f"Watch it: {_watch_command(run_id)}", markup=False, highlight=False, soft_wrap=True)
        return
    _follow(run_id, timeout=timeout, as_json=as_json, junit=junit, file=file)


@app.command()
def watch(
    validation_id: Annotated[int, typer.Argument(help="Number of the run.")],
    file: Annotated[Path | None, typer.Argument(help="With --json: write the document here.")] = None,
    *,
    timeout: Annotated[float | None, typer.Option(min=1, help="Seconds to watch at most.")] = None,
    junit: Annotated[Path | None, typer.Option(help="Write a JUnit report here.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Follow a run to its verdict; the exit code tells it.

    Example: metamon validate watch 7
    """
    _check_file(file, as_json)
    _follow(validation_id, timeout=timeout, as_json=as_json, junit=junit, file=file)


@app.command()
def show(validation_id: Annotated[int, typer.Argument(help="Number of the run.")], as_json: JsonFlag = False) -> None:
    """Show a run: verdict, the paired table, the regressed cases with both answers.

    Example: metamon validate show 7
    """
    from cli.validation_report import print_report
    from db.queries.validations import show_validation
    from db.session import session_factory

    with session_factory()() as session:
        record = show_validation(session, validation_id)
    if as_json:
        print_json(record)
    else:
        print_report(record)


@app.command()
def cases(
    validation_id: Annotated[int, typer.Argument(help="Number of the run.")],
    arm: Annotated[str | None, typer.Option(help="baseline or candidate.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List a run's executions: outcome, scores, time, answer.

    Example: metamon validate cases 7 --arm candidate --json
    """
    from db.queries.validations import list_cases
    from db.session import session_factory

    with session_factory()() as session:
        records = list_cases(session, validation_id, arm=arm, limit=100_000)
    if as_json:
        print_json(records)
        return
    print_table(
        ["KEY", "ARM", "OUTCOME", "SCORES", "MS", "ANSWER"],
        [
            [
                r.key,
                r.arm,
                r.outcome.value,
                " ".join(f"{name}={score:g}" for name, score in r.scores.items()),
                r.latency_ms,
                (r.error or r.output or "")[:80],
            ]
            for r in records
        ],
        empty="Nothing has run yet.",
    )


@app.command("list")
def list_(
    app_name: Annotated[str | None, typer.Option("--app", help="One app's.")] = None,
    proposal: Annotated[int | None, typer.Option(help="One proposal's.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    as_json: JsonFlag = False,
) -> None:
    """List runs, newest first.

    Example: metamon validate list --json
    """
    from db.queries.validations import list_validations
    from db.session import session_factory

    with session_factory()() as session:
        records = list_validations(session, app=app_name, proposal_id=proposal, limit=limit)
    if as_json:
        print_json(records)
        return
    print_table(
        ["ID", "APP", "PROPOSAL", "STATE", "VERDICT", "CASES", "REGRESSIONS", "CREATED"],
        [
            [
                r.id,
                r.app,
                r.proposal_id,
                r.state.value,
                r.verdict.value if r.verdict else None,
                r.cases,
                r.regressions,
                r.created_at,
            ]
            for r in records
        ],
        empty="No validation yet: metamon validate run --app NAME --set KEY=VALUE",
    )


@app.command()
def cancel(validation_id: Annotated[int, typer.Argument(help="Number of the run.")]) -> None:
    """Stop a run. Cases that are at it are finished, no verdict is made.

    Example: metamon validate cancel 7
    """
    from agents.validation import end as validation_end
    from core.clock import utc_now
    from db.session import session_factory

    with session_factory().begin() as session:
        validation_end.cancel(session, validation_id, by=_actor(), now=utc_now())
    err.print(f"Validation {validation_id} is cancelled.", highlight=False)


def _follow(validation_id: int, *, timeout: float | None, as_json: bool, junit: Path | None, file: Path | None) -> None:
    """Follow to the end, write what was asked for, leave with the verdict's code."""
    from cli.validation_report import print_report, write_junit
    from cli.validation_watch import TimedOut, follow
    from core.states import ValidationState
    from db.queries.validations import case_results, show_validation
    from db.session import session_factory

    sessions = session_factory()
    try:
        follow(sessions, validation_id, timeout_s=timeout)
    except KeyboardInterrupt:
        told = f"\nDetached; it goes on. Watch on: {_watch_command(validation_id)}"
        err.print(told, markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(0) from None
    except TimedOut:
        fail(f"no verdict within {timeout:g} s; it goes on. Watch on: {_watch_command(validation_id)}", TIMEOUT)
    with sessions() as session:
        record = show_validation(session, validation_id)
        if junit is not None:
            write_junit(junit, record, case_results(session, validation_id))
    if file is not None:
        file.write_text(record.model_dump_json(indent=2) + "\n")
    elif as_json:
        print_json(record)
    else:
        print_report(record)
    if record.state is ValidationState.STOPPED:
        raise typer.Exit(BUDGET)
    code = {"pass": 0, "fail": REGRESSION, "inconclusive": INCONCLUSIVE}.get(record.verdict or "", ERROR)
    if code:
        raise typer.Exit(code)


def _check_file(file: Path | None, as_json: bool) -> None:
    if file is not None and not as_json:
        fail(f"{file}: a file goes with --json: metamon validate run … --json {file}", USAGE)


def _watch_command(validation_id: int) -> str:
    from cli.hints import command

    return command("validate", "watch", str(validation_id))


def _say_plan(plan: Any) -> None:
    done = f", {plan.taken_over} of them done already" if plan.taken_over else ""
    cost = "cost unknown" if plan.cost_usd is None else f"about ${plan.cost_usd:.2f}"
    caps = [f"${plan.budget_usd:g}"] if plan.budget_usd is not None else []
    caps += [f"{plan.budget_tokens} tokens"] if plan.budget_tokens is not None else []
    cap = f" (stops at {' or '.join(caps)})" if caps else ""
    err.print(
        f"{plan.cases} cases × 2 arms × {plan.repeats}: {plan.executions} executions{done}, {cost}{cap}, "
        f"about {plan.minutes:g} min. "
        f"Detects a loss of {plan.detectable_points:g} points (80 % power); a pass rules out 5 %.",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    for warning in plan.warnings:
        err.print(warning, style="yellow", markup=False, highlight=False)


def _print_record(validation_id: int) -> None:
    from db.queries.validations import show_validation
    from db.session import session_factory

    with session_factory()() as session:
        print_json(show_validation(session, validation_id))


def _key_value(entry: str) -> tuple[str, Any]:
    import json

    key, separator, value = entry.partition("=")
    if not separator or not key.strip():
        fail(f"--set takes KEY=VALUE, such as retrieval.k=6; {entry!r} has no key or no =", USAGE)
    try:
        parsed = json.loads(value)
    except ValueError:
        parsed = value
    if isinstance(parsed, list | dict) or parsed is None or parsed != parsed:  # noqa: PLR0124 - NaN
        parsed = value
    return key.strip(), parsed


def _actor() -> str:
    from cli.actor import actor

    return actor()
