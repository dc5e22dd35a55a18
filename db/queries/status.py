"""What `metamon status` reads: apps, queues, rollouts, and what speaks against calling the fleet well."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from pydantic import BaseModel
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.states import LIVE_ROLLOUTS, OPEN_ALERTS, JobState
from db.models.alerts import MonitoringAlert
from db.models.apps import App
from db.models.jobs import Job
from db.models.rollouts import Rollout
from db.queries.fleet import QueueRecord, queues

OLD_JOB = timedelta(minutes=2)
"""A due job that waits longer than this has nobody who works on it."""
LATE_SWEEP = 2.4
"""Sweep periods after which monitoring counts as stopped: 12 minutes at the default of five."""
LATE_SWEEP_MIN = timedelta(minutes=1)


class AppStatus(BaseModel):
    """One monitored app."""

    name: str
    enabled: bool
    open_alerts: int
    last_sweep: datetime | None


class RolloutStatus(BaseModel):
    """One change that is on its way."""

    id: int
    app: str
    proposal_id: int
    percent: int
    state: str
    reason: str | None


class DatabaseStatus(BaseModel):
    """The part of the status that is in the database."""

    apps: list[AppStatus]
    queues: list[QueueRecord]
    rollouts: list[RolloutStatus]
    reasons: list[str]


def read(
    session: Session, queue_names: Iterable[str], *, now: datetime, sweep: timedelta, up_since: datetime | None
) -> DatabaseStatus:
    """Return the state of the work.

    Args:
        sweep: period of the monitoring sweep.
        up_since: start of the fleet where known: nobody is late before he could be on time.
    """
    apps = _apps(session)
    queue_records = queues(session, queue_names, now=now)
    reasons = [
        f"{record.dead} dead jobs in {record.name}: metamon jobs list" for record in queue_records if record.dead
    ]
    reasons += [
        f"a job waits in {record.name} for {record.oldest_age_s:.0f} s"
        for record in queue_records
        if record.oldest_age_s is not None and record.oldest_age_s > OLD_JOB.total_seconds()
    ]
    late = max(LATE_SWEEP * sweep, LATE_SWEEP_MIN)
    if up_since is None or now - up_since > late:
        reasons += [
            f"{app.name} was not swept for {(now - app.last_sweep).total_seconds():.0f} s"
            if app.last_sweep
            else f"{app.name} was never swept"
            for app in apps
            if app.enabled and (app.last_sweep is None or now - app.last_sweep > late)
        ]
    rollouts = session.execute(
        select(Rollout, App.name)
        .join(App, App.id == Rollout.app_id)
        .where(Rollout.state.in_(LIVE_ROLLOUTS))
        .order_by(Rollout.id)
    ).all()
    return DatabaseStatus(
        apps=apps,
        queues=queue_records,
        rollouts=[
            RolloutStatus(
                id=rollout.id, app=name, proposal_id=rollout.proposal_id, percent=rollout.percent,
                state=rollout.state.value, reason=rollout.reason,
            )
            for rollout, name in rollouts
        ],
        reasons=reasons,
    )  # fmt: skip


def _apps(session: Session) -> list[AppStatus]:
    alerts = (
        select(MonitoringAlert.app_id, func.count().label("open"))
        .where(MonitoringAlert.state.in_(OPEN_ALERTS))
        .group_by(MonitoringAlert.app_id)
        .subquery()
    )
    app_id = Job.args["app_id"].as_integer()
    sweeps = (
        select(app_id.label("app_id"), func.max(Job.finished_at).label("at"))
        .where(Job.kind == "monitoring.check_app", Job.state == JobState.DONE, Job.finished_at.is_not(None))
        .group_by(app_id)
        .subquery()
    )
    rows = session.execute(
        select(App.name, App.enabled, func.coalesce(alerts.c.open, 0), sweeps.c.at)
        .outerjoin(alerts, alerts.c.app_id == App.id)
        .outerjoin(sweeps, sweeps.c.app_id == App.id)
        .order_by(App.name)
    ).all()
    return [AppStatus(name=name, enabled=on, open_alerts=count, last_sweep=at) for name, on, count, at in rows]
