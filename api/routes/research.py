"""How far research can be believed, over HTTP."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from agents.research import history
from agents.research.history import TrackRecord
from api.auth import Db, Viewer
from db.queries.fixes import past_fixes

router = APIRouter(prefix="/research")


@router.get("/calibration")
def calibration(sessions: Db, _: Viewer, app: Annotated[str | None, Query(max_length=200)] = None) -> TrackRecord:
    """Compare what was promised with what came of it, by kind of fix."""
    with sessions() as session:
        return history.calibration(past_fixes(session, app=app))
