"""Rows to views: what a mail needs to know, and nothing of the database beyond."""

from __future__ import annotations

import math
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.models.alerts import MonitoringAlert
from db.models.evaluation import ImprovementImpact
from db.models.proposals import ImprovementProposal
from db.models.rollouts import Rollout, RolloutEvent
from db.models.validation import ValidationResult
from notifications.views import AlertView, ImpactView, Margin, ProposalView, RolloutView, ValidationView
from notifications.wording import count, plain

REASONS_SHOWN = 6
STEPS = {
    "start": "started",
    "promote": "promoted",
    "pause": "paused",
    "resume": "resumed",
    "rollback": "rolled back",
    "complete": "completed",
}
CASES_SHOWN = 6
RULED_OUT_SHOWN = 3
GUARD_LIMIT = 0.05
"""Relative drop at which the guard takes a change back, where its state does not say."""


def alert_view(row: MonitoringAlert) -> AlertView:
    """Return an alert's facts."""
    return AlertView(
        id=row.id,
        kind=row.kind.value,
        severity=row.severity,
        state=row.state.value,
        metric=row.metric,
        title=row.title,
        observed=row.observed,
        expected=row.expected,
        low=row.expected_low,
        high=row.expected_high,
        reasons=tuple(row.reasons[:REASONS_SHOWN]),
        since=row.window_start,
        until=row.window_end,
        opened_at=row.opened_at,
        fired_at=row.fired_at,
        resolved_at=row.resolved_at,
        trace_urls=tuple(row.trace_urls),
        flapping=row.flapping,
    )


def change_words(change: dict[str, Any]) -> str:
    """Return a typed change as `key: from → to`, or a code change's note."""
    if not change.get("key"):
        return plain(str(change.get("note") or "a change in code, for people to make"))
    return plain(f"{change['key']}: {change.get('from')} → {change.get('to')}")


def proposal_view(session: Session, row: ImprovementProposal) -> ProposalView:
    """Return a proposal's facts, its alert's title with it."""
    alert = session.get(MonitoringAlert, row.alert_id) if row.alert_id is not None else None
    return ProposalView(
        id=row.id,
        title=row.title,
        status=row.status.value,
        root_cause=row.root_cause,
        change=change_words(row.change),
        metric=row.metric,
        predicted_pct=row.predicted_pct,
        predicted_low=row.predicted_low,
        predicted_high=row.predicted_high,
        effort_hours=row.effort_hours,
        impact=row.impact,
        risk=row.risk,
        alert_id=row.alert_id,
        alert_title=alert.title if alert else None,
        at=row.updated_at,
        ruled_out=tuple(
            plain(f"{idea.get('title', '')}: {idea['rejected']}") for idea in row.hypotheses if idea.get("rejected")
        )[:RULED_OUT_SHOWN],
        bad_runs=tuple(
            str(entry["url"])
            for entry in row.evidence.get("exemplars", [])
            if entry.get("kind") == "bad" and entry.get("url")
        ),
        checked=_checked(validation_view(session, row.id)),
        decision=row.review_reason or "",
    )


def _checked(validation: ValidationView | None) -> str:
    if validation is None:
        return ""
    regressions = count(validation.regressions, "regression") if validation.regressions else "no regression"
    return f"validated on {count(validation.cases, 'case')}, {regressions}"


def validation_view(session: Session, proposal_id: int) -> ValidationView | None:
    """Return the proposal's latest judged validation."""
    row = session.scalars(
        select(ValidationResult)
        .where(ValidationResult.proposal_id == proposal_id, ValidationResult.verdict.is_not(None))
        .order_by(ValidationResult.id.desc())
        .limit(1)
    ).one_or_none()
    if row is None or row.verdict is None:
        return None
    return ValidationView(
        id=row.id,
        verdict=row.verdict.value,
        cases=row.total // max(1, 2 * row.repeats),
        regressions=row.regressions,
        reasons=tuple(row.reasons[:REASONS_SHOWN]),
        regressed=tuple((str(item.get("key")), str(item.get("metric"))) for item in row.regressed[:CASES_SHOWN]),
    )


def rollout_view(session: Session, row: Rollout, title: str) -> RolloutView:
    """Return a rollout's facts with its latest step in words."""
    step = session.scalars(
        select(RolloutEvent).where(RolloutEvent.rollout_id == row.id).order_by(RolloutEvent.id.desc()).limit(1)
    ).one_or_none()
    return RolloutView(
        id=row.id,
        proposal_id=row.proposal_id,
        title=title,
        state=row.state.value,
        percent=row.percent,
        holdback_percent=row.holdback_percent,
        started_at=row.started_at,
        stage_started_at=row.stage_started_at,
        finished_at=row.finished_at,
        reason=row.reason,
        change=change_words(row.change),
        last_step=step_words(step) if step else "",
        margins=_margins(row.guard),
    )


def _margins(guard: dict[str, Any]) -> tuple[Margin, ...]:
    """Return the guard's estimates, the closest to the limit first; none before it has seen both arms."""
    limit = float(guard.get("sequential", {}).get("tolerance", GUARD_LIMIT))
    found = [
        Margin(metric, float(seen["drop"]), limit)
        for metric, seen in guard.get("evidence", {}).items()
        if isinstance(seen, dict) and isinstance(seen.get("drop"), int | float) and math.isfinite(seen["drop"])
    ]
    return tuple(sorted(found, key=lambda margin: -margin.drop))


def step_words(step: RolloutEvent) -> str:
    """Return a step of a rollout in words: `promoted, 10 → 50 %`."""
    kind = STEPS.get(step.kind, step.kind.replace("_", " "))
    if step.from_percent == step.to_percent:
        return f"{kind} at {step.to_percent} %"
    return f"{kind}, {step.from_percent} → {step.to_percent} %"


def rollout_of(session: Session, proposal: ImprovementProposal) -> RolloutView | None:
    """Return the proposal's rollout, where it has one."""
    row = session.scalars(select(Rollout).where(Rollout.proposal_id == proposal.id)).one_or_none()
    return rollout_view(session, row, proposal.title) if row else None


def impact_view(row: ImprovementImpact, title: str) -> ImpactView:
    """Return what a change was worth."""
    return ImpactView(
        proposal_id=row.proposal_id,
        title=title,
        metric=row.metric,
        predicted_pct=row.predicted_pct,
        measured_pct=row.measured_pct,
        low=row.measured_low,
        high=row.measured_high,
        significant=row.significant,
        roi=row.roi,
        method=row.method,
    )


def impact_of(session: Session, proposal: ImprovementProposal) -> ImpactView | None:
    """Return the proposal's measured impact, where it is known."""
    row = session.scalars(select(ImprovementImpact).where(ImprovementImpact.proposal_id == proposal.id)).one_or_none()
    return impact_view(row, proposal.title) if row else None
