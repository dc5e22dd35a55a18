"""`metamon rollouts`, `metamon impact` and their HTTP twins."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest
from fastapi import FastAPI
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker
from starlette.testclient import TestClient
from typer.testing import CliRunner

from agents import rollout
from api.app import _metamon_problem
from api.routes import impact, rollouts
from cli import impact as impact_commands
from cli import rollouts as commands
from core.errors import MetamonError
from core.states import Scope
from db.models.access import AuditEntry
from db.repositories import evaluations, tokens
from tests.rollout_world import NOON, add_app, add_proposal, shell_on


@pytest.fixture
def rollout_id(sessions: sessionmaker[Session]) -> int:
    """A rollout at its first stage."""
    proposal_id = add_proposal(sessions, add_app(sessions))
    with sessions.begin() as session:
        started = rollout.start(session, proposal_id, now=NOON)
    assert started is not None
    return started


@pytest.fixture
def shell(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[CliRunner]:
    """A shell whose commands work on the test's database."""
    with shell_on(database_url, monkeypatch) as runner:
        yield runner


def add_impact(sessions: sessionmaker[Session], rollout_id: int) -> None:
    """Write what the first proposal was worth."""
    with sessions.begin() as session:
        for _ in range(2):  # written twice, it stands once
            evaluations.add_impact_once(
                session,
                proposal_id=1,
                rollout_id=rollout_id,
                metric="fact_accuracy",
                method="holdback",
                before={"value": 0.9, "units": 100},
                after={"value": 0.95, "units": 900},
                predicted_pct=5.0,
                measured_pct=5.6,
                measured_low=1.0,
                measured_high=10.0,
                significant=True,
                roi=3.0,
                explanation="It kept its [promise].",
                explained_by="fake, prompt local",
                window_start=NOON,
                window_end=NOON + timedelta(days=1),
            )


def test_the_lever_works_from_the_shell_and_leaves_a_record(
    sessions: sessionmaker[Session], shell: CliRunner, rollout_id: int
) -> None:
    """Pause, resume, promote, roll back: each with its reason in the audit log."""
    for verb, expected in (("pause", "paused"), ("resume", "running"), ("promote", "running")):
        done = shell.invoke(commands.app, [verb, str(rollout_id), "--reason", f"because {verb}"])
        assert done.exit_code == 0, done.output
        listed = json.loads(shell.invoke(commands.app, ["list", "--json"]).stdout)
        assert (listed[0]["state"], listed[0]["reason"]) == (expected, f"because {verb}")
    assert {"id", "proposal_id", "percent", "state", "reason"} <= listed[0].keys()
    assert listed[0]["percent"] == 50
    assert shell.invoke(commands.app, ["rollback", str(rollout_id)]).exit_code == 0
    shown = json.loads(shell.invoke(commands.app, ["show", str(rollout_id), "--json"]).stdout)
    assert [event["kind"] for event in shown["events"]] == ["start", "pause", "resume", "promote", "rollback"]
    assert json.loads(shell.invoke(commands.app, ["status", "--json"]).stdout) == []
    with sessions() as session:
        actors = session.scalars(select(AuditEntry.actor).where(AuditEntry.action == "rollout.pause")).all()
    assert actors[0].startswith("cli:")


def test_a_rollout_reads_as_a_table(shell: CliRunner, rollout_id: int) -> None:
    """`show` and `status` for people."""
    for arguments in (["show", str(rollout_id)], ["status"], ["list"]):
        done = shell.invoke(commands.app, arguments)
        assert done.exit_code == 0, done.output


def test_an_impossible_act_is_refused_in_words(shell: CliRunner) -> None:
    """`rollouts pause 9999` names what does not exist."""
    done = shell.invoke(commands.app, ["pause", "9999"])
    assert isinstance(done.exception, MetamonError)
    assert "there is no rollout 9999" in str(done.exception)


def test_an_impact_is_listed_with_predicted_and_measured(
    sessions: sessionmaker[Session], shell: CliRunner, rollout_id: int
) -> None:
    """The stable fields of `impact list --json`, and the page for a person."""
    add_impact(sessions, rollout_id)
    (entry,) = json.loads(shell.invoke(impact_commands.app, ["list", "--json"]).stdout)
    assert {
        key: entry[key] for key in ("proposal_id", "predicted_pct", "measured_pct", "measured_interval", "roi")
    } == {
        "proposal_id": 1,
        "predicted_pct": 5.0,
        "measured_pct": 5.6,
        "measured_interval": [1.0, 10.0],
        "roi": 3.0,
    }
    shown = shell.invoke(impact_commands.app, ["show", "1"]).output
    assert "randomised hold-back" in shown
    assert "It kept its [promise].  (fake, prompt local)" in shown
    assert json.loads(shell.invoke(impact_commands.app, ["show", "1", "--json"]).stdout)["explained_by"].startswith(
        "fake"
    )


def test_the_same_by_http_with_roles(sessions: sessionmaker[Session], rollout_id: int) -> None:
    """A viewer looks, a reviewer acts; what cannot be is 409, what does not exist 404."""
    add_impact(sessions, rollout_id)
    app = FastAPI()
    app.state.sessions, app.state.bearers = sessions, {}
    app.add_exception_handler(MetamonError, _metamon_problem)
    for module in (rollouts, impact):
        app.include_router(module.router)
    with sessions.begin() as session:
        keys = {
            scope: tokens.create(session, name=scope.value, scope=scope, by="test")
            for scope in (Scope.VIEWER, Scope.REVIEWER)
        }
    client = TestClient(app)
    viewer, reviewer = ({"X-API-Key": keys[scope]} for scope in (Scope.VIEWER, Scope.REVIEWER))
    assert client.get("/rollouts", headers=viewer).json()["items"][0]["id"] == rollout_id
    assert client.get("/impact/1", headers=viewer).json()["roi"] == 3.0
    assert client.get("/impact/1", headers=viewer).json()["explanation"] == "It kept its [promise]."
    assert client.get("/impact", headers=viewer).json()["items"][0]["proposal_id"] == 1
    path = f"/rollouts/{rollout_id}/pause"
    assert client.post(path, headers=viewer, json={}).status_code == 403
    assert client.post(path, headers=reviewer, json={"reason": "release"}).json()["state"] == "paused"
    assert client.post(path, headers=reviewer, json={}).status_code == 409
    assert client.post("/rollouts/9999/pause", headers=reviewer, json={}).status_code == 404
    assert client.post(f"/rollouts/{rollout_id}/resume", headers=reviewer, json={}).json()["state"] == "running"
    assert client.post(f"/rollouts/{rollout_id}/promote", headers=reviewer, json={}).json()["percent"] == 50
    done = client.post(f"/rollouts/{rollout_id}/rollback", headers=reviewer, json={"reason": "no"}).json()
    assert (done["state"], done["events"][-1]["actor"]) == ("rolled_back", "token:reviewer")
