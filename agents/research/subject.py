"""What an investigation is about, read from the database before it starts, and the runs it compares."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from agents.research.evidence import ConfigChange
from agents.research.history import History
from agents.research.investigation import Subject
from core.errors import NotFoundError, PermanentError
from core.states import AlertState
from db.models.access import AuditEntry
from db.models.alerts import MonitoringAlert
from db.models.apps import App
from db.queries.fixes import past_fixes
from db.repositories import error_patterns, proposals
from db.repositories.projects import monitored_project
from traces.source import TraceRun, TraceSource

LOOKBACK = timedelta(days=14)
"""How far before the bad window the baseline may reach."""

CHANGE_LOOKBACK = timedelta(hours=24)
"""How old a change of configuration may be and still be looked at."""

MAX_RUNS = 8_000
"""Runs of either window: enough for any cause that matters, read in about a second."""

SPANS = 8
"""A longer bad window is read in so many stretches, so that its beginning is seen too."""

MIN_BASELINE = 100
"""With fewer runs left, the baseline keeps the stretches in which the same metric was bad before."""

MAX_CHANGES = 50

TRIED_WITHIN = timedelta(hours=24)
"""A change that fell so recently is not proposed again; later the world may have changed."""

Span = tuple[datetime, datetime]


class UnknownAlertError(PermanentError):
    """The alert, its app or its project does not exist."""


def read(session: Session, alert_id: int, *, now: datetime) -> tuple[Subject, UUID | None, datetime, list[Span]]:
    """Read an alert's investigation.

    Returns:
        (subject, id of the app's project or None where there is none to read, end of the bad window, stretches in
        which the same metric was bad before).

    Raises:
        UnknownAlertError: there is no such alert.
    """
    alert = session.get(MonitoringAlert, alert_id)
    if alert is None:
        raise UnknownAlertError(f"there is no alert {alert_id}; `metamon alerts list` shows what there is")
    app = session.get_one(App, alert.app_id)
    project = monitored_project(session, app)
    is_open = alert.state in (AlertState.PENDING, AlertState.FIRING)
    end = now if is_open else max(alert.window_end, alert.window_start)
    subject = Subject(
        alert_id=alert.id,
        app_id=app.id,
        app=app.name,
        metric=alert.metric,
        window_start=alert.window_start,
        opened_at=alert.fired_at or alert.opened_at,
        **_of_app(session, app, start=alert.window_start, end=end, now=now),
    )
    return subject, project.id if project else None, end, _bad_spans(session, alert)


def ask(
    session: Session, app_name: str, *, metric: str, since: datetime, until: datetime, now: datetime
) -> tuple[Subject, UUID | None, datetime, list[Span]]:
    """Read an investigation that somebody asks for without an alert. Returns what `read` returns.

    Raises:
        NotFoundError: there is no such app.
    """
    app = session.scalars(select(App).where(App.name == app_name)).one_or_none()
    if app is None:
        names = ", ".join(session.scalars(select(App.name).order_by(App.name))) or "none yet"
        raise NotFoundError(f"there is no app {app_name!r}; there is: {names}")
    project = monitored_project(session, app)
    subject = Subject(
        alert_id=None,
        app_id=app.id,
        app=app.name,
        metric=metric,
        window_start=since,
        opened_at=since,
        **_of_app(session, app, start=since, end=until, now=now),
    )
    return subject, project.id if project else None, until, []


def _of_app(session: Session, app: App, *, start: datetime, end: datetime, now: datetime) -> dict[str, Any]:
    return {
        "sla_ms": app.sla_ms,
        "source": app.source,
        "config": app.config,
        "allowed": app.allowed,
        "changes": _changes(session, app.name, start, end),
        "tried": {
            change: f"tried before as proposal {proposal}: {str(how).replace('_', ' ')}"
            for change, (proposal, how) in proposals.fallen(session, app_id=app.id, since=now - TRIED_WITHIN).items()
        },
        "history": History(tuple(past_fixes(session))),
        "known_errors": error_patterns.known(session, app.id),
    }


def windows(
    source: TraceSource, project: UUID, start: datetime, end: datetime, excluded: Sequence[Span]
) -> tuple[list[TraceRun], list[TraceRun]]:
    """Return the runs of the bad window and of its baseline, the latest of each, outside any transaction."""
    bad = source.runs(project, start, end, limit=MAX_RUNS)
    if len(bad) == MAX_RUNS:
        edges = [start + (end - start) * step / SPANS for step in range(SPANS + 1)]
        bad = [run for low, high in pairwise(edges) for run in source.runs(project, low, high, limit=MAX_RUNS // SPANS)]
    baseline = source.runs(project, start - LOOKBACK, start, limit=MAX_RUNS)
    healthy = [run for run in baseline if not any(low <= run.start_time < high for low, high in excluded)]
    return bad, healthy if len(healthy) >= MIN_BASELINE else baseline


def _changes(session: Session, app: str, start: datetime, end: datetime) -> list[ConfigChange]:
    rows = session.scalars(
        select(AuditEntry)
        .where(
            AuditEntry.action == "app.config",
            AuditEntry.subject == f"app:{app}",
            AuditEntry.at >= start - CHANGE_LOOKBACK,
            AuditEntry.at <= end,
        )
        .order_by(AuditEntry.at.desc(), AuditEntry.id.desc())
        .limit(MAX_CHANGES)
    ).all()
    return [
        ConfigChange(
            id=f"change-{number}",
            at=row.at,
            actor=row.actor[:100],
            key=str(row.detail.get("key", ""))[:200],
            before=row.detail.get("from"),
            after=row.detail.get("to"),
        )
        for number, row in enumerate(rows, 1)
    ]


def _bad_spans(session: Session, alert: MonitoringAlert) -> list[Span]:
    rows = session.execute(
        select(MonitoringAlert.window_start, MonitoringAlert.window_end, MonitoringAlert.resolved_at).where(
            MonitoringAlert.app_id == alert.app_id,
            MonitoringAlert.metric == alert.metric,
            MonitoringAlert.id != alert.id,
            MonitoringAlert.window_start < alert.window_start,
            or_(MonitoringAlert.fired_at.is_not(None), MonitoringAlert.state == AlertState.FIRING),
        )
    )
    return [(start, max(end, resolved or end)) for start, end, resolved in rows]
