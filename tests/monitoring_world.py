"""A world of runs for the monitoring tests: written straight into the store, with the notes that ingest leaves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from db.models.apps import App, Project
from db.repositories import partitions


@dataclass
class Spec:
    """One root run."""

    at: datetime
    status: str = "success"
    seconds: float = 0.08
    scores: Mapping[str, float] = field(default_factory=dict)
    tokens: int | None = 10
    id: UUID = field(default_factory=uuid4)


@dataclass
class World:
    """An app with its tracing project."""

    sessions: sessionmaker[Session]
    app_id: int
    project_id: UUID

    def add(self, runs: Sequence[Spec]) -> None:
        """Store runs and feedback and leave a note for every minute they touch."""
        if not runs:
            return
        partitions.ensure(self.sessions, {run.at.date() for run in runs})
        with self.sessions.begin() as session:
            session.execute(
                text(
                    "INSERT INTO runs (day, id, trace_id, project_id, name, is_root, start_time, end_time, status, "
                    "total_tokens, posted) SELECT (at AT TIME ZONE 'UTC')::date, id, id, :project, 'chat', true, at, "
                    "CASE WHEN status = 'pending' THEN NULL ELSE at + make_interval(secs => seconds) END, status, "
                    "tokens, true FROM unnest(cast(:ids AS uuid[]), cast(:ats AS timestamptz[]), "
                    "cast(:statuses AS text[]), cast(:seconds AS float8[]), cast(:tokens AS bigint[])) "
                    "AS r(id, at, status, seconds, tokens)"
                ),
                {
                    "project": self.project_id,
                    "ids": [run.id for run in runs],
                    "ats": [run.at for run in runs],
                    "statuses": [run.status for run in runs],
                    "seconds": [run.seconds for run in runs],
                    "tokens": [run.tokens for run in runs],
                },
            )
            self._score(session, [(run.id, run.at, key, score) for run in runs for key, score in run.scores.items()])
            self._note(session, (run.at for run in runs))

    def score(self, runs: Iterable[Spec], key: str, score: float) -> None:
        """Add feedback to runs that are stored already."""
        with self.sessions.begin() as session:
            runs = list(runs)
            self._score(session, [(run.id, run.at, key, score) for run in runs])
            self._note(session, (run.at for run in runs))

    def _score(self, session: Session, rows: list[tuple[UUID, datetime, str, float]]) -> None:
        session.execute(
            text(
                "INSERT INTO feedback (day, id, run_id, trace_id, project_id, key, score, created_at, modified_at) "
                "SELECT (at AT TIME ZONE 'UTC')::date, gen_random_uuid(), id, id, :project, key, score, at, at "
                "FROM unnest(cast(:ids AS uuid[]), cast(:ats AS timestamptz[]), cast(:keys AS text[]), "
                "cast(:scores AS float8[])) AS f(id, at, key, score)"
            ),
            {
                "project": self.project_id,
                "ids": [row[0] for row in rows],
                "ats": [row[1] for row in rows],
                "keys": [row[2] for row in rows],
                "scores": [row[3] for row in rows],
            },
        )

    def _note(self, session: Session, moments: Iterable[datetime]) -> None:
        minutes = sorted({at.replace(second=0, microsecond=0) for at in moments})
        session.execute(
            text(
                "INSERT INTO bucket_changes (project_id, bucket) "
                "SELECT :project, unnest(cast(:minutes AS timestamptz[]))"
            ),
            {"project": self.project_id, "minutes": minutes},
        )


def make_world(sessions: sessionmaker[Session], *, project: str = "shop", **app: Any) -> World:
    """Create an app and its project."""
    with sessions.begin() as session:
        row = App(**{"name": project, "project": project, "sla_ms": 300, **app})
        traced = Project(id=uuid4(), name=project)
        session.add_all([row, traced])
        session.flush()
        return World(sessions, row.id, traced.id)


def steady(start: datetime, end: datetime, every: timedelta, **fields: Any) -> list[Spec]:
    """Return healthy runs at a steady pace."""
    count = int((end - start) / every)
    return [Spec(start + n * every, **fields) for n in range(count)]
