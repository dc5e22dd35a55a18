"""What can be said of a rolled-out change where nobody was held back: its days beside the days before."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from sqlalchemy.orm import Session

from agents.evaluation import bounds
from analysis.placebo import WINDOW, before_after, sentence
from db.models.apps import App
from db.models.rollouts import Rollout
from db.queries.evaluations import daily

HISTORY = timedelta(days=400)
"""Days that are read: as many as a placebo test needs, and room for gaps."""


def described(session: Session, rollout: Rollout, app: App, metric: str, *, until: datetime) -> dict[str, Any] | None:
    """Return the columns of `improvement_impact` by the app's scored days, or None where one side has none.

    The method is `placebo` where the history is long enough for a test, else `description`; neither says that the
    change caused anything, and neither has a price. Days on which the change was on its way belong to neither side.
    """
    zone = ZoneInfo(app.timezone)
    started, changed = (at.astimezone(zone).date() for at in (rollout.started_at, rollout.stage_started_at))
    values = daily(session, app.id, metric, since=started - HISTORY)
    ended = {day: value for day, value in values.items() if bounds(day, app.timezone)[1] <= until}
    first_after = changed + timedelta(days=1)
    if not ended or not min(ended) < started or max(ended) < first_after:
        return None
    first = min(ended)
    every = [first + timedelta(days=number) for number in range((max(ended) - first).days + 1)]
    # Taken out, not left empty: either side keeps its whole weeks.
    kept = [day for day in every if not started <= day <= changed]
    series = np.array([ended.get(day, np.nan) for day in kept])
    at = kept.index(first_after)
    found = before_after(series, changed_at=at)
    if found is None:
        return None
    then, now = series[max(at - WINDOW, 0) : at], series[at : at + WINDOW]
    usual = float(np.nanmean(then))

    note = sentence(found, metric="latency_ms, 95th percentile of a day" if metric == "latency_ms" else metric)

    def percent(value: float | None) -> float | None:
        return None if value is None or usual == 0 else 100 * value / usual

    return {
        "method": found.method,
        "before": {"value": usual, "units": 0, "days": int(np.sum(~np.isnan(then)))},
        "after": {"value": float(np.nanmean(now)), "units": 0, "days": int(np.sum(~np.isnan(now)))},
        "measured_pct": percent(found.delta),
        "measured_low": percent(found.low),
        "measured_high": percent(found.high),
        "p_value": found.p_value,
        "significant": found.p_value is not None and found.p_value < 0.05,
        "assumptions": {"note": note},
    }
