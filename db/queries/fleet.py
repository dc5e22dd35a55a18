"""The fleet as SQL sees it: the best signals of a queue are the rows, not the messages."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from pydantic import BaseModel
from sqlalchemy import bindparam, func, select, union_all
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
    # A part for each state, spelt out and not bound: so each is read by its partial index, past all that is done.
    job = union_all(
        *(
            select(Job.queue, Job.state, Job.run_at, Job.dispatches, Job.lease_until).where(
                Job.state == bindparam(None, state, type_=Job.state.type, literal_execute=True)
            )
            for state in (JobState.QUEUED, JobState.RUNNING, JobState.DEAD)
        )
    ).subquery("job")
    queued, running = job.c.state == JobState.QUEUED, job.c.state == JobState.RUNNING
    rows = session.execute(
        select(
            job.c.queue,
            func.count().filter(queued),
            func.count().filter(running),
            func.count().filter(job.c.state == JobState.DEAD),
            func.min(job.c.run_at).filter(queued, job.c.run_at <= now),
            func.count().filter(queued, job.c.dispatches > 1),
            func.count().filter(running, job.c.lease_until < now),
        ).group_by(job.c.queue)
    ).all()
    found = {row[0]: row for row in rows}
    records = []
    for name in names:
        _, waiting, working, dead, oldest, again, expired = found.get(name, (name, 0, 0, 0, None, 0, 0))
        records.append(
            QueueRecord(
                name=name,
                queued=waiting,
                running=working,
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
