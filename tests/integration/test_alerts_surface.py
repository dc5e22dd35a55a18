"""Monitoring from outside: its jobs, its commands and its HTTP routes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from fastapi import FastAPI
from sqlalchemy import select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker
from starlette.testclient import TestClient
from typer.testing import CliRunner

import db.session
import tasks.monitoring as tasks
from api.app import _metamon_problem
from api.routes import alerts as alert_routes
from api.routes import metrics_series
from cli.alerts import app as cli
from core.clock import floor_time, utc_now
from core.errors import MetamonError
from core.states import JobState, Scope
from db.models.access import AuditEntry
from db.models.alerts import MonitoringAlert
from db.models.jobs import Job
from db.models.metrics import BucketChange, MetricBucket
from db.queries.metrics import series
from db.queries.paging import encode
from db.repositories import jobs, partitions, retention, tokens
from db.session import make_engine, make_sessions
from tests.databases import Databases
from tests.monitoring_world import Spec, World, make_world, steady
from workers.runner import run

runner = CliRunner()


def healthy(world: World, now: datetime) -> None:
    """Store two healthy days, a run a minute."""
    past = steady(now - timedelta(days=2), now - timedelta(minutes=5), timedelta(minutes=1))
    for number, run_ in enumerate(past):
        run_.status = "error" if number % 100 == 0 else "success"
        run_.scores = {"fact_accuracy": float(number % 25 != 0)}
    world.add(past)


def failing(sessions: sessionmaker[Session]) -> World:
    """Make an app with two healthy days, and four minutes of failures at present."""
    made = make_world(sessions)
    now = utc_now()
    healthy(made, now)
    made.add(steady(now - timedelta(minutes=4), now, timedelta(seconds=1), status="error"))
    return made


@pytest.fixture
def world(sessions: sessionmaker[Session]) -> World:
    """An app that fails, of this test alone."""
    return failing(sessions)


def work(sessions: sessionmaker[Session], key: str, kind: str, **args: object) -> Job:
    """Enqueue a job, deliver it twice, and return its row."""
    with sessions.begin() as session:
        jobs.enqueue(session, key=key, kind=kind, args=args)
        job_id = session.scalars(select(Job.id).where(Job.key == key)).one()
    handlers = {"sweep": tasks.sweep, "check_app": tasks.check_app, "retain": tasks.retain}
    for owner in ("one", "two"):
        run(job_id, handlers[kind.partition(".")[2]].handler, owner=owner, sessions=sessions)
    with sessions() as session:
        return session.get_one(Job, job_id)


def keys(sessions: sessionmaker[Session]) -> list[str]:
    """Return the keys of all jobs, oldest first."""
    with sessions() as session:
        return list(session.scalars(select(Job.key).order_by(Job.id)))


def checked(world: World) -> MonitoringAlert:
    """Check the app and return the error alert that this raised."""
    at = utc_now().isoformat()
    assert work(world.sessions, "check", "monitoring.check_app", app_id=world.app_id, at=at).state is JobState.DONE
    with world.sessions() as session:
        return session.scalars(select(MonitoringAlert).where(MonitoringAlert.metric == "error_rate")).one()


@pytest.fixture
def alert(world: World) -> MonitoringAlert:
    """The error alert that a check raised."""
    return checked(world)


@pytest.fixture(scope="module")
def past(databases: Databases) -> Iterator[tuple[World, MonitoringAlert]]:
    """The same, for all tests that only look."""
    with databases.fresh() as url:
        engine = make_engine(url)
        world = failing(make_sessions(engine))
        yield world, checked(world)
        engine.dispose()


def test_a_sweep_asks_for_one_check_per_enabled_app(sessions: sessionmaker[Session]) -> None:
    """Delivered twice it asks once; a paused app is left alone."""
    first = make_world(sessions)
    make_world(sessions, project="paused", enabled=False)
    at = floor_time(utc_now(), timedelta(minutes=5)).isoformat()
    work(sessions, "tick", "monitoring.sweep", scheduled_for=at)
    assert keys(sessions) == ["tick", f"check:{first.app_id}:{at}"]


def test_a_check_commits_alert_and_next_jobs_together(world: World, alert: MonitoringAlert) -> None:
    """Fired once although it was delivered twice; what follows is in the same tree."""
    assert alert.fired_at is not None
    expected = {f"research:{alert.id}", f"announce:alert_critical:{alert.id}"}
    assert expected <= set(keys(world.sessions))
    with world.sessions() as session:
        check = session.scalars(select(Job).where(Job.key == "check")).one()
        research = session.scalars(select(Job).where(Job.key == f"research:{alert.id}")).one()
    assert research.parent_id == check.id
    assert research.args == {"alert_id": alert.id}


def test_a_check_of_an_app_that_is_gone_is_done(sessions: sessionmaker[Session]) -> None:
    """Nothing to do is no failure."""
    row = work(sessions, "check", "monitoring.check_app", app_id=99, at=utc_now().isoformat())
    assert (row.state, row.error) == (JobState.DONE, None)


def test_retention_drops_what_is_old_and_nothing_else(sessions: sessionmaker[Session]) -> None:
    """Partitions by day, jobs after a week, notes with the runs; buckets outlive the runs they were counted from."""
    world = make_world(sessions)
    now = utc_now()
    world.add([Spec(now - timedelta(days=33)), Spec(now - timedelta(days=1))])
    work(sessions, "check", "monitoring.check_app", app_id=world.app_id, at=now.isoformat())
    world.add([Spec(now - timedelta(days=33)), Spec(now - timedelta(days=1))])
    with sessions.begin() as session:
        session.execute(text("UPDATE jobs SET finished_at = finished_at - interval '8 days' WHERE key = 'check'"))
    row = work(sessions, "retain", "monitoring.retain", scheduled_for=now.isoformat())
    assert row.state is JobState.DONE
    later = now + timedelta(days=60)
    with sessions() as session:
        assert session.execute(text("SELECT count(*) FROM runs")).scalar_one() == 2
        assert len(session.scalars(select(BucketChange)).all()) == 1
        assert len(session.scalars(select(MetricBucket)).all()) == 2
        assert session.scalars(select(Job.key)).all() == ["retain"]
        assert retention.delete_old(session, now=later, runs_kept=timedelta(days=30))["metric_buckets"] == 2
    assert len(partitions.drop_before(sessions, (later - timedelta(days=30)).date())) >= 2


def test_a_day_that_cannot_be_dropped_yet_keeps_nothing_else(
    sessions: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is older and what is no partition is gone for good when the drop gives up; the next round does the rest."""
    monkeypatch.setattr(partitions, "DAYS_AT_ONCE", 1)
    monkeypatch.setattr(partitions, "LOCK_TIMEOUT_MS", 20)
    now = utc_now()
    old = [(now - timedelta(days=days)).date() for days in (40, 39, 38)]
    partitions.ensure(sessions, [*old, now.date()])
    work(sessions, "sweep", "monitoring.sweep", scheduled_for=now.isoformat())
    with sessions.begin() as session:
        session.execute(text("UPDATE jobs SET finished_at = finished_at - interval '8 days'"))
    with sessions() as reader:
        reader.execute(text(f"SELECT id FROM {partitions.partition('runs', old[1])}"))
        row = work(sessions, "retain", "monitoring.retain", scheduled_for=now.isoformat())
        assert (row.state, "lock timeout" in str(row.error)) == (JobState.QUEUED, True)
        assert keys(sessions) == ["retain"]
        with pytest.raises(OperationalError, match="lock timeout"):
            partitions.drop_before(sessions, now.date())
    assert partitions.drop_before(sessions, now.date()) == [
        partitions.partition(table, day) for day in old[1:] for table in sorted(partitions.TABLES)
    ]
    assert partitions.drop_before(sessions, now.date()) == []


