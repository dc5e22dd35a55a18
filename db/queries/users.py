"""Users as people see them."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.errors import NotFoundError
from core.states import Scope
from db.models.access import User, UserSession
from db.queries.paging import ASCENDING, Key, after


class UserRecord(BaseModel):
    """One user."""

    id: int
    email: str
    role: Scope
    time_zone: str
    disabled_at: datetime | None
    created_at: datetime
    last_seen_at: datetime | None


def list_users(session: Session, *, key: Key | None = None, limit: int = 1000) -> list[UserRecord]:
    """Return users by id."""
    seen = select(func.max(UserSession.last_seen_at)).where(UserSession.user_id == User.id).scalar_subquery()
    rows = session.execute(after(select(User, seen), (User.id, ASCENDING), key=key, limit=limit))
    return [_record(user, at) for user, at in rows]


def show_user(session: Session, user_id: int) -> UserRecord:
    """Return one user.

    Raises:
        NotFoundError: there is no such user.
    """
    found = list_users(session, key=(user_id - 1,), limit=1)
    if not found or found[0].id != user_id:
        raise NotFoundError(f"there is no user {user_id}; `metamon users list` shows who there is")
    return found[0]


def _record(user: User, seen: datetime | None) -> UserRecord:
    return UserRecord(
        id=user.id,
        email=user.email,
        role=user.role,
        time_zone=user.time_zone,
        disabled_at=user.disabled_at,
        created_at=user.created_at,
        last_seen_at=seen,
    )
