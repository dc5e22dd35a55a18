"""A period of an app against the one before it."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from pydantic import BaseModel
from sqlalchemy.orm import Session

from db.queries.apps import get_app
from db.queries.exposures import feedback_keys
from db.queries.marks import Mark, marks
from db.queries.metrics import SUMS, MetricSeries, series

METRICS = ("error_rate", "sla_compliance", "latency_p95", "volume", "cost")
FEEDBACK_CAP = 8
POINTS = 180


class Window(StrEnum):
    """How long a period is."""

    DAY = "24h"
    WEEK = "7d"
    MONTH = "30d"
    QUARTER = "90d"

    @property
    def length(self) -> timedelta:
        """The period."""
        return {"24h": timedelta(days=1), "7d": timedelta(days=7), "30d": timedelta(days=30)}.get(
            self.value, timedelta(days=90)
        )


class TrendPoint(BaseModel):
    """One point."""

    at: datetime
    value: float | None


class Trend(BaseModel):
    """One metric over the period. Means are weighted by measurements; sums are per day."""

    name: str
    unit: str
    mean: float | None
    previous_mean: float | None
    change: float | None
    """Relative to the period before, a fraction; None where there was none."""
    points: list[TrendPoint]


class Trends(BaseModel):
    """An app's metrics over a period."""

    app: str
    window: Window
    since: datetime
    until: datetime
    metrics: list[Trend]
    marks: list[Mark]


def trends(session: Session, *, app: str, window: Window, now: datetime, bucket_s: int) -> Trends:
    """Return an app's trends over the window that ends now.

    Raises:
        NotFoundError: there is no such app.
    """
    app_id = get_app(session, app).id
    since = now - window.length
    keys = sorted(feedback_keys(session, app_id, since=now - timedelta(days=1)))[:FEEDBACK_CAP]
    found = []
    for metric in (*METRICS, *keys):
        present = series(session, app=app, metric=metric, start=since, end=now, bucket_s=bucket_s, points=POINTS)
        past = series(
            session, app=app, metric=metric, start=since - window.length, end=since, bucket_s=bucket_s, points=POINTS
        )
        mean, before = _mean(present, window), _mean(past, window)
        found.append(
            Trend(
                name=metric,
                unit=present.unit,
                mean=mean,
                previous_mean=before,
                change=(mean - before) / abs(before) if mean is not None and before else None,
                points=[TrendPoint(at=point.at, value=point.value) for point in present.points],
            )
        )
    return Trends(
        app=app,
        window=window,
        since=since,
        until=now,
        metrics=found,
        marks=marks(session, app_id, since=since, until=now),
    )


def _mean(found: MetricSeries, window: Window) -> float | None:
    known = [(point.value, point.runs) for point in found.points if point.value is not None and point.runs]
    if not known:
        return None
    if found.metric in SUMS:
        return sum(value for value, _ in known) / (window.length / timedelta(days=1))
    return sum(value * runs for value, runs in known) / sum(runs for _, runs in known)
