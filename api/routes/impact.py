"""Impacts over HTTP."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from api.auth import Db, Viewer
from api.paging import Cursor, Limit, SmallId
from db.queries import impact
from db.queries.impact import Calibration, ImpactRecord
from db.queries.paging import Page, page

router = APIRouter(prefix="/impact")


@router.get("")
def list_impacts(
    sessions: Db,
    _: Viewer,
    app: Annotated[str | None, Query(max_length=200)] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[ImpactRecord]:
    """List what was measured, newest first."""
    with sessions() as session:
        return page(
            lambda key, n: impact.list_impacts(session, app=app, key=key, limit=n),
            cursor=cursor,
            limit=limit,
            key=lambda record: (record.id,),
        )


@router.get("/calibration")
def calibration(sessions: Db, _: Viewer, app: Annotated[str | None, Query(max_length=200)] = None) -> Calibration:
    """Compare what was predicted with what was measured."""
    with sessions() as session:
        return impact.calibration(session, app=app)


@router.get("/{proposal_id}")
def show_impact(proposal_id: SmallId, sessions: Db, _: Viewer) -> ImpactRecord:
    """Show the impact of a proposal."""
    with sessions() as session:
        return impact.show_impact(session, proposal_id)
