"""Who may call what. Every route but `/health` and `/info` asks for one of these."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, HTTPException, Request
from sqlalchemy.orm import Session, sessionmaker

from core.clock import utc_now
from core.states import Scope
from db.repositories import tokens
from db.repositories.tokens import Bearer
from db.session import session_factory

CACHE_SECONDS = 5.0
"""How long a known token is believed without asking the database; also how long a revoked one lives on."""
CACHE_SIZE = 1000


def database(request: Request) -> sessionmaker[Session]:
    """Return the app's session factory; a test puts its own into `app.state.sessions`."""
    given: sessionmaker[Session] | None = getattr(request.app.state, "sessions", None)
    return given or session_factory()


Db = Annotated[sessionmaker[Session], Depends(database)]


def _token_of(request: Request) -> str | None:
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and credentials:
        return credentials.strip()
    return request.headers.get("x-api-key")


def requires(scope: Scope) -> Callable[[Request, sessionmaker[Session]], Bearer]:
    """Return a dependency that lets bearers of the scope through.

    It answers 401 where no valid token came, 403 where the token may not do this.
    """

    def check(request: Request, sessions: Db) -> Bearer:
        token = _token_of(request)
        if not token:
            raise HTTPException(
                401,
                "a token is needed: send it as `x-api-key` or `Authorization: Bearer`; "
                "`metamon tokens create` makes one",
                headers={"WWW-Authenticate": "Bearer"},
            )
        bearer = _known(request, sessions, token)
        if bearer is None:
            raise HTTPException(
                401,
                "this token is unknown or revoked; `metamon tokens create` makes a new one",
                headers={"WWW-Authenticate": "Bearer"},
            )
        if not bearer.scope.allows(scope):
            raise HTTPException(403, f"this takes the scope {scope.value!r}; the token has {bearer.scope.value!r}")
        return bearer

    return check


def _known(request: Request, sessions: sessionmaker[Session], token: str) -> Bearer | None:
    cache: dict[str, tuple[float, Bearer]] = request.app.state.bearers
    key = tokens.digest(token)
    cached = cache.get(key)
    if cached and time.monotonic() - cached[0] < CACHE_SECONDS:
        return cached[1]
    with sessions.begin() as session:
        bearer = tokens.find(session, token, now=utc_now())
    if bearer is None:
        cache.pop(key, None)
        return None
    if len(cache) >= CACHE_SIZE:
        cache.clear()
    cache[key] = (time.monotonic(), bearer)
    return bearer


Ingest = Annotated[Bearer, Depends(requires(Scope.INGEST))]
Viewer = Annotated[Bearer, Depends(requires(Scope.VIEWER))]
Reviewer = Annotated[Bearer, Depends(requires(Scope.REVIEWER))]
Admin = Annotated[Bearer, Depends(requires(Scope.ADMIN))]
