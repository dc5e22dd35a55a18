"""Which apps the sweep looks at, and where their runs come from."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.models.apps import App


def enabled(session: Session, *, source: str | None = None) -> list[int]:
    """Return the ids of the enabled apps, of one source or of all."""
    statement = select(App.id).where(App.enabled).order_by(App.id)
    if source is not None:
        statement = statement.where(App.source == source)
    return list(session.scalars(statement))


def source_of(session: Session, app_id: int) -> str:
    """Return the app's source; `embedded` where the app is gone, which its check then says."""
    return session.scalar(select(App.source).where(App.id == app_id)) or "embedded"
