"""The hourly roll-up: what a slot brought, told once, and nothing where there was nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from core.settings import Settings
from core.states import Severity
from db.models.alerts import MonitoringAlert
from db.models.apps import App
from db.models.proposals import ImprovementProposal
from db.models.rollouts import Rollout, RolloutEvent
from db.repositories import emails
from db.repositories.jobs import Claim
from notifications import gather, render
from notifications.listeners import Listener, listeners
from notifications.outbox import queue, site_of
from notifications.policy import Cadence, rollup_slot
from notifications.views import HourlyView, Rendered

MARK = "mail:hourly"
CATCH_UP = timedelta(hours=24)
"""What is older than this is the digest's: after a long standstill nobody wants a day of hours."""


def flush(
    session: Session, *, now: datetime, cadence: Cadence, settings: Settings, parent: Claim | None = None
) -> list[int]:
    """Queue the roll-ups of all apps whose latest slot is untold; returns the new mails' ids.

    Level-triggered: called often, late or twice, each slot is told once, and what a missed hour brought comes with
    the next one.
    """
    start, end = rollup_slot(now, cadence)
    made: list[int] = []
    for app in session.scalars(select(App).where(App.enabled).order_by(App.id)).all():
        mark = emails.lock_mark(session, app.id, MARK, at=start)
        if mark.at >= end:
            continue
        made += _tell(
            session, app, since=max(mark.at, end - CATCH_UP), end=end, now=now, settings=settings, parent=parent
        )
        mark.at = end
    return made


def _tell(
    session: Session,
    app: App,
    *,
    since: datetime,
    end: datetime,
    now: datetime,
    settings: Settings,
    parent: Claim | None,
) -> list[int]:
    # Not by time alone: an alert that committed late, after its slot was told, is still one that nobody was told of.
    alerts = session.scalars(
        select(MonitoringAlert)
        .where(
            MonitoringAlert.app_id == app.id,
            # A critical alert that came during a storm had no mail of its own.
            or_(MonitoringAlert.severity == Severity.HIGH, MonitoringAlert.group_id != MonitoringAlert.id),
            MonitoringAlert.emailed_at.is_(None),
            MonitoringAlert.silenced.is_(False),
            MonitoringAlert.fired_at < end,
            MonitoringAlert.fired_at >= end - CATCH_UP,
        )
        .order_by(MonitoringAlert.fired_at, MonitoringAlert.id)
        .with_for_update()
    ).all()
    over = session.scalars(
        select(MonitoringAlert)
        .where(
            MonitoringAlert.app_id == app.id,
            MonitoringAlert.severity == Severity.HIGH,
            MonitoringAlert.emailed_at.is_not(None),
            MonitoringAlert.resolved_at >= since,
            MonitoringAlert.resolved_at < end,
        )
        .order_by(MonitoringAlert.id)
    ).all()
    view = HourlyView(
        site=site_of(app, settings),
        start=since,
        end=end,
        alerts=tuple(gather.alert_view(row) for row in (*alerts, *over)),
        proposals=tuple(
            gather.proposal_view(session, row)
            for row in session.scalars(
                select(ImprovementProposal)
                .where(
                    ImprovementProposal.app_id == app.id,
                    ImprovementProposal.created_at >= since,
                    ImprovementProposal.created_at < end,
                )
                .order_by(ImprovementProposal.id)
            )
        ),
        rollouts=tuple(
            gather.rollout_view(session, row, title)
            for row, title in session.execute(
                select(Rollout, ImprovementProposal.title)
                .join(ImprovementProposal, ImprovementProposal.id == Rollout.proposal_id)
                .where(
                    Rollout.app_id == app.id,
                    Rollout.id.in_(
                        select(RolloutEvent.rollout_id).where(RolloutEvent.at >= since, RolloutEvent.at < end)
                    ),
                )
                .order_by(Rollout.id)
            )
        ),
    )
    if view.empty:
        return []
    readers = [
        reader for reader in listeners(session, app, kind="hourly", what="roll-up") if not _for(view, reader).empty
    ]
    written: dict[tuple[str, bool], Rendered] = {}

    def write(reader: Listener) -> Rendered:
        like = (str(reader.zone), reader.hears("hourly", Severity.HIGH))
        if like not in written:
            written[like] = render.hourly(_for(view, reader))
        return written[like]

    made = queue(
        session,
        app,
        event="hourly",
        subject=f"{app.id}:{end.isoformat()}",
        kind="hourly",
        to=readers,
        render=write,
        sender=settings.mail_from,
        now=now,
        parent=parent,
    )
    if made:
        for row in alerts:
            row.emailed_at = now
    return made


def _for(view: HourlyView, reader: Listener) -> HourlyView:
    """Return what of the slot is this reader's, in the reader's zone."""
    alerts = view.alerts if reader.hears("hourly", Severity.HIGH) else ()
    return replace(view, alerts=alerts, site=replace(view.site, zone=reader.zone))
