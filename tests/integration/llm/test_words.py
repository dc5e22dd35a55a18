"""A model's words on an anomaly without a cause, and on an impact: beside the figures, and never in their place."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker
from typer.testing import CliRunner

from agents import impact, rollout
from agents.cadence import DEMO
from cli import alerts as alert_commands
from core.settings import Settings
from core.states import AlertKind, JobState, RolloutState
from db.models.alerts import MonitoringAlert
from db.models.evaluation import ImprovementImpact, ModelUsage
from db.models.jobs import Job
from db.models.metrics import MetricBucket
from db.models.rollouts import Rollout
from db.queries.alerts import show_alert
from tasks import evaluation as evaluation_tasks
from tests.fakes.openai_server import OpenAIServer, openai_server
from tests.integration.llm.test_model import GOOD, LABELS, SAID
from tests.integration.research.conftest import World, world
from tests.integration.research.test_investigate import researched, run_research, small
from tests.rollout_world import NOON, add_app, add_proposal, serve
from tests.unit.demo_traffic import START, Traffic
from workers import runner

__all__ = ["world"]

Make = Callable[[Traffic], World]

SHAPE = "It looks like a step: the traffic left its level at once, so an upstream gate would show errors of its own."
WORTH = "The change kept its promise. The randomised hold-back makes it causal; measure it again after a while."
HOSTILE = [
    "See https://evil.example/fix for what the shape of this deviation really means.",
    "It fell by exactly 98765 runs, which is far more than anybody could have thought.",
    "Everything is fine here, and a reviewer can approve the next proposal right now.",
]


def told(server: OpenAIServer, **fields: Any) -> Settings:
    """Return settings that name the fake."""
    return Settings(openai_api_key=SecretStr("none"), openai_base_url=server.url, openai_model="fake", **fields)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    """A model behind HTTP that both tasks are told to ask."""
    with openai_server() as running:
        for task in ("tasks.research", "tasks.evaluation"):
            monkeypatch.setattr(f"{task}.settings", lambda: told(running))
        yield running


def spends(sessions: sessionmaker[Session]) -> list[tuple[str, int, str]]:
    """Return what was booked: purpose, calls, outcome."""
    with sessions() as session:
        return [(row.purpose, row.calls, row.outcome) for row in session.scalars(select(ModelUsage))]


def quiet(make: Make) -> tuple[World, int]:
    """Make an app whose traffic fell by half at START, and the alert about it."""
    here = make(small())
    alert_id = here.alert("volume", kind=AlertKind.ANOMALY)
    with here.sessions.begin() as session:
        alert = session.get_one(MonitoringAlert, alert_id)
        alert.observed, alert.expected, alert.expected_low, alert.expected_high = 61.0, 120.25, 101.5, 139.0
        for number in range(-12, 2):
            runs = 120 if number < 0 else 61
            session.add(
                MetricBucket(
                    app_id=here.app_id, bucket=START + number * timedelta(minutes=5), runs=runs, finished=runs,
                    errors=0, pending=0, abandoned=0, sla_met=runs,
                )
            )  # fmt: skip
    return here, alert_id


def test_an_anomaly_without_a_cause_is_put_into_words(
    world: Make, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One question, about the detection and the values around it; the answer stands wherever the alert is read."""
    server.content = {"explanation": SHAPE}
    here, alert_id = quiet(world)
    assert run_research(here, alert_id, monkeypatch).state is JobState.DONE
    [request] = server.requests
    system, human = (message["content"] for message in request["messages"])
    assert "anomaly in the metrics" in system
    packet = json.loads(human.splitlines()[1])
    assert {key: packet[key] for key in ("metric", "kind", "observed", "expected", "interval_95", "bad_since")} == {
        "metric": "volume",
        "kind": "anomaly",
        "observed": 61,
        "expected": 120.2,
        "interval_95": [101.5, 139],
        "bad_since": "2026-11-26 12:00:00",
    }
    assert [entry["value"] for entry in packet["values"]] == [120] * 12 + [61] * 2
    with here.sessions() as session:
        shown = show_alert(session, alert_id, now=START)
    assert (shown.explanation, shown.explained_by) == (SHAPE, "fake, prompt local")
    assert spends(here.sessions) == [("research", 1, "answered")]
    monkeypatch.setattr("db.session.session_factory", lambda: here.sessions)
    for command in ("show", "explain"):
        output = CliRunner().invoke(alert_commands.app, [command, str(alert_id)]).output
        assert " ".join(f"{SHAPE} (fake, prompt local)".split()) in " ".join(output.split())


