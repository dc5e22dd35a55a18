"""A metric over time, for charts."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AwareDatetime

from api.auth import Db, Viewer
from core.clock import utc_now
from core.settings import settings
from db.queries.metrics import POINTS_CAP, MetricSeries, series

router = APIRouter(prefix="/metrics")


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
    since = start or until - timedelta(days=1)
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
