"""The outbox: every piece of work the fleet does is a row here before it is a message."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from core.states import JobState
from db.base import Base, BigId, Created, Json, state_type


class Job(Base):
    """One piece of work. The message in Redis carries its id alone."""

    __tablename__ = "jobs"

    id: Mapped[BigId]
    key: Mapped[str] = mapped_column(unique=True)
    """Deterministic (`research:<alert>`, `tick:<name>:<scheduled_for>`): asking twice makes one row."""
    kind: Mapped[str]
    """Name of the task, `<queue>.<verb_object>`."""
    queue: Mapped[str]
    args: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    """Ids and times only; never a secret, never text from a trace."""
    state: Mapped[JobState] = mapped_column(state_type(JobState), server_default=JobState.QUEUED.value)
    attempts: Mapped[int] = mapped_column(server_default="0")
    """How often a worker took it; also the fencing token of the one who holds it."""
    max_attempts: Mapped[int] = mapped_column(server_default="5")
    dispatches: Mapped[int] = mapped_column(server_default="0")
    run_at: Mapped[Created]
    dispatched_at: Mapped[datetime | None]
    lease_until: Mapped[datetime | None]
    owner: Mapped[str | None]
    """Celery's task id of the delivery that holds it: the link to Flower."""
    error: Mapped[str | None]
    root_id: Mapped[int | None] = mapped_column(BigInteger)
    """First job of the chain, so that sweep to mail reads as one tree."""
    parent_id: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[Created]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        Index("ix_jobs_due", "queue", "run_at", postgresql_where=text("state = 'queued'")),
        Index("ix_jobs_leases", "lease_until", postgresql_where=text("state = 'running'")),
        Index("ix_jobs_dead", "id", postgresql_where=text("state = 'dead'")),
        Index("ix_jobs_root", "root_id"),
        Index("ix_jobs_finished", "finished_at", postgresql_where=text("finished_at IS NOT NULL")),
    )


class QueuePause(Base):
    """A queue whose jobs stay where they are until somebody lets them go again."""

    __tablename__ = "queue_pauses"

    queue: Mapped[str] = mapped_column(primary_key=True)
    """A queue's name, or `*` for all."""
    reason: Mapped[str]
    paused_by: Mapped[str]
    paused_at: Mapped[datetime]
