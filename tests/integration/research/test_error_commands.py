"""Error patterns in Postgres: remembered, merged and split by hand, over the command line and HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select
from typer.testing import CliRunner

from api import app as api_app
from api.routes import errors as routes
from cli import errors as area
from core.errors import MetamonError
from core.states import Scope
from db.models.access import AuditEntry
from db.models.errors import ErrorPattern
from db.repositories import tokens
from tests.integration.research.conftest import World
from tests.integration.research.test_investigate import proposals, run_research, small
from tests.unit.demo_traffic import START, Traffic

Make = Callable[[Traffic], World]
WINDOW = ("--app", "fa-ai", "--since", "2d")


@pytest.fixture
def failing(world: Make, monkeypatch: pytest.MonkeyPatch) -> World:
    """An app with time-outs of its provider and odd questions; commands find its database."""
    traffic = small("provider")
    for number, run in enumerate([run for run in traffic.runs if run.error is None][:6]):
        word = ("quota", "budget")[number % 2]
        object.__setattr__(run, "error", f"QuotaError: the {word} of customer {number} is used up")
        object.__setattr__(run, "status", "error")
    here = world(traffic)
    now = START + timedelta(seconds=15)
    monkeypatch.setattr("db.session.session_factory", lambda: here.sessions)
    monkeypatch.setattr("core.clock.utc_now", lambda: now)
    monkeypatch.setattr("api.routes.errors.utc_now", lambda: now)
    return here


def run(*arguments: str) -> Any:
    """Run the area's command."""
    return CliRunner().invoke(area.app, list(arguments))


def listed() -> dict[str, dict[str, Any]]:
    """Return the patterns by type (and number among those of a type)."""
    rows = json.loads(run("list", *WINDOW, "--json").stdout)
    return {f"{row['kind']} {row['count']}": row for row in rows}


def test_errors_are_listed_by_pattern_and_keep_their_keys(failing: World) -> None:
    """The most frequent first, with runs to look at; a second look gives the same keys."""
    first = listed()
    assert next(iter(first.values()))["kind"] == "ProviderTimeout"
    quota = first["QuotaError 6"]
    assert quota["template"] == "the <*> of customer <n> is used up"
    assert len(quota["examples"]) == 3
    assert {name: row["key"] for name, row in listed().items()} == {name: row["key"] for name, row in first.items()}
    assert "provider.py:call" in run("list", *WINDOW).stdout


def test_split_join_merge_and_unmerge_are_done_and_on_record(failing: World) -> None:
    """Each is undone by another decision, and every one says who."""
    key = listed()["QuotaError 6"]["key"]
    made = run("split", key, "--containing", "Budget", "--app", "fa-ai").stdout.strip()
    after = listed()
    assert sorted(name for name in after if name.startswith("Quota")) == ["QuotaError 3"]
    keys = {row["key"] for row in json.loads(run("list", *WINDOW, "--json").stdout)}
    assert {key, made} <= keys
    assert run("join", made, "--app", "fa-ai").exit_code == 0
    assert listed()["QuotaError 6"]["key"] == key
    timeout = next(row["key"] for row in listed().values() if row["kind"] == "ProviderTimeout")
    before = next(row["count"] for row in listed().values() if row["key"] == timeout)
    assert run("merge", key, timeout, "--app", "fa-ai").exit_code == 0
    assert next(row["count"] for row in listed().values() if row["key"] == timeout) == before + 6
    assert "makes a circle" in str(run("merge", timeout, key, "--app", "fa-ai").exception)
    assert run("unmerge", key, "--app", "fa-ai").exit_code == 0
    assert "QuotaError 6" in listed()
    with failing.sessions() as session:
        entries = session.scalars(select(AuditEntry).where(AuditEntry.action.like("errors.%"))).all()
    assert [entry.action for entry in entries] == ["errors.split", "errors.join", "errors.merge", "errors.unmerge"]
    assert all(entry.actor.startswith("cli:") for entry in entries)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["merge", "e2-nothing", "e2-neither", "--app", "fa-ai"], "there is no error pattern e2-nothing"),
        (["unmerge", "KEY", "--app", "fa-ai"], "stands for itself already"),
        (["join", "KEY", "--app", "fa-ai"], "was not split"),
        (["split", "KEY", "--containing", "x", "--app", "fa-ai"], "3 to 200 characters"),
        (["merge", "KEY", "KEY", "--app", "fa-ai"], "makes a circle"),
        (["list", "--app", "nobody"], "there is no app 'nobody'"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(failing: World, arguments: list[str], says: str) -> None:
    """Nothing changes."""
    key = listed()["QuotaError 6"]["key"]
    error = run(*[key if argument == "KEY" else argument for argument in arguments]).exception
    assert isinstance(error, MetamonError)
    assert says in str(error)


def test_research_uses_what_people_decided_and_remembers_what_it_saw(
    failing: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The evidence names patterns by the keys that they keep."""
    run_research(failing, failing.alert("error_rate"), monkeypatch)
    seen = proposals(failing.sessions)[0].evidence["errors"][0]["fingerprint"]
    with failing.sessions() as session:
        assert seen in session.scalars(select(ErrorPattern.key)).all()
    assert seen in {row["key"] for row in listed().values()}


def test_viewers_list_and_reviewers_decide_over_http(failing: World) -> None:
    """The same over the API, with roles."""
    app = FastAPI()
    app.state.sessions, app.state.bearers = failing.sessions, {}
    app.include_router(routes.router, prefix="/api/v1")
    app.add_exception_handler(MetamonError, api_app._metamon_problem)
    clients = {}
    for scope in (Scope.VIEWER, Scope.REVIEWER):
        with failing.sessions.begin() as session:
            token = tokens.create(session, name=scope, scope=scope, by="test")
        clients[scope] = TestClient(app, headers={"authorization": f"Bearer {token}"})
    rows = clients[Scope.VIEWER].get("/api/v1/errors?app=fa-ai&hours=48").json()
    key = next(row["key"] for row in rows if row["kind"] == "QuotaError")
    where = f"/api/v1/errors/{key}/split?app=fa-ai"
    assert clients[Scope.VIEWER].post(where, json={"containing": "budget"}).status_code == 403
    made = clients[Scope.REVIEWER].post(where, json={"containing": "budget"}).json()["key"]
    into = clients[Scope.REVIEWER].post(f"/api/v1/errors/{made}/merge?app=fa-ai", json={"into": key})
    assert into.json() == {"key": key}
    assert clients[Scope.REVIEWER].post(f"/api/v1/errors/{made}/unmerge?app=fa-ai").status_code == 200
    assert clients[Scope.REVIEWER].post(f"/api/v1/errors/{made}/join?app=fa-ai").status_code == 200
    assert clients[Scope.REVIEWER].post(f"/api/v1/errors/{made}/join?app=fa-ai").status_code == 404
