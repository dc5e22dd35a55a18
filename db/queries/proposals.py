"""Proposals as people see them: a list, and one with everything that led to it and came of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, computed_field
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import NotFoundError
from core.states import ProposalStatus, RolloutState, ValidationState, Verdict
from db.models.alerts import AlertEvent
from db.models.apps import App
from db.models.evaluation import ImprovementImpact
from db.models.proposals import ImprovementProposal
from db.models.rollouts import Rollout
from db.models.validation import ValidationResult
from db.queries.paging import DESCENDING, Key, after


class ProposalRecord(BaseModel):
    """One proposal in a list."""

    id: int
    app: str
    alert_id: int | None
    rank: int
    status: ProposalStatus
    title: str
    change: dict[str, Any]
    """{"type", "key", "from", "to", "note"}"""
    cause: dict[str, Any]
    """{"conditions": {attribute: value}, "excess", "explained", "precision", "p_value", "onset", …}"""
    metric: str
    """Success metric that the prediction is about."""
    predicted_pct: float
    """Relative improvement of the metric over all traffic, percent."""
    predicted_interval: tuple[float, float]
    """90 % interval of it."""
    effort_hours: float
    effort_hours_p80: float
    effort_basis: str
    """What the estimate stands on: `uncalibrated`, or how many earlier fixes of its class."""
    impact: str
    created_at: datetime
    reviewed_by: str | None
    reviewed_at: datetime | None


class ScreenRecord(BaseModel):
    """What the quick screen saw of a proposal before anything was validated. It ordered the proposals, no more."""

    at: datetime
    metric: str
    """The one that it looked at."""
    skipped: str | None
    """Why the proposal was not screened; None where it was."""
    cases: int = 0
    matching: int = 0
    """Golden cases of the batch that match a cause."""
    better: int = 0
    worse: int = 0
    difference: float = 0.0
    """Mean of candidate minus the configuration in force, in the metric's unit."""
    p_better: float = 1.0
    p_worse: float = 1.0
    calls: int
    """Answers of the candidate."""
    cost_usd: float
    """Of them, as far as they tell."""
    seconds: float
    """The whole screen's, with all candidates."""
    ended: str | None = None
    """Why it ended before its last case."""
    rank_before: int
    rank_after: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def says(self) -> str:
        """It in words: `16 cases, 5 better, 0 worse`."""
        if self.skipped is not None:
            return f"not screened: {self.skipped}"
        moved = "" if self.rank_after == self.rank_before else f"; from rank {self.rank_before} to {self.rank_after}"
        ended = f"; {self.ended}" if self.ended else ""
        return f"{self.cases} cases, {self.better} better, {self.worse} worse{moved}{ended}"


class ValidationSummary(BaseModel):
    """A validation of the proposal."""

    id: int
    state: ValidationState
    verdict: Verdict | None
    regressions: int
    reasons: list[str]
    finished_at: datetime | None


class RolloutSummary(BaseModel):
    """The proposal's rollout."""

    id: int
    state: RolloutState
    percent: int
    reason: str | None


class ImpactSummary(BaseModel):
    """What it was really worth."""

    measured_pct: float | None
    measured_interval: tuple[float | None, float | None]
    method: str
    roi: float | None
    explanation: str | None
    """A model's words on it, where one is configured."""
    explained_by: str | None


class ProposalDetail(ProposalRecord):
    """One proposal with everything."""

    root_cause: str
    explanation: str | None
    explained_by: str
    hypotheses: list[dict[str, Any]]
    """All ideas; the ruled-out ones say why in `rejected`."""
    evidence: dict[str, Any]
    risk: str
    change_hash: str
    approved_hash: str | None
    review_reason: str | None
    screen: ScreenRecord | None
    """None where there was nothing to choose between, or it is not over yet."""
    validations: list[ValidationSummary]
    rollout: RolloutSummary | None
    measured: ImpactSummary | None
    alternatives: list[int]
    """Other proposals of the same alert, by rank."""
    also_alerts: list[int]
    """Other alerts that have the same cause and wait for this proposal."""


def list_proposals(
    session: Session,
    *,
    app: str | None = None,
    status: ProposalStatus | None = None,
    alert_id: int | None = None,
    key: Key | None = None,
    limit: int = 50,
) -> list[ProposalRecord]:
    """Return proposals, newest first.

    Args:
        key: (id,) of the last one seen.
    """
    query = select(ImprovementProposal, App.name).join(App, App.id == ImprovementProposal.app_id)
    if app is not None:
        query = query.where(App.name == app)
    if status is not None:
        query = query.where(ImprovementProposal.status == status)
    if alert_id is not None:
        query = query.where(ImprovementProposal.alert_id == alert_id)
    rows = session.execute(after(query, (ImprovementProposal.id, DESCENDING), key=key, limit=limit)).all()
    return [ProposalRecord(**_fields(row, name)) for row, name in rows]


