"""The outbox's SQL: enqueue, claim, finish, fail, and what the relay reads."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.errors import MetamonError, NotFoundError
from core.states import JOB, JobState
from db.models.jobs import Job
from db.repositories import pauses

CHANNEL = "metamon_jobs"
"""LISTEN here to hear of new jobs; the relay does."""

ERROR_CAP = 4000
"""Characters of an error that are kept."""

CLAIM_LOCK_TIMEOUT_MS = 5000


class LostLeaseError(MetamonError):
    """Another worker took the job over while this one was at it: nothing of this attempt may be committed."""


@dataclass(frozen=True)
class Claim:
    """A job in the hands of one worker. `attempt` is its fencing token."""

    id: int
    key: str
    kind: str
    attempt: int
    max_attempts: int
    root_id: int
    args: Mapping[str, Any] = field(default_factory=dict)


def queue_of(kind: str) -> str:
    """Return the queue of a task name: what stands before the dot."""
    return kind.partition(".")[0]


def enqueue(
    session: Session,
    *,
    key: str,
    kind: str,
    args: Mapping[str, Any] | None = None,
    run_at: datetime | None = None,
    max_attempts: int = 5,
    parent: Claim | None = None,
) -> int | None:
    """Add a job in the caller's transaction, or return None where the key exists: asking twice is asking once.

    Args:
        key: deterministic name of this very piece of work.
        kind: the task, `<queue>.<verb_object>`.
        args: ids and times only.
        run_at: not before this moment; at once where None.
        parent: the job whose transaction this is, for the tree from sweep to mail.
    """
    statement = (
        insert(Job)
        .values(
            key=key,
            kind=kind,
            queue=queue_of(kind),
            args=dict(args or {}),
            max_attempts=max_attempts,
            root_id=parent.root_id if parent else None,
            parent_id=parent.id if parent else None,
            **({"run_at": run_at} if run_at else {}),
        )
        .on_conflict_do_nothing(index_elements=[Job.key])
        .returning(Job.id)
    )
    job_id = session.execute(statement).scalar_one_or_none()
    if job_id is not None:
        # Delivered by Postgres at commit, and only then: the relay never hears of a row it cannot see.
        session.execute(select(func.pg_notify(CHANNEL, queue_of(kind))))
    return job_id


def announce(session: Session, event: str, subject_id: int, parent: Claim | None) -> None:
    """Have people told of an event, once for its subject."""
    enqueue(
        session,
        key=f"announce:{event}:{subject_id}",
        kind="notifications.announce",
        args={"event": event, "subject_id": subject_id},
        parent=parent,
    )


def claim(session: Session, job_id: int, *, owner: str, now: datetime, lease: timedelta) -> Claim | None:
    """Take the job, or return None where there is nothing to do: done, not yet due, or in other hands.

    A redelivery of the very message that holds the job (same `owner`) takes it over at once: its holder is dead, and
    were it not, the attempt's number fences it off. Over `max_attempts` the job becomes dead instead.
    """
    session.execute(text(f"SET LOCAL lock_timeout = {CLAIM_LOCK_TIMEOUT_MS}"))
    job = session.get(Job, job_id, with_for_update=True)
    if job is None:
        return None
    if job.state is JobState.QUEUED:
        if job.run_at > now:
            return None
        if job.kind not in pauses.NEVER_HELD and pauses.holds(pauses.held(session), job.queue):
            return None  # it was sent before the pause; the relay sends it again behind it
    elif job.state is JobState.RUNNING:
        held = job.lease_until is not None and job.lease_until > now
        if held and job.owner != owner:
            return None
    else:
        return None
    if job.attempts >= job.max_attempts:
        _bury(job, now, job.error or f"no worker survived it in {job.attempts} attempts")
        return None
    job.state = JOB.check(job.state, JobState.RUNNING)
    job.attempts += 1
    job.owner = owner
    job.lease_until = now + lease
    job.started_at = now
    return Claim(
        id=job.id,
        key=job.key,
        kind=job.kind,
        attempt=job.attempts,
        max_attempts=job.max_attempts,
        root_id=job.root_id or job.id,
        args=job.args,
    )


def hold(session: Session, taken: Claim) -> Job:
    """Lock the claimed row for the transaction that carries its effects.

    Raises:
        LostLeaseError: the attempt is no longer ours.
    """
    job = session.get(Job, taken.id, with_for_update=True, populate_existing=True)
    if job is None or job.state is not JobState.RUNNING or job.attempts != taken.attempt:
        raise LostLeaseError(f"job {taken.id} ({taken.kind}) was taken over after attempt {taken.attempt}")
    return job


def finish(job: Job, now: datetime) -> None:
    """Mark the held job done; it commits together with its effects or not at all."""
    job.state = JOB.check(job.state, JobState.DONE)
    job.finished_at = now
    job.lease_until = None
    job.error = None


def postpone(job: Job, run_at: datetime) -> None:
    """Put the held job back to be looked at later: waiting is not an attempt."""
    job.state = JOB.check(job.state, JobState.QUEUED)
    job.attempts -= 1
    job.run_at = run_at
    job.dispatched_at = None
    job.dispatches = 0
    job.lease_until = None


def fail(session: Session, taken: Claim, error: str, *, now: datetime, retry_at: datetime | None) -> None:
    """Record a failed attempt: back to the queue at `retry_at`, or dead where None or out of attempts."""
    job = session.get(Job, taken.id, with_for_update=True, populate_existing=True)
    if job is None or job.state is not JobState.RUNNING or job.attempts != taken.attempt:
        return
    if retry_at is None or job.attempts >= job.max_attempts:
        _bury(job, now, error)
        return
    job.state = JOB.check(job.state, JobState.QUEUED)
    job.error = error[:ERROR_CAP]
    job.run_at = retry_at
    job.dispatched_at = None
    job.dispatches = 0
    job.lease_until = None


def heartbeat(session: Session, taken: Claim, *, lease_until: datetime) -> bool:
    """Extend the lease; False where the job is no longer ours."""
    statement = (
        update(Job)
        .where(Job.id == taken.id, Job.attempts == taken.attempt, Job.state == JobState.RUNNING)
        .values(lease_until=lease_until)
        .returning(Job.id)
    )
    return session.execute(statement).scalar_one_or_none() is not None


def release_expired(session: Session, now: datetime) -> int:
    """Put jobs whose worker fell silent back into the queue, or among the dead. Returns how many."""
    jobs = session.scalars(
        select(Job)
        .where(Job.state == JobState.RUNNING, Job.lease_until < now)
        .with_for_update(skip_locked=True)
        .limit(500)
    ).all()
    for job in jobs:
        if job.attempts >= job.max_attempts:
            _bury(job, now, job.error or f"no worker survived it in {job.attempts} attempts")
        else:
            job.state = JOB.check(job.state, JobState.QUEUED)
            job.lease_until = None
            job.dispatched_at = None
    return len(jobs)


def mark_due(
    session: Session,
    queue: str,
    *,
    now: datetime,
    limit: int,
    queue_empty: bool,
    base: timedelta,
    only: Collection[str] | None = None,
) -> list[tuple[int, str]]:
    """Mark up to `limit` due jobs as dispatched and return their (id, kind). Publish after the commit, not before.

    A job that was dispatched and never taken is due again after base·2ⁿ: a message can be lost, but while its queue
    is long it is probably only waiting. Where the queue is empty the wait is flat: then it is lost.

    Args:
        only: kinds that are sent; all where None.
    """
    overdue_after: ColumnElement[timedelta] = func.make_interval(0, 0, 0, 0, 0, 0, base.total_seconds())
    if not queue_empty:
        overdue_after = overdue_after * func.power(2, func.least(Job.dispatches - 1, 6))
    jobs = session.scalars(
        select(Job)
        .where(
            Job.queue == queue,
            Job.state == JobState.QUEUED,
            Job.run_at <= now,
            or_(Job.dispatched_at.is_(None), Job.dispatched_at + overdue_after < now),
            *(() if only is None else (Job.kind.in_(only),)),
        )
        .order_by(Job.run_at, Job.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    for job in jobs:
        job.dispatched_at = now
        job.dispatches += 1
    return [(job.id, job.kind) for job in jobs]


def retry_by_hand(session: Session, job_id: int, *, now: datetime) -> None:
    """Give a dead or cancelled job a fresh set of attempts.

    Raises:
        NotFoundError: there is no such job.
        ForbiddenTransitionError: it is neither dead nor cancelled.
    """
    job = _get(session, job_id)
    job.state = JOB.check(job.state, JobState.QUEUED)
    job.attempts = 0
    job.dispatches = 0
    job.dispatched_at = None
    job.run_at = now
    job.finished_at = None
    session.execute(select(func.pg_notify(CHANNEL, job.queue)))


def cancel(session: Session, job_id: int, *, now: datetime) -> None:
    """Stop a job that is not finished. A worker that is at it cannot commit any more.

    Raises:
        NotFoundError: there is no such job.
        ForbiddenTransitionError: it is finished.
    """
    job = _get(session, job_id)
    job.state = JOB.check(job.state, JobState.CANCELLED)
    job.finished_at = now
    job.lease_until = None


def _get(session: Session, job_id: int) -> Job:
    job = session.get(Job, job_id, with_for_update=True)
    if job is None:
        raise NotFoundError(f"there is no job {job_id}; `metamon jobs list` shows what there is")
    return job


def _bury(job: Job, now: datetime, error: str) -> None:
    job.state = JOB.check(job.state, JobState.DEAD)
    job.error = error[:ERROR_CAP]
    job.finished_at = now
    job.lease_until = None