@pytest.fixture
def shell(sessions: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch) -> None:
    """A command line on the test's database."""
    monkeypatch.setattr(db.session, "session_factory", lambda: sessions)


@pytest.fixture
def shell_of_the_past(past: tuple[World, MonitoringAlert], monkeypatch: pytest.MonkeyPatch) -> None:
    """A command line on what is only looked at."""
    monkeypatch.setattr(db.session, "session_factory", lambda: past[0].sessions)


def said(*words: str, code: int = 0) -> str:
    """Run a command and return what it printed."""
    result = runner.invoke(cli, list(words))
    assert result.exit_code == code, result.output
    return result.output


@pytest.mark.usefixtures("shell")
def test_the_list_as_json_has_the_documented_fields(alert: MonitoringAlert) -> None:
    """Scripts depend on these names."""
    records = json.loads(said("list", "--open", "--json"))
    record = next(item for item in records if item["id"] == alert.id)
    wanted = {
        "id", "app", "kind", "severity", "metric", "state", "opened_at", "observed", "expected", "trace_urls"
    }  # fmt: skip
    assert wanted <= set(record)
    assert (record["app"], record["kind"], record["metric"]) == ("shop", "error_spike", "error_rate")
    assert record["observed"] > 0.5
    assert record["expected"] < 0.05
    assert record["trace_urls"]


