"""An app with an approved proposal, and traffic that went through its rollout."""

from __future__ import annotations

import itertools
import random
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert
from sqlalchemy.orm import Session, sessionmaker
from typer.testing import CliRunner

from agents.change import Change
from analysis.assignment import gets_candidate
from core.settings import settings
from core.states import ProposalStatus, RunStatus
from db import session as session_module
from db.models.apps import App, Project
from db.models.proposals import ImprovementProposal
from db.models.rollouts import Rollout
from db.models.traces import Feedback, Run
from db.repositories import partitions

CHANGE = Change.model_validate({"type": "prompt", "key": "prompt.a", "from": "v12", "to": "v13"})
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
_numbers = itertools.count()

Score = Callable[[bool, random.Random], float | None]


@contextmanager
def shell_on(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[CliRunner]:
    """A shell, wide enough for the tables, whose commands work on the test's database."""
    monkeypatch.setenv("METAMON_DATABASE_URL", database_url)
    monkeypatch.setenv("COLUMNS", "250")
    settings.cache_clear()
    session_module._engine_of.cache_clear()
    try:
        yield CliRunner()
    finally:
        session_module.engine().dispose()
        session_module._engine_of.cache_clear()
        settings.cache_clear()


def add_app(sessions: sessionmaker[Session], name: str = "fa-ai", **fields: Any) -> int:
    """Add an app with a prompt that may be changed, and its tracing project."""
    with sessions.begin() as session:
        app = App(
            name=name,
            project=name,
            sla_ms=300,
            config={"prompt.a": "v12", "retrieval.k": 4},
            allowed={
                "prompt.a": {"type": "prompt", "values": ["v12", "v13"]},
                "retrieval.k": {"type": "parameter", "minimum": 1, "maximum": 9},
            },
            **fields,
        )
        session.add_all([app, Project(id=uuid.uuid4(), name=name, extra={})])
        session.flush()
        return app.id


def add_proposal(sessions: sessionmaker[Session], app_id: int, change: Change = CHANGE, **fields: Any) -> int:
    """Add an approved proposal."""
    values: dict[str, Any] = {
        "status": ProposalStatus.APPROVED,
        "approved_hash": change.hash,
        "metric": "error_rate",
        "reviewed_by": "cli:ann",
    } | fields
    with sessions.begin() as session:
        proposal = ImprovementProposal(
            app_id=app_id,
            title="Take the newer prompt",
            root_cause="v12 is old",
            cause={"conditions": {}},
            change=change.as_json(),
            change_hash=change.hash,
            predicted_pct=2.0,
            predicted_low=0.5,
            predicted_high=4.0,
            effort_hours=2.0,
            effort_hours_p80=4.0,
            impact="high",
            **values,
        )
        session.add(proposal)
        session.flush()
        return proposal.id


def serve(
    sessions: sessionmaker[Session],
    rollout_id: int,
    *,
    start: datetime,
    requests: int,
    every: timedelta = timedelta(milliseconds=20),
    fails: Callable[[bool, random.Random], bool] = lambda candidate, rng: False,
    scores: dict[str, Score] | None = None,
    metadata: Callable[[random.Random], dict[str, Any]] = lambda rng: {},
    seed: int = 1,
) -> datetime:
    """Trace requests of ever new units through the rollout as it stands; return when the last one ended.

    Half of the requests whose metadata names the model "broken" fail in both arms.
    """
    rng = random.Random(seed)
    with sessions.begin() as session:
        rollout = session.get_one(Rollout, rollout_id)
        app = session.get_one(App, rollout.app_id)
        project = session.query(Project).filter_by(name=app.project).one()
        percent = min(rollout.percent, 100 - rollout.holdback_percent)
    partitions.ensure(sessions, {start.date(), (start + requests * every).date()})
    runs, feedback = [], []
    for number in range(requests):
        unit = f"u-{next(_numbers)}"
        candidate = gets_candidate(rollout.salt, unit, percent)
        at, run_id = start + number * every, uuid.uuid4()
        about = metadata(rng)
        failed = fails(candidate, rng) or (about.get("model") == "broken" and rng.random() < 0.5)
        runs.append(
            {
                "day": at.date(),
                "id": run_id,
                "trace_id": run_id,
                "project_id": project.id,
                "is_root": True,
                "start_time": at,
                "end_time": at + timedelta(milliseconds=100),
                "status": RunStatus.ERROR if failed else RunStatus.SUCCESS,
                "run_metadata": about
                | {
                    "targeting_key": unit,
                    f"rollout.{rollout_id}": "candidate" if candidate else "baseline",
                },
            }
        )
        for key, score in (scores or {}).items():
            feedback.append(
                {
                    "day": at.date(),
                    "id": uuid.uuid4(),
                    "run_id": run_id,
                    "trace_id": run_id,
                    "key": key,
                    "score": score(candidate, rng),
                    "created_at": at,
                    "modified_at": at,
                }
            )
    with sessions.begin() as session:
        session.execute(insert(Run), runs)
        if feedback:
            session.execute(insert(Feedback), feedback)
    return start + requests * every
