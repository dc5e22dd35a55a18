"""Golden sets as rows: a version is written once and never edited."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Protocol

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from db.models.apps import App
from db.models.validation import GoldenCase, GoldenSet

DEFAULT = "default"
"""Name of the set that is used where nobody names one."""


class NewCase(Protocol):
    """A checked case, as `targets.golden` parses it."""

    def as_json(self) -> dict[str, Any]:
        """Return key, inputs, checks and tags."""


def content_hash(cases: Sequence[NewCase]) -> str:
    """Return SHA-256 over the canonical JSON of the cases, whatever their order."""
    lines = sorted(json.dumps(case.as_json(), sort_keys=True, ensure_ascii=False) for case in cases)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def import_set(session: Session, app_id: int, name: str, cases: Sequence[NewCase]) -> GoldenSet:
    """Write a new version, or return the one that has exactly this content."""
    # Two imports at once would both take the next number.
    session.execute(select(App.id).where(App.id == app_id).with_for_update(key_share=True))
    digest = content_hash(cases)
    existing = session.scalars(
        select(GoldenSet).where(GoldenSet.app_id == app_id, GoldenSet.name == name, GoldenSet.hash == digest)
    ).one_or_none()
    if existing is not None:
        return existing
    last = session.scalar(select(func.max(GoldenSet.version)).where(GoldenSet.app_id == app_id, GoldenSet.name == name))
    golden = GoldenSet(app_id=app_id, name=name, version=(last or 0) + 1, hash=digest, cases=len(cases))
    session.add(golden)
    session.flush()
    session.execute(insert(GoldenCase), [{"set_id": golden.id, **case.as_json()} for case in cases])
    session.refresh(golden)
    return golden


def newest(session: Session, app_id: int, name: str | None = None) -> GoldenSet | None:
    """Return the newest version of the named set; without a name of `default`, or else of whichever came last."""
    statement = select(GoldenSet).where(GoldenSet.app_id == app_id)
    if name is not None:
        statement = statement.where(GoldenSet.name == name)
    return session.scalars(
        statement.order_by((GoldenSet.name == DEFAULT).desc(), GoldenSet.created_at.desc(), GoldenSet.id.desc()).limit(
            1
        )
    ).one_or_none()


def cases_of(session: Session, set_id: int) -> list[GoldenCase]:
    """Return a version's cases in their order."""
    return list(session.scalars(select(GoldenCase).where(GoldenCase.set_id == set_id).order_by(GoldenCase.id)))


def some_of(session: Session, ids: Sequence[int]) -> list[GoldenCase]:
    """Return certain cases, in the order of the ids."""
    found = {case.id: case for case in session.scalars(select(GoldenCase).where(GoldenCase.id.in_(ids)))}
    return [found[case_id] for case_id in ids if case_id in found]


def outline(session: Session, set_id: int) -> list[tuple[int, dict[str, Any]]]:
    """Return (id, tags) of a version's cases in their order: what a plan needs, without what they ask."""
    rows = session.execute(
        select(GoldenCase.id, GoldenCase.tags).where(GoldenCase.set_id == set_id).order_by(GoldenCase.id)
    )
    return [(case_id, tags) for case_id, tags in rows]
