"""Reading runs back: one, a page of many, and the root runs that the agents judge."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field
from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session, load_only

from core.states import RunStatus
from db.models.traces import Feedback, Run
from db.payloads import unpack
from db.queries.paging import after, decode, encode
from db.queries.run_filters import compile_filter

PAYLOADS = ("inputs", "outputs", "events", "extra", "serialized")
DAY = timedelta(days=1)
"""A run's day may differ from the day of its start by one, where a client's two statements of its start do."""


class FeedbackStats(BaseModel):
    """All feedback of one key on one run."""

    n: int
    avg: float | None


class RunRecord(BaseModel):
    """One stored run. Payloads are None where they were not asked for."""

    id: UUID
    project_id: UUID
    trace_id: UUID
    parent_run_id: UUID | None
    is_root: bool
    name: str | None
    run_type: str | None
    dotted_order: str | None
    start_time: datetime
    end_time: datetime | None
    latency_s: float | None
    status: RunStatus
    error: str | None
    tags: list[str]
    metadata: dict[str, Any]
    prompt_tokens: int | None
    completion_tokens: int | None
    total_tokens: int | None
    total_cost: float | None
    reference_example_id: UUID | None
    inputs: Any = None
    outputs: Any = None
    events: Any = None
    extra: Any = None
    serialized: Any = None
    feedback: dict[str, FeedbackStats] = Field(default_factory=dict)


class RunQuery(BaseModel):
    """What runs are asked for. Everything that is given must hold."""

    project_ids: list[UUID] | None = None
    ids: list[UUID] | None = None
    trace_id: UUID | None = None
    parent_run_id: UUID | None = None
    reference_example_ids: list[UUID] | None = None
    run_type: str | None = None
    is_root: bool | None = None
    has_error: bool | None = None
    start: datetime | None = None
    """Inclusive."""
    end: datetime | None = None
    """Exclusive."""
    filters: list[str] = Field(default_factory=list)
    """Filter expressions on the run itself."""
    trace_filters: list[str] = Field(default_factory=list)
    """Filter expressions that the trace's root must meet."""
    tree_filters: list[str] = Field(default_factory=list)
    """Filter expressions that any run of the trace must meet."""
    feedback_from: datetime | None = None
    feedback_until: datetime | None = None
    """Runs whose feedback was changed in [from, until)."""
    ascending: bool = False
    payloads: frozenset[str] = frozenset()


def query(
    session: Session, asked: RunQuery, *, limit: int, cursor: str | None = None
) -> tuple[list[RunRecord], str | None]:
    """Return a page of runs, newest first unless asked otherwise, and the cursor of the next page or None.

    Raises:
        FilterError: a filter expression cannot be understood.
        CursorError: the cursor is none of ours.
    """
    statement = select(Run).options(load_only(*_columns(asked.payloads))).where(*_conditions(asked))
    key = None if cursor is None else decode(cursor, datetime, UUID)
    direction = not asked.ascending
    order = ((Run.start_time, direction), (Run.id, direction))
    rows = session.scalars(after(statement, *order, key=key, limit=limit + 1)).all()
    page = rows[:limit]
    following = encode((page[-1].start_time, page[-1].id)) if len(rows) > limit else None
    return records(session, page, asked.payloads), following


def get(session: Session, run_id: UUID, *, payloads: Iterable[str] = PAYLOADS) -> RunRecord | None:
    """Return one run, or None where it is not known."""
    wanted = frozenset(payloads)
    rows = session.scalars(select(Run).options(load_only(*_columns(wanted))).where(Run.id == run_id)).all()
    return records(session, rows[:1], wanted)[0] if rows else None


def roots(
    session: Session, project_id: UUID, start: datetime, end: datetime, *, only_errors: bool, limit: int,
    with_payload: bool,
) -> list[RunRecord]:  # fmt: skip
    """Return root runs that started in [start, end), newest first, with their traces' feedback."""
    asked = RunQuery(project_ids=[project_id], is_root=True, start=start, end=end, has_error=only_errors or None)
    payloads = frozenset({"inputs", "outputs"} if with_payload else ())
    statement = select(Run).options(load_only(*_columns(payloads))).where(*_conditions(asked))
    rows = session.scalars(statement.order_by(Run.start_time.desc(), Run.id.desc()).limit(limit)).all()
    return records(session, rows, payloads, by_trace=True)


def records(
    session: Session, rows: Sequence[Run], payloads: frozenset[str], *, by_trace: bool = False
) -> list[RunRecord]:
    """Return rows as records, each with the feedback on it, or on its whole trace."""
    stats = _feedback(session, rows, by_trace=by_trace)
    return [_record(row, payloads, stats.get(row.id, {})) for row in rows]


