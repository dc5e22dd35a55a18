"""Feedback in and out. Feedback on an unknown run is kept: a 404 would make the SDK retry inside its caller."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request

from api.auth import Db, Ingest
from api.routes.uploads import json_object, take_in
from core.clock import utc_now
from core.settings import settings
from db.queries import feedback as feedback_queries
from db.queries.feedback import FeedbackRecord
from db.repositories import feedback as feedback_rows
from traces import clean, ingest, normalise
from traces.clean import BadFieldError
from traces.ingest import Upload

router = APIRouter()

MAX_BYTES = 1024 * 1024
"""Of one piece of feedback: its three JSON fields and its comment may fill a quarter of it."""

CHANGEABLE = ("score", "value", "correction", "comment")


@router.post("/feedback")
async def post_feedback(request: Request, sessions: Db, bearer: Ingest) -> dict[str, Any]:
    """Take in one piece of feedback; durable when this answers."""

    def work(body: bytes) -> FeedbackRecord:
        now = utc_now()
        upload = Upload(kept=settings().kept)
        upload.add_feedback(json_object(body), "feedback", now=now)
        ingest.store(sessions, upload, now=now)
        for problem in upload.errors.values():
            raise BadFieldError(problem)
        with sessions() as session:
            return feedback_queries.get(session, upload.feedback[0].id)

    return as_v1(await take_in(request, work, limit=MAX_BYTES))


@router.get("/feedback")
def list_feedback(
    *,
    sessions: Db,
    bearer: Ingest,
    run: Annotated[list[UUID] | None, Query()] = None,
    key: Annotated[list[str] | None, Query()] = None,
    session: Annotated[list[UUID] | None, Query()] = None,
    source: Annotated[list[str] | None, Query()] = None,
    has_score: bool | None = None,
    min_created_at: datetime | None = None,
    max_created_at: datetime | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 100,
    offset: Annotated[int, Query(ge=0)] = 0,
) -> list[dict[str, Any]]:
    """Return feedback, newest first."""
    with sessions() as db:
        found = feedback_queries.find(
            db,
            run_ids=run,
            keys=key,
            project_ids=session,
            sources=source,
            has_score=has_score,
            created_from=min_created_at,
            created_until=max_created_at,
            limit=limit,
            offset=offset,
        )
    return [as_v1(record) for record in found]


@router.get("/feedback/{feedback_id}")
def get_feedback(feedback_id: UUID, sessions: Db, bearer: Ingest) -> dict[str, Any]:
    """Return one piece of feedback."""
    with sessions() as session:
        return as_v1(feedback_queries.get(session, feedback_id))


@router.patch("/feedback/{feedback_id}")
async def patch_feedback(feedback_id: UUID, request: Request, sessions: Db, bearer: Ingest) -> dict[str, Any]:
    """Set what is given; null clears."""

    def work(body: bytes) -> FeedbackRecord:
        document = json_object(body)
        values: dict[str, Any] = {name: document[name] for name in CHANGEABLE if name in document}
        if "score" in values:
            values["score"] = clean.score_or_none(values["score"])
        if "comment" in values:
            values["comment"] = clean.text(values["comment"], normalise.COMMENT_CHARS)
        for name in ("value", "correction"):
            if name in values:
                values[name] = normalise.json_value(values[name], name)
        with sessions() as session, session.begin():
            feedback_rows.change(session, feedback_id, values, now=utc_now())
            return feedback_queries.get(session, feedback_id)

    return as_v1(await take_in(request, work, limit=MAX_BYTES))


@router.delete("/feedback/{feedback_id}")
def delete_feedback(feedback_id: UUID, sessions: Db, bearer: Ingest) -> dict[str, str]:
    """Delete one piece of feedback."""
    with sessions() as session, session.begin():
        feedback_rows.remove(session, feedback_id, now=utc_now())
    return {"message": "deleted"}


def as_v1(record: FeedbackRecord) -> dict[str, Any]:
    """Return feedback in the form of the protocol."""
    form = record.model_dump(exclude={"project_id", "source"})
    return {**form, "session_id": record.project_id, "feedback_source": record.source}
