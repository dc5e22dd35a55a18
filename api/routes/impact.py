"""Impacts over HTTP."""

from __future__ import annotations

from fastapi import APIRouter

from api.auth import Db, Viewer
from db.queries import impact
from db.queries.impact import ImpactRecord

router = APIRouter(prefix="/impact")


@router.get("")
def list_impacts(sessions: Db, _: Viewer, app: str | None = None) -> list[ImpactRecord]:
    """List what was measured, newest first."""
    with sessions() as session:
        return impact.list_impacts(session, app=app)


@router.get("/{proposal_id}")
def show_impact(proposal_id: int, sessions: Db, _: Viewer) -> ImpactRecord:
    """Show the impact of a proposal."""
    with sessions() as session:
        return impact.show_impact(session, proposal_id)