def test_where_runs_can_fail_and_none_stand_out_the_shape_is_told_too(
    world: Make, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the alert's kind: localisation found nothing, and the reader is not left with that alone."""
    server.content = {"explanation": SHAPE}
    here = world(small())
    alert_id = here.alert("fact_accuracy")
    assert run_research(here, alert_id, monkeypatch, after_s=4000).state is JobState.DONE
    [event] = researched(here.sessions, alert_id)
    assert event.detail["summary"].startswith("Nothing stands out")
    assert event.detail["explanation"] == SHAPE


@pytest.mark.parametrize("prose", [None, *HOSTILE])
def test_words_that_are_refused_or_never_come_leave_the_alert_as_it_is_without_a_model(
    world: Make, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch, prose: str | None
) -> None:
    """Down, an address, a figure of its own, a request: the event is the same as without a model."""
    server.behaviour = "down" if prose is None else "good"
    server.content = {"explanation": prose}
    here, alert_id = quiet(world)
    assert run_research(here, alert_id, monkeypatch).state is JobState.DONE
    [event] = researched(here.sessions, alert_id)
    assert event.detail == {
        "causes": [],
        "summary": "This metric is about traffic as a whole: no set of runs can carry it.",
    }
    assert spends(here.sessions) == [("research", 2, "failed")]


def test_words_about_a_cause_that_another_alert_has_stand_by_the_alert_that_asked(
    world: Make, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proposal carries them where there is one of its own; else they were paid for and lost."""
    server.content, server.contents = GOOD, {"Labelled": LABELS}
    here = world(small("provider"))
    first, second = here.alert("error_rate"), here.alert("sla_compliance")
    for alert_id in (first, second):
        run_research(here, alert_id, monkeypatch)
    with here.sessions() as session:
        shown = [show_alert(session, alert_id, now=START) for alert_id in (first, second)]
    assert [bool(alert.proposals) for alert in shown] == [True, False]
    assert [alert.explanation for alert in shown] == [None, SAID]


AT = NOON + timedelta(seconds=60)


@pytest.fixture
def held(sessions: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch) -> int:
    """A change that is with everybody but its hold-back, with enough traffic to measure what it is worth."""
    monkeypatch.setattr(evaluation_tasks, "cadence", lambda *, demo: DEMO)
    monkeypatch.setattr(runner, "utc_now", lambda: AT)
    proposal_id = add_proposal(sessions, add_app(sessions))
    with sessions.begin() as session:
        rollout_id = rollout.start(session, proposal_id, now=NOON)
        assert rollout_id is not None
        for _ in range(2):
            rollout.promote(session, rollout_id, by="cli:ann", reason="now", now=NOON, cadence=DEMO)
    serve(
        sessions,
        rollout_id,
        start=NOON + timedelta(seconds=3),
        requests=2000,
        fails=lambda candidate, rng: rng.random() < (0.01 if candidate else 0.2),
    )
    return rollout_id


def deliver(sessions: sessionmaker[Session], rollout_id: int, *, owner: str = "a", at: datetime = NOON) -> JobState:
    """Deliver the job that measures, and tell what became of it."""
    with sessions.begin() as session:
        job = session.scalars(select(Job).where(Job.key == f"impact:{rollout_id}")).one()
        job.run_at = at
    runner.run(job.id, evaluation_tasks.measure_impact.handler, owner=owner, sessions=sessions)
    with sessions() as session:
        return session.get_one(Job, job.id).state


def expected(sessions: sessionmaker[Session], rollout_id: int) -> dict[str, Any]:
    """Return what is measured where nobody is asked."""
    with sessions() as session:
        measured = impact.measure(session, rollout_id, now=AT, cadence=DEMO)
    assert isinstance(measured, impact.Measurement)
    return measured.fields


def stored(sessions: sessionmaker[Session]) -> ImprovementImpact:
    """Return the one impact."""
    with sessions() as session:
        return session.scalars(select(ImprovementImpact)).one()


def test_an_impact_is_put_into_words(sessions: sessionmaker[Session], held: int, server: OpenAIServer) -> None:
    """One question about figures that are final; the answer is stored with them, with who wrote it."""
    server.content = {"explanation": WORTH}
    figures = expected(sessions, held)
    for owner in ("a", "b"):  # delivered twice, asked once
        assert deliver(sessions, held, owner=owner) is JobState.DONE
    row = stored(sessions)
    assert (row.explanation, row.explained_by) == (WORTH, "fake, prompt local")
    assert {name: getattr(row, name) for name in figures} == figures
    [request] = server.requests
    system, human = (message["content"] for message in request["messages"])
    assert "what a deployed change was worth" in system
    packet = json.loads(human.splitlines()[1])
    assert packet["change"] == "Take the newer prompt"
    assert packet["method"] == "holdback"
    assert packet["measured_percent"] == pytest.approx(figures["measured_pct"], rel=1e-3)
    assert packet["predicted_interval_90"] == [0.5, 4]
    assert spends(sessions) == [("impact", 1, "answered")]


@pytest.mark.parametrize("behaviour", ["off", "down", "garbage", "huge", "spent", *HOSTILE])
def test_whatever_the_model_does_the_impact_is_recorded_byte_for_byte(
    sessions: sessionmaker[Session], held: int, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch, behaviour: str
) -> None:
    """Off, down, garbage, over budget or lying: measured, written and completed as if there were no model."""
    server.behaviour = behaviour if behaviour in ("down", "garbage", "huge") else "good"
    server.content = {"explanation": behaviour if behaviour in HOSTILE else WORTH}
    if behaviour == "off":
        monkeypatch.setattr(evaluation_tasks, "settings", lambda: Settings(openai_api_key=None, openai_base_url=None))
    if behaviour == "spent":
        monkeypatch.setattr(evaluation_tasks, "settings", lambda: told(server, model_calls_daily=0))
    figures = expected(sessions, held)
    assert deliver(sessions, held) is JobState.DONE
    row = stored(sessions)
    assert (row.explanation, row.explained_by) == (None, None)
    assert {name: getattr(row, name) for name in figures} == figures
    with sessions() as session:
        assert session.get_one(Rollout, held).state is RolloutState.COMPLETED
    unasked = behaviour in ("off", "spent")
    assert len(server.requests) == (0 if unasked else 2)
    assert spends(sessions) == ([] if unasked else [("impact", 2, "failed")])


def test_a_worker_that_dies_with_the_answer_in_hand_costs_one_more_question(
    sessions: sessionmaker[Session], held: int, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was written: the next delivery measures and asks again, once, and there is one impact."""
    server.content = {"explanation": WORTH}
    with monkeypatch.context() as patch:
        patch.setattr(impact, "settle", lambda *_, **__: 1 / 0)
        assert deliver(sessions, held) is JobState.QUEUED
    for owner in ("b", "c"):
        assert deliver(sessions, held, owner=owner) is JobState.DONE
    assert stored(sessions).explanation == WORTH
    assert spends(sessions) == [("impact", 1, "answered")] * 2


def test_where_nothing_was_measured_nobody_is_asked(
    sessions: sessionmaker[Session], held: int, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is nothing to put into words."""
    nothing = {**expected(sessions, held), **impact._nothing_measured(), "measured_pct": None}
    monkeypatch.setattr(impact, "measure", lambda *_, **__: impact.Measurement(held, nothing))
    assert deliver(sessions, held) is JobState.DONE
    assert (stored(sessions).explanation, server.requests) == (None, [])