def days(start: datetime | None, end: datetime | None) -> list[ColumnElement[bool]]:
    """Return the conditions by which Postgres skips the partitions outside of [start, end)."""
    conditions: list[ColumnElement[bool]] = []
    if start is not None:
        conditions.append(Run.day >= utc_day(start) - DAY)
    if end is not None:
        conditions.append(Run.day <= utc_day(end) + DAY)
    return conditions


def utc_day(at: datetime) -> date:
    """Return the day that a moment of any zone is stored under; one at the end of the calendar, a day within."""
    at = at.astimezone(UTC)
    return min(max(at.date(), date.min + DAY), date.max - DAY)


def _conditions(asked: RunQuery) -> list[ColumnElement[bool]]:
    conditions = days(asked.start, asked.end)
    if asked.start is not None:
        conditions.append(Run.start_time >= asked.start)
    if asked.end is not None:
        conditions.append(Run.start_time < asked.end)
    for column, values in (
        (Run.project_id, asked.project_ids),
        (Run.id, asked.ids),
        (Run.reference_example_id, asked.reference_example_ids),
    ):
        if values is not None:
            conditions.append(column.in_(values))
    for column, value in ((Run.trace_id, asked.trace_id), (Run.parent_run_id, asked.parent_run_id)):
        if value is not None:
            conditions.append(column == value)
    if asked.run_type is not None:
        conditions.append(func.lower(Run.run_type) == asked.run_type.lower())
    if asked.is_root is not None:
        conditions.append(Run.is_root.is_(asked.is_root))
    if asked.has_error is not None:
        conditions.append(Run.error.is_not(None) if asked.has_error else Run.error.is_(None))
    conditions += [compile_filter(expression) for expression in asked.filters]
    for expressions, only_root in ((asked.trace_filters, True), (asked.tree_filters, False)):
        for expression in expressions:
            traces = select(Run.trace_id).where(compile_filter(expression), *days(asked.start, asked.end))
            conditions.append(Run.trace_id.in_((traces.where(Run.is_root) if only_root else traces).correlate(None)))
    if asked.feedback_from is not None or asked.feedback_until is not None:
        changed = select(Feedback.run_id).where(
            *([Feedback.modified_at >= asked.feedback_from] if asked.feedback_from else []),
            *([Feedback.modified_at < asked.feedback_until] if asked.feedback_until else []),
        )
        conditions.append(Run.id.in_(changed))
    return conditions


def _columns(payloads: frozenset[str]) -> list[InstrumentedAttribute[Any]]:
    # The rest is deferred: compressed payloads are most of a row.
    left_out = set(PAYLOADS) - payloads
    return [getattr(Run, name) for name in Run.__mapper__.column_attrs.keys() if name not in left_out]  # noqa: SIM118


def _feedback(session: Session, rows: Sequence[Run], *, by_trace: bool) -> dict[UUID, dict[str, FeedbackStats]]:
    if not rows:
        return {}
    target = Feedback.trace_id if by_trace else Feedback.run_id
    statement = (
        select(target, Feedback.key, func.count(), func.avg(Feedback.score))
        .where(target.in_([row.id for row in rows]))
        .group_by(target, Feedback.key)
    )
    found: dict[UUID, dict[str, FeedbackStats]] = {}
    for run_id, key, count, mean in session.execute(statement):
        found.setdefault(run_id, {})[key] = FeedbackStats(n=count, avg=mean)
    return found


def _record(row: Run, payloads: frozenset[str], feedback: dict[str, FeedbackStats]) -> RunRecord:
    latency = None
    if row.end_time is not None:
        latency = max(0.0, (row.end_time - row.start_time).total_seconds())
    return RunRecord(
        id=row.id,
        project_id=row.project_id,
        trace_id=row.trace_id,
        parent_run_id=row.parent_run_id,
        is_root=row.is_root,
        name=row.name,
        run_type=row.run_type,
        dotted_order=row.dotted_order,
        start_time=row.start_time,
        end_time=row.end_time,
        latency_s=latency,
        status=row.status,
        error=row.error,
        tags=row.tags,
        metadata=row.run_metadata,
        prompt_tokens=row.prompt_tokens,
        completion_tokens=row.completion_tokens,
        total_tokens=row.total_tokens,
        total_cost=row.total_cost,
        reference_example_id=row.reference_example_id,
        feedback=feedback,
        **{name: unpack(getattr(row, name)) for name in payloads},
    )
