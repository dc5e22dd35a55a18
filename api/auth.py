"""Who may call what. Every route but `/health`, `/info` and signing in asks for one of these."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, HTTPException, Request
from sqlalchemy.orm import Session, sessionmaker

from core.clock import utc_now
from core.states import Scope
from db.repositories import tokens, user_sessions
from db.repositories.tokens import Bearer
from db.repositories.user_sessions import SignedIn
from db.session import session_factory

CACHE_SECONDS = 5.0
"""How long a known token is believed without asking the database; also how long a revoked one lives on."""
CACHE_SIZE = 1000

COOKIE = "metamon_session"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing."""

Caller = Bearer | SignedIn


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


def requires(*scopes: Scope) -> Callable[[Request, sessionmaker[Session]], Caller]:
    """Return a dependency that lets callers of any of the scopes through: by a token, or by the cookie of a session.

    It answers 401 where neither is valid, 403 where the caller may not do this, or a write by cookie lacks its proof.
    """

    def check(request: Request, sessions: Db) -> Caller:
        caller = caller_of(request, sessions)
        if not any(caller.scope.allows(scope) for scope in scopes):
            needed = " or ".join(repr(scope.value) for scope in scopes)
            raise HTTPException(403, f"this takes the scope {needed}; yours is {caller.scope.value!r}")
        return caller

    return check


def caller_of(request: Request, sessions: sessionmaker[Session]) -> Caller:
    """Return who calls; a token goes before a cookie.

    Raises:
        HTTPException: 401 nobody, 403 a write by cookie without `X-CSRF-Token`.
    """
    token = _token_of(request)
    if token:
        bearer = _known(request, sessions, token)
        if bearer is None:
            raise HTTPException(
                401,
                "this token is unknown or revoked; `metamon tokens create` makes a new one",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return bearer
    cookie = request.cookies.get(COOKIE)
    if not cookie:
        raise HTTPException(
            401,
            "sign in, or send a token as `x-api-key` or `Authorization: Bearer`; `metamon tokens create` makes one",
            headers={"WWW-Authenticate": "Bearer"},
        )
    with sessions.begin() as session:
        person = user_sessions.find(session, cookie, now=utc_now())
    if person is None:
        raise HTTPException(401, "the session is over: sign in again", headers={"WWW-Authenticate": "Bearer"})
    proof = request.headers.get("x-csrf-token", "")
    if request.method not in SAFE and not hmac.compare_digest(proof.encode(), person.csrf_token.encode()):
        raise HTTPException(403, "a write by cookie carries `X-CSRF-Token`; `GET /api/v1/session` tells it")
    return person


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


Ingest = Annotated[Caller, Depends(requires(Scope.INGEST))]
Viewer = Annotated[Caller, Depends(requires(Scope.VIEWER))]
Reviewer = Annotated[Caller, Depends(requires(Scope.REVIEWER))]
Admin = Annotated[Caller, Depends(requires(Scope.ADMIN))]
RunReader = Annotated[Caller, Depends(requires(Scope.INGEST, Scope.VIEWER))]
"""Who sent a run may read it, and so may who follows the link to it that a mail or the dashboard shows."""
