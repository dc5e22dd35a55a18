"""The audit log as people read it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from db.models.access import AuditEntry


class AuditRecord(BaseModel):
    """One decision."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]


def list_entries(
    session: Session, *, subject: str | None = None, before: datetime | None = None, limit: int = 100
) -> list[AuditRecord]:
    """Return entries, newest first."""
    statement = select(AuditEntry).order_by(AuditEntry.id.desc()).limit(limit)
    if subject is not None:
        statement = statement.where(AuditEntry.subject == subject)
    if before is not None:
        statement = statement.where(AuditEntry.at < before)
    return [AuditRecord.model_validate(row, from_attributes=True) for row in session.scalars(statement)]
