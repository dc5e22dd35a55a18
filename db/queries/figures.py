"""The fleet's figures for Prometheus: a handful of cheap, indexed queries, each bounded in what it reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.states import LIVE_ROLLOUTS, OPEN_ALERTS, EmailState, JobState, ProposalStatus, Severity
from db.models.alerts import MonitoringAlert
from db.models.apps import App, Watermark
from db.models.evaluation import ModelUsage
from db.models.jobs import Job
from db.models.mail import Email, MailAddress
from db.models.proposals import ImprovementProposal
from db.models.rollouts import Rollout
from db.queries.fleet import queues

DAY = timedelta(days=1)
TICKS = ("monitoring.sweep", "rollout.guard", "notifications.flush_digest", "notifications.flush_hourly")
"""Kinds that beat inserts: the age of the latest says whether beat and relay live."""

Samples = Iterable[tuple[Mapping[str, str], float | int | None]]


@dataclass(frozen=True)
class Family:
    """One metric with its samples."""

    name: str
    kind: str
    help: str
    samples: Samples


def prometheus(session: Session, queue_names: Iterable[str], *, now: datetime) -> str:
    """Return the figures as Prometheus' text exposition (version 0.0.4).

    Args:
        queue_names: all queues; those without a job are zeros, not gaps.
    """
    lines: list[str] = []
    for family in families(session, queue_names, now=now):
        lines.append(f"# HELP {family.name} {family.help}")
        lines.append(f"# TYPE {family.name} {family.kind}")
        for labels, value in family.samples:
            if value is not None:
                inner = ",".join(f'{key}="{_escaped(label)}"' for key, label in labels.items())
                lines.append(f"{family.name}{{{inner}}} {value}" if inner else f"{family.name} {value}")
    return "\n".join(lines) + "\n"


def families(session: Session, queue_names: Iterable[str], *, now: datetime) -> list[Family]:
    """Return every metric that is exported."""
    return [
        *_jobs(session, queue_names, now),
        *_clockwork(session, now),
        *_alerts(session, now),
        *_mail(session, now),
        *_changes(session),
        *_models(session, now),
    ]


def _jobs(session: Session, names: Iterable[str], now: datetime) -> list[Family]:
    records = queues(session, names, now=now)

    def by_queue(name: str, help_: str, values: Mapping[str, float | int | None]) -> Family:
        return Family(
            f"metamon_jobs_{name}", "gauge", help_, [({"queue": key}, value) for key, value in values.items()]
        )

    return [
        by_queue("queued", "Jobs that wait", {r.name: r.queued for r in records}),
        by_queue("running", "Jobs in a worker's hands", {r.name: r.running for r in records}),
        by_queue("dead", "Jobs out of attempts", {r.name: r.dead for r in records}),
        by_queue(
            "oldest_age_seconds", "Age of the oldest job that is due; 0 where none is",
            {r.name: r.oldest_age_s or 0 for r in records},
        ),
        by_queue(
            "redispatched", "Waiting jobs that were sent more than once",
            {r.name: r.redispatched for r in records},
        ),
        by_queue(
            "expired_leases", "Running jobs whose worker fell silent",
            {r.name: r.expired_leases for r in records},
        ),
        by_queue("redispatches_hour", *_redispatches(session, [r.name for r in records], now)),
    ]  # fmt: skip


def _redispatches(session: Session, names: list[str], now: datetime) -> tuple[str, Mapping[str, int]]:
    rows = session.execute(
        select(Job.queue, func.sum(Job.dispatches - 1))
        .where(Job.finished_at > now - timedelta(hours=1), Job.dispatches > 1)
        .group_by(Job.queue)
    ).all()
    found = {queue: int(count) for queue, count in rows}
    return "Messages beyond the first of the jobs that ended in the past hour", {n: found.get(n, 0) for n in names}


def _clockwork(session: Session, now: datetime) -> list[Family]:
    ticks: list[tuple[Mapping[str, str], float | int | None]] = []
    for kind in TICKS:
        made = session.scalar(
            select(Job.created_at).where(Job.kind == kind, Job.created_at > now - DAY).order_by(Job.id.desc()).limit(1)
        )
        ticks.append(({"tick": kind}, (now - made).total_seconds() if made else None))
    done = session.scalar(
        select(Job.finished_at)
        .where(Job.kind == "monitoring.sweep", Job.state == JobState.DONE, Job.finished_at.is_not(None))
        .order_by(Job.finished_at.desc())
        .limit(1)
    )
    marks = session.execute(
        select(App.name, func.min(Watermark.at))
        .join(Watermark, Watermark.app_id == App.id)
        .where(App.enabled, Watermark.name == "monitoring")
        .group_by(App.name)
    ).all()
    return [
        Family("metamon_tick_age_seconds", "gauge", "Time since beat made the latest tick of a kind", ticks),
        Family(
            "metamon_sweep_age_seconds", "gauge", "Time since the last sweep was done",
            [({}, (now - done).total_seconds() if done else None)],
        ),
        Family(
            "metamon_sweep_lag_seconds", "gauge", "How far behind now an app's data is judged",
            [({"app": name}, (now - at).total_seconds()) for name, at in marks],
        ),
    ]  # fmt: skip


def _alerts(session: Session, now: datetime) -> list[Family]:
    rows = session.execute(
        select(App.name, MonitoringAlert.severity, func.count())
        .join(MonitoringAlert, MonitoringAlert.app_id == App.id)
        .where(MonitoringAlert.state.in_(OPEN_ALERTS))
        .group_by(App.name, MonitoringAlert.severity)
    ).all()
    counts = {(name, severity): count for name, severity, count in rows}
    apps = session.scalars(select(App.name).where(App.enabled).order_by(App.name)).all()
    samples = [
        ({"app": name, "severity": severity.value}, counts.get((name, severity), 0))
        for name in apps
        for severity in Severity
    ]
    return [Family("metamon_alerts_open", "gauge", "Open alerts", samples)]


def _mail(session: Session, now: datetime) -> list[Family]:
    rows = session.execute(
        select(Email.state, func.count()).where(Email.created_at > now - DAY).group_by(Email.state)
    ).all()
    counts = dict(rows)
    disabled = session.scalar(select(func.count()).select_from(MailAddress).where(MailAddress.disabled_at.is_not(None)))
    return [
        Family(
            "metamon_mails_day", "gauge", "Mails of the past 24 hours by what became of them",
            [({"state": state.value}, counts.get(state, 0)) for state in EmailState],
        ),
        Family(
            "metamon_mail_addresses_disabled", "gauge", "Addresses that bounced and are written to no more",
            [({}, disabled or 0)],
        ),
    ]  # fmt: skip


def _changes(session: Session) -> list[Family]:
    waiting = session.scalar(
        select(func.count())
        .select_from(ImprovementProposal)
        .where(ImprovementProposal.status == ProposalStatus.AWAITING_APPROVAL)
    )
    live = session.scalar(select(func.count()).select_from(Rollout).where(Rollout.state.in_(LIVE_ROLLOUTS)))
    return [
        Family("metamon_proposals_waiting", "gauge", "Proposals that wait for a person", [({}, waiting or 0)]),
        Family("metamon_rollouts_live", "gauge", "Rollouts on their way", [({}, live or 0)]),
    ]


def _models(session: Session, now: datetime) -> list[Family]:
    tokens, cap, calls = session.execute(
        select(
            func.coalesce(func.sum(ModelUsage.tokens), 0),
            func.coalesce(func.sum(ModelUsage.token_cap), 0),
            func.coalesce(func.sum(ModelUsage.calls), 0),
        ).where(ModelUsage.at > now - DAY)
    ).one()
    return [
        Family("metamon_model_tokens_day", "gauge", "Tokens asked of language models in 24 hours", [({}, tokens)]),
        Family("metamon_model_token_cap_day", "gauge", "What those pieces of work might have spent", [({}, cap)]),
        Family("metamon_model_calls_day", "gauge", "Calls of language models in 24 hours", [({}, calls)]),
    ]


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
