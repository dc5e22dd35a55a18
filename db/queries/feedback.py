"""Reading feedback back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import NotFoundError
from db.models.traces import Feedback
from db.queries.runs import utc_day


class FeedbackRecord(BaseModel):
    """One stored piece of feedback."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    run_id: UUID | None
    trace_id: UUID | None
    project_id: UUID | None
    key: str
    score: float | None
    value: Any
    comment: str | None
    correction: Any
    source: Any
    created_at: datetime
    modified_at: datetime


def get(session: Session, feedback_id: UUID) -> FeedbackRecord:
    """Return one piece of feedback.

    Raises:
        NotFoundError: there is no such feedback.
    """
    row = session.scalars(select(Feedback).where(Feedback.id == feedback_id)).first()
    if row is None:
        raise NotFoundError(f"there is no feedback {feedback_id}")
    return FeedbackRecord.model_validate(row)


def find(
    session: Session,
    *,
    run_ids: Sequence[UUID] | None = None,
    project_ids: Sequence[UUID] | None = None,
    keys: Sequence[str] | None = None,
    sources: Sequence[str] | None = None,
    has_score: bool | None = None,
    created_from: datetime | None = None,
    created_until: datetime | None = None,
    limit: int = 100,
    offset: int = 0,
) -> list[FeedbackRecord]:
    """Return feedback, newest first. Everything that is given must hold; created in [from, until)."""
    statement = select(Feedback)
    for column, values in (
        (Feedback.run_id, run_ids),
        (Feedback.project_id, project_ids),
        (Feedback.key, keys),
        (Feedback.source["type"].astext, sources),
    ):
        if values is not None:
            statement = statement.where(column.in_(values))
    if has_score is not None:
        statement = statement.where(Feedback.score.is_not(None) if has_score else Feedback.score.is_(None))
    if created_from is not None:
        statement = statement.where(Feedback.created_at >= created_from, Feedback.day >= utc_day(created_from))
    if created_until is not None:
        statement = statement.where(Feedback.created_at < created_until)
    rows = session.scalars(statement.order_by(Feedback.created_at.desc(), Feedback.id).limit(limit).offset(offset))
    return [FeedbackRecord.model_validate(row) for row in rows]
