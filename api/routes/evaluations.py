"""Daily evaluations over HTTP."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from api.auth import Db, Viewer
from db.queries import evaluations
from db.queries.evaluations import EvaluationDetail, EvaluationRecord

router = APIRouter(prefix="/evaluations")


@router.get("")
def list_evaluations(
    sessions: Db, _: Viewer, app: str | None = None, limit: Annotated[int, Query(ge=1, le=1000)] = 60
) -> list[EvaluationRecord]:
    """List days, the latest first."""
    with sessions() as session:
        return evaluations.list_evaluations(session, app=app, limit=limit)


@router.get("/{evaluation_id}")
def show_evaluation(evaluation_id: int, sessions: Db, _: Viewer) -> EvaluationDetail:
    """Show one day with its comparisons."""
    with sessions() as session:
        return evaluations.show_evaluation(session, evaluation_id)
