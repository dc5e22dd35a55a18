"""The audit log as people read it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from db.models.access import AuditEntry
from db.queries.paging import DESCENDING, Key, after


class AuditRecord(BaseModel):
    """One decision."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]


def list_entries(
    session: Session,
    *,
    subject: str | None = None,
    actor: str | None = None,
    key: Key | None = None,
    limit: int = 100,
) -> list[AuditRecord]:
    """Return entries, newest first.

    Args:
        key: (id,) of the last one seen.
    """
    statement = select(AuditEntry)
    if subject is not None:
        statement = statement.where(AuditEntry.subject == subject)
    if actor is not None:
        statement = statement.where(AuditEntry.actor == actor)
    rows = session.scalars(after(statement, (AuditEntry.id, DESCENDING), key=key, limit=limit))
    return [AuditRecord.model_validate(row, from_attributes=True) for row in rows]
