"""The first page in one reading: what is wrong, what waits for a person, what is on its way. No table is counted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import BaseModel
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.states import LIVE_ROLLOUTS, EmailState, JobState, ProposalStatus, Severity
from db.models.apps import App
from db.models.jobs import Job
from db.models.mail import Email
from db.models.proposals import ImprovementProposal
from db.queries.alerts import AlertRecord, list_alerts
from db.queries.rollouts import RolloutRecord, list_rollouts, log_of

SHOWN = 50
"""Things of one kind on the page."""
MAIL_LOOK_BACK = timedelta(days=3)
URGENT = frozenset({Severity.CRITICAL, Severity.HIGH})


class NeedsYou(BaseModel):
    """Something that waits for a person."""

    kind: Literal["approval", "alert", "mail", "job"]
    id: int
    title: str
    app: str | None
    since: datetime


class Margin(BaseModel):
    """How far the evidence about one metric is from deciding; natural logarithms of e-values."""

    metric: str
    baseline: float | None
    candidate: float | None
    drop: float | None
    """Relative, a fraction; positive is worse."""
    log_e_worse: float | None
    worse_at: float | None
    """A rollback's threshold."""
    log_e_fine: float | None
    fine_at: float | None
    """A promotion's threshold."""


class RolloutMargins(RolloutRecord):
    """A live rollout with what its guard says."""

    margins: list[Margin]


class Board(BaseModel):
    """What of the overview is in plain tables."""

    needs_you: list[NeedsYou]
    open_alerts: list[AlertRecord]
    rollouts: list[RolloutMargins]


def read(session: Session, *, now: datetime) -> Board:
    """Return what waits, what is open and what is on its way."""
    alerts = list_alerts(session, only_open=True, limit=SHOWN)
    return Board(
        needs_you=[*_approvals(session), *_alerts(alerts), *_mails(session, now), *_jobs(session)],
        open_alerts=alerts,
        rollouts=[
            RolloutMargins(**record.model_dump(), margins=margins_of(record.guard))
            for record in list_rollouts(session, states=LIVE_ROLLOUTS, limit=SHOWN)
        ],
    )


def margins_of(evidence: dict[str, Any]) -> list[Margin]:
    """Return the guard's evidence by metric."""
    return [
        Margin(
            metric=name,
            baseline=part.get("baseline"),
            candidate=part.get("candidate"),
            drop=part.get("drop"),
            log_e_worse=log_of(part.get("e_rollback")),
            worse_at=log_of(part.get("rollback_at")),
            log_e_fine=log_of(part.get("e_promote")),
            fine_at=log_of(part.get("promote_at")),
        )
        for name, part in evidence.items()
        if isinstance(part, dict) and "e_rollback" in part
    ]


def _approvals(session: Session) -> list[NeedsYou]:
    rows = session.execute(
        select(ImprovementProposal.id, ImprovementProposal.title, ImprovementProposal.updated_at, App.name)
        .join(App, App.id == ImprovementProposal.app_id)
        .where(ImprovementProposal.status == ProposalStatus.AWAITING_APPROVAL)
        .order_by(ImprovementProposal.id)
        .limit(SHOWN)
    )
    return [NeedsYou(kind="approval", id=row.id, title=row.title, app=row.name, since=row.updated_at) for row in rows]


def _alerts(alerts: Sequence[AlertRecord]) -> list[NeedsYou]:
    return [
        NeedsYou(kind="alert", id=alert.id, title=alert.title, app=alert.app, since=alert.opened_at)
        for alert in alerts
        if alert.severity in URGENT and alert.fired_at and not alert.acknowledged_at and not alert.silenced
    ]


def _mails(session: Session, now: datetime) -> list[NeedsYou]:
    rows = session.execute(
        select(Email.id, Email.subject, Email.created_at, App.name)
        .outerjoin(App, App.id == Email.app_id)
        .where(Email.created_at > now - MAIL_LOOK_BACK, Email.state.in_([EmailState.UNKNOWN, EmailState.FAILED]))
        .order_by(Email.id.desc())
        .limit(SHOWN)
    )
    return [NeedsYou(kind="mail", id=row.id, title=row.subject, app=row.name, since=row.created_at) for row in rows]


def _jobs(session: Session) -> list[NeedsYou]:
    rows = session.execute(
        select(Job.id, Job.kind, Job.error, Job.finished_at, Job.created_at)
        .where(Job.state == JobState.DEAD)
        .order_by(Job.id.desc())
        .limit(SHOWN)
    )
    return [
        NeedsYou(
            kind="job",
            id=row.id,
            title=f"{row.kind}: {(row.error or 'no attempts left').splitlines()[0][:200]}",
            app=None,
            since=row.finished_at or row.created_at,
        )
        for row in rows
    ]


def oldest_due(session: Session, *, now: datetime) -> dict[str, datetime]:
    """Return since when the oldest due job of each queue waits."""
    rows = session.execute(
        select(Job.queue, func.min(Job.run_at))
        .where(Job.state == JobState.QUEUED, Job.run_at <= now)
        .group_by(Job.queue)
    )
    return dict(rows.all())