@pytest.mark.usefixtures("shell")
def test_an_alert_is_shown_explained_and_acknowledged(alert: MonitoringAlert) -> None:
    """Everything a person needs at three in the morning, in words."""
    shown = said("show", str(alert.id))
    assert "runs failed in" in shown
    assert "firing" in shown
    explained = said("explain", str(alert.id))
    assert "◀ bad" in explained
    assert "learnt from the last day" in explained
    assert "over when it has stayed below" in explained
    assert "research: under way" in explained
    document = json.loads(said("explain", str(alert.id), "--json"))
    assert document["series"]["points"]
    said("ack", str(alert.id))
    said("ack", str(alert.id))
    assert json.loads(said("show", str(alert.id), "--json"))["acknowledged_by"].startswith("cli:")


@pytest.mark.usefixtures("shell")
def test_a_silence_is_made_shown_and_ended(world: World, alert: MonitoringAlert) -> None:
    """With author and reason, and in the audit log."""
    said("silence", str(alert.id), "--for", "30m", "--reason", "load test")
    [silence] = json.loads(said("show", str(alert.id), "--json"))["silences"]
    assert (silence["reason"], silence["fingerprint"]) == ("load test", "error_spike:error_rate")
    said("unsilence", str(alert.id))
    assert json.loads(said("show", str(alert.id), "--json"))["silences"] == []
    with world.sessions() as session:
        actions = session.scalars(select(AuditEntry.action).order_by(AuditEntry.id)).all()
    assert actions == ["silence.create", "silence.end"]


@pytest.mark.usefixtures("shell_of_the_past")
@pytest.mark.parametrize("length", ["0m", "4", "h", "-2h", "1y", "99999d"])
def test_a_length_of_time_that_is_none_is_refused(past: tuple[World, MonitoringAlert], length: str) -> None:
    """A usage error, and nothing muted."""
    _, alert = past
    said("silence", str(alert.id), "--for", length, "--reason", "x", code=2)
    assert json.loads(said("show", str(alert.id), "--json"))["silences"] == []


@pytest.mark.usefixtures("shell_of_the_past")
@pytest.mark.parametrize("command", ["show", "explain", "ack", "unsilence"])
def test_an_unknown_alert_is_named(command: str) -> None:
    """The message says where to look."""
    result = runner.invoke(cli, [command, "9999"])
    assert isinstance(result.exception, MetamonError)
    assert "metamon alerts list" in str(result.exception)


@pytest.fixture
def http(sessions: sessionmaker[Session]) -> Iterator[TestClient]:
    """The routes, and a reviewer's client."""
    app = FastAPI()
    app.state.sessions = sessions
    app.state.bearers = {}
    for routes in (alert_routes, metrics_series):
        app.include_router(routes.router, prefix="/api/v1")
    app.add_exception_handler(MetamonError, _metamon_problem)
    with sessions.begin() as session:
        reviewer = tokens.create(session, name="rita", scope=Scope.REVIEWER, by="test")
        viewer = tokens.create(session, name="vic", scope=Scope.VIEWER, by="test")
    with TestClient(app, headers={"Authorization": f"Bearer {reviewer}"}) as client:
        client.headers["x-viewer"] = viewer
        yield client


