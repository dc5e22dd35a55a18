"""What the guard of a rollout sees, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from agents import rollout as rolling
from agents.cadence import Cadence
from agents.change import AllowedKey, Change
from analysis.sequential import VERSION, Decision, RolloutGuard
from core.states import LIVE_ROLLOUTS, AlertState, RolloutState
from db.models.alerts import MonitoringAlert
from db.models.apps import App
from db.models.proposals import ImprovementProposal
from db.models.rollouts import Rollout
from db.queries.exposures import Exposure, Stage, exposures, feedback_keys, stages
from db.repositories import rollouts
from db.repositories.jobs import Claim

ALWAYS_GUARDED = ("error_free", "sla_met")
GUARDED_FEEDBACK = ("fact_accuracy", "guardrail_pass")
"""Guarded where the app has them."""
FEEDBACK_SEEN_WITHIN = timedelta(days=1)


@dataclass(frozen=True)
class Judgement:
    """What a look at one rollout found. Nothing of it is committed yet."""

    rollout_id: int
    since: datetime
    until: datetime
    decision: Decision
    state: dict[str, Any]
    units: tuple[int, int]
    """Units of the present stage that counted: (baseline, candidate)."""


def judge(session: Session, rollout_id: int, *, now: datetime, cadence: Cadence) -> Judgement | None:
    """Feed the guard with what has settled since the last look; None where there is nothing to look at.

    Reads alone: `settle` writes what came of it.
    """
    rollout = session.get(Rollout, rollout_id)
    if rollout is None or rollout.state not in LIVE_ROLLOUTS:
        return None
    watermark = since = rollout.guarded_until or rollout.started_at
    until = now - cadence.settle
    if until <= since:
        return None
    app = session.get_one(App, rollout.app_id)
    known = rollout.guard.get("sequential", {})
    if known.get("version") == VERSION:
        guard = RolloutGuard.from_state(known)
    else:
        # None yet, or one that an older release wrote: the runs are all there, they are looked at from the start.
        guard, since = RolloutGuard(guarded_metrics(session, app.id, now=now)), rollout.started_at
    others = disturbances(session, rollout, app)
    rows, until = exposures(
        session,
        rollout_id=rollout_id,
        project=app.project,
        started_at=rollout.started_at,
        since=since,
        until=until,
        keys=[name for name in guard.metrics if name not in ALWAYS_GUARDED],
        attributes=sorted({name for conditions in others for name in conditions}),
    )
    history = stages(session, rollout_id)
    shares = [share_of(row, history, rollout.holdback_percent, cadence.transition) for row in rows]
    kept = [(row, share) for row, share in zip(rows, shares, strict=True) if share is not None]
    arm = np.array([row.candidate for row, _ in kept], dtype=bool)
    chance = np.array([share for _, share in kept], dtype=float)
    apart = np.array([_matches(row, others) for row, _ in kept], dtype=bool)
    decision = guard.observe(
        [row.unit for row, _ in kept],
        arm,
        chance,
        np.array([scores(row, guard.metrics, app.sla_ms) for row, _ in kept], dtype=float),
        disturbed=apart if _is_split_as_agreed(arm[apart], chance[apart]) else None,
    )
    present = min(rollout.percent, 100 - rollout.holdback_percent) / 100
    return Judgement(rollout_id, watermark, until, decision, guard.state(), guard.units_at(present))


def settle(session: Session, judged: Judgement, *, now: datetime, cadence: Cadence, parent: Claim | None = None) -> str:
    """Write down what was judged and do what follows, in the caller's transaction; return what was done.

    Where another look was quicker nothing is written: its evidence has these runs already.
    """
    rollout = rollouts.lock(session, judged.rollout_id)
    if rollout.state not in LIVE_ROLLOUTS or (rollout.guarded_until or rollout.started_at) != judged.since:
        return "overtaken"
    decision = judged.decision
    rollout.guard = {
        "sequential": judged.state,
        "evidence": dict(decision.evidence),
        "decision": {"action": decision.action, "metric": decision.metric, "reason": decision.reason},
        "units": list(judged.units),
    }
    rollout.guarded_until = judged.until
    rollouts.note_look(session, rollout, at=judged.until, evidence=dict(decision.evidence))
    by = f"rollout:{rollout.id}"
    evidence = {"metric": decision.metric, "guard": dict(decision.evidence)}
    if decision.action == "rollback":
        rolling.roll_back(session, rollout.id, by=by, reason=decision.reason, now=now, evidence=evidence, parent=parent)
        return "rollback"
    if decision.action == "pause" and rollout.state is not RolloutState.PAUSED:
        rolling.pause(session, rollout.id, by=by, reason=decision.reason, now=now, evidence=evidence)
        return "pause"
    if decision.action == "promote" and rollout.state is RolloutState.RUNNING:
        in_stage = now - rollout.stage_started_at
        if in_stage >= cadence.stage_time and min(judged.units) >= cadence.stage_units:
            rolling.promote(
                session,
                rollout.id,
                by=by,
                reason=decision.reason,
                now=now,
                cadence=cadence,
                evidence=evidence,
                parent=parent,
            )
            return "promote"
    return "hold"


def guarded_metrics(session: Session, app_id: int, *, now: datetime) -> list[str]:
    """Return what a rollout of the app is guarded by."""
    present = feedback_keys(session, app_id, since=now - FEEDBACK_SEEN_WITHIN)
    return [*ALWAYS_GUARDED, *(key for key in GUARDED_FEEDBACK if key in present)]


def disturbances(session: Session, rollout: Rollout, app: App) -> list[dict[str, str]]:
    """Return the conditions of what else is wrong with the app at the moment: its other open alerts' causes.

    Those on an attribute that this rollout changes are left out: membership must not depend on the arm.
    """
    change = Change.model_validate(rollout.change)
    rule = AllowedKey.model_validate(app.allowed[change.key]) if change.key in app.allowed else None
    touched = {rule.attribute, *(rule.when if rule.type == "routing" else ())} if rule else set()
    proposal = session.get_one(ImprovementProposal, rollout.proposal_id)
    causes = session.execute(
        select(ImprovementProposal.cause, ImprovementProposal.alert_id)
        .join(MonitoringAlert, MonitoringAlert.id == ImprovementProposal.alert_id)
        .where(
            MonitoringAlert.app_id == rollout.app_id,
            MonitoringAlert.state.in_((AlertState.FIRING, AlertState.RECOVERING)),
            ImprovementProposal.rank == 1,
        )
        .order_by(ImprovementProposal.id)
    )
    found = [dict(cause.get("conditions") or {}) for cause, alert_id in causes if alert_id != proposal.alert_id]
    return [conditions for conditions in found if conditions and not touched & conditions.keys()]


def _matches(row: Exposure, others: Sequence[Mapping[str, str]]) -> bool:
    return any(conditions.items() <= row.attributes.items() for conditions in others)


def _is_split_as_agreed(candidate: NDArray[np.bool_], share: NDArray[np.float64]) -> bool:
    """Tell whether these rows have about as many candidates as their shares promise: within four standard errors.

    Rows that differ between the arms were not disturbed before they were served, and may not be left out.
    """
    error = float(np.sqrt((share * (1 - share)).sum()))
    return abs(float(candidate.sum() - share.sum())) <= 4 * error


def share_of(row: Exposure, history: Sequence[Stage], holdback_percent: int, transition: timedelta) -> float | None:
    """Return the candidate's share when the run started, as a fraction; None too soon after it changed."""
    stage = next((stage for stage in reversed(history) if stage.since <= row.started_at), None)
    if stage is None or row.started_at < stage.since + transition:
        return None
    return min(stage.percent, 100 - holdback_percent) / 100


def scores(row: Exposure, metrics: Sequence[str], sla_ms: int) -> list[float]:
    """Return the outcome of a run by metric: in [0, 1], higher is better, NaN where there is none."""
    found = []
    for metric in metrics:
        if metric == "error_free":
            value = float(not row.failed)
        elif metric == "sla_met":
            value = float(not row.failed and row.latency_ms <= sla_ms)
        else:
            value = row.scores.get(metric, float("nan"))
        # A score on another scale cannot be judged here, and no score is no evidence.
        found.append(value if 0 <= value <= 1 else float("nan"))
    return found
