"""Signing in, who is signed in, signing out."""

from __future__ import annotations

import threading
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from api.auth import COOKIE, Db, caller_of
from core.clock import utc_now
from core.settings import settings
from core.states import Scope
from db.repositories import audit, user_sessions, users
from db.repositories.user_sessions import SignedIn, TooManyAttemptsError
from db.repositories.users import BadUserError

router = APIRouter(prefix="/session")

HASHES_AT_ONCE = threading.BoundedSemaphore(2)
"""Each takes 64 MiB and a core: a crowd at the door must not take the house down."""


class Credentials(BaseModel):
    """Who signs in."""

    model_config = ConfigDict(extra="forbid")

    email: str = Field(max_length=320)
    password: str = Field(max_length=1024)


class Person(BaseModel):
    """Who is signed in."""

    id: int
    email: str
    role: Scope
    time_zone: str


class SessionRecord(BaseModel):
    """A session."""

    user: Person
    csrf_token: str
    """Send it as `X-CSRF-Token` with everything that is no GET."""


def person(request: Request, sessions: Db) -> SignedIn:
    """Return who is signed in by cookie; a token is no person."""
    caller = caller_of(request, sessions)
    if not isinstance(caller, SignedIn):
        raise HTTPException(401, "this is about people: sign in")
    return caller


Signed = Annotated[SignedIn, Depends(person)]


@router.post("")
def sign_in(credentials: Credentials, request: Request, response: Response, sessions: Db) -> SessionRecord:
    """Sign in. 401 where address and password do not belong together, 429 where somebody guesses."""
    now = utc_now()
    address = request.client.host if request.client else "unknown"
    try:
        email = users.normal(credentials.email)
    except BadUserError:
        email = "nobody"
    refused: TooManyAttemptsError | None = None
    with sessions.begin() as session:
        try:
            user_sessions.count_attempt(session, address=address, email=email, now=now)
        except TooManyAttemptsError as error:
            refused = error  # raised behind the commit: what was counted stays
    if refused is not None:
        raise HTTPException(429, str(refused), headers={"Retry-After": str(refused.retry_after_s)})
    with sessions() as session:
        user = user_sessions.user_of(session, email)
        stored = user.password_hash if user else None
    with HASHES_AT_ONCE:
        right = users.verified(stored, credentials.password)
    if not right or user is None:
        raise HTTPException(401, "the email address and the password do not belong together")
    with sessions.begin() as session:
        # Read again: whoever was disabled, or got another password, while we hashed does not come in.
        fresh = user_sessions.user_of(session, email)
        if fresh is None or fresh.password_hash != stored:
            raise HTTPException(401, "the email address and the password do not belong together")
        user_sessions.forgive(session, address=address, email=email)
        secret = user_sessions.open_(session, fresh, address=address, now=now)
        audit.record(session, actor=f"user:{email}", action="session.open", subject=f"user:{fresh.id}")
        record = SessionRecord(
            user=Person(id=fresh.id, email=fresh.email, role=fresh.role, time_zone=fresh.time_zone),
            csrf_token=user_sessions.csrf_of(secret),
        )
    response.set_cookie(
        COOKIE,
        secret,
        max_age=int(user_sessions.LIFE.total_seconds()),
        httponly=True,
        samesite="lax",
        secure=(settings().public_url or "").startswith("https:"),
        path="/",
    )
    response.headers["Cache-Control"] = "no-store"
    return record


@router.get("")
def who(signed: Signed, response: Response) -> SessionRecord:
    """Say who is signed in; 401 where nobody is."""
    response.headers["Cache-Control"] = "no-store"
    return SessionRecord(
        user=Person(id=signed.user_id, email=signed.email, role=signed.scope, time_zone=signed.time_zone),
        csrf_token=signed.csrf_token,
    )


@router.delete("", status_code=204)
def sign_out(signed: Signed, response: Response, sessions: Db) -> None:
    """Sign out: the session is over everywhere."""
    with sessions.begin() as session:
        user_sessions.revoke(session, signed.session_id, now=utc_now())
    response.delete_cookie(COOKIE, path="/")
