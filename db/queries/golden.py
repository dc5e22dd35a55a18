"""Golden sets as people read them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import NotFoundError
from db.models.apps import App
from db.models.validation import GoldenCase, GoldenSet
from db.queries.paging import DESCENDING, Key, after
from db.repositories import golden


class GoldenSetRecord(BaseModel):
    """One version of a golden set."""

    id: int
    app: str
    name: str
    version: int
    hash: str
    cases: int
    created_at: datetime


class GoldenCaseRecord(BaseModel):
    """One case, in the form that a file has."""

    key: str
    inputs: dict[str, Any]
    checks: list[dict[str, Any]]
    tags: dict[str, Any]


class GoldenSetDetail(GoldenSetRecord):
    """A version with what it covers."""

    metrics: dict[str, int]
    """Cases by metric."""
    tags: dict[str, dict[str, int]]
    """Cases by tag and value."""


def app_id_of(session: Session, name: str) -> int:
    """Return an app's id.

    Raises:
        NotFoundError: no app has this name.
    """
    found = session.scalar(select(App.id).where(App.name == name))
    if found is None:
        names = ", ".join(session.scalars(select(App.name).order_by(App.name))) or "none yet"
        raise NotFoundError(f"there is no app {name!r}; there is: {names}")
    return found


def list_sets(
    session: Session, app: str | None = None, *, key: Key | None = None, limit: int = 10_000
) -> list[GoldenSetRecord]:
    """Return versions, newest first.

    Args:
        key: (id,) of the last one seen.
    """
    statement = select(GoldenSet, App.name).join(App, App.id == GoldenSet.app_id)
    if app is not None:
        statement = statement.where(GoldenSet.app_id == app_id_of(session, app))
    rows = session.execute(after(statement, (GoldenSet.id, DESCENDING), key=key, limit=limit))
    return [_record(row, name) for row, name in rows]


def show_set(session: Session, set_id: int) -> GoldenSetDetail:
    """Return one version with what it covers.

    Raises:
        NotFoundError: there is no such version.
    """
    row = session.execute(
        select(GoldenSet, App.name).join(App, App.id == GoldenSet.app_id).where(GoldenSet.id == set_id)
    ).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no golden set {set_id}; `metamon golden list` shows what there is")
    metrics: dict[str, int] = {}
    tags: dict[str, dict[str, int]] = {}
    for case in golden.cases_of(session, set_id):
        for metric in {str(check.get("metric", "sla_met")) for check in case.checks}:
            metrics[metric] = metrics.get(metric, 0) + 1
        for tag, value in case.tags.items():
            values = tags.setdefault(tag, {})
            values[str(value)] = values.get(str(value), 0) + 1
    return GoldenSetDetail(**_record(row[0], row[1]).model_dump(), metrics=metrics, tags=tags)


def newest_id(session: Session, app: str, name: str | None = None) -> int:
    """Return the id of the newest version.

    Raises:
        NotFoundError: the app has none, or none of this name.
    """
    found = golden.newest(session, app_id_of(session, app), name)
    if found is None:
        named = f" named {name!r}" if name else ""
        raise NotFoundError(f"{app} has no golden set{named}: metamon golden import FILE --app {app}")
    return found.id


def list_cases(
    session: Session, set_id: int, *, key: Key | None = None, limit: int = 100_000
) -> list[GoldenCaseRecord]:
    """Return a version's cases in their order.

    Args:
        key: (key,) of the last one seen.
    """
    statement = select(GoldenCase).where(GoldenCase.set_id == set_id).order_by(GoldenCase.id).limit(limit)
    if key is not None:
        seen = select(GoldenCase.id).where(GoldenCase.set_id == set_id, GoldenCase.key == key[0])
        statement = statement.where(GoldenCase.id > seen.scalar_subquery())
    rows = session.scalars(statement)
    return [GoldenCaseRecord.model_validate(row, from_attributes=True) for row in rows]


def _record(row: GoldenSet, app: str) -> GoldenSetRecord:
    return GoldenSetRecord(
        id=row.id,
        app=app,
        name=row.name,
        version=row.version,
        hash=row.hash,
        cases=row.cases,
        created_at=row.created_at,
    )
