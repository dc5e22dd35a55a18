"""The SQL behind `db.repositories.runs`: set-based, and straight at one day's partition.

Going through the partitioned parent would plan over every partition for every batch.
"""

# ruff: noqa: S608 – only names of our own tables and columns are put into statements, never a value

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy.orm import Session

from db.repositories.binary_copy import copy_rows
from db.repositories.partitions import partition

TAG_SEPARATOR = "\x1f"
"""Joins a run's tags on their way to Postgres: an array of arrays cannot be ragged. It is removed from tags."""

INGEST_LOCK = 7305811945

COLUMNS = {
    "id": "uuid",
    "trace_id": "uuid",
    "parent_run_id": "uuid",
    "project_id": "uuid",
    "name": "text",
    "run_type": "text",
    "is_root": "bool",
    "dotted_order": "text",
    "start_time": "timestamptz",
    "end_time": "timestamptz",
    "status": "text",
    "error": "text",
    "tags": "text",
    "metadata": "text",
    "prompt_tokens": "int8",
    "completion_tokens": "int8",
    "total_tokens": "int8",
    "total_cost": "float8",
    "reference_example_id": "uuid",
    "inputs": "bytea",
    "outputs": "bytea",
    "events": "bytea",
    "extra": "bytea",
    "serialized": "bytea",
    "posted": "bool",
    "received_at": "timestamptz",
}

_KINDS = {**COLUMNS, "tags": "text[]", "metadata": "jsonb", "day": "date", "updated_at": "timestamptz"}

_COPIED = {name: _KINDS[name] for name in ("day", *COLUMNS, "updated_at")}

_NAMES = ", ".join(COLUMNS)
_ARRAYS = ", ".join(f"%s::{kind}[]" for kind in COLUMNS.values())
_TAGS = f"string_to_array(n.tags, '{TAG_SEPARATOR}')"
_SELECTED = ", ".join(
    {"tags": f"COALESCE({_TAGS}, '{{}}')", "metadata": "n.metadata::jsonb"}.get(name, f"n.{name}") for name in COLUMNS
)

_PLAIN = (
    "parent_run_id", "name", "run_type", "dotted_order", "end_time", "error", "prompt_tokens", "completion_tokens",
    "total_tokens", "total_cost", "reference_example_id", "inputs", "outputs", "events", "extra", "serialized",
)  # fmt: skip
_GUESSED = ("trace_id", "project_id", "start_time")
"""Columns that a patch of an unknown run had to guess: the post knows."""


def _assignments(*, fill: bool) -> str:
    """Return the SET clause: a post fills gaps, a patch overrides, and neither sets anything to null."""
    first, second = ("r", "n") if fill else ("n", "r")
    value = {name: f"COALESCE({first}.{name}, {second}.{name})" for name in _PLAIN}
    value |= {name: f"CASE WHEN r.posted THEN r.{name} ELSE COALESCE(n.{name}, r.{name}) END" for name in _GUESSED}
    value["tags"] = (
        f"CASE WHEN r.tags = '{{}}' THEN COALESCE({_TAGS}, r.tags) ELSE r.tags END"
        if fill
        else f"COALESCE({_TAGS}, r.tags)"
    )
    value["metadata"] = "n.metadata::jsonb || r.metadata" if fill else "r.metadata || n.metadata::jsonb"
    value["is_root"] = f"{value['parent_run_id']} IS NULL AND {value['trace_id']} = r.id"
    value["status"] = (
        f"CASE WHEN {value['error']} IS NOT NULL THEN 'error' "
        f"WHEN {value['end_time']} IS NOT NULL THEN 'success' ELSE r.status END"
    )
    value["posted"] = "r.posted OR n.posted"
    value["updated_at"] = "n.received_at"
    return ", ".join(f"{name} = {expression}" for name, expression in value.items())


_SET = {fill: _assignments(fill=fill) for fill in (True, False)}


def _arrays(rows: Sequence[dict[str, Any]]) -> tuple[list[Any], ...]:
    joined = ({**row, "tags": None if row["tags"] is None else TAG_SEPARATOR.join(row["tags"])} for row in rows)
    return tuple(map(list, zip(*([row[name] for name in COLUMNS] for row in joined), strict=True)))


def _run(session: Session, statement: str, parameters: tuple[Any, ...]) -> Sequence[Row[Any]]:
    result = session.connection().exec_driver_sql(statement, parameters)
    return result.all() if result.returns_rows else []


def lock_ingest(session: Session, *, alone: bool) -> None:
    """Hold the ingest lock until the transaction ends, beside others or alone."""
    _run(session, f"SELECT pg_advisory_xact_lock{'' if alone else '_shared'}(%s)", (INGEST_LOCK,))


