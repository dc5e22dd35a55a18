"""Tokens as people see them: everything but the token."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.states import Scope
from db.models.access import ApiToken
from db.queries.paging import DESCENDING, Key, after


class TokenRecord(BaseModel):
    """One token."""

    id: int
    name: str
    scope: Scope
    prefix: str
    created_by: str
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


def list_tokens(session: Session, *, key: Key | None = None, limit: int = 10_000) -> list[TokenRecord]:
    """Return tokens, newest first.

    Args:
        key: (id,) of the last one seen.
    """
    rows = session.scalars(after(select(ApiToken), (ApiToken.id, DESCENDING), key=key, limit=limit))
    return [TokenRecord.model_validate(row, from_attributes=True) for row in rows]
