"""Runs that apps trace to our own collector."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from db.models.apps import App
from db.queries import runs as run_queries
from db.queries.runs import RunRecord
from db.repositories.projects import monitored_project
from db.repositories.runs import abandon_pending
from db.session import Sessions
from traces.source import Pulled, TraceRun

ABANDONED_AFTER = timedelta(hours=24)
"""A run that has not ended by then belongs to a process that was killed."""

ABANDON_WINDOW = timedelta(days=7)


class EmbeddedSource:
    """The collector's own store. Implements `traces.source.TraceSource`.

    Args:
        sessions: the database.
        public_url: how people reach the API, for links.
    """

    def __init__(self, sessions: Sessions, public_url: str) -> None:
        self.sessions = sessions
        self.public_url = public_url.rstrip("/")

    def pull(self, app_id: int, now: datetime) -> Pulled:
        """Give up on runs that never ended; runs and feedback arrive by themselves."""
        with self.sessions() as session, session.begin():
            project = monitored_project(session, session.get_one(App, app_id))
            if project is None:
                return Pulled()
            end = now - ABANDONED_AFTER
            return Pulled(abandoned=abandon_pending(session, project.id, start=end - ABANDON_WINDOW, end=end))

    def runs(
        self,
        project_id: UUID,
        start: datetime,
        end: datetime,
        *,
        only_errors: bool = False,
        limit: int = 10_000,
        with_payload: bool = False,
    ) -> list[TraceRun]:
        """Return root runs that started in [start, end), newest first, at most `limit`."""
        with self.sessions() as session:
            found = run_queries.roots(
                session, project_id, start, end, only_errors=only_errors, limit=limit, with_payload=with_payload
            )
        return [trace_run(record, self.run_url(project_id, record.id)) for record in found]

    def run_url(self, project_id: UUID, run_id: UUID) -> str:
        """Return where the run can be looked at."""
        return f"{self.public_url}/api/v1/runs/{run_id}"


def trace_run(record: RunRecord, url: str) -> TraceRun:
    """Return a stored run as the agents see it."""
    return TraceRun(
        id=record.id,
        start_time=record.start_time,
        latency_s=record.latency_s,
        status=record.status,
        error=record.error,
        attributes=attributes(record.name, record.metadata, record.tags),
        scores={key: stats.avg for key, stats in record.feedback.items() if stats.avg is not None},
        inputs=record.inputs,
        outputs=record.outputs,
        url=url,
    )


def attributes(name: str | None, metadata: Mapping[str, Any], tags: list[str]) -> dict[str, str]:
    """Return name, scalar metadata and tags as one flat mapping of texts."""
    flat = {"name": name} if name else {}
    for key, value in metadata.items():
        if isinstance(value, bool):
            flat[key] = "true" if value else "false"
        elif isinstance(value, str | int | float):
            flat[key] = str(value)
    return flat | {f"tag:{tag}": "true" for tag in tags}
