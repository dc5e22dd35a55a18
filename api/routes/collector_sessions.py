"""Tracing projects, which the protocol calls sessions."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, HTTPException, Query
from pydantic import BaseModel, Field

from api.auth import Db, Ingest
from db.queries import projects as project_queries
from db.queries.projects import ProjectRecord
from db.repositories import projects

router = APIRouter()

TENANT_ID = UUID("6d657461-6d6f-4e00-8000-000000000001")
"""One installation is one tenant. The SDK asks for the id to build links."""


class NewSession(BaseModel):
    """The body of `POST /sessions`."""

    id: UUID | None = None
    name: str = Field(min_length=1, max_length=250)
    description: str | None = Field(default=None, max_length=5000)
    extra: dict[str, Any] | None = None
    reference_dataset_id: UUID | None = None
    start_time: datetime | None = None


class ChangedSession(BaseModel):
    """The body of `PATCH /sessions/{id}`; null leaves as it is."""

    name: str | None = Field(default=None, min_length=1, max_length=250)
    description: str | None = Field(default=None, max_length=5000)
    extra: dict[str, Any] | None = None
    end_time: datetime | None = None


@router.get("/sessions")
def list_sessions(
    *,
    sessions: Db,
    bearer: Ingest,
    id: Annotated[list[UUID] | None, Query()] = None,  # noqa: A002  # the protocol's name
    name: str | None = None,
    name_contains: str | None = None,
    reference_dataset: Annotated[list[UUID] | None, Query()] = None,
    reference_free: bool | None = None,
    metadata: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 100,
    offset: Annotated[int, Query(ge=0)] = 0,
) -> list[dict[str, Any]]:
    """Return projects. Asked for everything, there is always one: the SDK learns its tenant from it."""
    given = [id, name, name_contains, reference_dataset, reference_free, metadata]
    with sessions() as session:
        found = project_queries.find(
            session,
            ids=id,
            name=name,
            name_contains=name_contains,
            reference_dataset_ids=reference_dataset,
            reference_free=reference_free,
            metadata=_metadata(metadata),
            limit=limit,
            offset=offset,
        )
    if not found and offset == 0 and all(value is None for value in given):
        made = projects.ensure(sessions, [projects.DEFAULT])[projects.DEFAULT]
        with sessions() as session:
            found = [project_queries.get(session, made)]
    return [as_v1(record) for record in found]


@router.post("/sessions")
def create_session(asked: NewSession, sessions: Db, bearer: Ingest, upsert: bool = False) -> dict[str, Any]:
    """Add a project; 409 where the name is taken, or would take an app's project out of sight."""
    try:
        with sessions() as session, session.begin():
            made = projects.create(
                session,
                project_id=asked.id,
                name=asked.name,
                description=asked.description,
                extra=asked.extra,
                reference_dataset_id=asked.reference_dataset_id,
                start_time=asked.start_time,
                upsert=upsert,
            )
            return as_v1(project_queries.get(session, made))
    except (projects.DuplicateProjectError, projects.WatchedProjectError) as error:
        raise HTTPException(409, str(error)) from None


@router.get("/sessions/{session_id}")
def get_session(session_id: UUID, sessions: Db, bearer: Ingest) -> dict[str, Any]:
    """Return one project."""
    with sessions() as session:
        return as_v1(project_queries.get(session, session_id))


@router.patch("/sessions/{session_id}")
def change_session(session_id: UUID, asked: ChangedSession, sessions: Db, bearer: Ingest) -> dict[str, Any]:
    """Change a project; 409 where the new name is taken, or the old one an app's."""
    try:
        with sessions() as session, session.begin():
            projects.change(session, session_id, **asked.model_dump())
            record = project_queries.get(session, session_id)
    except (projects.DuplicateProjectError, projects.WatchedProjectError) as error:
        raise HTTPException(409, str(error)) from None
    projects.forget(sessions)
    return as_v1(record)


@router.delete("/sessions/{session_id}", status_code=202)
def delete_session(session_id: UUID, sessions: Db, bearer: Ingest) -> dict[str, str]:
    """Delete a project with its runs and their feedback; 409 where an app is watched by it."""
    try:
        with sessions() as session, session.begin():
            projects.remove(session, session_id)
    except projects.WatchedProjectError as error:
        raise HTTPException(409, str(error)) from None
    projects.forget(sessions)
    return {"message": "deleted"}


def as_v1(record: ProjectRecord) -> dict[str, Any]:
    """Return a project in the form of the protocol."""
    return {**record.model_dump(), "tenant_id": TENANT_ID, "run_count": None}


def _metadata(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        wanted = json.loads(text)
    except ValueError:
        wanted = None
    if not isinstance(wanted, dict):
        raise HTTPException(422, "metadata takes a JSON object")
    return wanted
