"""Apps are added, listed and changed, at the command line and over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker
from typer.testing import CliRunner

import db.session
from agents.apps import InvalidAppError, add_app, change_app, check_fields, parse_assignments
from api import app as api_app
from api.routes import apps as routes
from cli.apps import app as cli
from core.errors import MetamonError, NotFoundError
from core.states import Scope
from db.models.access import AuditEntry
from db.queries.apps import get_app
from db.repositories import tokens
from db.repositories.apps import DuplicateAppError

runner = CliRunner()


@pytest.fixture
def shell(sessions: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch) -> None:
    """A command line on the test's database."""
    monkeypatch.setattr(db.session, "session_factory", lambda: sessions)


@pytest.fixture
def http(sessions: sessionmaker[Session]) -> Iterator[TestClient]:
    """The API's app routes, and an admin's client."""
    app = FastAPI()
    app.state.sessions = sessions
    app.state.bearers = {}
    app.include_router(routes.router, prefix="/api/v1")
    app.add_exception_handler(MetamonError, api_app._metamon_problem)
    with sessions.begin() as session:
        token = tokens.create(session, name="admin", scope=Scope.ADMIN, by="test")
    with TestClient(app, headers={"Authorization": f"Bearer {token}"}) as client:
        yield client


def test_an_app_is_added_once(sessions: sessionmaker[Session]) -> None:
    """The name is the identity; its project is the name where none is given."""
    with sessions.begin() as session:
        add_app(session, "shop-bot", {"sla_ms": 900}, {"k": 4}, by="test")
    with sessions() as session:
        record = get_app(session, "shop-bot")
        with pytest.raises(DuplicateAppError, match="apps set shop-bot"):
            add_app(session, "shop-bot", {"sla_ms": 900}, {}, by="test")
    assert (record.project, record.source, record.config) == ("shop-bot", "embedded", {"k": 4})


@pytest.mark.parametrize("name", ["Shop", "a b", "../etc", "-a", "a-", "", "x" * 64, "fa_ai"])
def test_a_name_is_a_slug(sessions: sessionmaker[Session], name: str) -> None:
    """It becomes a flag's key, a file name and part of a URL."""
    with sessions() as session, pytest.raises(InvalidAppError, match="lower-case"):
        add_app(session, name, {"sla_ms": 900}, {}, by="test")


def test_an_app_called_like_our_own_project_is_refused(sessions: sessionmaker[Session]) -> None:
    """The project defaults to the name, and the system never monitors itself."""
    with sessions() as session, pytest.raises(InvalidAppError, match="never monitors itself"):
        add_app(session, "fa-ai-meta-monitoring", {"sla_ms": 900}, {}, by="test")


def test_every_change_of_the_configuration_is_in_the_audit_log(sessions: sessionmaker[Session]) -> None:
    """Research reads there what changed when; what did not change is no entry."""
    with sessions.begin() as session:
        add_app(session, "shop-bot", {"sla_ms": 900}, {"k": 4, "prompt.a": "v12"}, by="test")
    with sessions.begin() as session:
        changed = change_app(
            session, "shop-bot", {"sla_ms": 800}, {"k": 6, "prompt.a": "v12", "new": True}, by="cli:eve"
        )
        assert changed == ["sla_ms", "config.k", "config.new"]
    with sessions.begin() as session:
        change_app(session, "shop-bot", {}, {"new": None}, by="cli:eve")
    with sessions() as session:
        assert get_app(session, "shop-bot").config == {"k": 6, "prompt.a": "v12"}
        entries = session.scalars(
            select(AuditEntry).where(AuditEntry.action == "app.config").order_by(AuditEntry.id)
        ).all()
    assert {(entry.subject, entry.actor) for entry in entries} == {("app:shop-bot", "cli:eve")}
    assert [entry.detail for entry in entries] == [
        {"key": "k", "from": 4, "to": 6},
        {"key": "new", "from": None, "to": True},
        {"key": "new", "from": True, "to": None},
    ]


def test_a_wrong_field_changes_nothing(sessions: sessionmaker[Session]) -> None:
    """All or nothing: a good field beside a bad one is not set."""
    with sessions.begin() as session:
        add_app(session, "shop-bot", {"sla_ms": 900}, {}, by="test")
    with sessions.begin() as session, pytest.raises(InvalidAppError):
        change_app(session, "shop-bot", {"sla_ms": 100, "timezone": "Mars"}, {}, by="test")
    with sessions() as session:
        assert get_app(session, "shop-bot").sla_ms == 900
        with pytest.raises(NotFoundError, match="shop-bot"):
            change_app(session, "shop", {}, {"k": 1}, by="test")


