"""Which metric a digest draws, and its series: hours in earnest, buckets in the demo."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, tzinfo

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from analysis.histogram import LogHistogram
from core.clock import floor_time
from db.models.metrics import MetricBucket, MetricHour
from notifications import table
from notifications.table import Hour
from notifications.views import AlertView, ChartView

HOURS = timedelta(hours=48)
DEMO_SPAN = timedelta(minutes=10)
BASELINE = timedelta(days=7)
FEWEST_POINTS = 6
FEWEST_RUNS = 5
"""Runs below which the demo's ten seconds are left out: before its traffic begins there is one a minute."""
FEWEST_BASELINE = 12
RATES = frozenset({"error_rate", "sla_compliance", "latency_p95", "quality"})


def hour_of(row: MetricHour | MetricBucket) -> Hour:
    """Return a row's counts."""
    return Hour(
        runs=row.runs,
        finished=row.finished,
        errors=row.errors,
        sla_met=row.sla_met,
        cost=row.cost,
        scores=row.scores,
        latency=row.latency,
    )


def value_of(metric: str, hours: Sequence[Hour]) -> float | None:
    """Return a metric over some hours, in its own unit; None where nothing was measured."""
    if metric == "latency_p95":
        return LogHistogram.merged(h.latency for h in hours).quantile(0.95)
    if metric == "quality":
        found = table.quality(hours)
    elif metric == "error_rate":
        found = table.ratio([(h.errors, h.finished) for h in hours])
    elif metric == "sla_compliance":
        found = table.ratio([(h.sla_met, h.finished) for h in hours])
    else:
        found = table.ratio(table.scores(hours, metric))
    return found.value if found else None


def chart(
    session: Session,
    app_id: int,
    *,
    now: datetime,
    zone: tzinfo,
    alerts: Sequence[AlertView],
    keys: Sequence[str],
    bucket: timedelta,
    demo: bool,
) -> ChartView | None:
    """Return the day's one chart: the metric of the worst alert, else the score. None where there is little to draw.

    Args:
        alerts: the day's, the worst first.
        keys: feedback keys that are measured.
    """
    metric = next((a.metric for a in alerts if a.metric in RATES or a.metric in keys), "quality")
    step, length = (bucket, DEMO_SPAN) if demo else (timedelta(hours=1), HOURS)
    end = floor_time(now, step)
    start = end - length
    groups = _groups(session, app_id, start=start, end=end, step=step, demo=demo)
    points = tuple(
        (at, value_of(metric, part) if sum(h.runs for h in part) >= (FEWEST_RUNS if demo else 1) else None)
        for at, part in ((at, groups.get(at, [])) for at in (start + step * k for k in range(round(length / step))))
    )
    while points and points[0][1] is None:
        points = points[1:]
    if sum(value is not None for _, value in points) < FEWEST_POINTS:
        return None
    low, high = _usual(session, app_id, metric, end=start)
    first = points[0][0]
    bad = tuple(
        sorted(
            (max(a.since, first), min(a.resolved_at or end, end))
            for a in alerts
            if a.metric == metric and (a.resolved_at is None or a.resolved_at > first) and a.since < end
        )
    )
    return ChartView(metric, points, step, zone, low, high, bad)


def _groups(
    session: Session, app_id: int, *, start: datetime, end: datetime, step: timedelta, demo: bool
) -> dict[datetime, list[Hour]]:
    found: dict[datetime, list[Hour]] = {}
    covered = start
    if not demo:
        for row in session.scalars(
            select(MetricHour).where(MetricHour.app_id == app_id, MetricHour.hour >= start, MetricHour.hour < end)
        ):
            found.setdefault(row.hour, []).append(hour_of(row))
            covered = max(covered, row.hour + step)
    for part in session.scalars(
        select(MetricBucket).where(
            MetricBucket.app_id == app_id, MetricBucket.bucket >= covered, MetricBucket.bucket < end
        )
    ):
        found.setdefault(floor_time(part.bucket, step), []).append(hour_of(part))
    return found


def _usual(session: Session, app_id: int, metric: str, *, end: datetime) -> tuple[float | None, float | None]:
    """Return where nine of ten hours of the week before lie; nothing where there were few."""
    rows = session.scalars(
        select(MetricHour).where(MetricHour.app_id == app_id, MetricHour.hour >= end - BASELINE, MetricHour.hour < end)
    )
    values = [value for value in (value_of(metric, [hour_of(row)]) for row in rows) if value is not None]
    if len(values) < FEWEST_BASELINE:
        return None, None
    low, high = np.quantile(values, [0.05, 0.95])
    return float(low), float(high)
