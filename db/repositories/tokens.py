"""API tokens: made once, shown once, kept as a hash."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import NotFoundError
from core.states import Scope
from db.models.access import ApiToken
from db.repositories import audit

PREFIX = "mm_"
SHOWN = 9
"""Characters of a token that are kept in the clear, to recognise it by."""
USE_RESOLUTION = timedelta(minutes=1)
"""How exactly `last_used_at` is kept: a write for every request would cost more than the request."""


@dataclass(frozen=True)
class Bearer:
    """Who speaks, and what they may do."""

    token_id: int
    name: str
    scope: Scope

    @property
    def actor(self) -> str:
        """How the audit log names them."""
        return f"token:{self.name}"


def digest(token: str) -> str:
    """Return what is stored. A fast hash will do: the token is 32 random bytes, nothing to guess."""
    return hashlib.sha256(token.encode()).hexdigest()


def create(session: Session, *, name: str, scope: Scope, by: str) -> str:
    """Make a token and return it: the only time anyone sees it."""
    token = PREFIX + secrets.token_urlsafe(32)
    row = ApiToken(name=name, scope=scope, prefix=token[:SHOWN], hash=digest(token), created_by=by)
    session.add(row)
    session.flush()
    audit.record(session, actor=by, action="token.create", subject=f"token:{row.id}", name=name, scope=scope.value)
    return token


def find(session: Session, token: str, *, now: datetime) -> Bearer | None:
    """Return whose token this is, or None where it is unknown or revoked."""
    row = session.scalars(select(ApiToken).where(ApiToken.hash == digest(token))).one_or_none()
    if row is None or row.revoked_at is not None:
        return None
    if row.last_used_at is None or now - row.last_used_at > USE_RESOLUTION:
        row.last_used_at = now
    return Bearer(row.id, row.name, row.scope)


def revoke(session: Session, token_id: int, *, by: str, now: datetime) -> None:
    """Make a token useless. Revoking twice changes nothing.

    Raises:
        NotFoundError: there is no such token.
    """
    row = session.get(ApiToken, token_id, with_for_update=True)
    if row is None:
        raise NotFoundError(f"there is no token {token_id}; `metamon tokens list` shows what there is")
    if row.revoked_at is None:
        row.revoked_at = now
        audit.record(session, actor=by, action="token.revoke", subject=f"token:{token_id}", name=row.name)
