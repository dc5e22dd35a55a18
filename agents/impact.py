"""What a rolled-out change was really worth, against what was predicted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from agents import rollout as rolling
from agents.before_after import described
from agents.cadence import Cadence
from agents.guarding import scores, share_of
from analysis.exposure import unit_keys
from analysis.impact import Contrast, fieller_roi, holdback_contrast
from core.states import RolloutState
from db.models.apps import App
from db.models.proposals import ImprovementProposal
from db.models.rollouts import Rollout
from db.models.validation import ValidationCase, ValidationResult
from db.queries.exposures import exposures, stages
from db.repositories import evaluations
from db.repositories.jobs import Claim

SUCCESS = {"error_rate": "error_free", "sla_compliance": "sla_met", "latency_p95": "latency_ms"}
"""What is contrasted where a proposal is about one of these; any other metric is contrasted itself."""

ASSUMPTIONS = {"value_per_success": 0.05, "hourly_rate": 100.0, "horizon_days": 30.0}
"""What a ROI stands on where the app's objectives say nothing: money per answer that succeeds thanks to the change,
price of an hour of work, days over which the benefit counts."""

GIVE_UP_AFTER = 5
"""Impact windows without enough units after which the change is completed with nothing measured."""


@dataclass(frozen=True)
class Measurement:
    """What was measured, ready to be written."""

    rollout_id: int
    fields: dict[str, Any]


def measure(session: Session, rollout_id: int, *, now: datetime, cadence: Cadence) -> Measurement | datetime | None:
    """Measure the impact of a rollout that is in its hold-back. Reads alone.

    Returns:
        The measurement; or when to look again, where units are missing or the rollout is paused; or None where there
        is nothing to measure any more.
    """
    rollout = session.get(Rollout, rollout_id)
    if rollout is None or rollout.state not in (RolloutState.HOLDBACK, RolloutState.PAUSED):
        return None
    if rollout.state is RolloutState.PAUSED:
        return now + cadence.retry
    proposal = session.get_one(ImprovementProposal, rollout.proposal_id)
    app = session.get_one(App, rollout.app_id)
    metric = SUCCESS.get(proposal.metric, proposal.metric)
    until = now - cadence.settle
    contrast, rows = _contrast(session, rollout, app, metric, until=until, cadence=cadence)
    patience = rollout.stage_started_at + GIVE_UP_AFTER * cadence.impact_window
    if (contrast is None or min(contrast.units) < cadence.impact_units) and now < patience:
        return now + cadence.retry
    fields: dict[str, Any] = {
        "proposal_id": proposal.id,
        "rollout_id": rollout_id,
        "metric": metric,
        "predicted_pct": proposal.predicted_pct,
        "window_start": rollout.started_at,
        "window_end": until,
    }
    if contrast is None:
        spoken = described(session, rollout, app, metric, until=until)
        return Measurement(rollout_id, fields | (spoken or _nothing_measured()))
    days = max((until - rollout.started_at) / timedelta(days=1), 1e-6)
    return Measurement(
        rollout_id,
        fields
        | _measured(contrast, proposal)
        | _returns(contrast, proposal, app, per_day=rows / days, evaluation=_evaluation_cost(session, proposal.id)),
    )


def settle(session: Session, measured: Measurement, *, now: datetime, parent: Claim | None = None) -> bool:
    """Write the impact and complete the rollout, together; False where it has left its hold-back meanwhile."""
    if not rolling.complete(session, measured.rollout_id, now=now, parent=parent):
        return False
    evaluations.add_impact_once(session, **measured.fields)
    return True


def _contrast(
    session: Session, rollout: Rollout, app: App, metric: str, *, until: datetime, cadence: Cadence
) -> tuple[Contrast | None, int]:
    """Return the contrast over all stages of the rollout, and how many requests it saw."""
    history = stages(session, rollout.id)
    units: list[int] = []
    arms: list[bool] = []
    shares: list[float] = []
    outcomes: list[float] = []
    since, seen = rollout.started_at, 0
    while since < until:
        rows, reached = exposures(
            session,
            rollout_id=rollout.id,
            project=app.project,
            started_at=rollout.started_at,
            since=since,
            until=until,
            keys=[metric],
        )
        seen += len(rows)
        kept = [
            (row, share)
            for row in rows
            if (share := share_of(row, history, rollout.holdback_percent, cadence.transition)) is not None
        ]
        units += unit_keys([row.unit for row, _ in kept])
        arms += [row.candidate for row, _ in kept]
        shares += [share for _, share in kept]
        outcomes += [
            row.latency_ms if metric == "latency_ms" else scores(row, [metric], app.sla_ms)[0] for row, _ in kept
        ]
        since = reached
    contrast = holdback_contrast(
        np.array(units, dtype=np.uint64), np.array(arms, dtype=bool), np.array(shares), np.array(outcomes, dtype=float)
    )
    return contrast, seen


def _measured(contrast: Contrast, proposal: ImprovementProposal) -> dict[str, Any]:
    percent = _times_100(contrast.relative)
    low, high = _times_100(contrast.relative_low), _times_100(contrast.relative_high)
    return {
        "method": "holdback",
        "before": {"value": contrast.before, "units": contrast.units[0]},
        "after": {"value": contrast.after, "units": contrast.units[1]},
        "measured_pct": percent,
        "measured_low": low,
        "measured_high": high,
        "p_value": contrast.p_value,
        "significant": contrast.p_value < 0.05,
        "within_prediction": (
            None if percent is None else proposal.predicted_low <= percent <= proposal.predicted_high
        ),
    }


def _nothing_measured() -> dict[str, Any]:
    return {
        "method": "description",
        "before": {"value": None, "units": 0},
        "after": {"value": None, "units": 0},
        "significant": False,
        "assumptions": {"note": "too few outcomes of this metric in both arms: nothing can be said"},
    }


def _returns(
    contrast: Contrast, proposal: ImprovementProposal, app: App, *, per_day: float, evaluation: float
) -> dict[str, Any]:
    """Return benefit, cost and ROI. Only a success metric has a benefit in money that we could name."""
    if proposal.metric == "latency_p95":
        return {"assumptions": {"note": "latency has no price here: no ROI"}}
    stated = assumptions(app.objectives)
    scale = per_day * stated["horizon_days"] * stated["value_per_success"]
    spread_hours = max(proposal.effort_hours_p80 - proposal.effort_hours, 0.0) / 0.8416
    benefit, benefit_se = contrast.delta * scale, contrast.se * scale
    cost = proposal.effort_hours * stated["hourly_rate"] + evaluation
    roi, interval = fieller_roi(benefit, benefit_se, cost, spread_hours * stated["hourly_rate"]), "effort uncertain"
    if roi.low is None:
        # An effort that may as well be nothing bounds no ratio: say what it is worth at the estimate, and say so.
        roi, interval = fieller_roi(benefit, benefit_se, cost, 0.0), "effort as estimated"
    return {
        "benefit": roi.benefit,
        "cost": roi.cost,
        "roi": roi.roi,
        "roi_low": roi.low,
        "roi_high": roi.high,
        "assumptions": {
            **stated,
            "requests_per_day": per_day,
            "effort_hours": proposal.effort_hours,
            "evaluation_cost": evaluation,
            "interval": interval,
            "p_roi_positive": roi.p_positive,
        },
    }


def assumptions(objectives: Mapping[str, Any]) -> dict[str, float]:
    """Return what a ROI stands on: the app's objectives, the defaults where they are silent or no numbers."""
    return {
        name: float(objectives[name]) if isinstance(objectives.get(name), int | float) else default
        for name, default in ASSUMPTIONS.items()
    }


def _evaluation_cost(session: Session, proposal_id: int) -> float:
    statement = (
        select(func.coalesce(func.sum(ValidationCase.cost), 0.0))
        .join(ValidationResult, ValidationResult.id == ValidationCase.validation_id)
        .where(ValidationResult.proposal_id == proposal_id)
    )
    return float(session.scalar(statement) or 0.0)


def _times_100(value: float | None) -> float | None:
    return None if value is None else 100 * value
