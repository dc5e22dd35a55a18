"""Reading tracing projects."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import NotFoundError
from db.models.apps import Project


class ProjectRecord(BaseModel):
    """One tracing project."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    name: str
    description: str | None
    reference_dataset_id: UUID | None
    extra: dict[str, Any]
    start_time: datetime
    end_time: datetime | None


def get(session: Session, project_id: UUID) -> ProjectRecord:
    """Return one project.

    Raises:
        NotFoundError: there is no such project.
    """
    row = session.get(Project, project_id)
    if row is None:
        raise NotFoundError(f"there is no project {project_id}")
    return ProjectRecord.model_validate(row)


def experiments(session: Session, dataset_id: UUID) -> list[UUID]:
    """Return the projects that are experiments over a dataset."""
    return list(session.scalars(select(Project.id).where(Project.reference_dataset_id == dataset_id)))


def find(
    session: Session,
    *,
    ids: Sequence[UUID] | None = None,
    name: str | None = None,
    name_contains: str | None = None,
    reference_dataset_ids: Sequence[UUID] | None = None,
    reference_free: bool | None = None,
    metadata: dict[str, Any] | None = None,
    limit: int = 100,
    offset: int = 0,
) -> list[ProjectRecord]:
    """Return projects, the newest first. Everything that is given must hold."""
    statement = select(Project)
    if ids is not None:
        statement = statement.where(Project.id.in_(ids))
    if name is not None:
        statement = statement.where(Project.name == name)
    if name_contains is not None:
        statement = statement.where(Project.name.icontains(name_contains, autoescape=True))
    if reference_dataset_ids is not None:
        statement = statement.where(Project.reference_dataset_id.in_(reference_dataset_ids))
    if reference_free is not None:
        column = Project.reference_dataset_id
        statement = statement.where(column.is_(None) if reference_free else column.is_not(None))
    if metadata is not None:
        statement = statement.where(Project.extra.contains({"metadata": metadata}))
    rows = session.scalars(statement.order_by(Project.start_time.desc(), Project.id).limit(limit).offset(offset))
    return [ProjectRecord.model_validate(row) for row in rows]
