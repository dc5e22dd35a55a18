"""OFREP, as an OpenFeature SDK asks it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from fastapi import FastAPI
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import FlagNotFoundError, TargetingKeyMissingError
from openfeature.flag_evaluation import Reason
from sqlalchemy.orm import Session, sessionmaker
from starlette.testclient import TestClient

from agents import rollout
from agents.cadence import DEMO
from agents.change import Change
from api.routes import flags
from core.states import Scope
from db.models.apps import App
from db.models.rollouts import Flag
from db.repositories import flags as flag_rows
from db.repositories import tokens
from tests.rollout_world import NOON, add_app, add_proposal
from workers.embedded.ports import free_port

K = Change.model_validate({"type": "parameter", "key": "retrieval.k", "from": 4, "to": 6})


@pytest.fixture
def token(sessions: sessionmaker[Session]) -> str:
    """What the app sends."""
    with sessions.begin() as session:
        return tokens.create(session, name="fa-ai", scope=Scope.INGEST, by="test")


@pytest.fixture
def served(sessions: sessionmaker[Session]) -> FastAPI:
    """The flags alone."""
    app = FastAPI()
    app.state.sessions = sessions
    app.state.bearers = {}
    app.include_router(flags.router, prefix="/ofrep/v1")
    return app


@pytest.fixture
def client(served: FastAPI, token: str, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """An app that asks; the cache is off, so that every answer is the present one."""
    monkeypatch.setattr(flags, "CACHE_SECONDS", 0.0)
    return TestClient(served, headers={"Authorization": f"Bearer {token}"})


def ask(client: TestClient, unit: str) -> dict[str, object]:
    """Evaluate the app's flag for a unit."""
    response = client.post("/ofrep/v1/evaluate/flags/fa-ai.config", json={"context": {"targetingKey": unit}})
    assert response.status_code == 200, response.text
    answer: dict[str, object] = response.json()
    return answer


def started(sessions: sessionmaker[Session], proposal_id: int) -> int:
    """Start a rollout."""
    with sessions.begin() as session:
        rollout_id = rollout.start(session, proposal_id, now=NOON)
    assert rollout_id is not None
    return rollout_id


def test_without_a_rollout_everybody_gets_the_configuration(
    sessions: sessionmaker[Session], client: TestClient
) -> None:
    """A static flag, no metadata: nothing is split."""
    add_app(sessions)
    assert ask(client, "u-1") == {
        "key": "fa-ai.config",
        "value": {"prompt.a": "v12", "retrieval.k": 4},
        "variant": "baseline",
        "reason": "STATIC",
        "metadata": {},
    }


def test_two_rollouts_split_the_units_independently(sessions: sessionmaker[Session], client: TestClient) -> None:
    """Each has its own salt; value and metadata say the same; the same unit gets the same answer again."""
    app_id = add_app(sessions)
    first = started(sessions, add_proposal(sessions, app_id))
    second = started(sessions, add_proposal(sessions, app_id, K))
    with sessions.begin() as session:
        for rollout_id in (first, second):
            rollout.promote(session, rollout_id, by="cli:ann", reason="test", now=NOON, cadence=DEMO)
    seen = set()
    for number in range(60):
        answer = ask(client, f"u-{number}")
        assert answer == ask(client, f"u-{number}")
        value, metadata = answer["value"], answer["metadata"]
        assert isinstance(value, dict)
        assert isinstance(metadata, dict)
        assert (value["prompt.a"] == "v13") is (metadata[f"rollout.{first}"] == "candidate")
        assert (value["retrieval.k"] == 6) is (metadata[f"rollout.{second}"] == "candidate")
        assert answer["reason"] == "SPLIT"
        seen.add((value["prompt.a"], value["retrieval.k"]))
    assert len(seen) == 4


def test_a_rollback_reaches_everybody(sessions: sessionmaker[Session], client: TestClient) -> None:
    """No unit keeps the candidate, no run is labelled any more."""
    rollout_id = started(sessions, add_proposal(sessions, add_app(sessions)))
    with sessions.begin() as session:
        rollout.roll_back(session, rollout_id, by="cli:ann", reason="no", now=NOON)
    assert {str(ask(client, f"u-{number}")["metadata"]) for number in range(20)} == {"{}"}


def test_the_hold_back_stays_at_a_hundred_percent(sessions: sessionmaker[Session], client: TestClient) -> None:
    """100 % leaves a tenth of the units on the old configuration, or nothing could be measured."""
    rollout_id = started(sessions, add_proposal(sessions, add_app(sessions)))
    with sessions.begin() as session:
        for _ in range(2):
            rollout.promote(session, rollout_id, by="cli:ann", reason="test", now=NOON, cadence=DEMO)
    held = sum(ask(client, f"u-{number}")["variant"] == "baseline" for number in range(300))
    assert 10 <= held <= 60


