"""The first page: one request, one verdict."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from fastapi import APIRouter, Request
from pydantic import BaseModel
from sqlalchemy.orm import Session

from agents.monitoring.expected import live
from api.auth import Db, Viewer
from core.clock import floor_time, utc_now
from core.settings import settings
from core.states import Severity
from db.queries import overview as queries
from db.queries.alerts import AlertRecord
from db.queries.overview import NeedsYou, RolloutMargins
from db.queries.pauses import list_pauses
from db.queries.status import LATE_SWEEP, LATE_SWEEP_MIN, OLD_JOB, AppStatus, app_statuses
from workers.status import service_reasons

router = APIRouter()


class Level(StrEnum):
    """The verdict in one word."""

    OK = "ok"
    DEGRADED = "degraded"
    CRITICAL = "critical"
    UNKNOWN = "unknown"


class Verdict(BaseModel):
    """How things are."""

    level: Level
    text: str
    reasons: list[str]


class LiveMetric(BaseModel):
    """A metric now, with what is usual at this time of day."""

    name: str
    value: float | None
    expected_low: float | None
    expected_high: float | None
    unit: str


class AppNow(BaseModel):
    """One app now."""

    name: str
    checked_at: datetime | None
    status: str
    """`ok`, `degraded`, `critical`, `unknown` or `paused`."""
    open_alerts: int
    metrics: list[LiveMetric]


class Overview(BaseModel):
    """Everything that the first page shows."""

    verdict: Verdict
    checked_at: datetime | None
    """When the app that was checked the longest ago was checked."""
    needs_you: list[NeedsYou]
    apps: list[AppNow]
    open_alerts: list[AlertRecord]
    rollouts: list[RolloutMargins]


@router.get("/overview")
def overview(request: Request, _: Viewer, sessions: Db) -> Overview:
    """Say how everything is: the verdict, what waits for you, live metrics, open alerts, rollouts."""
    now = utc_now()
    with sessions() as session:
        board = queries.read(session, now=now)
        statuses = app_statuses(session, now=now)
        pauses = list_pauses(session)
        waiting = queries.oldest_due(session, now=now)
        apps = [
            AppNow(
                name=status.name,
                checked_at=status.last_sweep,
                status=_status(status, board.open_alerts, now),
                open_alerts=status.open_alerts,
                metrics=_metrics(request, session, status, now) if status.enabled else [],
            )
            for status in statuses
        ]
    troubles = service_reasons(settings(), now)
    troubles += [
        f"a job waits in {queue} for {(now - since).total_seconds():.0f} s"
        for queue, since in sorted(waiting.items())
        if now - since > OLD_JOB and not {None, queue} & {pause.queue for pause in pauses}
    ]
    troubles += [f"{pause.queue or 'everything'} is paused by {pause.by}: {pause.reason}" for pause in pauses]
    dead = sum(item.kind == "job" for item in board.needs_you)
    if dead:
        troubles.append(f"{dead} jobs are dead")
    checked = [app.checked_at for app in apps if app.checked_at is not None and app.status != "paused"]
    return Overview(
        verdict=_verdict(apps, board.open_alerts, troubles),
        checked_at=min(checked, default=None),
        needs_you=board.needs_you,
        apps=apps,
        open_alerts=board.open_alerts,
        rollouts=board.rollouts,
    )


def _status(app: AppStatus, alerts: list[AlertRecord], now: datetime) -> str:
    if not app.enabled:
        return "paused"
    if app.last_sweep is None or now - app.last_sweep > max(LATE_SWEEP * settings().sweep_period, LATE_SWEEP_MIN):
        return Level.UNKNOWN
    mine = [alert for alert in alerts if alert.app == app.name and alert.fired_at and not alert.silenced]
    if any(alert.severity is Severity.CRITICAL for alert in mine):
        return Level.CRITICAL
    return Level.DEGRADED if mine else Level.OK


def _verdict(apps: list[AppNow], alerts: list[AlertRecord], troubles: list[str]) -> Verdict:
    watched = [app for app in apps if app.status != "paused"]
    reasons = [
        f"{alert.app}: {alert.title}" for alert in alerts if alert.fired_at is not None and not alert.silenced
    ] + [f"{app.name} was not checked lately: nothing is known of it" for app in watched if app.status == Level.UNKNOWN]
    reasons += troubles
    levels = {app.status for app in watched}
    if not watched:
        return Verdict(level=Level.UNKNOWN, text="No app is monitored yet", reasons=reasons)
    if Level.CRITICAL in levels:
        names = ", ".join(app.name for app in watched if app.status == Level.CRITICAL)
        return Verdict(level=Level.CRITICAL, text=f"{names} is in trouble", reasons=reasons)
    if levels == {Level.UNKNOWN}:
        return Verdict(level=Level.UNKNOWN, text="Monitoring stands still: nothing is known", reasons=reasons)
    if reasons:
        return Verdict(level=Level.DEGRADED, text=reasons[0], reasons=reasons)
    what = watched[0].name if len(watched) == 1 else f"All {len(watched)} apps"
    return Verdict(level=Level.OK, text=f"{what}: all is well", reasons=[])


def _metrics(request: Request, session: Session, app: AppStatus, now: datetime) -> list[LiveMetric]:
    """Return the live metrics; they change with a sweep and with a bucket, and are computed once in between."""
    cache: dict[int, tuple[tuple[datetime | None, datetime], list[LiveMetric]]] = request.app.state.live
    state = (app.last_sweep, floor_time(now, settings().bucket_width))
    known = cache.get(app.id)
    if known is not None and known[0] == state:
        return known[1]
    found = [
        LiveMetric(name=each.name, value=each.value, expected_low=each.low, expected_high=each.high, unit=each.unit)
        for each in live(session, app.id, now=now, width=settings().bucket_width)
    ]
    cache[app.id] = (state, found)
    return found
