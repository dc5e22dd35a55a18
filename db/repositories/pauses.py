"""Queues that are held: their jobs stay queued, whatever is due. What guards a rollout goes on."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.errors import MetamonError, NotFoundError
from db.models.jobs import QueuePause
from db.repositories import audit

ALL = "*"
NEVER_HELD = frozenset({"rollout.guard", "rollout.advance"})
"""A change that harms must be taken back, whoever paused what."""


class UnknownQueueError(MetamonError):
    """There is no queue of this name."""


def pause(session: Session, queue: str | None, *, queues: Iterable[str], by: str, reason: str, now: datetime) -> None:
    """Hold a queue, or all where None. Pausing what is paused tells the newer reason.

    Args:
        queues: the names there are.

    Raises:
        UnknownQueueError: there is no such queue.
    """
    names = tuple(queues)
    if queue is not None and queue not in names:
        raise UnknownQueueError(f"there is no such queue; there is: {', '.join(names)}")
    values = {"reason": reason, "paused_by": by, "paused_at": now}
    statement = insert(QueuePause).values(queue=queue or ALL, **values)
    session.execute(statement.on_conflict_do_update(index_elements=[QueuePause.queue], set_=values))
    audit.record(session, actor=by, action="queue.pause", subject=f"queue:{queue or ALL}", reason=reason)


def unpause(session: Session, queue: str | None, *, by: str) -> None:
    """Let a queue go on, or lift the pause of all where None; what was paused by name stays paused.

    Raises:
        NotFoundError: it is not paused.
    """
    gone = session.execute(
        delete(QueuePause).where(QueuePause.queue == (queue or ALL)).returning(QueuePause.queue)
    ).all()
    if not gone:
        raise NotFoundError(f"{queue or 'the fleet'} is not paused; `metamon status` shows what is")
    audit.record(session, actor=by, action="queue.unpause", subject=f"queue:{queue or ALL}")
    session.execute(select(func.pg_notify("metamon_jobs", queue or "")))


def held(session: Session) -> frozenset[str]:
    """Return what is held: names of queues, `*` for all."""
    return frozenset(session.scalars(select(QueuePause.queue)))


def holds(held_queues: frozenset[str], queue: str) -> bool:
    """Tell whether a queue is among what is held."""
    return ALL in held_queues or queue in held_queues
