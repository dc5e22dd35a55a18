"""What `metamon status` reads: apps, queues, rollouts, and what speaks against calling the fleet well."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from pydantic import BaseModel
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.clock import CLOCK_SLACK
from core.settings import REFUSED_PROJECTS
from core.states import LIVE_ROLLOUTS, OPEN_ALERTS, JobState
from db.models.alerts import MonitoringAlert
from db.models.apps import App, Project, Watermark
from db.models.jobs import Job
from db.models.metrics import DetectorState
from db.models.rollouts import Rollout
from db.queries.addresses import mail_problems
from db.queries.fleet import QueueRecord, queues
from db.queries.pauses import PauseRecord, list_pauses

OLD_JOB = timedelta(minutes=2)
"""A due job that waits longer than this has nobody who works on it."""
LATE_SWEEP = 2.4
"""Sweep periods after which monitoring counts as stopped: 12 minutes at the default of five."""
LATE_SWEEP_MIN = timedelta(minutes=1)
RELEARNT_SAID = timedelta(days=1)
"""For how long it is said that a detector's memory had to be given up."""

RECENT = timedelta(minutes=30)
"""Where the last check is looked for first."""


class AppStatus(BaseModel):
    """One monitored app."""

    id: int
    name: str
    enabled: bool
    open_alerts: int
    last_sweep: datetime | None
    unmonitored: str | None = None
    """Why its sweeps look at nothing although it is enabled and had traffic."""
    notes: list[str] = []
    """What is worth knowing of it and no reason to worry, in sentences."""


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
    pauses: list[PauseRecord]
    reasons: list[str]


def read(
    session: Session, queue_names: Iterable[str], *, now: datetime, sweep: timedelta, up_since: datetime | None
) -> DatabaseStatus:
    """Return the state of the work.

    Args:
        sweep: period of the monitoring sweep.
        up_since: start of the fleet where known: nobody is late before he could be on time.
    """
    apps = app_statuses(session, now=now)
    queue_records = queues(session, queue_names, now=now)
    pauses = list_pauses(session)
    held = {pause.queue for pause in pauses}
    reasons = [f"{pause.queue or 'everything'} is paused by {pause.by}: {pause.reason}" for pause in pauses]
    reasons += [
        f"{record.dead} dead jobs in {record.name}: metamon jobs list" for record in queue_records if record.dead
    ]
    reasons += [
        f"a job waits in {record.name} for {record.oldest_age_s:.0f} s"
        for record in queue_records
        if record.oldest_age_s is not None
        and record.oldest_age_s > OLD_JOB.total_seconds()
        and not {None, record.name} & held
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
    reasons += [f"{app.name} is not monitored: {app.unmonitored}" for app in apps if app.unmonitored]
    # An alarm that nobody hears is none.
    reasons += [problem.text for problem in mail_problems(session) if problem.kind == "bouncing"]
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
        pauses=pauses,
        reasons=reasons,
    )  # fmt: skip


def app_statuses(session: Session, *, now: datetime) -> list[AppStatus]:
    """Return every app with its open alerts and its last check."""
    alerts = (
        select(MonitoringAlert.app_id, func.count().label("open"))
        .where(MonitoringAlert.state.in_(OPEN_ALERTS))
        .group_by(MonitoringAlert.app_id)
        .subquery()
    )
    rows = session.execute(
        select(App.id, App.name, App.enabled, func.coalesce(alerts.c.open, 0))
        .outerjoin(alerts, alerts.c.app_id == App.id)
        .order_by(App.name)
    ).all()
    sweeps = _sweeps(session, since=now - RECENT, now=now)
    if any(enabled and app_id not in sweeps for app_id, _, enabled, _ in rows):
        sweeps = _sweeps(session, since=None, now=now)
    unjudged: dict[int, int] = dict(
        session.execute(
            select(Watermark.app_id, Watermark.state["unjudged"].as_integer()).where(
                Watermark.name == "monitoring", Watermark.state["unjudged"].as_integer() > 0
            )
        ).all()
    )
    unmonitored = _unmonitored(session)
    relearning: dict[int, list[str]] = {}
    for row in session.scalars(
        select(DetectorState).where(DetectorState.note != "", DetectorState.learning_since > now - RELEARNT_SAID)
    ):
        since = f"{row.learning_since:%Y-%m-%d %H:%M} UTC"
        relearning.setdefault(row.app_id, []).append(
            f"the detector of {row.name} learns anew since {since}: {row.note}"
        )
    return [
        AppStatus(
            id=app_id,
            name=name,
            enabled=enabled,
            open_alerts=count,
            last_sweep=sweeps.get(app_id),
            unmonitored=unmonitored.get(app_id),
            notes=[
                *(
                    [f"{unjudged[app_id]:,} feedback keys are not judged: only the most frequent are"]
                    if app_id in unjudged
                    else []
                ),
                *relearning.get(app_id, []),
            ],
        )
        for app_id, name, enabled, count in rows
    ]


def _unmonitored(session: Session) -> dict[int, str]:
    """Return by app why nothing of it is looked at. An app that waits for its first trace is no such case."""
    rows = session.execute(
        select(App.id, App.project, Project.id, Project.reference_dataset_id, Watermark.state)
        .outerjoin(Project, Project.name == App.project)
        .outerjoin(Watermark, (Watermark.app_id == App.id) & (Watermark.name == "monitoring"))
        .where(App.enabled)
    ).all()
    found = {}
    for app_id, project, known, dataset, judged in rows:
        if project in REFUSED_PROJECTS:
            found[app_id] = f"the project {project!r} is metamon's own or the evaluators', which is never monitored"
        elif dataset is not None:
            found[app_id] = f"the project {project!r} is an experiment; metamon apps set … project=NAME names another"
        elif known is None and judged:
            found[app_id] = f"the project {project!r} was deleted; the next trace makes it again"
    return found


def _sweeps(session: Session, *, since: datetime | None, now: datetime) -> dict[int, datetime]:
    """Return by app when it was last checked; with a moment, an index's end is read instead of the whole table."""
    app_id = Job.args["app_id"].as_integer()
    statement = select(app_id, func.max(Job.finished_at)).where(
        Job.kind == "monitoring.check_app", Job.state == JobState.DONE, Job.finished_at <= now + CLOCK_SLACK
    )
    if since is not None:
        statement = statement.where(Job.finished_at > since)
    return dict(session.execute(statement.group_by(app_id)).all())
