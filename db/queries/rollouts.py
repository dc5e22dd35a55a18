"""Rollouts as people see them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import NotFoundError
from core.states import RolloutState
from db.models.apps import App
from db.models.proposals import ImprovementProposal
from db.models.rollouts import Rollout, RolloutEvent
from db.queries.paging import DESCENDING, Key, after


class RolloutRecord(BaseModel):
    """One rollout. `percent` is its stage (10, 50, 100); the hold-back is taken out of the last."""

    id: int
    proposal_id: int
    app: str
    title: str
    change: dict[str, Any]
    state: RolloutState
    percent: int
    holdback_percent: int
    reason: str | None
    guard: dict[str, Any]
    """The evidence by metric, as `analysis.sequential.Decision` describes it."""
    guarded_until: datetime | None
    stage_started_at: datetime
    started_at: datetime
    finished_at: datetime | None


class RolloutEventRecord(BaseModel):
    """Something that happened in a rollout."""

    at: datetime
    kind: str
    from_percent: int
    to_percent: int
    actor: str
    evidence: dict[str, Any]


class RolloutDetail(RolloutRecord):
    """One rollout with its history."""

    events: list[RolloutEventRecord]


def list_rollouts(
    session: Session,
    *,
    app: str | None = None,
    states: Collection[RolloutState] | None = None,
    key: Key | None = None,
    limit: int = 200,
) -> list[RolloutRecord]:
    """Return rollouts, newest first.

    Args:
        states: only these.
        key: (id,) of the last one seen.
    """
    statement = _rows()
    if app is not None:
        statement = statement.where(App.name == app)
    if states is not None:
        statement = statement.where(Rollout.state.in_(states))
    statement = after(statement, (Rollout.id, DESCENDING), key=key, limit=limit)
    return [RolloutRecord(**_fields(*row)) for row in session.execute(statement)]


def show_rollout(session: Session, rollout_id: int) -> RolloutDetail:
    """Return one rollout with its events, oldest first.

    Raises:
        NotFoundError: there is no such rollout.
    """
    row = session.execute(_rows().where(Rollout.id == rollout_id)).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no rollout {rollout_id}; `metamon rollouts list` shows what there is")
    events = session.scalars(
        select(RolloutEvent).where(RolloutEvent.rollout_id == rollout_id).order_by(RolloutEvent.at, RolloutEvent.id)
    )
    records = [RolloutEventRecord.model_validate(event, from_attributes=True) for event in events]
    return RolloutDetail(**_fields(*row), events=records)


def _rows() -> Any:
    return (
        select(Rollout, App.name, ImprovementProposal.title)
        .join(App, App.id == Rollout.app_id)
        .join(ImprovementProposal, ImprovementProposal.id == Rollout.proposal_id)
    )


def _fields(rollout: Rollout, app: str, title: str) -> dict[str, Any]:
    return {
        "id": rollout.id,
        "proposal_id": rollout.proposal_id,
        "app": app,
        "title": title,
        "change": rollout.change,
        "state": rollout.state,
        "percent": rollout.percent,
        "holdback_percent": rollout.holdback_percent,
        "reason": rollout.reason,
        "guard": rollout.guard.get("evidence", {}),
        "guarded_until": rollout.guarded_until,
        "stage_started_at": rollout.stage_started_at,
        "started_at": rollout.started_at,
        "finished_at": rollout.finished_at,
    }
