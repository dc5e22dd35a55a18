"""The fleet as SQL sees it: the best signals of a queue are the rows, not the messages."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from pydantic import BaseModel
from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from core.clock import CLOCK_SLACK
from core.states import JobState
from db.models.jobs import Job


class QueueRecord(BaseModel):
    """One queue, now."""

    name: str
    queued: int
    running: int
    dead: int
    oldest_age_s: float | None
    """Age of the oldest job that is due and waits, seconds."""
    redispatched: int
    """Jobs that wait and were sent more than once."""
    expired_leases: int


def queues(session: Session, names: Iterable[str], *, now: datetime) -> list[QueueRecord]:
    """Return every queue's record, the idle ones too."""
    due = (Job.state == JobState.QUEUED) & (Job.run_at <= now)

    def count(condition: object) -> object:
        return func.count(case((condition, 1)))  # type: ignore[arg-type]

    rows = session.execute(
        select(
            Job.queue,
            count(Job.state == JobState.QUEUED),
            count(Job.state == JobState.RUNNING),
            count(Job.state == JobState.DEAD),
            func.min(case((due, Job.run_at))),
            count((Job.state == JobState.QUEUED) & (Job.dispatches > 1)),
            count((Job.state == JobState.RUNNING) & (Job.lease_until < now)),
        )  # type: ignore[call-overload]
        .where(Job.state.in_([JobState.QUEUED, JobState.RUNNING, JobState.DEAD]))
        .group_by(Job.queue)
    ).all()
    found = {row[0]: row for row in rows}
    records = []
    for name in names:
        _, queued, running, dead, oldest, again, expired = found.get(name, (name, 0, 0, 0, None, 0, 0))
        records.append(
            QueueRecord(
                name=name,
                queued=queued,
                running=running,
                dead=dead,
                oldest_age_s=(now - oldest).total_seconds() if oldest else None,
                redispatched=again,
                expired_leases=expired,
            )
        )
    return records


def last_done(session: Session, kind: str, *, now: datetime) -> datetime | None:
    """Return when a job of this kind was last done. One by a clock that was ahead is no sign of life to come."""
    return session.scalar(
        select(func.max(Job.finished_at)).where(
            Job.kind == kind, Job.state == JobState.DONE, Job.finished_at <= now + CLOCK_SLACK
        )
    )
