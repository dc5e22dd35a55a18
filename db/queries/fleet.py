"""The fleet as SQL sees it: the best signals of a queue are the rows, not the messages."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from pydantic import BaseModel
from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from core.states import OPEN_ALERTS, EmailState, JobState
from db.models.alerts import MonitoringAlert
from db.models.apps import App
from db.models.jobs import Job
from db.models.mail import Email


class QueueRecord(BaseModel):
    """One queue, now."""

    name: str
    queued: int
    running: int
    dead: int
    oldest_age_s: float | None
    """Age of the oldest job that is due and waits, seconds."""
    redispatched: int
    """Jobs that wait and were sent more than once."""
    expired_leases: int


def queues(session: Session, names: Iterable[str], *, now: datetime) -> list[QueueRecord]:
    """Return every queue's record, the idle ones too."""
    due = (Job.state == JobState.QUEUED) & (Job.run_at <= now)

    def count(condition: object) -> object:
        return func.count(case((condition, 1)))  # type: ignore[arg-type]

    rows = session.execute(
        select(
            Job.queue,
            count(Job.state == JobState.QUEUED),
            count(Job.state == JobState.RUNNING),
            count(Job.state == JobState.DEAD),
            func.min(case((due, Job.run_at))),
            count((Job.state == JobState.QUEUED) & (Job.dispatches > 1)),
            count((Job.state == JobState.RUNNING) & (Job.lease_until < now)),
        )  # type: ignore[call-overload]
        .where(Job.state.in_([JobState.QUEUED, JobState.RUNNING, JobState.DEAD]))
        .group_by(Job.queue)
    ).all()
    found = {row[0]: row for row in rows}
    records = []
    for name in names:
        _, queued, running, dead, oldest, again, expired = found.get(name, (name, 0, 0, 0, None, 0, 0))
        records.append(
            QueueRecord(
                name=name,
                queued=queued,
                running=running,
                dead=dead,
                oldest_age_s=(now - oldest).total_seconds() if oldest else None,
                redispatched=again,
                expired_leases=expired,
            )
        )
    return records


def last_done(session: Session, kind: str) -> datetime | None:
    """Return when a job of this kind was last done."""
    return session.scalar(select(func.max(Job.finished_at)).where(Job.kind == kind, Job.state == JobState.DONE))


def prometheus(session: Session, *, now: datetime) -> str:
    """Return the figures as Prometheus' text exposition (version 0.0.4)."""
    lines: list[str] = []

    def family(name: str, kind: str, text: str, samples: Iterable[tuple[dict[str, str], float | int | None]]) -> None:
        lines.append(f"# HELP {name} {text}")
        lines.append(f"# TYPE {name} {kind}")
        for labels, value in samples:
            if value is not None:
                inner = ",".join(f'{key}="{_escaped(label)}"' for key, label in labels.items())
                lines.append(f"{name}{{{inner}}} {value}" if inner else f"{name} {value}")

    names = session.scalars(select(Job.queue).distinct().order_by(Job.queue)).all()
    records = queues(session, names, now=now)
    for field, text in (
        ("queued", "Jobs that wait"),
        ("running", "Jobs in a worker's hands"),
        ("dead", "Jobs out of attempts"),
        ("oldest_age_s", "Age of the oldest job that is due, seconds"),
        ("redispatched", "Waiting jobs that were sent more than once"),
        ("expired_leases", "Running jobs whose worker fell silent"),
    ):
        metric = "metamon_jobs_" + field.removesuffix("_s") + ("_seconds" if field.endswith("_s") else "")
        family(metric, "gauge", text, (({"queue": record.name}, getattr(record, field)) for record in records))
    tick = last_done(session, "monitoring.sweep")
    family(
        "metamon_sweep_age_seconds",
        "gauge",
        "Time since the last sweep was done",
        [({}, (now - tick).total_seconds() if tick else None)],
    )
    alerts = session.execute(
        select(App.name, MonitoringAlert.severity, func.count())
        .join(App, App.id == MonitoringAlert.app_id)
        .where(MonitoringAlert.state.in_(OPEN_ALERTS))
        .group_by(App.name, MonitoringAlert.severity)
    ).all()
    family(
        "metamon_alerts_open",
        "gauge",
        "Open alerts",
        (({"app": app, "severity": severity.value}, count) for app, severity, count in alerts),
    )
    mails = dict(
        session.execute(
            select(Email.state, func.count()).where(Email.created_at > now - timedelta(days=1)).group_by(Email.state)
        ).all()
    )
    family(
        "metamon_mails_day",
        "gauge",
        "Mails of the past 24 hours",
        (({"state": state.value}, mails.get(state, 0)) for state in EmailState),
    )
    return "\n".join(lines) + "\n"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
