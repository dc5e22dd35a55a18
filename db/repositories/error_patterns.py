"""Error patterns as rows: seen, merged, split. What a person decided is in the audit log, and can be undone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from analysis.errors import Known, split_key
from core.errors import MetamonError, NotFoundError
from db.models.errors import ErrorPattern
from db.repositories import audit

MOST = 2000
"""Patterns of an app that new errors are compared with: the ones seen last, and all that a person touched."""


class PatternError(MetamonError):
    """What is asked for makes no sense for this pattern."""


def known(session: Session, app_id: int) -> list[Known]:
    """Return an app's patterns for `analysis.errors.group`, oldest first."""
    rows = session.scalars(
        select(ErrorPattern)
        .where(ErrorPattern.app_id == app_id)
        .order_by(
            (ErrorPattern.merged_into.is_(None) & ErrorPattern.split_of.is_(None)),
            ErrorPattern.last_seen.desc(),
            ErrorPattern.id,
        )
        .limit(MOST)
    ).all()
    return [
        Known(row.key, row.kind, tuple(row.frames), row.template, row.merged_into, row.split_of, row.containing)
        for row in sorted(rows, key=lambda row: row.id)
    ]


def see(session: Session, app_id: int, patterns: Sequence[Known], *, now: datetime) -> None:
    """Keep the patterns that were seen: new ones by their key, known ones with their template as wide as it is now."""
    if not patterns:
        return
    statement = insert(ErrorPattern).values(
        [
            {
                "app_id": app_id,
                "key": entry.key,
                "kind": entry.kind,
                "frames": list(entry.frames),
                "template": entry.template,
                "first_seen": now,
                "last_seen": now,
            }
            # in one order, so that two investigations cannot wait for each other
            for entry in sorted({entry.key: entry for entry in patterns}.values(), key=lambda entry: entry.key)
        ]
    )
    session.execute(
        statement.on_conflict_do_update(
            constraint="uq_error_patterns_key",
            set_={"template": statement.excluded.template, "last_seen": statement.excluded.last_seen},
        )
    )


def merge(session: Session, app_id: int, key: str, into: str, *, by: str) -> None:
    """Let a pattern count for another from now on.

    Raises:
        NotFoundError: there is no such pattern.
        PatternError: it is the same, or the other one counts for this one already.
    """
    one, other = _get(session, app_id, key), _get(session, app_id, into)
    seen = other
    while True:
        if seen.key == one.key:
            raise PatternError(f"{into} counts for {key} already: merging them the other way round makes a circle")
        if seen.merged_into is None:
            break
        seen = _get(session, app_id, seen.merged_into)
    one.merged_into = into
    audit.record(session, actor=by, action="errors.merge", subject=f"errors:{key}", app_id=app_id, into=into)


def unmerge(session: Session, app_id: int, key: str, *, by: str) -> None:
    """Let a pattern stand for itself again.

    Raises:
        NotFoundError: there is no such pattern.
        PatternError: it was not merged.
    """
    row = _get(session, app_id, key)
    if row.merged_into is None:
        raise PatternError(f"{key} stands for itself already")
    audit.record(
        session, actor=by, action="errors.unmerge", subject=f"errors:{key}", app_id=app_id, was=row.merged_into
    )
    row.merged_into = None


def split(session: Session, app_id: int, key: str, containing: str, *, by: str, now: datetime) -> str:
    """Take the errors that hold a text out of a pattern; return the key of what they are from now on.

    Raises:
        NotFoundError: there is no such pattern.
        PatternError: the text is empty or too long, or the pattern is itself such a part.
    """
    containing = containing.strip()
    if not 3 <= len(containing) <= 200:
        raise PatternError("say which errors to take out by a text of 3 to 200 characters that they hold")
    row = _get(session, app_id, key)
    if row.split_of is not None:
        raise PatternError(f"{key} was split of {row.split_of}: split that one by a longer text")
    made = split_key(key, containing)
    session.execute(
        insert(ErrorPattern)
        .values(
            app_id=app_id, key=made, kind=row.kind, frames=row.frames, template=row.template, split_of=key,
            containing=containing, first_seen=now, last_seen=now,
        )
        .on_conflict_do_nothing(constraint="uq_error_patterns_key")
    )  # fmt: skip
    audit.record(
        session,
        actor=by,
        action="errors.split",
        subject=f"errors:{key}",
        app_id=app_id,
        containing=containing,
        made=made,
    )
    return made


def join(session: Session, app_id: int, key: str, *, by: str) -> None:
    """Put what was split off back, and undo merges into it.

    Raises:
        NotFoundError: there is no such pattern.
        PatternError: it was not split of another.
    """
    row = _get(session, app_id, key)
    if row.split_of is None:
        raise PatternError(f"{key} was not split of another pattern")
    session.execute(
        update(ErrorPattern)
        .where(ErrorPattern.app_id == app_id, ErrorPattern.merged_into == key)
        .values(merged_into=None)
    )
    audit.record(
        session, actor=by, action="errors.join", subject=f"errors:{key}", app_id=app_id, split_of=row.split_of,
        containing=row.containing,
    )  # fmt: skip
    session.delete(row)


def _get(session: Session, app_id: int, key: str) -> ErrorPattern:
    row = session.scalars(
        select(ErrorPattern).where(ErrorPattern.app_id == app_id, ErrorPattern.key == key)
    ).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no error pattern {key}; `metamon errors list` shows what there is")
    return row
