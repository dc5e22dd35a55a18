"""A real collector: uvicorn in a thread on the test's own Postgres, spoken to by the unmodified SDK."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import httpx
import orjson
import pytest
import uvicorn
from fastapi import FastAPI
from langsmith import Client
from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from api import app as api_app
from api.bodies import CappedBodies
from api.routes import collector
from core.errors import MetamonError
from core.states import Scope
from db.repositories import tokens
from db.session import make_engine, make_sessions

BOUNDARY = "b0undary"


@pytest.fixture
def pooled(database_url: str) -> Iterator[sessionmaker[Session]]:
    """A session factory with a pool, as the API has one."""
    engine: Engine = make_engine(database_url)
    yield make_sessions(engine)
    engine.dispose()


def collector_on(pooled: sessionmaker[Session]) -> FastAPI:
    """Return the collector's routes, mounted where the API mounts them, on a database."""
    app = FastAPI()
    app.state.sessions = pooled
    app.state.bearers = {}
    app.include_router(collector.router_v1)
    app.include_router(collector.router_v1, prefix="/api/v1")
    app.include_router(collector.router_v2, prefix="/api/v2")
    app.add_middleware(CappedBodies)
    app.add_exception_handler(MetamonError, api_app._metamon_problem)
    return app


@contextmanager
def served_app(app: FastAPI) -> Iterator[str]:
    """Serve an app for the length of a block and yield its URL."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture
def collector_url(pooled: sessionmaker[Session]) -> Iterator[str]:
    """The URL of a running collector."""
    with served_app(collector_on(pooled)) as url:
        yield url


@pytest.fixture
def token(sessions: sessionmaker[Session]) -> str:
    """A token of the scope that an app gets."""
    with sessions.begin() as session:
        return tokens.create(session, name="app", scope=Scope.INGEST, by="test")


@pytest.fixture
def http(collector_url: str, token: str) -> Iterator[httpx.Client]:
    """A plain HTTP client with the app's token."""
    with httpx.Client(base_url=collector_url, headers={"x-api-key": token}, timeout=60) as client:
        yield client


@pytest.fixture
def client(collector_url: str, token: str) -> Iterator[Client]:
    """The ordinary SDK's client, pointed at the collector by nothing but URL and key."""
    client = Client(api_url=collector_url, api_key=token)
    yield client
    client.flush()
    client.close()


def dotted(at: datetime, run_id: uuid.UUID, above: str = "") -> str:
    """Return the dotted order of a run that started at a moment."""
    segment = at.astimezone(UTC).strftime("%Y%m%dT%H%M%S%fZ") + str(run_id)
    return f"{above}.{segment}" if above else segment


def post(at: datetime, project: str = "fa-ai", **more: object) -> dict[str, object]:
    """Return the post of a root run."""
    run_id = more.pop("id", None) or uuid.uuid4()
    assert isinstance(run_id, uuid.UUID)
    return {
        "id": str(run_id),
        "trace_id": str(run_id),
        "dotted_order": dotted(at, run_id),
        "name": "answer",
        "run_type": "chain",
        "session_name": project,
        "start_time": at.isoformat(),
        **more,
    }


def patch(posted: dict[str, object], after: timedelta = timedelta(seconds=1), **more: object) -> dict[str, object]:
    """Return the patch that ends a posted run."""
    start = datetime.fromisoformat(str(posted["start_time"]))
    names = ("id", "trace_id", "dotted_order")
    return {**{name: posted[name] for name in names}, "end_time": (start + after).isoformat(), **more}


def multipart(*parts: tuple[str, object]) -> bytes:
    """Return a multipart body; bytes travel as they are, everything else as JSON."""
    body = b""
    for name, content in parts:
        data = content if isinstance(content, bytes) else orjson.dumps(content)
        body += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n'.encode()
        body += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()


@pytest.fixture
def upload(http: httpx.Client) -> Callable[..., httpx.Response]:
    """Send a multipart body."""

    def send(body: bytes, **headers: str) -> httpx.Response:
        content_type = f"multipart/form-data; boundary={BOUNDARY}"
        return http.post("/runs/multipart", content=body, headers={"Content-Type": content_type, **headers})

    return send
