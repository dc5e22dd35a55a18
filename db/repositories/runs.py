"""Writing runs: post and patch of one run merge in any order, and what they touch is noted for the sweep."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy.orm import Session

from core.states import RunStatus
from db.repositories import run_statements as sql

Touched = set[tuple[UUID, datetime]]
"""Buckets to restate: (project, minute of the trace's start)."""


@dataclass(slots=True)
class RunOp:
    """One post or patch of a run, cleaned. None says nothing: it never overwrites."""

    id: UUID
    posted: bool
    day: date | None = None
    """Partition by the run's own clock; None where it states no time, or an absurd one: the store knows or not."""
    project_id: UUID | None = None
    trace_id: UUID | None = None
    parent_run_id: UUID | None = None
    name: str | None = None
    run_type: str | None = None
    dotted_order: str | None = None
    start_time: datetime | None = None
    trace_start: datetime | None = None
    """Start of the root, as the dotted order states it."""
    end_time: datetime | None = None
    duration: timedelta | None = None
    """Set where the client's clock is absurd: its times are replaced, its durations hold."""
    error: str | None = None
    tags: list[str] | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    total_cost: float | None = None
    reference_example_id: UUID | None = None
    inputs: bytes | None = None
    outputs: bytes | None = None
    events: bytes | None = None
    extra: bytes | None = None
    serialized: bytes | None = None
    split: Callable[[], Sequence[RunOp]] | None = None
    """Where this is a post and patches of one upload in one: gives them apart, for a run that is there already."""

    @property
    def is_root(self) -> bool:
        """Whether nothing says that the run has a parent."""
        return self.parent_run_id is None and (self.trace_id is None or self.trace_id == self.id)

    @property
    def status(self) -> RunStatus:
        """What the run came to, as far as this op tells."""
        if self.error is not None:
            return RunStatus.ERROR
        return RunStatus.PENDING if self.end_time is None else RunStatus.SUCCESS


_FILLED = [f.name for f in fields(RunOp) if f.name not in ("id", "posted", "metadata", "split")]


def merged(ops: Sequence[RunOp]) -> RunOp:
    """Return one op that says what all say: a patch goes before a post, a later patch before an earlier one."""
    ranked = [op for op in reversed(ops) if not op.posted] + [op for op in ops if op.posted]
    if len(ranked) == 1:
        return ranked[0]
    result = RunOp(id=ranked[0].id, posted=any(op.posted for op in ops))
    for op in ranked:
        for name in _FILLED:
            if getattr(result, name) is None:
                setattr(result, name, getattr(op, name))
        result.metadata = {**op.metadata, **result.metadata}
    return result


class NotNewError(Exception):
    """A run that was taken for new is there already: roll back, and write again with care."""


def write(
    session: Session, ops: Iterable[RunOp], *, now: datetime, default_project: UUID | None, careful: bool
) -> Touched:
    """Merge the ops into the store and return the buckets that they touch.

    The partitions of the ops' days must exist, and today's.

    Args:
        ops: in the order in which they came.
        now: when they were received.
        careful: look whether a posted run is there already. Nearly never it is, so try first without.
        default_project: where an unknown run goes whose ops name no project; needed where there is one.

    Raises:
        NotNewError: without care only. The transaction is of no use any more.
    """
    by_id: dict[UUID, list[RunOp]] = {}
    for op in ops:
        by_id.setdefault(op.id, []).append(op)
    if not by_id:
        return set()
    touched: Touched = set()
    homes, placeholders = _find_homes(session, by_id, now)
    touched |= _adopt(session, by_id, homes, placeholders)
    by_day: dict[date, list[UUID]] = {}
    for run_id, day in homes.items():
        by_day.setdefault(day, []).append(run_id)
    for day in sorted(by_day):
        # In the order of ids, so that two batches that share runs wait for each other instead of dead-locking.
        groups = {run_id: by_id[run_id] for run_id in sorted(by_day[day])}
        touched |= _write_day(session, day, groups, now=now, default_project=default_project, careful=careful)
    if placeholders:
        sql.keep_loose_ends(session, [(run_id, run_id, False, homes[run_id]) for run_id in placeholders])
    return touched


def note_changes(session: Session, touched: Touched) -> None:
    """Leave the sweep a note for every touched bucket, in the transaction that touched it."""
    if touched:
        sql.insert_changes(session, sorted(touched))


def minute(at: datetime) -> datetime:
    """Return the start of the minute: the finest slot a note can name."""
    return at.replace(second=0, microsecond=0)


def abandon_pending(session: Session, project_id: UUID, *, start: datetime, end: datetime) -> int:
    """Mark root runs that started in [start, end) and never ended as abandoned. Returns how many.

    A killed process leaves its run pending for ever. Should the end arrive after all, it counts.
    """
    rows = sql.abandon(session, project_id, start, end)
    note_changes(session, {(project_id, minute(row.start_time)) for row in rows})
    return len(rows)


def _find_homes(session: Session, by_id: dict[UUID, list[RunOp]], now: datetime) -> tuple[dict[UUID, date], set[UUID]]:
    """Return each run's day, and the runs that are new and were given today for want of a usable time.

    Of these a post with the true day may be on its way in another transaction. Everybody holds a lock in shared
    mode; who adds a placeholder takes it alone, so that either the post is seen here or the placeholder there.
    """
    stated = {run_id: next((op.day for op in group if op.day), None) for run_id, group in by_id.items()}
    homes = {run_id: day for run_id, day in stated.items() if day is not None}
    homeless = [run_id for run_id in by_id if run_id not in homes]
    if not homeless:
        sql.lock_ingest(session, alone=False)
        return homes, set()
    found = {row.id: row for row in sql.locate(session, homeless)}
    if len(found) < len(homeless):
        sql.lock_ingest(session, alone=True)
        found = {row.id: row for row in sql.locate(session, homeless)}
    else:
        sql.lock_ingest(session, alone=False)
    placeholders = set()
    for run_id in homeless:
        row = found.get(run_id)
        homes[run_id] = row.day if row else now.date()
        if row is None and not any(op.posted for op in by_id[run_id]):
            placeholders.add(run_id)
    return homes, placeholders


def _adopt(
    session: Session, by_id: dict[UUID, list[RunOp]], homes: dict[UUID, date], placeholders: set[UUID]
) -> Touched:
    """Join what waited for these runs: placeholder rows move to their run's own day, feedback learns its trace."""
    touched: Touched = set()
    for end in sql.take_loose_ends(session, [run_id for run_id in by_id if run_id not in placeholders]):
        group = by_id[end.run_id]
        if end.is_feedback:
            op = merged(group)
            trace_id = op.trace_id or end.run_id
            sql.join_feedback(session, end.day, end.ref, trace_id=trace_id, project_id=op.project_id)
            if op.project_id is not None and op.trace_start is not None:
                touched.add((op.project_id, minute(op.trace_start)))
        elif homes[end.run_id] != end.day:
            row = sql.remove(session, end.day, end.run_id)
            if row is not None:
                group.insert(0, _as_patch(row, homes[end.run_id]))
                touched.add((row.project_id, minute(row.start_time)))
        elif not any(op.posted for op in group):
            sql.keep_loose_ends(session, [(end.run_id, end.run_id, False, end.day)])
    return touched


def _as_patch(row: Any, day: date) -> RunOp:
    return RunOp(
        id=row.id,
        posted=False,
        day=day,
        project_id=None,  # a placeholder's project and start were guessed
        trace_id=row.trace_id if row.trace_id != row.id else None,
        parent_run_id=row.parent_run_id,
        name=row.name,
        run_type=row.run_type,
        end_time=row.end_time,
        error=row.error,
        tags=row.tags or None,
        metadata=row.metadata,
        prompt_tokens=row.prompt_tokens,
        completion_tokens=row.completion_tokens,
        total_tokens=row.total_tokens,
        total_cost=row.total_cost,
        reference_example_id=row.reference_example_id,
        inputs=row.inputs,
        outputs=row.outputs,
        events=row.events,
        extra=row.extra,
        serialized=row.serialized,
    )


def _write_day(
    session: Session,
    day: date,
    groups: dict[UUID, list[RunOp]],
    *,
    now: datetime,
    default_project: UUID | None,
    careful: bool,
) -> Touched:
    idle = [run_id for run_id, group in groups.items() if not any(op.posted for op in group)]
    # The buckets as they were and as they become: a late post may move a run into another one.
    there = {row.id: row for row in sql.lock_rows(session, day, idle)} if idle else {}
    rows = [
        _row(merged(group), now, default_project, new=True) for run_id, group in groups.items() if run_id not in there
    ]
    if careful:
        inserted = sql.insert_new(session, day, rows)
    elif sql.copy_new(session, day, rows):
        inserted = {row["id"] for row in rows}
    else:
        raise NotNewError
    touched = {place for row in rows if row["id"] in inserted for place in _touches(row)}
    met = [row["id"] for row in rows if row["id"] not in inserted]
    there |= {row.id: row for row in sql.lock_rows(session, day, met)} if met else {}
    if not there:
        return touched
    touched |= {(row.project_id, minute(row.start_time)) for row in there.values() if row.is_root}
    apart = {run_id: _apart(groups[run_id], row.start_time) for run_id, row in sorted(there.items())}
    for fill in (True, False):
        parts = [[op for op in ops if op.posted is fill] for ops in apart.values()]
        changed = [_row(merged(part), now, None, new=False) for part in parts if part]
        starts = {row["id"]: row["trace_start"] for row in changed}
        for new in sql.merge(session, day, changed, fill=fill):
            if new.is_root:
                touched.add((new.project_id, minute(new.start_time)))
            elif new.counts and starts[new.id] is not None:
                touched.add((new.project_id, minute(starts[new.id])))
    return touched


def _apart(group: Sequence[RunOp], start: datetime) -> list[RunOp]:
    """Return the posts and patches that a group is made of, for a run that started at `start`."""
    ops: list[RunOp] = []
    for whole in group:
        for op in whole.split() if whole.split else [whole]:
            op.project_id = op.project_id or whole.project_id
            if op.duration is not None and op.end_time is not None:
                op.end_time = start + op.duration
            ops.append(op)
    return ops


def _touches(row: dict[str, Any]) -> Touched:
    if row["is_root"]:
        return {(row["project_id"], minute(row["start_time"]))}
    # A child counts where it carries tokens or cost: they are summed over the trace, in its root's bucket.
    if row["trace_start"] is not None and (row["total_tokens"] is not None or row["total_cost"] is not None):
        return {(row["project_id"], minute(row["trace_start"]))}
    return set()


def _row(op: RunOp, now: datetime, default_project: UUID | None, *, new: bool) -> dict[str, Any]:
    """Return the op by column name; a new row is complete enough to be inserted."""
    return {
        "id": op.id,
        "trace_id": op.trace_id or (op.id if new else None),
        "parent_run_id": op.parent_run_id,
        "project_id": op.project_id or default_project,
        "name": op.name,
        "run_type": op.run_type,
        "is_root": op.is_root,
        "dotted_order": op.dotted_order,
        "start_time": op.start_time or (now if new else None),
        "end_time": op.end_time,
        "status": op.status.value,
        "error": op.error,
        "tags": (op.tags or []) if new else op.tags,
        "metadata": orjson.dumps(op.metadata).decode(),
        "prompt_tokens": op.prompt_tokens,
        "completion_tokens": op.completion_tokens,
        "total_tokens": op.total_tokens,
        "total_cost": op.total_cost,
        "reference_example_id": op.reference_example_id,
        "inputs": op.inputs,
        "outputs": op.outputs,
        "events": op.events,
        "extra": op.extra,
        "serialized": op.serialized,
        "posted": op.posted,
        "received_at": now,
        "trace_start": op.trace_start,
    }