def show_proposal(session: Session, proposal_id: int) -> ProposalDetail:
    """Return one proposal.

    Raises:
        NotFoundError: there is no such proposal.
    """
    found = session.execute(
        select(ImprovementProposal, App.name)
        .join(App, App.id == ImprovementProposal.app_id)
        .where(ImprovementProposal.id == proposal_id)
    ).one_or_none()
    if found is None:
        raise NotFoundError(f"there is no proposal {proposal_id}; `metamon proposals list` shows what there is")
    row, name = found
    return ProposalDetail(
        **_fields(row, name),
        root_cause=row.root_cause,
        explanation=row.explanation,
        explained_by=row.explained_by,
        hypotheses=row.hypotheses,
        evidence=row.evidence,
        risk=row.risk,
        change_hash=row.change_hash,
        approved_hash=row.approved_hash,
        review_reason=row.review_reason,
        screen=None if row.screen is None else ScreenRecord.model_validate(row.screen),
        validations=_validations(session, row.id),
        rollout=_rollout(session, row.id),
        measured=_impact(session, row.id),
        alternatives=_alternatives(session, row),
        also_alerts=_attached(session, row.id),
    )


def screen_of(session: Session, proposal_id: int | None) -> ScreenRecord | None:
    """Return what the quick screen saw of a proposal; None where there is no proposal, or was no screen."""
    found = session.scalar(select(ImprovementProposal.screen).where(ImprovementProposal.id == proposal_id))
    return None if found is None else ScreenRecord.model_validate(found)


def _fields(row: ImprovementProposal, app: str) -> dict[str, Any]:
    return {
        "id": row.id,
        "app": app,
        "alert_id": row.alert_id,
        "rank": row.rank,
        "status": row.status,
        "title": row.title,
        "change": row.change,
        "cause": row.cause,
        "metric": row.metric,
        "predicted_pct": row.predicted_pct,
        "predicted_interval": (row.predicted_low, row.predicted_high),
        "effort_hours": row.effort_hours,
        "effort_hours_p80": row.effort_hours_p80,
        "effort_basis": row.effort_basis,
        "impact": row.impact,
        "created_at": row.created_at,
        "reviewed_by": row.reviewed_by,
        "reviewed_at": row.reviewed_at,
    }


def _validations(session: Session, proposal_id: int) -> list[ValidationSummary]:
    rows = session.scalars(
        select(ValidationResult).where(ValidationResult.proposal_id == proposal_id).order_by(ValidationResult.id)
    )
    return [
        ValidationSummary(
            id=row.id,
            state=row.state,
            verdict=row.verdict,
            regressions=row.regressions,
            reasons=row.reasons,
            finished_at=row.finished_at,
        )
        for row in rows
    ]


def _rollout(session: Session, proposal_id: int) -> RolloutSummary | None:
    row = session.scalars(select(Rollout).where(Rollout.proposal_id == proposal_id)).one_or_none()
    if row is None:
        return None
    return RolloutSummary(id=row.id, state=row.state, percent=row.percent, reason=row.reason)


def _impact(session: Session, proposal_id: int) -> ImpactSummary | None:
    row = session.scalars(select(ImprovementImpact).where(ImprovementImpact.proposal_id == proposal_id)).one_or_none()
    if row is None:
        return None
    return ImpactSummary(
        measured_pct=row.measured_pct,
        measured_interval=(row.measured_low, row.measured_high),
        method=row.method,
        roi=row.roi,
        explanation=row.explanation,
        explained_by=row.explained_by,
    )


def _alternatives(session: Session, row: ImprovementProposal) -> list[int]:
    if row.alert_id is None:
        return []
    return list(
        session.scalars(
            select(ImprovementProposal.id)
            .where(ImprovementProposal.alert_id == row.alert_id, ImprovementProposal.id != row.id)
            .order_by(ImprovementProposal.rank)
        )
    )


def _attached(session: Session, proposal_id: int) -> list[int]:
    rows = session.scalars(
        select(AlertEvent.alert_id)
        .where(AlertEvent.kind == "researched", AlertEvent.detail["proposal_id"].as_integer() == proposal_id)
        .distinct()
    )
    return sorted(rows)
