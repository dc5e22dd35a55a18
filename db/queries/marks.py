"""What happened to an app, to be drawn on its charts."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from db.models.access import AuditEntry
from db.models.alerts import MonitoringAlert
from db.models.apps import App
from db.models.rollouts import Rollout, RolloutEvent

MARKS_CAP = 300
"""Of one kind; the latest."""
KINDS = {"start": "rollout_started", "promote": "rollout_promoted", "rollback": "rollout_rolled_back"}


class Mark(BaseModel):
    """One moment on a chart."""

    at: datetime
    kind: str
    """alert_opened, alert_resolved, rollout_started, rollout_promoted, rollout_rolled_back, deployed"""
    label: str
    subject: str
    """`alert:12`, `rollout:3`, `app:fa-ai`"""


def marks(session: Session, app_id: int, *, since: datetime, until: datetime) -> list[Mark]:
    """Return what happened in [since, until), oldest first."""
    found = [*_alerts(session, app_id, since, until), *_rollouts(session, app_id, since, until)]
    found += _deployments(session, app_id, since, until)
    return sorted(found, key=lambda mark: mark.at)


def _alerts(session: Session, app_id: int, since: datetime, until: datetime) -> list[Mark]:
    found = []
    for column, kind in ((MonitoringAlert.opened_at, "alert_opened"), (MonitoringAlert.resolved_at, "alert_resolved")):
        rows = session.execute(
            select(MonitoringAlert.id, MonitoringAlert.title, column)
            .where(
                MonitoringAlert.app_id == app_id, MonitoringAlert.fired_at.is_not(None), column >= since, column < until
            )
            .order_by(column.desc())
            .limit(MARKS_CAP)
        )
        found += [Mark(at=at, kind=kind, label=title, subject=f"alert:{alert_id}") for alert_id, title, at in rows]
    return found


def _rollouts(session: Session, app_id: int, since: datetime, until: datetime) -> list[Mark]:
    rows = session.execute(
        select(RolloutEvent.at, RolloutEvent.kind, RolloutEvent.to_percent, Rollout.id, Rollout.change)
        .join(Rollout, Rollout.id == RolloutEvent.rollout_id)
        .where(
            Rollout.app_id == app_id, RolloutEvent.at >= since, RolloutEvent.at < until, RolloutEvent.kind.in_(KINDS)
        )
        .order_by(RolloutEvent.at.desc())
        .limit(MARKS_CAP)
    )
    return [
        Mark(at=at, kind=KINDS[kind], label=f"{change.get('key')} at {percent} %", subject=f"rollout:{rollout_id}")
        for at, kind, percent, rollout_id, change in rows
    ]


def _deployments(session: Session, app_id: int, since: datetime, until: datetime) -> list[Mark]:
    name = session.scalar(select(App.name).where(App.id == app_id))
    rows = session.scalars(
        select(AuditEntry)
        .where(
            AuditEntry.subject == f"app:{name}",
            AuditEntry.action == "app.config",
            AuditEntry.at >= since,
            AuditEntry.at < until,
        )
        .order_by(AuditEntry.id.desc())
        .limit(MARKS_CAP)
    )
    return [
        Mark(
            at=row.at,
            kind="deployed",
            label=f"{row.detail.get('key')}: {row.detail.get('from')} → {row.detail.get('to')}",
            subject=f"app:{name}",
        )
        for row in rows
    ]
