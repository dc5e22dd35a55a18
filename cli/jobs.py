"""`metamon jobs`: the durable record of all work; Flower forgets, this does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cli.actor import actor
from cli.output import JsonFlag, err, out, print_json, print_table
from core.states import JobState

if TYPE_CHECKING:
    from rich.text import Text
    from rich.tree import Tree

    from db.queries.jobs import JobNode

app = typer.Typer(help="The durable record of all work: list, show, retry, cancel.", no_args_is_help=True)

STYLES = {
    JobState.DONE: "green",
    JobState.RUNNING: "cyan",
    JobState.DEAD: "bold red",
    JobState.CANCELLED: "dim",
    JobState.QUEUED: "yellow",
}


@app.command("list")
def list_(
    *,
    queue: Annotated[str | None, typer.Option(help="Only this queue's.")] = None,
    state: Annotated[JobState | None, typer.Option("--status", help="Only jobs in this state.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only this kind: research.investigate …")] = None,
    older: Annotated[float | None, typer.Option("--older-than", min=0, help="Only older than so many seconds.")] = None,
    chain: Annotated[int | None, typer.Option(min=1, help="Only the chain with this root.")] = None,
    ticks: Annotated[bool, typer.Option("--ticks", help="Beat's own done ticks too: many, and all alike.")] = False,
    oldest: Annotated[bool, typer.Option("--oldest", help="What has waited longest first.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    as_json: JsonFlag = False,
) -> None:
    """List jobs, newest first.

    Example: metamon jobs list --status queued --oldest
    """
    from datetime import timedelta

    from core.clock import utc_now
    from db.queries.jobs import list_jobs
    from db.session import session_factory

    with session_factory()() as session:
        records = list_jobs(
            session,
            now=utc_now(),
            queue=queue,
            state=state,
            kind=kind,
            older_than=None if older is None else timedelta(seconds=older),
            root_id=chain,
            ticks=ticks,
            oldest_first=oldest,
            limit=limit,
        )
    if as_json:
        print_json(records)
        return
    print_table(
        ["ID", "KIND", "STATE", "ATTEMPTS", "AGE", "CHAIN", "KEY", "ERROR"],
        [
            [
                r.id,
                r.kind,
                r.state.value,
                f"{r.attempts}/{r.max_attempts}",
                _age(r.age_s),
                r.root_id,
                r.key,
                (r.error or "").splitlines()[0] if r.error else None,
            ]
            for r in records
        ],
        empty="No such job.",
    )


@app.command()
def show(job_id: int, as_json: JsonFlag = False) -> None:
    """Show a job, and the chain it belongs to as a tree: from the sweep to the mail.

    Example: metamon jobs show 42
    """
    from rich.tree import Tree

    from core.clock import utc_now
    from core.settings import settings
    from db.queries.jobs import show_job
    from db.session import session_factory

    with session_factory()() as session:
        job = show_job(session, job_id, now=utc_now())
    if as_json:
        print_json(job)
        return
    flower = settings().flower_url
    rows: list[list[object]] = [
        ["kind", job.kind],
        ["key", job.key],
        ["state", job.state.value],
        ["attempts", f"{job.attempts} of {job.max_attempts}; sent {job.dispatches} times"],
        ["arguments", ", ".join(f"{name}={value}" for name, value in job.args.items()) or None],
        ["made", job.created_at],
        ["due", job.run_at],
        ["started", job.started_at],
        ["finished", job.finished_at],
        ["lease until", job.lease_until],
        ["task", job.owner],
        ["in Flower", f"{flower.rstrip('/')}/task/{job.owner}" if flower and job.owner else None],
        ["error", job.error],
    ]
    print_table(["JOB", str(job.id)], [row for row in rows if row[1] is not None], empty="")
    root = Tree(_label(job.chain, job.id), guide_style="dim")
    _grow(root, job.chain, job.id)
    out.print()
    out.print(root)
    if job.chain_truncated:
        err.print("The chain is longer than is shown: metamon jobs list --chain", job.root_id)


@app.command()
def retry(job_ids: Annotated[list[int], typer.Argument(help="Dead or cancelled jobs.")]) -> None:
    """Give dead or cancelled jobs a fresh set of attempts. All of them, or none where one cannot.

    Example: metamon jobs retry 42 43
    """
    from core.clock import utc_now
    from db.repositories import audit, jobs
    from db.session import session_factory

    with session_factory().begin() as session:
        for job_id in job_ids:
            jobs.retry_by_hand(session, job_id, now=utc_now())
            audit.record(session, actor=actor(), action="job.retry", subject=f"job:{job_id}")
    err.print(f"Queued again: {', '.join(map(str, job_ids))}")


@app.command()
def cancel(job_ids: Annotated[list[int], typer.Argument(help="Jobs that are not finished.")]) -> None:
    """Stop jobs that are not finished. A worker that is at one cannot commit any more.

    Example: metamon jobs cancel 42
    """
    from core.clock import utc_now
    from db.repositories import audit, jobs
    from db.session import session_factory

    with session_factory().begin() as session:
        for job_id in job_ids:
            jobs.cancel(session, job_id, now=utc_now())
            audit.record(session, actor=actor(), action="job.cancel", subject=f"job:{job_id}")
    err.print(f"Cancelled: {', '.join(map(str, job_ids))}")


def _grow(branch: Tree, node: JobNode, marked: int) -> None:
    for child in node.children:
        _grow(branch.add(_label(child, marked)), child, marked)


def _label(node: JobNode, marked: int) -> Text:
    from rich.text import Text

    label = Text()
    label.append(f"{node.id} ", style="reverse" if node.id == marked else "dim")
    label.append(node.kind)
    label.append(f" {node.state.value}", style=STYLES[node.state])
    if node.attempts > 1:
        label.append(f" attempt {node.attempts} of {node.max_attempts}")
    label.append(f" {_age(node.age_s)}", style="dim")
    if node.error:
        label.append(f" {node.error.splitlines()[0][:100]}", style="red")
    return label


def _age(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
