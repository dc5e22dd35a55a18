"""Writing feedback: kept whether or not its run is known, and counted in the bucket of its trace's root."""

# ruff: noqa: S608 – only names of our own tables and columns are put into statements, never a value

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Row, delete, select
from sqlalchemy.orm import Session

from core.errors import NotFoundError
from db.models.traces import Feedback, LooseEnd
from db.repositories import run_statements as sql
from db.repositories.partitions import partition
from db.repositories.runs import Touched, minute, note_changes

UUID7_VERSION = 7


@dataclass(slots=True)
class FeedbackOp:
    """One piece of feedback, cleaned. `value`, `correction` and `source` are any JSON."""

    id: UUID
    day: date
    key: str
    created_at: datetime
    modified_at: datetime
    run_id: UUID | None = None
    trace_id: UUID | None = None
    project_id: UUID | None = None
    score: float | None = None
    value: Any = None
    comment: str | None = None
    correction: Any = None
    source: Any = None

    @property
    def target(self) -> UUID | None:
        """The run that has to be known for the feedback to count."""
        return self.run_id or self.trace_id


_KINDS = {
    "id": "uuid", "run_id": "uuid", "trace_id": "uuid", "project_id": "uuid", "key": "text", "score": "float8",
    "value": "text", "comment": "text", "correction": "text", "source": "text", "created_at": "timestamptz",
    "modified_at": "timestamptz",
}  # fmt: skip
_JSON = ("value", "correction", "source")
_NAMES = ", ".join(_KINDS)
_ARRAYS = ", ".join(f"%s::{kind}[]" for kind in _KINDS.values())
_SELECTED = ", ".join(f"n.{name}::jsonb" if name in _JSON else f"n.{name}" for name in _KINDS)
_KEPT = ", ".join(
    f"{name} = COALESCE(EXCLUDED.{name}, f.{name})" for name in _KINDS if name not in ("id", "created_at")
)


def write(session: Session, ops: Sequence[FeedbackOp], *, now: datetime) -> tuple[Touched, list[FeedbackOp]]:
    """Store feedback and return the buckets it touches and the ops whose run is unknown: `settle` those after commit.

    Where the run is unknown the trace is taken to be the run itself, which is right for every root. Sent twice is
    stored once; null never overwrites. The partitions of the ops' days must exist.
    """
    if not ops:
        return set(), []
    found = _locate(session, ops, now)
    roots = _roots(session, found)
    touched: Touched = set()
    unknown = []
    by_day: dict[date, dict[UUID, FeedbackOp]] = {}
    for op in ops:
        by_day.setdefault(op.day, {})[op.id] = op
        target = found.get(op.run_id) if op.run_id in found else found.get(op.trace_id)
        if target is not None:
            op.trace_id = target.trace_id
            op.project_id = target.project_id
            touched |= _place(target, roots)
        elif op.target is not None:
            op.trace_id = op.trace_id or op.run_id
            unknown.append(op)
    for day in sorted(by_day):
        _insert(session, day, [by_day[day][feedback_id] for feedback_id in sorted(by_day[day])])
    if unknown:
        sql.keep_loose_ends(session, [(op.target, op.id, True, op.day) for op in unknown if op.target])
    return touched, unknown


def settle(session: Session, unknown: Sequence[FeedbackOp], *, now: datetime) -> None:
    """Look once more for the runs of feedback that `write` could not place, after its commit.

    A run that was committed in between saw no loose end, and its note may be worked off already: whoever commits
    last sees the other.
    """
    found = _locate(session, unknown, now)
    if not found:
        return
    roots = _roots(session, found)
    touched: Touched = set()
    for op in unknown:
        target = found.get(op.run_id) if op.run_id in found else found.get(op.trace_id)
        if target is None:
            continue
        sql.join_feedback(session, op.day, op.id, trace_id=target.trace_id, project_id=target.project_id)
        session.execute(delete(LooseEnd).where(LooseEnd.ref == op.id, LooseEnd.run_id == op.target))
        touched |= _place(target, roots)
    note_changes(session, touched)