def test_a_flag_that_is_off_serves_the_baseline(sessions: sessionmaker[Session], client: TestClient) -> None:
    """The row in `flags` turns all rollouts of an app off at once."""
    app_id = add_app(sessions)
    started(sessions, add_proposal(sessions, app_id))
    with sessions.begin() as session:
        flag_rows.ensure(session, session.get_one(App, app_id))
        session.query(Flag).update({"enabled": False})
    answer = ask(client, "u-1")
    assert (answer["reason"], answer["metadata"]) == ("DISABLED", {})


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{}", "TARGETING_KEY_MISSING"),
        (b'{"context": {}}', "TARGETING_KEY_MISSING"),
        (b'{"context": []}', "INVALID_CONTEXT"),
        (b"[]", "INVALID_CONTEXT"),
        (b'{"context": {"targetingKey": 7}}', "INVALID_CONTEXT"),
        (b'{"context": {"targetingKey": "' + b"x" * 2000 + b'"}}', "INVALID_CONTEXT"),
        (b'{"context": {"targetingKey": "u", "more": "' + b"x" * 100_000 + b'"}}', "INVALID_CONTEXT"),
        (b"[" * 60_000, "PARSE_ERROR"),
        (b"\xff{", "PARSE_ERROR"),
    ],
)
def test_a_bad_request_is_told_in_ofreps_own_words(
    sessions: sessionmaker[Session], client: TestClient, body: bytes, code: str
) -> None:
    """400 with the error code that SDKs know, and details for a person."""
    add_app(sessions)
    response = client.post("/ofrep/v1/evaluate/flags/fa-ai.config", content=body)
    assert response.status_code == 400
    assert response.json()["errorCode"] == code
    assert response.json()["errorDetails"]


def test_an_unknown_flag_and_a_missing_token_are_refused(served: FastAPI, client: TestClient) -> None:
    """404 FLAG_NOT_FOUND; 401 without a token."""
    response = client.post("/ofrep/v1/evaluate/flags/other.config", json={"context": {"targetingKey": "u"}})
    assert (response.status_code, response.json()["errorCode"]) == (404, "FLAG_NOT_FOUND")
    assert TestClient(served).post("/ofrep/v1/evaluate/flags/x", json={}).status_code == 401


def test_all_flags_at_once_carry_an_etag(sessions: sessionmaker[Session], client: TestClient) -> None:
    """304 as long as nothing changed for this unit, 200 when something did."""
    app_id = add_app(sessions)
    body = {"context": {"targetingKey": "u-1"}}
    first = client.post("/ofrep/v1/evaluate/flags", json=body)
    assert [flag["key"] for flag in first.json()["flags"]] == ["fa-ai.config"]
    known = {"If-None-Match": first.headers["etag"]}
    assert client.post("/ofrep/v1/evaluate/flags", json=body, headers=known).status_code == 304
    with sessions.begin() as session:
        session.get_one(App, app_id).config = {"prompt.a": "v14"}
    assert client.post("/ofrep/v1/evaluate/flags", json=body, headers=known).status_code == 200


def test_answers_are_at_most_half_a_second_old_and_cost_no_query_each(
    sessions: sessionmaker[Session], served: FastAPI, token: str
) -> None:
    """A hundred evaluations a second may not be a hundred queries a second."""
    add_app(sessions)
    calls = 0

    def counting() -> Session:
        nonlocal calls
        calls += 1
        return sessions()

    cache = flags.Cache()
    for _ in range(200):
        cache.flags(counting)
    assert calls <= 3
    assert flags.CACHE_SECONDS <= 1


@pytest.fixture
def base_url(served: FastAPI) -> Iterator[str]:
    """The flags behind a real HTTP server."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(served, port=port, log_level="error", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


def test_the_openfeature_provider_understands_the_answers(
    sessions: sessionmaker[Session], base_url: str, token: str
) -> None:
    """The installed OFREP provider reads value, variant, reason and metadata, and raises its own errors."""
    rollout_id = started(sessions, add_proposal(sessions, add_app(sessions)))
    provider = OFREPProvider(base_url, headers_factory=lambda: {"Authorization": f"Bearer {token}"})
    with provider.session:
        details = provider.resolve_object_details("fa-ai.config", {}, EvaluationContext("u-1", {"region": "emea"}))
        assert details.reason is Reason.SPLIT
        assert details.variant in ("baseline", "candidate")
        assert details.flag_metadata == {f"rollout.{rollout_id}": details.variant}
        with pytest.raises(TargetingKeyMissingError):
            provider.resolve_object_details("fa-ai.config", {}, EvaluationContext())
        with pytest.raises(FlagNotFoundError):
            provider.resolve_object_details("nobody.config", {}, EvaluationContext("u-1"))
