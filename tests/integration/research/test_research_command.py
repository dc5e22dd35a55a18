"""`metamon research`: questions without an alert, and how far predictions can be believed."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from cli import research as area
from core.errors import MetamonError
from core.states import RolloutState
from db.models.access import AuditEntry
from db.models.alerts import AlertEvent
from db.models.evaluation import ImprovementImpact
from db.models.proposals import ImprovementProposal
from db.models.rollouts import Rollout
from tests.integration.research.conftest import World
from tests.integration.research.test_investigate import proposals, run_research, small
from tests.unit.demo_traffic import START, Traffic

Make = Callable[[Traffic], World]
SINCE, UNTIL = START.isoformat(), (START + timedelta(seconds=15)).isoformat()


@pytest.fixture
def failing(world: Make, monkeypatch: pytest.MonkeyPatch) -> World:
    """An app whose provider is slow; commands find its database."""
    here = world(small("provider"))
    monkeypatch.setattr("db.session.session_factory", lambda: here.sessions)
    monkeypatch.setattr("core.clock.utc_now", lambda: START + timedelta(seconds=15))
    return here


def run(*arguments: str) -> Any:
    """Run the area's command."""
    return CliRunner().invoke(area.app, list(arguments))


def test_a_window_is_investigated_in_every_metric_and_nothing_is_written(failing: World) -> None:
    """The same answer as behind an alert, without one."""
    answers = json.loads(run("run", "--app", "fa-ai", "--since", SINCE, "--until", UNTIL, "--json").stdout)
    by_metric = {answer["metric"]: answer for answer in answers}
    assert set(by_metric) == {"error_rate", "sla_compliance", "latency_p95", "fact_accuracy", "guardrail_pass"}
    errors = by_metric["error_rate"]
    assert errors["causes"][0]["conditions"] == {"model": "sonic-2"}
    first = errors["hypotheses"][0]
    assert first["change"]["from"] == 250
    assert first["predicted_interval"][0] < first["predicted_pct"] < first["predicted_interval"][1]
    assert first["effort_basis"] == "uncalibrated"
    assert by_metric["guardrail_pass"]["causes"] == []
    assert proposals(failing.sessions) == []


def test_an_alert_is_looked_at_again(failing: World) -> None:
    """In words, with what was ruled out."""
    alert_id = failing.alert("error_rate")
    shown = run("run", "--alert", str(alert_id)).stdout
    assert "cause 1: model = sonic-2" in shown
    assert "would try: Raise provider.timeout_ms from 250 to 1000" in shown
    assert "ProviderTimeout" in shown
    with failing.sessions() as session:
        assert session.scalars(select(AlertEvent)).all() == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run"], "ask about an alert"),
        (["run", "--alert", "1", "--app", "fa-ai"], "ask about an alert"),
        (["run", "--app", "fa-ai"], "--since 2h"),
        (["run", "--app", "fa-ai", "--since", "yesterday"], "no moment"),
        (["run", "--app", "fa-ai", "--since", "1h", "--until", "2h"], "is not before"),
    ],
)
def test_a_question_that_cannot_be_answered_says_what_would_be_right(arguments: list[str], says: str) -> None:
    """Exit code 2 and a sentence."""
    result = run(*arguments)
    assert result.exit_code == 2
    assert says in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--app", "nobody", "--since", "1h"], "there is no app 'nobody'; there is: fa-ai"),
        (["--app", "fa-ai", "--since", "1h", "--metric", "volume"], "no single run can fail volume"),
        (["--app", "fa-ai", "--since", "2020-01-01", "--until", "2020-01-02"], "has no runs between"),
        (["--alert", "4711"], "there is no alert 4711"),
    ],
)
def test_what_does_not_exist_is_named(failing: World, arguments: list[str], says: str) -> None:
    """The error says what there is instead."""
    error = run("run", *arguments).exception
    assert isinstance(error, MetamonError)
    assert says in str(error)


def test_calibration_scores_what_was_measured(failing: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a proposal with its impact in Postgres to coverage and bias; the next promise has learnt from it."""
    run_research(failing, failing.alert("error_rate"), monkeypatch)
    with failing.sessions.begin() as session:
        row = session.get_one(ImprovementProposal, 2)
        assert row.kind == "route_around"
        assert row.ceiling_pct is not None
        ceiling, predicted = row.ceiling_pct, row.predicted_pct
        rollout = Rollout(
            app_id=failing.app_id,
            proposal_id=2,
            change=row.change,
            salt="s",
            state=RolloutState.COMPLETED,
            percent=100,
            started_at=START,
            stage_started_at=START,
        )
        session.add(rollout)
        session.flush()
        impact = ImprovementImpact(
            proposal_id=2,
            rollout_id=rollout.id,
            metric="error_free",
            method="holdback",
            before={},
            after={},
            predicted_pct=predicted,
            measured_pct=0.3 * ceiling,
            significant=True,
            window_start=START,
            window_end=START,
        )
        session.add(impact)
    found = json.loads(run("calibration", "--json").stdout)
    assert found["predictions"] == 1
    assert found["coverage"] in (0.0, 1.0)
    assert found["bias_pct"] == pytest.approx(0.3 * ceiling - predicted, abs=0.01)
    kind = next(entry for entry in found["kinds"] if entry["kind"] == "route_around")
    assert kind["efficacy"] == pytest.approx((7 + 0.3) / 10, abs=0.001)
    assert "1 predictions were measured" in run("calibration").stdout


def test_hours_are_written_down_with_who_said_so(failing: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept on the proposal, and in the audit log with the estimate."""
    run_research(failing, failing.alert("error_rate"), monkeypatch)
    assert run("effort", "1", "2.5").exit_code == 0
    with failing.sessions() as session:
        assert session.get_one(ImprovementProposal, 1).spent_hours == 2.5
        entry = session.scalars(select(AuditEntry).where(AuditEntry.action == "proposal.effort")).one()
        assert entry.detail == {"hours": 2.5, "estimated": 1.0, "earlier": None}
        assert entry.actor.startswith("cli:")
    assert "there is no proposal 99" in str(run("effort", "99", "1").exception)
    assert json.loads(run("calibration", "--json").stdout)["efforts"] == 1


def test_help_has_examples() -> None:
    """Somebody who has never used it knows what to type."""
    for name in ("run", "calibration", "effort"):
        assert f"Example: metamon research {name}" in " ".join(run(name, "--help").stdout.split())
