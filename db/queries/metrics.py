"""A metric over time, from the rollups alone and in as few points as a chart can show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel
from sqlalchemy import Row, func, select, text
from sqlalchemy.orm import Session

from analysis.histogram import LogHistogram
from core.errors import MetamonError
from db.models.metrics import MetricHour
from db.queries.apps import get_app

POINTS_CAP = 2000
STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800]
"""Widths of a point that people can read, seconds."""

HOUR_S = 3600
QUANTILES = {"latency_p50": 0.5, "latency_p95": 0.95, "latency_p99": 0.99}
UNITS = {
    "volume": "runs", "tokens": "tokens", "cost": "USD", "tokens_per_run": "tokens", "cost_per_run": "USD",
    **dict.fromkeys(QUANTILES, "s"),
}  # fmt: skip
SUMS = {"volume": "runs", "tokens": "tokens", "cost": "cost"}
MEANS = {"error_rate": "errors", "sla_compliance": "sla_met", "tokens_per_run": "tokens", "cost_per_run": "cost"}
"""What is divided by the finished runs."""


class BadRangeError(MetamonError):
    """No points can lie in this range."""


class Point(BaseModel):
    """One point."""

    at: datetime
    """Start of what it covers."""
    value: float | None
    """None where nothing was measured."""
    runs: int
    """Measurements behind the value: runs, answers or scores."""


class MetricSeries(BaseModel):
    """A metric of an app over time."""

    app: str
    metric: str
    unit: str
    """`fraction`, `s`, `runs`, `tokens`, `USD`, or `score`."""
    step_s: int
    """Seconds that a point covers. A span without a run has no point."""
    points: list[Point]


def series(
    session: Session,
    *,
    app: str,
    metric: str,
    start: datetime,
    end: datetime,
    bucket_s: int,
    points: int = POINTS_CAP,
) -> MetricSeries:
    """Return a metric in [start, end), down-sampled to at most so many points.

    Args:
        metric: `error_rate`, `sla_compliance`, `latency_p50|p95|p99`, `volume`, `tokens`, `cost`, `tokens_per_run`,
            `cost_per_run`, or a feedback key.
        bucket_s: width of the stored buckets.

    Raises:
        NotFoundError: there is no such app.
        BadRangeError: the range is empty.
    """
    record = get_app(session, app)
    if end <= start:
        raise BadRangeError("the end of the range must lie after its start")
    points = max(2, min(points, POINTS_CAP))
    least = (end - start).total_seconds() / (points - 1)  # one more point where the range starts within a step
    step = next((step for step in STEPS if step >= max(least, bucket_s)), int(max(least, bucket_s)) + 1)
    step = -(-step // bucket_s) * bucket_s
    tail = start
    if step % HOUR_S == 0 and HOUR_S % bucket_s == 0:
        newest = session.scalar(select(func.max(MetricHour.hour)).where(MetricHour.app_id == record.id))
        tail = start if newest is None else max(start, newest + timedelta(seconds=HOUR_S))
    values = {
        "app": record.id, "start": start, "end": end, "tail": tail, "step": timedelta(seconds=step), "key": metric,
    }  # fmt: skip
    rows = session.execute(text(_select(metric)), values).all()
    return MetricSeries(
        app=app,
        metric=metric,
        unit=UNITS.get(metric, "fraction" if metric in ("error_rate", "sla_compliance") else "score"),
        step_s=step,
        points=_points(metric, rows),
    )


# Complete hours up to the tail, buckets from there on; the tail is the start where hours would be too coarse.
_SOURCE = """
FROM (SELECT hour AS at, runs, finished, errors, sla_met, latency, scores, tokens, cost FROM metric_hours
       WHERE app_id = :app AND hour >= :start AND hour < least(:tail, :end)
      UNION ALL
      SELECT bucket, runs, finished, errors, sla_met, latency, scores, tokens, cost FROM metric_buckets
       WHERE app_id = :app AND bucket >= :tail AND bucket < :end) AS source
"""
_SLOT = "date_bin(:step, at, 'epoch') AS slot"


def _select(metric: str) -> str:
    """Return the statement: the columns are ours, a feedback key is bound."""
    if metric in QUANTILES:
        return (
            f"SELECT slot, jsonb_object_agg(bin, n) AS bins FROM (SELECT {_SLOT}, key AS bin, sum(value::bigint) AS n "  # noqa: S608
            f"{_SOURCE}, jsonb_each_text(latency) GROUP BY 1, 2) AS merged GROUP BY slot ORDER BY slot"
        )
    if metric in SUMS:
        part, n = f"sum({SUMS[metric]})", "sum(runs)"
    elif metric in MEANS:
        part, n = f"sum({MEANS[metric]})", "sum(finished)"
    else:
        part, n = "sum((scores -> :key ->> 'sum')::float8)", "sum((scores -> :key ->> 'n')::bigint)"
    where = "" if metric in UNITS or metric in MEANS else "WHERE scores ? :key"
    return f"SELECT {_SLOT}, {part} AS part, {n} AS n {_SOURCE} {where} GROUP BY 1 ORDER BY 1"


def _points(metric: str, rows: Sequence[Row[Any]]) -> list[Point]:
    if metric in QUANTILES:
        return [_quantile(row.slot, row.bins, QUANTILES[metric]) for row in rows]
    if metric in SUMS:
        return [Point(at=row.slot, value=float(row.part), runs=int(row.n)) for row in rows]
    return [
        Point(at=row.slot, value=float(row.part) / int(row.n) if row.n else None, runs=int(row.n or 0)) for row in rows
    ]


def _quantile(at: datetime, bins: Mapping[str, int], q: float) -> Point:
    histogram = LogHistogram.from_json(bins)
    return Point(at=at, value=histogram.quantile(q), runs=histogram.total)
