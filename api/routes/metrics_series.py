"""A metric over time, for charts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import AwareDatetime, BaseModel

from agents.monitoring.expected import bands
from api.auth import Db, Viewer
from core.clock import utc_now
from core.settings import settings
from db.queries.apps import get_app
from db.queries.marks import Mark, marks
from db.queries.metrics import POINTS_CAP, MetricSeries, series

router = APIRouter(prefix="/metrics")


class ChartPoint(BaseModel):
    """One point with what was to be expected there."""

    at: datetime
    value: float | None
    low: float | None
    high: float | None
    count: int
    """Measurements behind the value."""


class Chart(BaseModel):
    """A metric of an app over time, with its expected band and what happened meanwhile."""

    app: str
    metric: str
    unit: str
    step_s: int
    points: list[ChartPoint]
    marks: list[Mark]


@router.get("/series")
def show(
    _: Viewer,
    sessions: Db,
    *,
    app: Annotated[str, Query(max_length=200)],
    metric: Annotated[str, Query(max_length=300)],
    start: AwareDatetime | None = None,
    end: AwareDatetime | None = None,
    points: Annotated[int, Query(ge=2, le=POINTS_CAP)] = 500,
) -> MetricSeries:
    """Return a metric from rollups, down-sampled; the last day where no range is given."""
    until = end or utc_now()
    since = start or clamped(until, timedelta(days=1))
    with sessions() as session:
        return series(
            session,
            app=app,
            metric=metric,
            start=since,
            end=until,
            bucket_s=settings().bucket_seconds,
            points=points,
        )


@router.get("/{app}")
def chart(
    app: Annotated[str, Path(max_length=200)],
    _: Viewer,
    sessions: Db,
    *,
    metric: Annotated[str, Query(max_length=300)],
    since: AwareDatetime | None = None,
    until: AwareDatetime | None = None,
    points: Annotated[int, Query(ge=2, le=POINTS_CAP)] = 500,
) -> Chart:
    """Return a metric with its expected band, learnt from before each point, and marks; the last day by default."""
    end = until or utc_now()
    start = since or clamped(end, timedelta(days=1))
    with sessions() as session:
        app_id = get_app(session, app).id
        found = series(
            session, app=app, metric=metric, start=start, end=end, bucket_s=settings().bucket_seconds, points=points
        )
        expected = bands(
            session, app_id, metric, [(p.at, p.runs) for p in found.points], step=timedelta(seconds=found.step_s)
        )
        happened = marks(session, app_id, since=start, until=end)
    return Chart(
        app=app,
        metric=metric,
        unit=found.unit,
        step_s=found.step_s,
        points=[
            ChartPoint(at=point.at, value=point.value, low=low, high=high, count=point.runs)
            for point, (low, high) in zip(found.points, expected, strict=True)
        ],
        marks=happened,
    )


def clamped(end: datetime, back: timedelta) -> datetime:
    """Return the moment so long before; the first there is where the calendar ends before it."""
    first = datetime.min.replace(tzinfo=UTC)
    return end - back if end - first > back else first
