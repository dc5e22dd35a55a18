"""Rollouts as people see them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from math import log, sqrt
from typing import Any

from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import NotFoundError
from core.states import RolloutState
from db.models.apps import App
from db.models.proposals import ImprovementProposal
from db.models.rollouts import Rollout, RolloutEvent, RolloutLook
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


class StageRecord(BaseModel):
    """A percentage and how long it held."""

    percent: int
    since: datetime
    until: datetime | None


class EvidencePoint(BaseModel):
    """What was known of one metric at one look. Logarithms are natural."""

    at: datetime
    metric: str
    log_e_worse: float | None
    """Against "the candidate is no worse"; a rollback takes `worse_at`."""
    log_e_fine: float | None
    """Against "the candidate loses the tolerance"; a promotion takes `fine_at`."""
    worse_at: float | None
    fine_at: float | None
    estimate: float | None
    """Candidate against baseline, relative: −0.05 is five per cent worse."""
    low: float | None
    high: float | None
    """95 % interval of the estimate at this look alone, wide enough for any score in [0, 1]."""


class SplitCheck(BaseModel):
    """Whether units arrive in the agreed shares."""

    e_value: float
    pause_at: float
    baseline_units: int
    candidate_units: int
    """Of the present stage."""


class RolloutDetail(RolloutRecord):
    """One rollout with its history."""

    events: list[RolloutEventRecord]
    stages: list[StageRecord]
    evidence: list[EvidencePoint]
    """Oldest first; of a long rollout the looks are thinned out."""
    ratio: SplitCheck | None


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
    return RolloutDetail(
        **_fields(*row),
        events=records,
        stages=_stages(records, row[0].finished_at),
        evidence=_evidence(session, rollout_id),
        ratio=_ratio(row[0]),
    )


def _stages(events: list[RolloutEventRecord], finished_at: datetime | None) -> list[StageRecord]:
    moves = [event for event in events if event.from_percent != event.to_percent]
    ends = [*(event.at for event in moves[1:]), finished_at]
    return [
        StageRecord(percent=event.to_percent, since=event.at, until=end)
        for event, end in zip(moves, ends, strict=False)
        if event.to_percent
    ]


def _evidence(session: Session, rollout_id: int) -> list[EvidencePoint]:
    looks = session.execute(
        select(RolloutLook.at, RolloutLook.evidence)
        .where(RolloutLook.rollout_id == rollout_id)
        .order_by(RolloutLook.id)
    )
    return [
        _point(at, name, part)
        for at, evidence in looks
        for name, part in evidence.items()
        if isinstance(part, dict) and "e_rollback" in part
    ]


def _point(at: datetime, name: str, part: dict[str, Any]) -> EvidencePoint:
    estimate = low = high = None
    baseline, candidate = part.get("baseline"), part.get("candidate")
    if baseline and candidate is not None:
        estimate = candidate / baseline - 1
        units = part.get("units") or [0, 0]
        if min(units) > 0:
            # p(1 − p) bounds the variance of every score in [0, 1] with the mean p
            variance = sum(max(p * (1 - p), 0.0) / n for p, n in zip((baseline, candidate), units, strict=True))
            half = 1.96 * sqrt(variance) / baseline
            low, high = estimate - half, estimate + half
    return EvidencePoint(
        at=at,
        metric=name,
        log_e_worse=log_of(part.get("e_rollback")),
        log_e_fine=log_of(part.get("e_promote")),
        worse_at=log_of(part.get("rollback_at")),
        fine_at=log_of(part.get("promote_at")),
        estimate=estimate,
        low=low,
        high=high,
    )


def log_of(value: float | None) -> float | None:
    """Return the natural logarithm, or None where there is none."""
    return log(value) if value is not None and 0 < value < float("inf") else None


def _ratio(rollout: Rollout) -> SplitCheck | None:
    ratio = rollout.guard.get("evidence", {}).get("ratio")
    if not ratio:
        return None
    baseline, candidate = rollout.guard.get("units", (0, 0))
    return SplitCheck(
        e_value=ratio["e_value"], pause_at=ratio["pause_at"], baseline_units=baseline, candidate_units=candidate
    )


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
