"""Daily evaluations over HTTP."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Query

from api.auth import Db, Viewer
from api.paging import Cursor, Limit, SmallId
from core.clock import utc_now
from core.settings import settings
from db.queries import evaluations
from db.queries.evaluations import EvaluationDetail, EvaluationRecord
from db.queries.paging import Page, page
from db.queries.trends import Trends, Window
from db.queries.trends import trends as read_trends

router = APIRouter(prefix="/evaluations")


@router.get("")
def list_evaluations(
    sessions: Db,
    _: Viewer,
    app: Annotated[str | None, Query(max_length=200)] = None,
    cursor: Cursor = None,
    limit: Limit = 60,
) -> Page[EvaluationRecord]:
    """List days, the latest first."""
    with sessions() as session:
        return page(
            lambda key, n: evaluations.list_evaluations(session, app=app, key=key, limit=n),
            cursor=cursor,
            limit=limit,
            key=lambda record: (record.day, record.app),
            kinds=(date, str),
        )


@router.get("/trends")
def trends(sessions: Db, _: Viewer, app: Annotated[str, Query(max_length=200)], window: Window = Window.WEEK) -> Trends:
    """Compare a period with the one before it, metric by metric."""
    with sessions() as session:
        return read_trends(session, app=app, window=window, now=utc_now(), bucket_s=settings().bucket_seconds)


@router.get("/{evaluation_id}")
def show_evaluation(evaluation_id: SmallId, sessions: Db, _: Viewer) -> EvaluationDetail:
    """Show one day with its comparisons."""
    with sessions() as session:
        return evaluations.show_evaluation(session, evaluation_id)
