"""How much a stranger can make the API read."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy.orm import Session, sessionmaker

from api.app import create_app
from api.bodies import MAX_BYTES
from api.routes import golden
from core.states import Scope
from tests.api_server import bearer
from traces.wire import MAX_BODY_BYTES

CHUNK = 1024 * 1024


@pytest.fixture
def app(sessions: sessionmaker[Session]) -> FastAPI:
    """The whole API."""
    return create_app(sessions)


def ask(
    app: FastAPI, method: str, target: str, headers: dict[str, str], chunks: int
) -> tuple[int, dict[str, Any], str, int]:
    """Send a body in chunks; return status, body and content type of the answer, and the bytes that were taken."""
    taken = 0
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        nonlocal taken
        taken += CHUNK
        return {"type": "http.request", "body": b" " * CHUNK, "more_body": taken < chunks * CHUNK}

    async def send(message: Any) -> None:
        sent.append(message)

    path, _, query = target.partition("?")
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": query.encode(), "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("192.0.2.1", 1), "server": ("api", 80),
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))
    kind = dict(sent[0]["headers"])[b"content-type"].decode()
    body = b"".join(message["body"] for message in sent if message["type"] == "http.response.body")
    return sent[0]["status"], json.loads(body), kind, taken


def test_a_body_that_is_validated_is_capped_before_anybody_is_known(app: FastAPI) -> None:
    """FastAPI reads it before it asks for a token: chunked it ends at the cap, stated too large it is not begun."""
    json_body = {"Content-Type": "application/json"}
    for path in ("/api/v1/session", "/api/v1/proposals/1/approve", "/api/v2/runs/query", "/sessions"):
        status, problem, kind, taken = ask(app, "POST", path, json_body, chunks=100)
        assert (status, problem["status"], kind) == (413, 413, "application/problem+json")
        assert str(MAX_BYTES) in problem["detail"]
        assert taken == MAX_BYTES + CHUNK
        stated = {**json_body, "Content-Length": str(100 * CHUNK)}
        status, _, _, taken = ask(app, "POST", path, stated, chunks=100)
        assert (status, taken) == (413, 0)


def test_what_may_be_large_is_read_from_callers_alone(app: FastAPI) -> None:
    """Nothing is taken from a stranger, whatever it is said to be."""
    for path in ("/api/v1/golden?app=app", "/runs/multipart", "/api/v1/feedback"):
        for headers in ({}, {"Content-Length": str(100 * CHUNK)}):
            status, _, _, taken = ask(app, "POST", path, headers, chunks=100)
            assert (status, taken) == (401, 0)


def test_golden_cases_and_runs_may_be_large(
    app: FastAPI, sessions: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Larger than the cap of the others, up to their own."""
    monkeypatch.setattr(golden, "MAX_BODY", 4 * CHUNK)
    reviewer, sender = bearer(sessions, Scope.REVIEWER), bearer(sessions, Scope.INGEST)
    target = "/api/v1/golden?app=nobody"
    assert ask(app, "POST", target, reviewer, chunks=4)[0] in (400, 404)
    status, _, _, taken = ask(app, "POST", target, reviewer, chunks=100)
    assert (status, taken) == (413, 5 * CHUNK)
    multipart = {**sender, "Content-Type": "multipart/form-data; boundary=b"}
    assert ask(app, "POST", "/runs/multipart", multipart, chunks=8)[0] == 400
    status, _, _, taken = ask(app, "POST", "/runs/multipart", multipart, chunks=100)
    assert (status, taken) == (413, MAX_BODY_BYTES + CHUNK)
