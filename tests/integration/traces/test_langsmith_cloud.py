"""Polling the cloud, against a server that speaks its protocol: our own collector on a database of its own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from core.settings import OWN_PROJECT
from core.states import RunStatus, Scope
from db.models.apps import App, Project, Watermark
from db.models.metrics import BucketChange
from db.models.traces import Run
from db.repositories import tokens
from db.session import make_engine, make_sessions
from tests.databases import Databases
from tests.integration.traces.conftest import collector_on, patch, post, served_app
from traces.langsmith_api import LangSmithApi, SourceAwayError, SourceRefusedError
from traces.langsmith_cloud import LangSmithSource
from traces.source import Pulled

NOW = datetime.now(UTC)
AGO = timedelta(minutes=10)


@pytest.fixture
def cloud(databases: Databases) -> Iterator[httpx.Client]:
    """A server that speaks the cloud's protocol, and a client that traces into it."""
    with databases.fresh() as database:
        engine = make_engine(database)
        remote = make_sessions(engine)
        with remote.begin() as session:
            key = tokens.create(session, name="cloud", scope=Scope.INGEST, by="test")
        with (
            served_app(collector_on(remote)) as url,
            httpx.Client(base_url=url, headers={"x-api-key": key}, timeout=60) as client,
        ):
            yield client
        engine.dispose()


@pytest.fixture
def source(cloud: httpx.Client, sessions: sessionmaker[Session]) -> LangSmithSource:
    """The source under test."""
    key = SecretStr(cloud.headers["x-api-key"])
    return LangSmithSource(sessions, lambda: LangSmithApi(str(cloud.base_url), key), "http://api")


@pytest.fixture
def app_id(sessions: sessionmaker[Session]) -> int:
    """An app whose runs are in the cloud."""
    with sessions.begin() as session:
        app = App(name="fa-ai", source="langsmith", project="fa-ai", sla_ms=1000)
        session.add(app)
        session.flush()
        return app.id


def trace(cloud: httpx.Client, *runs: dict[str, object], ends: tuple[dict[str, object], ...] = ()) -> None:
    """Trace into the cloud."""
    cloud.post("/runs/batch", json={"post": list(runs), "patch": list(ends)}).raise_for_status()


def score(cloud: httpx.Client, run: dict[str, object], value: float, at: datetime, **more: object) -> str:
    """Score a run in the cloud."""
    body = {"run_id": run["id"], "key": "fact_accuracy", "score": value, "created_at": at.isoformat(), **more}
    return str(cloud.post("/feedback", json=body).raise_for_status().json()["id"])


def stored(sessions: sessionmaker[Session]) -> dict[str, Run]:
    """Return the runs of our own store by id."""
    with sessions() as session:
        return {str(run.id): run for run in session.scalars(select(Run))}


def test_a_poll_brings_runs_and_scores_and_moves_the_watermark(
    cloud: httpx.Client, source: LangSmithSource, sessions: sessionmaker[Session], app_id: int
) -> None:
    """What the app traced elsewhere is judged here like what it traces to us; polling again changes nothing."""
    run = post(NOW - AGO, extra={"metadata": {"region": "emea"}}, inputs={"q": 1})
    child = post(NOW - AGO, name="child", parent_run_id=run["id"], trace_id=run["id"])
    child["dotted_order"] = f"{run['dotted_order']}.{child['dotted_order']}"
    trace(cloud, run, child, ends=(patch(run, outputs={"a": 2}, error="ProviderTimeout: slow"),))
    score(cloud, run, 0.5, NOW - AGO)
    assert source.pull(app_id, NOW) == Pulled(runs=1, feedback=1)
    source.pull(app_id, NOW + timedelta(minutes=5))

    assert stored(sessions).keys() == {str(run["id"])}
    with sessions() as session:
        project = session.scalars(select(Project)).one()
        mark = session.get_one(Watermark, (app_id, "langsmith"))
        changed = session.scalars(select(BucketChange.bucket)).all()
    assert mark.at == NOW + timedelta(minutes=5) - timedelta(seconds=30)
    assert set(changed) == {(NOW - AGO).replace(second=0, microsecond=0)}
    (found,) = source.runs(project.id, NOW - 2 * AGO, NOW)
    assert (found.attributes["region"], found.scores, found.latency_s) == ("emea", {"fact_accuracy": 0.5}, 1.0)
    assert found.error == "ProviderTimeout: slow"
    assert found.inputs is None
    assert f"/projects/p/{project.id}/r/{run['id']}" in found.url
    (with_payload,) = source.runs(project.id, NOW - 2 * AGO, NOW, with_payload=True)
    assert (with_payload.inputs, with_payload.outputs) == ({"q": 1}, {"a": 2})