def change(session: Session, feedback_id: UUID, values: Mapping[str, Any], *, now: datetime) -> None:
    """Set fields of feedback; here a given None clears.

    Raises:
        NotFoundError: there is no such feedback.
    """
    row = _locked(session, feedback_id)
    for name, value in values.items():
        setattr(row, name, value)
    row.modified_at = now
    session.flush()
    _note(session, row, now)


def remove(session: Session, feedback_id: UUID, *, now: datetime) -> None:
    """Delete feedback.

    Raises:
        NotFoundError: there is no such feedback.
    """
    row = _locked(session, feedback_id)
    session.execute(delete(Feedback).where(Feedback.day == row.day, Feedback.id == row.id))
    session.execute(delete(LooseEnd).where(LooseEnd.ref == feedback_id))
    _note(session, row, now)


def _locked(session: Session, feedback_id: UUID) -> Feedback:
    row = session.scalars(select(Feedback).where(Feedback.id == feedback_id).with_for_update()).first()
    if row is None:
        raise NotFoundError(f"there is no feedback {feedback_id}")
    return row


def _note(session: Session, row: Feedback, now: datetime) -> None:
    op = FeedbackOp(
        id=row.id, day=row.day, key=row.key, created_at=row.created_at, modified_at=row.modified_at,
        run_id=row.run_id, trace_id=row.trace_id,
    )  # fmt: skip
    found = _locate(session, [op], now)
    roots = _roots(session, found)
    note_changes(session, {place for target in found.values() for place in _place(target, roots)})


def _locate(session: Session, ops: Sequence[FeedbackOp], now: datetime) -> dict[UUID | None, Row[Any]]:
    """Return the known runs among the ops' targets: first where they probably are, then everywhere."""
    wanted = {run_id for op in ops for run_id in (op.run_id, op.trace_id) if run_id is not None}
    if not wanted:
        return {}
    days = {now.date(), now.date() - timedelta(days=1), *(op.day for op in ops)}
    days |= {day for run_id in wanted if (day := _born(run_id)) is not None}
    found: dict[UUID | None, Row[Any]] = {row.id: row for row in sql.locate(session, list(wanted), sorted(days))}
    missing = [
        run_id
        for op in ops
        if op.run_id not in found and op.trace_id not in found
        for run_id in (op.run_id, op.trace_id)
        if run_id is not None
    ]
    if missing:
        found |= {row.id: row for row in sql.locate(session, missing)}
    return found


def _roots(session: Session, found: Mapping[UUID | None, Row[Any]]) -> dict[UUID, Row[Any]]:
    roots = {row.id: row for row in found.values() if row.is_root}
    missing = {row.trace_id for row in found.values()} - roots.keys()
    if missing:
        roots |= {row.id: row for row in sql.locate(session, sorted(missing))}
    return roots


def _place(target: Row[Any], roots: Mapping[UUID, Row[Any]]) -> Touched:
    root = roots.get(target.trace_id)
    # Without its root the trace is in no bucket yet; the root's own note will cover the feedback.
    return {(root.project_id, minute(root.start_time))} if root is not None else set()


def _born(run_id: UUID) -> date | None:
    """Return the day that a version 7 id carries: mostly the day of the run."""
    if run_id.version != UUID7_VERSION:
        return None
    try:
        return (datetime(1970, 1, 1) + timedelta(milliseconds=run_id.int >> 80)).date()  # noqa: DTZ001  # UTC by definition
    except OverflowError:
        return None


def _insert(session: Session, day: date, ops: Sequence[FeedbackOp]) -> None:
    def column(name: str) -> list[Any]:
        values = [getattr(op, name) for op in ops]
        if name in _JSON:
            return [None if value is None else orjson.dumps(value).decode() for value in values]
        return values

    session.connection().exec_driver_sql(
        f"INSERT INTO {partition('feedback', day)} AS f (day, {_NAMES}) "
        f"SELECT %s, {_SELECTED} FROM unnest({_ARRAYS}) AS n({_NAMES}) "
        f"ON CONFLICT (day, id) DO UPDATE SET {_KEPT}",
        (day, *(column(name) for name in _KINDS)),
    )
