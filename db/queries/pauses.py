"""What is paused, as people see it."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from db.models.jobs import QueuePause
from db.repositories.pauses import ALL


class PauseRecord(BaseModel):
    """A queue that is held."""

    queue: str | None
    """None: all of them."""
    reason: str
    by: str
    since: datetime


def list_pauses(session: Session) -> list[PauseRecord]:
    """Return what is paused, the pause of all first."""
    rows = session.scalars(select(QueuePause).order_by(QueuePause.queue))
    return [
        PauseRecord(
            queue=None if row.queue == ALL else row.queue, reason=row.reason, by=row.paused_by, since=row.paused_at
        )
        for row in rows
    ]