def copy_new(session: Session, day: date, rows: Sequence[dict[str, Any]]) -> bool:
    """Insert rows that are all new, at half the cost; False where one is not, and the transaction is then void."""
    for row in rows:
        row["day"], row["updated_at"] = day, row["received_at"]
    return not rows or copy_rows(session, partition("runs", day), _COPIED, rows)


def insert_new(session: Session, day: date, rows: Sequence[dict[str, Any]]) -> set[UUID]:
    """Insert the rows that are not there yet and return their ids."""
    if not rows:
        return set()
    statement = (
        f"INSERT INTO {partition('runs', day)} (day, {_NAMES}, updated_at) "
        f"SELECT %s, {_SELECTED}, n.received_at FROM unnest({_ARRAYS}) AS n({_NAMES}) "
        "ON CONFLICT DO NOTHING RETURNING id"
    )
    return {row.id for row in _run(session, statement, (day, *_arrays(rows)))}


def lock_rows(session: Session, day: date, ids: Sequence[UUID]) -> Sequence[Row[Any]]:
    """Lock rows in the order of their ids and return where they count now."""
    statement = (
        f"SELECT id, project_id, start_time, is_root FROM {partition('runs', day)} "
        "WHERE id = ANY(%s) ORDER BY id FOR UPDATE"
    )
    return _run(session, statement, (list(ids),))


def merge(session: Session, day: date, rows: Sequence[dict[str, Any]], *, fill: bool) -> Sequence[Row[Any]]:
    """Merge rows into the ones that are there; `fill` for posts. Returns where they count then."""
    if not rows:
        return []
    statement = (
        f"UPDATE {partition('runs', day)} AS r SET {_SET[fill]} FROM unnest({_ARRAYS}) AS n({_NAMES}) "
        "WHERE r.id = n.id RETURNING r.id, r.project_id, r.start_time, r.is_root, "
        "(r.total_tokens IS NOT NULL OR r.total_cost IS NOT NULL) AS counts"
    )
    return _run(session, statement, _arrays(rows))


def locate(session: Session, ids: Sequence[UUID], days: Sequence[date] | None = None) -> Sequence[Row[Any]]:
    """Return what is known of runs, in whatever partition they are, or in those of `days` alone."""
    within = "" if days is None else " AND day = ANY(%s)"
    statement = (
        f"SELECT id, day, project_id, trace_id, start_time, is_root, dotted_order FROM runs WHERE id = ANY(%s){within}"
    )
    return _run(session, statement, (list(ids),) if days is None else (list(ids), list(days)))


def remove(session: Session, day: date, run_id: UUID) -> Row[Any] | None:
    """Take a row out and return it whole."""
    rows = _run(session, f"DELETE FROM {partition('runs', day)} WHERE id = %s RETURNING *", (run_id,))
    return rows[0] if rows else None


def abandon(session: Session, project_id: UUID, start: datetime, end: datetime) -> Sequence[Row[Any]]:
    """Mark pending root runs of [start, end) as abandoned."""
    statement = (
        "UPDATE runs SET status = 'abandoned' WHERE project_id = %s AND is_root AND status = 'pending' "
        "AND start_time >= %s AND start_time < %s AND day BETWEEN %s AND %s RETURNING id, start_time"
    )
    day = timedelta(days=1)
    return _run(session, statement, (project_id, start, end, start.date() - day, end.date() + day))


def keep_loose_ends(session: Session, ends: Sequence[tuple[UUID, UUID, bool, date]]) -> None:
    """Remember what waits: (awaited run, what waits, whether it is feedback, its partition's day)."""
    statement = (
        "INSERT INTO loose_ends (run_id, ref, is_feedback, day) "
        "SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::bool[], %s::date[]) ON CONFLICT DO NOTHING"
    )
    _run(session, statement, tuple([end[i] for end in ends] for i in range(4)))


def take_loose_ends(session: Session, run_ids: Sequence[UUID]) -> Sequence[Row[Any]]:
    """Take what waited for these runs."""
    statement = "DELETE FROM loose_ends WHERE run_id = ANY(%s) RETURNING run_id, ref, is_feedback, day"
    return _run(session, statement, (list(run_ids),))


def join_feedback(session: Session, day: date, ref: UUID, *, trace_id: UUID, project_id: UUID | None) -> None:
    """Tell feedback which trace it belongs to."""
    _run(
        session,
        "UPDATE feedback SET trace_id = %s, project_id = COALESCE(%s, project_id) WHERE day = %s AND id = %s",
        (trace_id, project_id, day, ref),
    )


def insert_changes(session: Session, changes: Sequence[tuple[UUID, datetime]]) -> None:
    """Add the notes that the sweep works off."""
    _run(
        session,
        "INSERT INTO bucket_changes (project_id, bucket) SELECT * FROM unnest(%s::uuid[], %s::timestamptz[])",
        ([project for project, _ in changes], [bucket for _, bucket in changes]),
    )