def test_alerts_over_http(world: World, alert: MonitoringAlert, http: TestClient) -> None:
    """List, page, show, acknowledge; a viewer may look and not touch."""
    listed = http.get("/api/v1/alerts", params={"only_open": True, "severity": "critical"}).json()["items"]
    assert alert.id in [item["id"] for item in listed]
    assert http.get("/api/v1/alerts", params={"cursor": encode((1,))}).json() == {"items": [], "next_cursor": None}
    assert http.get("/api/v1/alerts/9999").status_code == 404
    viewer = {"Authorization": f"Bearer {http.headers['x-viewer']}"}
    assert http.get(f"/api/v1/alerts/{alert.id}", headers=viewer).json()["events"]
    assert http.post(f"/api/v1/alerts/{alert.id}/ack", headers=viewer).status_code == 403
    for _ in range(2):
        answer = http.post(f"/api/v1/alerts/{alert.id}/ack")
        assert answer.json()["acknowledged_by"] == "token:rita"
    new = {"app_id": world.app_id, "until": (utc_now() + timedelta(hours=1)).isoformat(), "reason": "release"}
    made = http.post("/api/v1/silences", json=new)
    assert made.status_code == 201
    assert [item["reason"] for item in http.get("/api/v1/silences").json()["items"]] == ["release"]
    past = {**new, "until": (utc_now() - timedelta(hours=1)).isoformat()}
    assert http.post("/api/v1/silences", json=past).status_code == 400
    assert http.post("/api/v1/silences", json={**new, "app_id": 99}).status_code == 404
    assert http.delete(f"/api/v1/silences/{made.json()['id']}").status_code == 204
    assert http.get("/api/v1/silences").json()["items"] == []


@pytest.mark.parametrize(
    ("metric", "low", "high"),
    [
        ("error_rate", 0.005, 0.2),
        ("sla_compliance", 0.8, 0.995),
        ("fact_accuracy", 0.95, 0.97),
        ("latency_p95", 0.078, 0.082),
        ("volume", 2875, 3200),
        ("tokens", 28750, 32000),
    ],
)
def test_a_series_is_the_rollups_down_sampled(
    past: tuple[World, MonitoringAlert], metric: str, low: float, high: float
) -> None:
    """Few points or many, hours or buckets: they add up to the same figure."""
    world, _ = past
    now = utc_now()
    for points in (2000, 24):
        with world.sessions() as session:
            found = series(
                session,
                app="shop",
                metric=metric,
                start=now - timedelta(days=3),
                end=now,
                bucket_s=300,
                points=points,
            )
        assert 0 < len(found.points) <= points
        runs = sum(point.runs for point in found.points)
        if metric in ("volume", "tokens"):
            figure = sum(point.value or 0 for point in found.points)
        else:
            figure = sum((point.value or 0) * point.runs for point in found.points) / runs
        assert low < figure < high


@pytest.mark.usefixtures("alert")
def test_a_series_over_http_has_bounds(http: TestClient) -> None:
    """An unknown app, an empty range and a million points are refused; an unknown metric has no points."""
    path = "/api/v1/metrics/series"
    shown = http.get(path, params={"app": "shop", "metric": "error_rate"}).json()
    assert shown["unit"] == "fraction"
    assert shown["points"]
    assert http.get(path, params={"app": "shop", "metric": "'; DROP TABLE runs"}).json()["points"] == []
    assert http.get(path, params={"app": "nope", "metric": "error_rate"}).status_code == 404
    now = utc_now().isoformat()
    empty = {"app": "shop", "metric": "error_rate", "start": now, "end": now}
    assert http.get(path, params=empty).status_code == 400
    assert http.get(path, params={"app": "shop", "metric": "volume", "points": 10**6}).status_code == 422
