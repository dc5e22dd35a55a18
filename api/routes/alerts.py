"""Alerts and silences: looked at by viewers, acknowledged and muted by reviewers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from api.auth import Db, Reviewer, Viewer
from api.paging import Cursor, Limit
from core.clock import utc_now
from core.settings import settings
from core.states import AlertState, Severity
from db.queries.alerts import AlertDetail, AlertRecord, SilenceRecord, list_alerts, list_silences, show_alert
from db.queries.paging import Page, page
from db.repositories import alerts
from notifications.trial import queue_drill

router = APIRouter()

SmallId = Annotated[int, Path(ge=1, le=2**31 - 1)]


class NewSilence(BaseModel):
    """What is muted, until when and why."""

    model_config = ConfigDict(extra="forbid")

    app_id: int = Field(ge=1, le=2**31 - 1)
    fingerprint: str | None = Field(default=None, max_length=300)
    """None mutes the whole app."""
    until: AwareDatetime
    reason: str = Field(min_length=1, max_length=1000)


class Drill(BaseModel):
    """Whose readers are written to."""

    app: str = Field(max_length=200)


class QueuedMails(BaseModel):
    """The mails that were queued, by id."""

    mails: list[int]


class MadeSilence(BaseModel):
    """The silence's id."""

    id: int


@router.get("/alerts")
def index(
    _: Viewer,
    sessions: Db,
    *,
    app: Annotated[str | None, Query(max_length=200)] = None,
    state: AlertState | None = None,
    severity: Severity | None = None,
    only_open: bool = False,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[AlertRecord]:
    """List alerts, newest first."""
    with sessions() as session:
        return page(
            lambda key, n: list_alerts(
                session, app=app, state=state, severity=severity, only_open=only_open, key=key, limit=n
            ),
            cursor=cursor,
            limit=limit,
            key=lambda alert: (alert.id,),
        )


@router.get("/alerts/{alert_id}")
def show(alert_id: SmallId, _: Viewer, sessions: Db) -> AlertDetail:
    """Return one alert with its life, its evidence and what came of it."""
    with sessions() as session:
        return show_alert(session, alert_id, now=utc_now())


@router.post("/alerts/{alert_id}/ack")
def acknowledge(alert_id: SmallId, bearer: Reviewer, sessions: Db) -> AlertDetail:
    """Say that somebody has it. A second time changes nothing."""
    now = utc_now()
    with sessions.begin() as session:
        alerts.acknowledge(session, alert_id, by=bearer.actor, now=now)
        session.flush()
        return show_alert(session, alert_id, now=now)


@router.post("/alerts/test", status_code=202)
def drill(wanted: Drill, bearer: Reviewer, sessions: Db) -> QueuedMails:
    """Queue a drill to everybody who would be told of a critical alert of this app."""
    with sessions.begin() as session:
        ids = queue_drill(session, wanted.app, by=bearer.actor, now=utc_now(), settings=settings())
    return QueuedMails(mails=ids)


@router.get("/silences")
def silences(
    _: Viewer,
    sessions: Db,
    app: Annotated[str | None, Query(max_length=200)] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[SilenceRecord]:
    """List the silences in force."""
    with sessions() as session:
        return page(
            lambda key, n: list_silences(session, now=utc_now(), app=app, key=key, limit=n),
            cursor=cursor,
            limit=limit,
            key=lambda silence: (silence.fingerprint is not None, silence.ends_at, silence.id),
            kinds=(bool, datetime, int),
        )


@router.post("/silences", status_code=201)
def silence(new: NewSilence, bearer: Reviewer, sessions: Db) -> MadeSilence:
    """Mute a fingerprint of an app, or all of it, for a while."""
    with sessions.begin() as session:
        made = alerts.add_silence(
            session,
            app_id=new.app_id,
            fingerprint=new.fingerprint,
            by=bearer.actor,
            reason=new.reason,
            until=new.until,
            now=utc_now(),
        )
    return MadeSilence(id=made)


@router.delete("/silences/{silence_id}", status_code=204)
def unsilence(silence_id: SmallId, bearer: Reviewer, sessions: Db) -> None:
    """End a silence now."""
    with sessions.begin() as session:
        alerts.end_silence(session, silence_id, by=bearer.actor, now=utc_now())