def test_a_run_that_ends_after_its_window_closed_is_completed(
    cloud: httpx.Client, source: LangSmithSource, sessions: sessionmaker[Session], app_id: int
) -> None:
    """Polling by start time alone would leave it pending for ever."""
    run = post(NOW - timedelta(hours=3))
    trace(cloud, run)
    source.pull(app_id, NOW)
    assert stored(sessions)[str(run["id"])].status is RunStatus.PENDING
    trace(cloud, ends=(patch(run, after=timedelta(hours=3, seconds=20), error="gave up"),))
    source.pull(app_id, NOW + timedelta(minutes=5))
    assert stored(sessions)[str(run["id"])].status is RunStatus.ERROR


def test_a_run_that_never_ends_is_abandoned_and_no_error(
    cloud: httpx.Client, source: LangSmithSource, sessions: sessionmaker[Session], app_id: int
) -> None:
    """A killed process leaves its run pending; that is reported apart."""
    run = post(NOW - timedelta(hours=30))
    trace(cloud, run)
    assert source.pull(app_id, NOW).abandoned == 1
    assert stored(sessions)[str(run["id"])].status is RunStatus.ABANDONED
    assert source.pull(app_id, NOW + timedelta(minutes=5)).abandoned == 0
    assert stored(sessions)[str(run["id"])].status is RunStatus.ABANDONED


def test_an_edited_score_replaces_the_old_one(
    cloud: httpx.Client, source: LangSmithSource, sessions: sessionmaker[Session], app_id: int
) -> None:
    """Feedback that was created long before the watermark and changed since is found by its modification."""
    run = post(NOW - timedelta(days=2))
    trace(cloud, run, ends=(patch(run),))
    feedback_id = score(cloud, run, 1.0, NOW - timedelta(days=2))
    source.pull(app_id, NOW - timedelta(hours=1))
    cloud.patch(f"/feedback/{feedback_id}", json={"score": 0.0}).raise_for_status()
    source.pull(app_id, datetime.now(UTC) + timedelta(minutes=1))
    with sessions() as session:
        project = session.scalars(select(Project.id)).one()
    (found,) = source.runs(project, NOW - timedelta(days=3), NOW)
    assert found.scores == {"fact_accuracy": 0.0}


@pytest.mark.parametrize("project", [OWN_PROJECT, "evaluators"])
def test_projects_that_would_loop_are_not_polled(
    cloud: httpx.Client, source: LangSmithSource, sessions: sessionmaker[Session], app_id: int, project: str
) -> None:
    """Our own agents' traces never come back as traffic."""
    trace(cloud, post(NOW - AGO, project))
    with sessions.begin() as session:
        session.get_one(App, app_id).project = project
    assert source.pull(app_id, NOW) == Pulled()
    assert stored(sessions) == {}


def test_an_experiment_is_not_polled(
    cloud: httpx.Client, source: LangSmithSource, sessions: sessionmaker[Session], app_id: int
) -> None:
    """A project over a reference dataset is an evaluation, not traffic."""
    cloud.post("/sessions", json={"name": "fa-ai", "reference_dataset_id": str(uuid.uuid4())}).raise_for_status()
    trace(cloud, post(NOW - AGO))
    assert source.pull(app_id, NOW) == Pulled()
    assert stored(sessions) == {}


def test_an_unreachable_cloud_is_transient_and_a_wrong_key_is_not(
    cloud: httpx.Client, sessions: sessionmaker[Session], app_id: int
) -> None:
    """An outage is to be tried again; a refused key is for a person. Neither moves the watermark."""
    wrong = LangSmithSource(sessions, lambda: LangSmithApi(str(cloud.base_url), SecretStr("wrong")), "http://api")
    with pytest.raises(SourceRefusedError, match="LANGSMITH_API_KEY"):
        wrong.pull(app_id, NOW)
    away = LangSmithSource(sessions, lambda: LangSmithApi("http://127.0.0.1:9", SecretStr("any")), "http://api")
    with pytest.raises(SourceAwayError):
        away.pull(app_id, NOW)
    with sessions() as session:
        assert session.get(Watermark, (app_id, "langsmith")) is None


def test_being_told_to_slow_down_is_transient(sessions: sessionmaker[Session], app_id: int) -> None:
    """A 429 asks for patience: the job reschedules itself."""
    busy = FastAPI()

    @busy.api_route("/{path:path}", status_code=429)
    def refuse(path: str) -> dict[str, str]:
        return {"detail": "rate limited"}

    with served_app(busy) as url:
        source = LangSmithSource(sessions, lambda: LangSmithApi(url, SecretStr("any")), "http://api")
        with pytest.raises(SourceAwayError):
            source.pull(app_id, NOW)
