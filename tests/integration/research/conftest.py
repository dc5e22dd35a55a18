"""An app with an open alert, and its traffic in the collector's own tables."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import Any

import pytest
from sqlalchemy import insert
from sqlalchemy.orm import Session, sessionmaker

from core.states import AlertKind, AlertState, Severity
from db.models.access import AuditEntry
from db.models.alerts import MonitoringAlert
from db.models.apps import App, Project
from db.models.traces import Feedback, Run
from db.repositories import partitions
from tests.unit.demo_traffic import ALLOWED, CONFIG, START, Traffic


@dataclass(frozen=True)
class World:
    """An app that is failing."""

    sessions: sessionmaker[Session]
    app_id: int
    project_id: uuid.UUID

    def alert(self, metric: str, *, kind: AlertKind = AlertKind.QUALITY_DEGRADATION) -> int:
        """Open an alert whose bad window starts at START."""
        with self.sessions.begin() as session:
            row = MonitoringAlert(
                app_id=self.app_id,
                fingerprint=f"{kind}:{metric}",
                kind=kind,
                severity=Severity.CRITICAL,
                state=AlertState.FIRING,
                metric=metric,
                title=metric,
                window_start=START,
                window_end=START + timedelta(seconds=10),
                opened_at=START,
                fired_at=START + timedelta(seconds=5),
            )
            session.add(row)
            session.flush()
            return row.id

    def deploy(self, key: str, before: Any, after: Any) -> None:
        """Change the configuration at START, as an operator would."""
        with self.sessions.begin() as session:
            app = session.get_one(App, self.app_id)
            app.config = {**app.config, key: after}
            session.add(
                AuditEntry(
                    at=START,
                    actor="cli:bob",
                    action="app.config",
                    subject=f"app:{app.name}",
                    detail={"key": key, "from": before, "to": after},
                )
            )


@pytest.fixture
def world(sessions: sessionmaker[Session]) -> Callable[[Traffic], World]:
    """Return a maker of failing apps."""

    def make(traffic: Traffic) -> World:
        with sessions.begin() as session:
            project = Project(id=uuid.uuid4(), name="fa-ai")
            app = App(name="fa-ai", project="fa-ai", sla_ms=300, config=CONFIG, allowed=ALLOWED)
            session.add_all([project, app])
            session.flush()
            app_id, project_id = app.id, project.id
        days = {run.start_time.astimezone(UTC).date() for run in traffic.runs}
        partitions.ensure(sessions, days)
        with sessions.begin() as session:
            session.execute(insert(Run), [_row(run, project_id) for run in traffic.runs])
            session.execute(insert(Feedback), [row for run in traffic.runs for row in _scores(run, project_id)])
        return World(sessions, app_id, project_id)

    return make


def _row(run: Any, project_id: uuid.UUID) -> dict[str, Any]:
    metadata = {key: value for key, value in run.attributes.items() if key != "name"}
    return {
        "day": run.start_time.date(),
        "id": run.id,
        "trace_id": run.id,
        "project_id": project_id,
        "name": run.attributes["name"],
        "run_type": "chain",
        "is_root": True,
        "start_time": run.start_time,
        "end_time": run.start_time + timedelta(seconds=run.latency_s),
        "status": run.status,
        "error": run.error,
        "run_metadata": metadata,
        "posted": True,
    }


def _scores(run: Any, project_id: uuid.UUID) -> list[dict[str, Any]]:
    return [
        {
            "day": run.start_time.date(),
            "id": uuid.uuid4(),
            "run_id": run.id,
            "trace_id": run.id,
            "project_id": project_id,
            "key": key,
            "score": score,
            "created_at": run.start_time,
            "modified_at": run.start_time,
        }
        for key, score in run.scores.items()
    ]
