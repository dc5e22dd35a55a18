"""`/metrics`: every figure that a rule or a panel names is exported, cheaply, and rules say what they should."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from fastapi.testclient import TestClient
from sqlalchemy import Engine, event
from sqlalchemy.orm import Session, sessionmaker

from api.app import create_app
from core.clock import utc_now
from core.states import JobState, Scope
from db.models.apps import Watermark
from db.models.jobs import Job
from db.queries import figures
from db.repositories import tokens, usage
from llm.budget import Budget
from tests.integration.notifications.rows import add_alert, add_app
from workers.queues import QUEUES

DEPLOY = Path(__file__).parents[2] / "deploy"
NAME = re.compile(r"metamon_[a-z_]+")
QUERIES = 20
"""A scrape makes no more queries than this, however large the fleet."""


def exported(sessions: sessionmaker[Session]) -> str:
    """Return the figures of a fleet in which everything has happened once."""
    now = utc_now()
    with sessions.begin() as session:
        app = add_app(session, 'odd"name')
        add_alert(session, app)
        session.add(Watermark(app_id=app.id, name="monitoring", at=now - timedelta(seconds=40), state={}))
        caps = usage.Caps(4, 20_000, 1.0)
        granted = usage.reserve(session, app.id, purpose="research", model="m", now=now, wanted=caps, daily=caps)
        assert isinstance(granted, usage.Reservation)
        usage.settle(session, granted.id, budget=Budget(spent_calls=2, spent_tokens=900), answered=True)
        for number, kind in enumerate(figures.TICKS):
            session.add(
                Job(
                    key=f"tick:{number}", kind=kind, queue=kind.partition(".")[0], state=JobState.DONE, dispatches=3,
                    created_at=now - timedelta(seconds=90), finished_at=now - timedelta(seconds=60),
                )
            )  # fmt: skip
        session.add(Job(key="old", kind="research.investigate", queue="research", run_at=now - timedelta(seconds=500)))
    with sessions() as session:
        return figures.prometheus(session, QUEUES, now=now)


def test_the_figures_say_what_is(sessions: sessionmaker[Session]) -> None:
    """Known rows give known figures; idle queues are zeros, not gaps, so that a rule can see them."""
    said = exported(sessions)
    for line in (
        'metamon_jobs_queued{queue="research"} 1',
        'metamon_jobs_queued{queue="evaluation"} 0',
        'metamon_jobs_oldest_age_seconds{queue="research"} 500.0',
        'metamon_jobs_redispatches_hour{queue="notifications"} 4',
        'metamon_tick_age_seconds{tick="monitoring.sweep"} 90.0',
        "metamon_sweep_age_seconds 60.0",
        'metamon_sweep_lag_seconds{app="odd\\"name"} 40.0',
        'metamon_alerts_open{app="odd\\"name",severity="critical"} 1',
        'metamon_alerts_open{app="odd\\"name",severity="low"} 0',
        'metamon_mails_day{state="failed"} 0',
        "metamon_model_tokens_day 900",
    ):
        assert line in said.splitlines()


def test_every_figure_that_a_rule_or_a_panel_names_is_exported(sessions: sessionmaker[Session]) -> None:
    """A renamed metric would leave a rule that never fires and a panel that stays empty."""
    there = {line.split()[2] for line in exported(sessions).splitlines() if line.startswith("# TYPE")}
    rules = yaml.safe_load((DEPLOY / "alerts.yml").read_text())
    dashboard: dict[str, Any] = json.loads((DEPLOY / "grafana" / "metamon.json").read_text())
    expressions = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    expressions += [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    named = {name for expression in expressions for name in NAME.findall(expression)}
    assert named <= there
    assert there <= set(NAME.findall(" ".join(expressions)))  # and nothing is exported that nobody looks at
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_a_scrape_is_a_few_queries(sessions: sessionmaker[Session], db_engine: Engine) -> None:
    """Prometheus asks every 15 s."""
    exported(sessions)
    asked: list[str] = []
    event.listen(db_engine, "before_cursor_execute", lambda *args: asked.append(args[2]))
    with sessions() as session:
        figures.prometheus(session, QUEUES, now=utc_now())
    assert 0 < len(asked) <= QUERIES


def test_metrics_want_a_token(sessions: sessionmaker[Session]) -> None:
    """App names and what is wrong with them are nobody else's."""
    with sessions.begin() as session:
        token = tokens.create(session, name="prometheus", scope=Scope.VIEWER, by="test")
    with TestClient(create_app(sessions)) as client:
        assert client.get("/metrics").status_code == 401
        answer = client.get("/metrics", headers={"Authorization": f"Bearer {token}"})
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "metamon_jobs_dead" in answer.text


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is missing: Debian's package `prometheus` has it"
)
@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "rules", "alerts.yml"],
        ["test", "rules", "alerts_test.yml"],
        ["check", "config", "--syntax-only", "prometheus.yml"],
    ],
    ids=["rules", "rules fire", "config"],
)
def test_promtool_agrees(arguments: list[str]) -> None:
    """The rules parse, and fire when they should."""
    done = subprocess.run(["promtool", *arguments], cwd=DEPLOY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is missing: Debian's package `prometheus` has it"
)
def test_promtool_reads_what_we_export(sessions: sessionmaker[Session]) -> None:
    """The exposition format, label escapes included."""
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=exported(sessions), capture_output=True, text=True, check=False
    )
    assert "error" not in done.stderr.lower()
