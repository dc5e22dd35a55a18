"""The whole API on a socket of its own, and clients that speak to it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import uvicorn
from sqlalchemy.orm import Session, sessionmaker

from api.app import create_app
from core.states import Scope
from db.repositories import tokens, users
from workers.embedded.ports import free_port

PASSWORD = "correct horse battery"


@contextmanager
def served_api(sessions: sessionmaker[Session]) -> Iterator[str]:
    """Serve the API for the length of a block; the value is its URL."""
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(create_app(sessions), port=port, log_level="error", ws="none", timeout_graceful_shutdown=2)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", transport=httpx.HTTPTransport(retries=20)) as probe:
            while not server.started:
                assert thread.is_alive()
                thread.join(0.02)
            assert probe.get("/health").status_code == 200
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(15)


def bearer(sessions: sessionmaker[Session], scope: Scope, name: str = "tess") -> dict[str, str]:
    """Return the header of a fresh token."""
    with sessions.begin() as session:
        return {"Authorization": f"Bearer {tokens.create(session, name=name, scope=scope, by='test')}"}


def add_user(sessions: sessionmaker[Session], email: str = "ann@example.com", role: Scope = Scope.ADMIN) -> int:
    """Add somebody whose password is PASSWORD."""
    with sessions.begin() as session:
        return users.create(session, email=email, role=role, password=PASSWORD, by="test")


def sign_in(client: httpx.Client, email: str = "ann@example.com", password: str = PASSWORD) -> httpx.Response:
    """Sign in; afterwards the client has the cookie and sends the proof with every request."""
    answer = client.post("/api/v1/session", json={"email": email, "password": password})
    if answer.status_code == 200:
        client.headers["X-CSRF-Token"] = answer.json()["csrf_token"]
    return answer
