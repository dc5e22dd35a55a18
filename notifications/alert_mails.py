"""The mails about critical alerts: one thread for each alert and reader, and one mail for a storm of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.settings import Settings
from core.states import Severity
from db.models.alerts import AlertEvent, MonitoringAlert
from db.models.apps import App
from db.models.mail import Email
from db.queries.exemplars import exemplar_of
from db.repositories import addresses, alerts, emails
from db.repositories.jobs import Claim
from notifications import gather, render
from notifications.listeners import Listener, listener, listeners
from notifications.outbox import by_zone, queue, site_of
from notifications.policy import recipients
from notifications.views import EventView, Rendered, StormView

log = structlog.get_logger(__name__)

STORM_WINDOW = timedelta(minutes=10)
STORM_LISTED = 200
"""Alerts that a storm's mail reads; it lists the first and counts the rest."""


def fired(
    session: Session, app: App, alert: MonitoringAlert, *, now: datetime, settings: Settings, parent: Claim | None
) -> list[int]:
    """Open the thread."""
    told = alerts.told_with(session, alert.id)
    if len(told) > 1:
        return _together(session, app, alert, told, kind="critical", now=now, settings=settings, parent=parent)
    view = EventView(
        site=site_of(app, settings),
        now=now,
        alert=gather.alert_view(alert),
        next_up="metamon is looking for the cause among the attributes of these runs. You hear again when a decision "
        "is needed, when it gets much worse, and when it is over.",
    )
    made = queue(
        session,
        app,
        event="alert_critical",
        subject=alert.id,
        kind="critical",
        to=listeners(session, app, kind="critical", what=f"alert {alert.id}", severity=alert.severity),
        render=by_zone(lambda zone: render.critical(_at(view, zone))),
        sender=settings.mail_from,
        now=now,
        alert_id=alert.id,
        parent=parent,
    )
    if made and alert.emailed_at is None:
        alert.emailed_at = now
    return made


def updated(
    session: Session,
    app: App,
    alert: MonitoringAlert,
    *,
    number: int,
    now: datetime,
    settings: Settings,
    parent: Claim | None,
) -> list[int]:
    """Say in the thread that it got much worse, or that it goes on. Over by now: nothing, the end is told instead."""
    if alert.resolved_at is not None:
        return []
    view = EventView(
        site=site_of(app, settings),
        now=now,
        alert=gather.alert_view(alert),
        before=_told_before(session, alert),
    )
    roots = _roots(session, alert)

    def reply(reader: Listener) -> Rendered:
        return _threaded(
            render.updated(_at(view, reader.zone), base_subject=roots[reader.address].subject), roots, reader
        )

    return queue(
        session,
        app,
        event="alert_update",
        subject=f"{alert.id}.{number}",
        kind="update",
        to=_told(session, app, roots),
        render=reply,
        sender=settings.mail_from,
        now=now,
        alert_id=alert.id,
        parent=parent,
    )


def resolved(
    session: Session, app: App, alert: MonitoringAlert, *, now: datetime, settings: Settings, parent: Claim | None
) -> list[int]:
    """Close the thread, for those who were told that it began."""
    roots = _roots(session, alert)
    if not roots:
        log.info("mail.nobody_was_told", app=app.name, alert_id=alert.id)
    rows = alerts.told_with(session, alert.id)
    together = [gather.alert_view(row) for row in rows]
    exemplar = next(filter(None, (exemplar_of(session, row) for row in rows)), None)
    view = EventView(
        site=site_of(app, settings),
        now=now,
        case=f"metamon golden add --app {app.name} --from-run {exemplar}" if exemplar else None,
        alert=replace(
            gather.alert_view(alert),
            since=min(each.since for each in together),
            resolved_at=max((each.resolved_at for each in together if each.resolved_at), default=None),
        ),
        others=len(together) - 1,
    )

    def reply(reader: Listener) -> Rendered:
        root = roots[reader.address]
        return _threaded(render.resolved(_at(view, reader.zone), base_subject=root.subject), roots, reader)

    return queue(
        session,
        app,
        event="alert_resolved",
        subject=alert.id,
        kind="resolved",
        to=_told(session, app, roots),
        render=reply,
        sender=settings.mail_from,
        now=now,
        alert_id=alert.id,
        parent=parent,
    )


def storm(
    session: Session, app: App, lead: MonitoringAlert, *, now: datetime, settings: Settings, parent: Claim | None
) -> list[int]:
    """Tell the critical alerts of the past ten minutes in one mail; the valve that folds them decides when."""
    rows = session.scalars(
        select(MonitoringAlert)
        .where(
            MonitoringAlert.app_id == app.id,
            MonitoringAlert.severity == Severity.CRITICAL,
            MonitoringAlert.silenced.is_(False),
            MonitoringAlert.fired_at >= now - STORM_WINDOW,
        )
        .order_by(MonitoringAlert.fired_at, MonitoringAlert.id)
        .limit(STORM_LISTED)
        .with_for_update()
    ).all()
    if not rows:
        return []
    return _together(session, app, lead, rows, kind="storm", now=now, settings=settings, parent=parent)


def _together(
    session: Session,
    app: App,
    lead: MonitoringAlert,
    rows: Sequence[MonitoringAlert],
    *,
    kind: str,
    now: datetime,
    settings: Settings,
    parent: Claim | None,
) -> list[int]:
    view = StormView(
        site=site_of(app, settings),
        start=min(row.fired_at or now for row in rows),
        end=now,
        alerts=tuple(gather.alert_view(row) for row in rows),
        storm=kind == "storm",
    )
    made = queue(
        session,
        app,
        event="storm" if kind == "storm" else "alert_critical",
        subject=lead.id,
        kind=kind,
        to=listeners(session, app, kind=kind, what=f"alert {lead.id} and others", severity=Severity.CRITICAL),
        render=by_zone(lambda zone: render.storm(replace(view, site=replace(view.site, zone=zone)))),
        sender=settings.mail_from,
        now=now,
        alert_id=lead.id,
        parent=parent,
    )
    if made:
        for row in rows:
            row.emailed_at = row.emailed_at or now
    return made


def _at(view: EventView, zone: tzinfo) -> EventView:
    return replace(view, site=replace(view.site, zone=zone))


def _roots(session: Session, alert: MonitoringAlert) -> dict[str, Email]:
    """Return the mail that opened the thread, by reader."""
    lead = alert.group_id or alert.id
    return {row.recipient: row for row in emails.told(session, alert_id=lead, kinds=("critical", "storm"))}


def _told(session: Session, app: App, roots: Mapping[str, Email]) -> list[Listener]:
    """Return who was told that it began, wherever they are on the list now, but for who bounces."""
    away = addresses.disabled(session, roots)
    wishes = addresses.preferences(session, app.id)
    return [listener(app, address, wishes) for address in recipients(roots)[0] if address.lower() not in away]


def _threaded(mail: Rendered, roots: Mapping[str, Email], reader: Listener) -> Rendered:
    root = roots[reader.address].message_id
    return replace(mail, headers={**mail.headers, "In-Reply-To": root, "References": root})


def _told_before(session: Session, alert: MonitoringAlert) -> float | None:
    """Return the value that was told last: the one before the present notice."""
    seen = session.scalars(
        select(AlertEvent.observed)
        .where(AlertEvent.alert_id == alert.id, AlertEvent.kind.in_(["firing", "updated"]))
        .order_by(AlertEvent.id.desc())
        .limit(2)
    ).all()
    return seen[1] if len(seen) > 1 else None
