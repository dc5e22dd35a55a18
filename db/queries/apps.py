"""Apps as people see them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import NotFoundError
from db.models.apps import App
from db.queries.paging import ASCENDING, Key, after


class AppRecord(BaseModel):
    """One monitored app."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    source: str
    project: str
    sla_ms: int
    notify: list[str]
    timezone: str
    enabled: bool
    objectives: dict[str, Any]
    target: dict[str, Any]
    config: dict[str, Any]
    allowed: dict[str, Any]
    policy: list[dict[str, Any]]
    """Rules about what passed validation; the first that applies decides. Empty: low impact is approved, else asked."""
    created_at: datetime


def list_apps(session: Session, *, key: Key | None = None, limit: int = 10_000) -> list[AppRecord]:
    """Return apps by name.

    Args:
        key: (name,) of the last one seen.
    """
    rows = session.scalars(after(select(App), (App.name, ASCENDING), key=key, limit=limit))
    return [AppRecord.model_validate(row) for row in rows]


def get_app(session: Session, name: str) -> AppRecord:
    """Return one app.

    Raises:
        NotFoundError: there is no such app.
    """
    row = session.scalars(select(App).where(App.name == name)).one_or_none()
    if row is None:
        names = ", ".join(app.name for app in list_apps(session)) or "none yet"
        raise NotFoundError(f"there is no app {name!r}; there is: {names}")
    return AppRecord.model_validate(row)


def only_app(session: Session, name: str | None) -> str:
    """Return the name of the app that is meant: the one that is named, or the only one.

    Raises:
        NotFoundError: there is no such app, or none was named and there is not exactly one.
    """
    if name is not None:
        return get_app(session, name).name
    names = list(session.scalars(select(App.name).order_by(App.name).limit(10)))
    if len(names) != 1:
        raise NotFoundError("which app? " + (", ".join(names) if names else "there is none yet: metamon apps add"))
    return names[0]
