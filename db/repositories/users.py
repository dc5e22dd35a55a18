"""People who may sign in: made by an admin, kept with an argon2id hash of their password."""

from __future__ import annotations

import re
import secrets
from datetime import datetime
from functools import lru_cache
from zoneinfo import available_timezones

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from core.errors import MetamonError, NotFoundError
from core.states import Scope
from db.models.access import User
from db.repositories import audit, user_sessions

FIRST_ADMIN = "admin@localhost"
SHORTEST, LONGEST = 12, 256
"""Characters of a password. A longer one than that only costs time to hash."""
ROLES = (Scope.VIEWER, Scope.REVIEWER, Scope.ADMIN)

_EMAIL = re.compile(r"[^@\s\x00-\x1f]{1,64}@[^@\s\x00-\x1f]{1,189}")
_ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(7305811944)"
_hasher = PasswordHasher()  # RFC 9106's second recommendation: 64 MiB, three passes


class BadUserError(MetamonError):
    """Something about a user is not acceptable; the message says what would be."""


class DuplicateUserError(MetamonError):
    """The address is taken."""


class LastAdminError(MetamonError):
    """Nobody would be left who can change anything."""


def normal(email: str) -> str:
    """Return an address as it is stored.

    Raises:
        BadUserError: it is none.
    """
    found = email.strip().lower()
    if not _EMAIL.fullmatch(found):
        raise BadUserError("an email address looks like ann@example.com")
    return found


def hashed(password: str) -> str:
    """Return what is stored of a password.

    Raises:
        BadUserError: it is too short or too long.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise BadUserError(f"a password has {SHORTEST} to {LONGEST} characters")
    return _hasher.hash(password)


@lru_cache(maxsize=1)
def _nobodys_hash() -> str:
    return _hasher.hash(secrets.token_urlsafe(16))


def verified(stored: str | None, password: str) -> bool:
    """Tell whether the password is right. Takes as long where there is no such user: time must not tell."""
    try:
        _hasher.verify(stored or _nobodys_hash(), password[: LONGEST + 1])
    except (Argon2Error, InvalidHashError):
        return False
    return stored is not None


def create(session: Session, *, email: str, role: Scope, password: str | None, by: str, time_zone: str = "UTC") -> int:
    """Add a user and return the id.

    Args:
        password: None: nobody can sign in until one is set.

    Raises:
        BadUserError: an address, role, zone or password that is none.
        DuplicateUserError: the address is taken.
    """
    address = normal(email)
    _check(role, time_zone)
    stored = None if password is None else hashed(password)
    session.execute(text(_ONE_AT_A_TIME))
    if session.scalar(select(User.id).where(User.email == address)) is not None:
        raise DuplicateUserError(f"there is a user {address} already")
    row = User(email=address, role=role, password_hash=stored, time_zone=time_zone)
    session.add(row)
    session.flush()
    audit.record(session, actor=by, action="user.create", subject=f"user:{row.id}", email=address, role=role.value)
    return row.id


def first_admin(session: Session, *, by: str) -> str | None:
    """Make an admin where there is no user at all, and return the password: the only time anyone sees it."""
    session.execute(text(_ONE_AT_A_TIME))
    if session.scalar(select(User.id).limit(1)) is not None:
        return None
    password = secrets.token_urlsafe(15)
    create(session, email=FIRST_ADMIN, role=Scope.ADMIN, password=password, by=by)
    return password


def change(
    session: Session,
    user_id: int,
    *,
    by: str,
    now: datetime,
    role: Scope | None = None,
    password: str | None = None,
    time_zone: str | None = None,
    disabled: bool | None = None,
) -> None:
    """Set what is given. A new password and being disabled end every session of the user.

    Raises:
        NotFoundError: there is no such user.
        BadUserError: a role, zone or password that is none.
        LastAdminError: no admin would be left.
    """
    session.execute(text(_ONE_AT_A_TIME))
    row = session.get(User, user_id, with_for_update=True)
    if row is None:
        raise NotFoundError(f"there is no user {user_id}; `metamon users list` shows who there is")
    _check(role or row.role, time_zone or row.time_zone)
    done: dict[str, str] = {}
    if role is not None and role is not row.role:
        row.role, done["role"] = role, role.value
    if time_zone is not None:
        row.time_zone = time_zone
    if disabled is not None and disabled != (row.disabled_at is not None):
        row.disabled_at, done["disabled"] = now if disabled else None, str(disabled).lower()
    if password is not None:
        row.password_hash, done["password"] = hashed(password), "set"
    session.flush()
    if ("role" in done or "disabled" in done) and not _admins(session):
        raise LastAdminError(f"{row.email} is the last admin: make another one first")
    if password is not None or disabled:
        user_sessions.revoke_all(session, user_id, now=now)
    if done:
        audit.record(session, actor=by, action="user.change", subject=f"user:{user_id}", email=row.email, **done)


def id_of(session: Session, email: str) -> int:
    """Return a user's id.

    Raises:
        NotFoundError: nobody has this address.
    """
    found = session.scalar(select(User.id).where(User.email == email.strip().lower()))
    if found is None:
        raise NotFoundError(f"there is no user {email}; `metamon users list` shows who there is")
    return found


def _admins(session: Session) -> int:
    active = select(func.count()).where(User.role == Scope.ADMIN, User.disabled_at.is_(None))
    return session.scalar(active) or 0


def _check(role: Scope, time_zone: str) -> None:
    if role not in ROLES:
        raise BadUserError(f"a user is one of: {', '.join(ROLES)}; ingest is for tokens")
    if time_zone not in available_timezones():
        raise BadUserError("a time zone looks like Europe/Berlin")
