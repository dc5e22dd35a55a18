"""Tokens as people see them: everything but the token."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.states import Scope
from db.models.access import ApiToken


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


def list_tokens(session: Session) -> list[TokenRecord]:
    """Return all tokens, newest first."""
    rows = session.scalars(select(ApiToken).order_by(ApiToken.id.desc())).all()
    return [TokenRecord.model_validate(row, from_attributes=True) for row in rows]
