"""The replay buffer of the live stream."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select, text
from sqlalchemy.orm import Session

from db.models.changes import Change

CHANNEL = "metamon_changes"
"""LISTEN here; a payload is `<id> <subject> <subject's id>`."""

KEPT = timedelta(hours=1)
LATEST_COMMIT = timedelta(minutes=1)
"""Ids are taken when a row is written. Whoever reads on from an id reads this far back too, lest a transaction that
was slower to commit is missed; being told twice harms nobody."""
REPLAY_CAP = 2000


@dataclass(frozen=True)
class Told:
    """One change."""

    id: int
    subject: str
    subject_id: int


def newest(session: Session) -> int:
    """Return the largest id there is, also among those that were pruned; 0 where nothing ever changed."""
    return int(
        session.scalar(text("SELECT coalesce(pg_sequence_last_value(pg_get_serial_sequence('changes', 'id')), 0)")) or 0
    )


def since(session: Session, last: int) -> list[Told] | None:
    """Return what was told after an id, oldest first; None where that is too long ago, or too much, to be retold."""
    oldest = session.scalar(select(func.min(Change.id)))
    if last > newest(session) or (oldest is not None and last < oldest - 1):
        return None
    if oldest is None:
        return [] if last == newest(session) else None
    at = session.scalar(select(Change.at).where(Change.id <= last).order_by(Change.id.desc()).limit(1))
    told = select(Change.id, Change.subject, Change.subject_id).where(Change.id > last)
    rows = list(session.execute(told.order_by(Change.id).limit(REPLAY_CAP + 1)))
    if at is not None:
        late = select(Change.id, Change.subject, Change.subject_id).where(
            Change.id <= last, Change.at > at - LATEST_COMMIT, Change.id > last - REPLAY_CAP
        )
        rows = [*session.execute(late.order_by(Change.id)), *rows]
    if len(rows) > 2 * REPLAY_CAP:
        return None
    latest: dict[tuple[str, int], Told] = {}
    for row in rows:  # one hint for each thing, the newest
        latest.pop((row.subject, row.subject_id), None)
        latest[(row.subject, row.subject_id)] = Told(row.id, row.subject, row.subject_id)
    return list(latest.values())


def drop_old(session: Session, *, now: datetime) -> int:
    """Forget what nobody resumes from any more. Returns how many."""
    return int(session.execute(delete(Change).where(Change.at < now - KEPT)).rowcount)  # type: ignore[attr-defined]
