"""Whether the API lives (open to all), and the fleet's figures for Prometheus (with a token)."""

from __future__ import annotations

from fastapi import APIRouter, Response
from sqlalchemy import text

from api.auth import Db, Viewer
from core.clock import utc_now
from db.queries import figures

router = APIRouter()


@router.get("/health")
def health(sessions: Db, response: Response) -> dict[str, str]:
    """Answer 200 where the API and its database are well, 503 where the database is away. Open: says nothing else."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with sessions() as session:
            session.execute(text("SELECT 1"))
    except SQLAlchemyError:
        response.status_code = 503
        return {"status": "database away"}
    return {"status": "ok"}


@router.get("/metrics", response_class=Response)
def metrics(_: Viewer, sessions: Db) -> Response:
    """Return the fleet's figures in Prometheus' text format."""
    from workers.queues import QUEUES

    with sessions() as session:
        body = figures.prometheus(session, QUEUES, now=utc_now())
    return Response(body, media_type="text/plain; version=0.0.4; charset=utf-8")
