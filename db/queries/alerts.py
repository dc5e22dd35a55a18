"""Alerts as people see them: a list, one with its whole life, and the silences in force."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import NotFoundError
from core.states import OPEN_ALERTS, AlertKind, AlertState, JobState, Severity
from db.models.alerts import AlertEvent, MonitoringAlert, Silence
from db.models.apps import App
from db.models.jobs import Job
from db.models.proposals import ImprovementProposal
from db.queries.exemplars import exemplar_of
from db.queries.paging import ASCENDING, DESCENDING, Key, after


class AlertRecord(BaseModel):
    """One alert in a list."""

    id: int
    app: str
    kind: AlertKind
    severity: Severity
    metric: str
    state: AlertState
    title: str
    fingerprint: str
    opened_at: datetime
    fired_at: datetime | None
    resolved_at: datetime | None
    observed: float | None
    expected: float | None
    expected_low: float | None
    expected_high: float | None
    window_start: datetime
    window_end: datetime
    trace_urls: list[str]
    flapping: bool
    silenced: bool
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    emailed_at: datetime | None


class AlertEventRecord(BaseModel):
    """One transition, or something a person did."""

    at: datetime
    kind: str
    observed: float | None
    detail: dict[str, Any]


class SilenceRecord(BaseModel):
    """A silence in force."""

    id: int
    app: str
    fingerprint: str | None
    """None mutes the whole app."""
    author: str
    reason: str
    starts_at: datetime
    ends_at: datetime


class AlertDetail(AlertRecord):
    """One alert with everything that is known of it."""

    p_value: float | None
    reasons: list[str]
    recovers_at: float | None
    """Where the metric counts as well again, in its own unit."""
    hold_s: float
    """How long it must have been well before the alert is over, seconds."""
    group_id: int | None
    """The alert under which people were told of it, where one mail told of several."""
    muted_by: int | None
    """The alert that mutes it now: what caused it is told instead."""
    research: JobState | None
    """How far the investigation is; None where none was started, or it was long ago."""
    root_cause: str | None
    """What research named, in a sentence."""
    explanation: str | None
    """A model's words on the shape of the deviation, where one is configured and no proposal came of the alert."""
    explained_by: str | None
    run_ids: list[str]
    exemplar: UUID | None
    """A run of it that could become a golden case, once it is over; None where there is none, or it is one."""
    related: list[int]
    """Other alerts that were open when it fired: one cause often shows in several metrics."""
    proposals: list[int]
    events: list[AlertEventRecord]
    silences: list[SilenceRecord]


def list_alerts(
    session: Session,
    *,
    app: str | None = None,
    state: AlertState | None = None,
    severity: Severity | None = None,
    only_open: bool = False,
    key: Key | None = None,
    limit: int = 50,
) -> list[AlertRecord]:
    """Return alerts, newest first.

    Args:
        key: (id,) of the last one seen.
    """
    statement = select(MonitoringAlert, App.name).join(App, App.id == MonitoringAlert.app_id)
    if app is not None:
        statement = statement.where(App.name == app)
    if state is not None:
        statement = statement.where(MonitoringAlert.state == state)
    if severity is not None:
        statement = statement.where(MonitoringAlert.severity == severity)
    if only_open:
        statement = statement.where(MonitoringAlert.state.in_(OPEN_ALERTS))
    rows = session.execute(after(statement, (MonitoringAlert.id, DESCENDING), key=key, limit=limit))
    return [AlertRecord.model_validate(_fields(alert, name)) for alert, name in rows]


def show_alert(session: Session, alert_id: int, *, now: datetime) -> AlertDetail:
    """Return one alert with its life.

    Raises:
        NotFoundError: there is no such alert.
    """
    found = session.execute(
        select(MonitoringAlert, App.name)
        .join(App, App.id == MonitoringAlert.app_id)
        .where(MonitoringAlert.id == alert_id)
    ).one_or_none()
    if found is None:
        raise NotFoundError(f"there is no alert {alert_id}; `metamon alerts list` shows what there is")
    alert, name = found
    rows = session.scalars(select(AlertEvent).where(AlertEvent.alert_id == alert_id).order_by(AlertEvent.id))
    events = [AlertEventRecord.model_validate(row, from_attributes=True) for row in rows]
    told = [event.detail for event in events if event.kind == "researched"][-1:]
    proposals = select(ImprovementProposal.id).where(ImprovementProposal.alert_id == alert_id)
    causes = select(ImprovementProposal.root_cause).where(ImprovementProposal.alert_id == alert_id)
    muted = [
        silence
        for silence in list_silences(session, now=now, app=name)
        if silence.fingerprint in (None, alert.fingerprint)
    ]
    return AlertDetail.model_validate(
        {
            **_fields(alert, name),
            "p_value": alert.p_value,
            "reasons": alert.reasons,
            "recovers_at": alert.recovers_at,
            "hold_s": alert.tracker.get("hold_s", 0.0),
            "group_id": alert.group_id,
            "muted_by": _muted_by(alert, events),
            "research": session.scalars(select(Job.state).where(Job.key == f"research:{alert_id}")).one_or_none(),
            "root_cause": session.scalars(causes.order_by(ImprovementProposal.rank).limit(1)).one_or_none(),
            "explanation": told[0].get("explanation") if told else None,
            "explained_by": told[0].get("explained_by") if told else None,
            "run_ids": alert.run_ids,
            "exemplar": exemplar_of(session, alert),
            "related": sorted({other for event in events for other in event.detail.get("related", [])}),
            "proposals": list(session.scalars(proposals.order_by(ImprovementProposal.rank))),
            "events": events,
            "silences": muted,
        }
    )


def _muted_by(alert: MonitoringAlert, events: Sequence[AlertEventRecord]) -> int | None:
    """Return which alert mutes this one: the last time it fell silent, something else was its cause."""
    silenced = [event.detail.get("inhibited_by") for event in events if event.kind == "silenced"]
    return silenced[-1] if alert.silenced and silenced else None


def list_silences(
    session: Session, *, now: datetime, app: str | None = None, key: Key | None = None, limit: int = 1000
) -> list[SilenceRecord]:
    """Return the silences in force, those of whole apps first.

    Args:
        key: (whether it is of a fingerprint, end, id) of the last one seen.
    """
    statement = select(Silence, App.name).join(App, App.id == Silence.app_id).where(Silence.ends_at > now)
    if app is not None:
        statement = statement.where(App.name == app)
    narrow = Silence.fingerprint.is_not(None)
    order = ((narrow, ASCENDING), (Silence.ends_at, ASCENDING), (Silence.id, ASCENDING))
    statement = after(statement, *order, key=key, limit=limit)
    return [
        SilenceRecord.model_validate({**{key: getattr(row, key) for key in _SILENCE}, "app": name})
        for row, name in session.execute(statement)
    ]


_SILENCE = ("id", "fingerprint", "author", "reason", "starts_at", "ends_at")


def _fields(alert: MonitoringAlert, app: str) -> dict[str, Any]:
    return {"app": app, **{key: getattr(alert, key) for key in AlertRecord.model_fields if key != "app"}}
