"""Rollouts over HTTP: the same as `metamon rollouts`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from agents import rollout
from agents.cadence import cadence
from api.auth import Db, Reviewer, Viewer
from api.paging import Cursor, Limit, SmallId
from core.clock import utc_now
from core.settings import settings
from core.states import RolloutState
from db.queries import rollouts
from db.queries.paging import Page, page
from db.queries.rollouts import RolloutDetail, RolloutRecord

router = APIRouter(prefix="/rollouts")


class Reason(BaseModel):
    """Why; it goes on record."""

    reason: Annotated[str, Field(min_length=1, max_length=1000)] = "by hand"


@router.get("")
def list_rollouts(
    sessions: Db,
    _: Viewer,
    app: Annotated[str | None, Query(max_length=200)] = None,
    state: RolloutState | None = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[RolloutRecord]:
    """List rollouts, newest first."""
    states = None if state is None else [state]
    with sessions() as session:
        return page(
            lambda key, n: rollouts.list_rollouts(session, app=app, states=states, key=key, limit=n),
            cursor=cursor,
            limit=limit,
            key=lambda rollout: (rollout.id,),
        )


@router.get("/{rollout_id}")
def show_rollout(rollout_id: SmallId, sessions: Db, _: Viewer) -> RolloutDetail:
    """Show one rollout with its events."""
    with sessions() as session:
        return rollouts.show_rollout(session, rollout_id)


@router.post("/{rollout_id}/pause")
def pause(rollout_id: SmallId, body: Reason, sessions: Db, bearer: Reviewer) -> RolloutDetail:
    """Stop a rollout where it is."""
    with sessions.begin() as session:
        rollout.pause(session, rollout_id, by=bearer.actor, reason=body.reason, now=utc_now())
        session.flush()
        return rollouts.show_rollout(session, rollout_id)


@router.post("/{rollout_id}/resume")
def resume(rollout_id: SmallId, body: Reason, sessions: Db, bearer: Reviewer) -> RolloutDetail:
    """Let a paused rollout go on."""
    with sessions.begin() as session:
        rollout.resume(session, rollout_id, by=bearer.actor, reason=body.reason, now=utc_now())
        session.flush()
        return rollouts.show_rollout(session, rollout_id)


@router.post("/{rollout_id}/rollback")
def roll_back(rollout_id: SmallId, body: Reason, sessions: Db, bearer: Reviewer) -> RolloutDetail:
    """Give everybody the old configuration again."""
    with sessions.begin() as session:
        rollout.roll_back(session, rollout_id, by=bearer.actor, reason=body.reason, now=utc_now())
        session.flush()
        return rollouts.show_rollout(session, rollout_id)


@router.post("/{rollout_id}/promote")
def promote(rollout_id: SmallId, body: Reason, sessions: Db, bearer: Reviewer) -> RolloutDetail:
    """Move a rollout to its next stage without waiting for the evidence."""
    with sessions.begin() as session:
        rollout.promote(
            session,
            rollout_id,
            by=bearer.actor,
            reason=body.reason,
            now=utc_now(),
            cadence=cadence(demo=settings().demo),
        )
        session.flush()
        return rollouts.show_rollout(session, rollout_id)
