"""Who is signed in, and how often somebody may try to."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select, text, update
from sqlalchemy.orm import Session

from core.errors import MetamonError
from core.states import Scope
from db.models.access import LoginAttempt, User, UserSession

LIFE = timedelta(days=7)
"""A session ends then, however busy it is …"""
IDLE = timedelta(hours=12)
"""… and earlier where nobody uses it."""
SEEN_RESOLUTION = timedelta(minutes=1)

WINDOW = timedelta(minutes=15)
LIMITS = {"pair": 5, "address": 50, "email": 50}
"""Failed attempts in a window: of one address as one user, of one address, as one user from anywhere."""


class TooManyAttemptsError(MetamonError):
    """Somebody guesses. `retry_after_s` says when to come again."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"too many attempts to sign in; try again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


@dataclass(frozen=True)
class SignedIn:
    """Who speaks by cookie, and what they may do."""

    session_id: int
    user_id: int
    email: str
    scope: Scope
    time_zone: str
    csrf_token: str

    @property
    def actor(self) -> str:
        """How the audit log names them."""
        return f"user:{self.email}"


def digest(secret: str) -> str:
    """Return what is stored. A fast hash will do: the secret is 32 random bytes."""
    return hashlib.sha256(secret.encode()).hexdigest()


def csrf_of(secret: str) -> str:
    """Return the token that writes must carry. Another site can make a browser send the cookie, but not read it."""
    return hmac.new(secret.encode(), b"csrf", hashlib.sha256).hexdigest()


def open_(session: Session, user: User, *, address: str, now: datetime) -> str:
    """Start a session and return the cookie's secret: the only time anyone sees it."""
    secret = secrets.token_urlsafe(32)
    session.add(
        UserSession(user_id=user.id, hash=digest(secret), address=address, last_seen_at=now, expires_at=now + LIFE)
    )
    return secret


def find(session: Session, secret: str, *, now: datetime) -> SignedIn | None:
    """Return whose session this is, or None where it is unknown, over, or its user is disabled."""
    found = session.execute(
        select(UserSession, User).join(User, User.id == UserSession.user_id).where(UserSession.hash == digest(secret))
    ).one_or_none()
    if found is None:
        return None
    row, user = found
    if row.revoked_at is not None or user.disabled_at is not None:
        return None
    if now >= row.expires_at or now - row.last_seen_at >= IDLE:
        return None
    if now - row.last_seen_at > SEEN_RESOLUTION:
        row.last_seen_at = now
    return SignedIn(row.id, user.id, user.email, user.role, user.time_zone, csrf_of(secret))


def revoke(session: Session, session_id: int, *, now: datetime) -> None:
    """End one session."""
    session.execute(
        update(UserSession).where(UserSession.id == session_id, UserSession.revoked_at.is_(None)).values(revoked_at=now)
    )


def revoke_all(session: Session, user_id: int, *, now: datetime) -> None:
    """End every session of a user."""
    session.execute(
        update(UserSession)
        .where(UserSession.user_id == user_id, UserSession.revoked_at.is_(None))
        .values(revoked_at=now)
    )


def user_of(session: Session, email: str) -> User | None:
    """Return the user who has this address and is not disabled."""
    return session.scalars(select(User).where(User.email == email, User.disabled_at.is_(None))).one_or_none()


_COUNT = text("""
INSERT INTO login_attempts AS a (key, attempts, since) VALUES (:key, 1, :now)
    ON CONFLICT (key) DO UPDATE
   SET attempts = CASE WHEN a.since <= :start THEN 1 ELSE a.attempts + 1 END,
       since = CASE WHEN a.since <= :start THEN :now ELSE a.since END
RETURNING attempts, since
""")


def count_attempt(session: Session, *, address: str, email: str, now: datetime) -> None:
    """Count an attempt before it is made, so that a hundred at once are counted too. Commit it either way.

    Raises:
        TooManyAttemptsError: there were too many.
    """
    wait = timedelta()
    for kind, key in _keys(address, email).items():
        row = session.execute(_COUNT, {"key": key, "now": now, "start": now - WINDOW}).one()
        if row.attempts > LIMITS[kind]:
            wait = max(wait, row.since + WINDOW - now)
    if wait:
        raise TooManyAttemptsError(max(1, round(wait.total_seconds())))


def forgive(session: Session, *, address: str, email: str) -> None:
    """Take back what a right password has proven to be no guessing: this address as this user begins anew."""
    for kind, key in _keys(address, email).items():
        if kind == "pair":
            session.execute(delete(LoginAttempt).where(LoginAttempt.key == key))
        else:
            less = update(LoginAttempt).where(LoginAttempt.key == key, LoginAttempt.attempts > 0)
            session.execute(less.values(attempts=LoginAttempt.attempts - 1))


def drop_old(session: Session, *, now: datetime) -> int:
    """Delete sessions that are over and windows that are past. Returns how many."""
    gone = session.execute(delete(UserSession).where(UserSession.expires_at < now - LIFE)).rowcount  # type: ignore[attr-defined]
    past = session.execute(delete(LoginAttempt).where(LoginAttempt.since < now - WINDOW)).rowcount  # type: ignore[attr-defined]
    return int(gone) + int(past)


def _keys(address: str, email: str) -> dict[str, str]:
    # In one order for everybody: two attempts at once must not wait for each other.
    parts = {"pair": f"{address}\n{email}", "address": address, "email": email}
    return {kind: digest(f"{kind}\n{value}") for kind, value in sorted(parts.items())}
