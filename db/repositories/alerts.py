"""Alerts, their events and their silences: written here, in the transaction of whoever decided."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import or_, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.errors import MetamonError, NotFoundError
from core.states import OPEN_ALERTS, AlertState
from db.models.alerts import AlertEvent, MonitoringAlert, Silence
from db.models.apps import App
from db.repositories import audit


class BadSilenceError(MetamonError):
    """A silence that could not mute anything."""


def open_of(session: Session, app_id: int) -> dict[str, MonitoringAlert]:
    """Return the app's open alerts by fingerprint, locked until the transaction ends."""
    rows = session.scalars(
        select(MonitoringAlert)
        .where(MonitoringAlert.app_id == app_id, MonitoringAlert.state.in_(OPEN_ALERTS))
        .order_by(MonitoringAlert.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return {row.fingerprint: row for row in rows}


def open_once(session: Session, values: Mapping[str, Any]) -> MonitoringAlert | None:
    """Open an alert, or return None where an open one has this fingerprint.

    The partial unique key (app_id, fingerprint) where state is open makes a second insert a no-op in the database. Its
    condition is written out: as a parameter it would match the index only until the statement gets a generic plan.
    """
    statement = (
        insert(MonitoringAlert)
        .values(**values)
        .on_conflict_do_nothing(
            index_elements=[MonitoringAlert.app_id, MonitoringAlert.fingerprint],
            index_where=text(f"state <> '{AlertState.RESOLVED}'"),
        )
        .returning(MonitoringAlert)
    )
    return session.scalars(statement).one_or_none()


def latest_resolved(session: Session, app_id: int, fingerprint: str, *, since: datetime) -> MonitoringAlert | None:
    """Return the last alert of this fingerprint that fired and was over since the moment."""
    return session.scalars(
        select(MonitoringAlert)
        .where(
            MonitoringAlert.app_id == app_id,
            MonitoringAlert.fingerprint == fingerprint,
            MonitoringAlert.resolved_at >= since,
            MonitoringAlert.fired_at.is_not(None),
        )
        .order_by(MonitoringAlert.resolved_at.desc())
        .limit(1)
    ).one_or_none()


def alarmed_since(session: Session, app_id: int, *, since: datetime) -> list[tuple[str, datetime, datetime | None]]:
    """Return (metric, start, end) of alerts that were open after the moment; the end of an open one is None."""
    statement = select(MonitoringAlert.metric, MonitoringAlert.window_start, MonitoringAlert.resolved_at).where(
        MonitoringAlert.app_id == app_id,
        or_(MonitoringAlert.resolved_at.is_(None), MonitoringAlert.resolved_at >= since),
    )
    return [(row.metric, row.window_start, row.resolved_at) for row in session.execute(statement)]


def told_with(session: Session, lead_id: int) -> list[MonitoringAlert]:
    """Return the alerts that the mail about this one tells of, itself among them, in the order in which they fired."""
    return list(
        session.scalars(
            select(MonitoringAlert)
            .where(or_(MonitoringAlert.id == lead_id, MonitoringAlert.group_id == lead_id))
            .order_by(MonitoringAlert.fired_at, MonitoringAlert.id)
        )
    )


def group_goes_on(session: Session, lead_id: int) -> bool:
    """Tell whether one of the alerts that were told together is still open."""
    session.flush()
    statement = select(MonitoringAlert.id).where(
        or_(MonitoringAlert.id == lead_id, MonitoringAlert.group_id == lead_id),
        MonitoringAlert.state.in_(OPEN_ALERTS),
    )
    return session.scalars(statement.limit(1)).first() is not None


def add_event(
    session: Session,
    alert_id: int,
    kind: str,
    *,
    at: datetime,
    observed: float | None = None,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Record a transition, or something a person did."""
    session.add(AlertEvent(alert_id=alert_id, at=at, kind=kind, observed=observed, detail=dict(detail or {})))


def silences_of(session: Session, app_id: int, *, now: datetime) -> list[str | None]:
    """Return the fingerprints that are silenced now; None stands for the whole app."""
    return list(
        session.scalars(
            select(Silence.fingerprint).where(Silence.app_id == app_id, Silence.starts_at <= now, Silence.ends_at > now)
        )
    )


def acknowledge(session: Session, alert_id: int, *, by: str, now: datetime) -> bool:
    """Say that a person has it: no repeats from here on. Returns False where somebody has it already.

    Raises:
        NotFoundError: there is no such alert.
    """
    alert = _get(session, alert_id)
    if alert.acknowledged_at is not None:
        return False
    alert.acknowledged_at = now
    alert.acknowledged_by = by
    alert.updated_at = now
    add_event(session, alert_id, "acknowledged", at=now, detail={"by": by})
    audit.record(session, actor=by, action="alert.acknowledge", subject=f"alert:{alert_id}")
    return True


def silence(session: Session, alert_id: int, *, by: str, reason: str, until: datetime, now: datetime) -> int:
    """Mute the alert's fingerprint until then, this alert and those to come. Returns the silence's id.

    Raises:
        NotFoundError: there is no such alert.
        BadSilenceError: the end is not in the future, or no reason was given.
    """
    alert = _get(session, alert_id)
    return add_silence(
        session, app_id=alert.app_id, fingerprint=alert.fingerprint, by=by, reason=reason, until=until, now=now
    )


def add_silence(
    session: Session,
    *,
    app_id: int,
    fingerprint: str | None,
    by: str,
    reason: str,
    until: datetime,
    now: datetime,
) -> int:
    """Mute a fingerprint of an app, or all of the app where it is None. Returns the silence's id.

    Raises:
        NotFoundError: there is no such app.
        BadSilenceError: the end is not in the future, or no reason was given.
    """
    if session.get(App, app_id) is None:
        raise NotFoundError(f"there is no app {app_id}; `metamon apps list` shows what there is")
    if until <= now:
        raise BadSilenceError(f"a silence must end in the future; {until.isoformat()} is past")
    if not reason.strip():
        raise BadSilenceError("a silence needs a reason, for those who wonder why nothing was mailed")
    row = Silence(
        app_id=app_id, fingerprint=fingerprint, author=by, reason=reason.strip()[:1000], starts_at=now, ends_at=until
    )
    session.add(row)
    session.flush()
    audit.record(
        session,
        actor=by,
        action="silence.create",
        subject=f"silence:{row.id}",
        fingerprint=fingerprint,
        until=until.isoformat(),
    )
    return row.id


def end_silence(session: Session, silence_id: int, *, by: str, now: datetime) -> None:
    """End a silence now.

    Raises:
        NotFoundError: there is no such silence, or it is over.
    """
    row = session.get(Silence, silence_id, with_for_update=True)
    if row is None or row.ends_at <= now:
        raise NotFoundError(f"there is no silence {silence_id} in force; `metamon alerts list` marks what is silenced")
    row.ends_at = now
    audit.record(session, actor=by, action="silence.end", subject=f"silence:{silence_id}")


def unsilence(session: Session, alert_id: int, *, by: str, now: datetime) -> int:
    """End every silence of the alert's fingerprint. Returns how many; a silence of the whole app stays.

    Raises:
        NotFoundError: there is no such alert.
    """
    alert = _get(session, alert_id)
    ids = session.scalars(
        select(Silence.id).where(
            Silence.app_id == alert.app_id,
            Silence.fingerprint == alert.fingerprint,
            Silence.starts_at <= now,
            Silence.ends_at > now,
        )
    ).all()
    for silence_id in ids:
        end_silence(session, silence_id, by=by, now=now)
    return len(ids)


def _get(session: Session, alert_id: int) -> MonitoringAlert:
    alert = session.get(MonitoringAlert, alert_id, with_for_update=True)
    if alert is None:
        raise NotFoundError(f"there is no alert {alert_id}; `metamon alerts list` shows what there is")
    return alert