@pytest.mark.usefixtures("shell")
def test_the_command_line_adds_shows_sets_and_lists(tmp_path: Path) -> None:
    """From files and from assignments, one JSON document each."""
    config = tmp_path / "config.json"
    config.write_text('{"prompt.a": "v12"}')
    allowed = tmp_path / "allowed.json"
    allowed.write_text('{"prompt.a": {"type": "prompt", "values": ["v12", "v13"]}}')
    command = ["add", "shop-bot", "--sla-ms", "900", "--notify", "a@x.org", "--config", str(config), "--allowed"]
    added = runner.invoke(cli, [*command, str(allowed), "--json"])
    assert added.exit_code == 0, added.output
    assert json.loads(added.stdout)["config"] == {"prompt.a": "v12"}
    assert runner.invoke(cli, ["set", "shop-bot", "sla_ms=800", "config.prompt.a=v13"]).exit_code == 0
    shown = json.loads(runner.invoke(cli, ["show", "shop-bot", "--json"]).stdout)
    assert (shown["sla_ms"], shown["config"], shown["notify"]) == (800, {"prompt.a": "v13"}, ["a@x.org"])
    assert [row["name"] for row in json.loads(runner.invoke(cli, ["list", "--json"]).stdout)] == ["shop-bot"]
    assert "v13" in runner.invoke(cli, ["show", "shop-bot"]).stdout
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    assert runner.invoke(cli, ["set", "shop-bot", "--config", str(broken)]).exit_code == 2


def test_the_api_does_the_same(http: TestClient) -> None:
    """201, 409 where the name is taken, 400 with the reason, 404 for an unknown app."""
    made = http.post("/api/v1/apps", json={"name": "shop-bot", "sla_ms": 900, "config": {"k": 4}})
    assert (made.status_code, made.json()["project"]) == (201, "shop-bot")
    assert http.post("/api/v1/apps", json={"name": "shop-bot", "sla_ms": 900}).status_code == 409
    assert "sla_ms" in http.post("/api/v1/apps", json={"name": "other"}).json()["detail"]
    changed = http.patch("/api/v1/apps/shop-bot", json={"enabled": False, "config": {"k": 6}})
    assert (changed.json()["enabled"], changed.json()["config"]) == (False, {"k": 6})
    assert http.get("/api/v1/apps/nobody").status_code == 404
    assert [row["name"] for row in http.get("/api/v1/apps").json()["items"]] == ["shop-bot"]


def test_objectives_are_stated_one_by_one_and_taken_back(sessions: sessionmaker[Session]) -> None:
    """`objectives.KEY=VALUE` leaves the others alone, and null takes one back."""
    with sessions.begin() as session:
        add_app(session, "shop-bot", {"sla_ms": 800, "objectives": {"error_rate": 0.02}}, {}, by="test")
    for assignment, stated in (
        ("objectives.latency_p95=2.5", {"error_rate": 0.02, "latency_p95": 2.5}),
        ("objectives.error_rate=null", {"latency_p95": 2.5}),
    ):
        with sessions.begin() as session:
            fields, keys = parse_assignments([assignment])
            assert change_app(session, "shop-bot", fields, keys, by="test") == ["objectives"]
            assert get_app(session, "shop-bot").objectives == stated


@pytest.mark.parametrize("stated", ["2", "0", "-0.1", "high", "true", "NaN"])
def test_an_objective_that_can_never_be_is_refused(stated: str) -> None:
    """Silently ignored, it would be believed to work."""
    fields, _ = parse_assignments([f"objectives.error_rate={stated}"])
    with pytest.raises(InvalidAppError, match=r"error_rate is the worst value that is still fine: a share"):
        check_fields(fields)


def test_a_policy_is_set_shown_and_taken_back(
    sessions: sessionmaker[Session], shell: None, http: TestClient, tmp_path: Path
) -> None:
    """Who decides is data of the app: in a file, in the API, in the audit log; a wrong one changes nothing."""
    with sessions.begin() as session:
        add_app(session, "shop-bot", {"sla_ms": 900}, {}, by="test")
    assert "low-impact: low impact, pass → approve" in runner.invoke(cli, ["show", "shop-bot"]).stdout
    rules = [{"name": "small", "change": ["prompt"], "max_characters": 40, "then": "approve"}]
    file = tmp_path / "policy.json"
    file.write_text(json.dumps(rules))
    assert runner.invoke(cli, ["set", "shop-bot", "--policy", str(file)]).stdout == "changed: policy\n"
    assert "small: prompt, at most 40 characters, pass → approve" in runner.invoke(cli, ["show", "shop-bot"]).stdout
    assert http.get("/api/v1/apps/shop-bot").json()["policy"] == rules
    wrong = http.patch("/api/v1/apps/shop-bot", json={"policy": [{"name": "a", "then": "maybe"}]})
    assert (wrong.status_code, "policy: rule 1: then" in wrong.text) == (400, True)
    file.write_text("{}")
    assert runner.invoke(cli, ["set", "shop-bot", "--policy", str(file)]).exit_code == 2
    assert http.get("/api/v1/apps/shop-bot").json()["policy"] == rules
    assert runner.invoke(cli, ["set", "shop-bot", "policy=[]"]).exit_code == 0
    with sessions() as session:
        assert get_app(session, "shop-bot").policy == []
        entries = session.scalars(select(AuditEntry).where(AuditEntry.action == "app.set").order_by(AuditEntry.id))
        assert [(entry.detail["key"], entry.detail["to"]) for entry in entries] == [("policy", rules), ("policy", [])]
