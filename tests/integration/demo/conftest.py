"""A real collector and a real flag server on the test's own Postgres."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI
from sqlalchemy.orm import Session, sessionmaker

from api.routes import collector, flags
from db.session import make_engine, make_sessions
from demo.setup import Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A folder for the demo's files."""
    return Place(tmp_path / "demo")


@pytest.fixture
def pooled(database_url: str) -> Iterator[sessionmaker[Session]]:
    """A session factory with a pool, as the API has one."""
    engine = make_engine(database_url)
    yield make_sessions(engine)
    engine.dispose()


@pytest.fixture
def api_url(pooled: sessionmaker[Session]) -> Iterator[str]:
    """The URL of a server with the collector and the flags, mounted where the API mounts them."""
    app = FastAPI()
    app.state.sessions = pooled
    app.state.bearers = {}
    app.include_router(flags.router, prefix="/ofrep/v1")
    app.include_router(collector.router_v1, prefix="/api/v1")
    app.include_router(collector.router_v1)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()
