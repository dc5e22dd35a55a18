"""Root runs of a project as rows: what buckets are counted from, and where an alert's evidence is found.

Three plain reads instead of one join: runs by time, then scores and model calls by the runs' ids. A join has to be
planned, and in a partition that was never analysed (today's, just after midnight) it is planned badly.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from analysis.buckets import Roots, Scores

SCORE_CAP = 1e9
"""Scores beyond this are no measurements; their squares would overflow."""

DAY = timedelta(days=1)

LOOKED_AT = 20_000
"""Runs of a window that are looked at for its onset and its evidence, the latest first."""

_ROOTS = text("""
SELECT r.id, extract(epoch FROM r.start_time)::float8 AS start, r.status,
       extract(epoch FROM r.end_time - r.start_time)::float8 AS seconds, r.total_tokens, r.total_cost
  FROM unnest(cast(:lows AS timestamptz[]), cast(:highs AS timestamptz[])) AS s(low, high)
  JOIN runs r ON r.start_time >= s.low AND r.start_time < s.high
 WHERE r.is_root AND r.project_id = :project AND r.start_time >= :first AND r.start_time < :end
""")
_COUNTS = text("""
SELECT floor(extract(epoch FROM r.start_time)::float8 / :width)::bigint AS bucket, count(*) AS runs
  FROM unnest(cast(:lows AS timestamptz[]), cast(:highs AS timestamptz[])) AS s(low, high)
  JOIN runs r ON r.start_time >= s.low AND r.start_time < s.high
 WHERE r.is_root AND r.project_id = :project AND r.start_time >= :first AND r.start_time < :end
 GROUP BY 1 ORDER BY 1
""")
_SCORES = text("""
SELECT trace_id, key, avg(score) AS score FROM feedback
 WHERE trace_id = ANY (cast(:ids AS uuid[])) AND day >= cast(:first_day AS date)
   AND score BETWEEN -cast(:cap AS float8) AND :cap
 GROUP BY trace_id, key
""")
_CALLS = text("""
SELECT trace_id, sum(total_tokens) AS tokens, sum(total_cost) FILTER (WHERE total_cost <> 'NaN') AS cost FROM runs
 WHERE trace_id = ANY (cast(:ids AS uuid[])) AND run_type = 'llm' AND NOT is_root
   AND day BETWEEN cast(:first_day AS date) AND cast(:last_day AS date)
 GROUP BY trace_id
""")
_LATEST = text("""
SELECT id, start_time, status, extract(epoch FROM end_time - start_time)::float8 AS seconds, total_tokens, total_cost
  FROM runs
 WHERE is_root AND project_id = :project AND start_time >= :since AND start_time < :until
 ORDER BY start_time DESC LIMIT :limit
""")


def read(session: Session, project_id: UUID, spans: Sequence[tuple[datetime, datetime]]) -> tuple[Roots, Scores]:
    """Return the root runs that started in the spans ([low, high), sorted, apart), with the scores of their traces.

    Tokens and cost are the root's where it states them, else the sum of its model calls'.
    """
    rows = session.execute(_ROOTS, _within(project_id, spans)).all()
    by_day: dict[date, list[Row[Any]]] = {}
    for row in rows:
        by_day.setdefault(datetime.fromtimestamp(row.start, UTC).date(), []).append(row)
    calls: dict[UUID, Row[Any]] = {}
    scored: list[Row[Any]] = []
    for day, group in by_day.items():
        silent = [row.id for row in group if row.total_tokens is None or row.total_cost is None]
        calls |= {row.trace_id: row for row in _calls(session, silent, day)}
        scored += _scores(session, [row.id for row in group], day)

    def stated(row: Row[Any], own: str, sums: str) -> float:
        value = getattr(row, own)
        if value is None and row.id in calls:
            value = getattr(calls[row.id], sums)
        return math.nan if value is None else float(value)

    roots = Roots(
        start=np.array([row.start for row in rows], dtype=float),
        status=np.array([row.status for row in rows], dtype=str),
        seconds=np.array([math.nan if row.seconds is None else row.seconds for row in rows], dtype=float),
        tokens=np.array([stated(row, "total_tokens", "tokens") for row in rows], dtype=float),
        cost=np.array([stated(row, "total_cost", "cost") for row in rows], dtype=float),
    )
    place = {row.id: position for position, row in enumerate(rows)}
    return roots, Scores(
        root=np.array([place[row.trace_id] for row in scored], dtype=np.int64),
        key=[row.key for row in scored],
        score=np.array([row.score for row in scored], dtype=float),
    )


def counts(
    session: Session, project_id: UUID, spans: Sequence[tuple[datetime, datetime]], *, width_s: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (index, root runs) of the buckets with runs in the spans, in time's order: what `read` would read."""
    rows = session.execute(_COUNTS, {**_within(project_id, spans), "width": width_s}).all()
    return np.array([row.bucket for row in rows], dtype=np.int64), np.array([row.runs for row in rows], dtype=np.int64)


def _within(project_id: UUID, spans: Sequence[tuple[datetime, datetime]]) -> dict[str, Any]:
    return {
        "project": project_id, "first": spans[0][0], "end": spans[-1][1],
        "lows": [low for low, _ in spans], "highs": [high for _, high in spans],
    }  # fmt: skip


def _calls(session: Session, ids: Sequence[UUID], day: date) -> Sequence[Row[Any]]:
    """Return the sums over the model calls of traces that began on the day; a day of grace either way."""
    if not ids:
        return []
    return session.execute(_CALLS, {"ids": _array(ids), "first_day": day - DAY, "last_day": day + 2 * DAY}).all()


def _scores(session: Session, ids: Sequence[UUID], day: date) -> Sequence[Row[Any]]:
    """Return the mean score by trace and key of traces that began on the day or later."""
    if not ids:
        return []
    return session.execute(_SCORES, {"ids": _array(ids), "first_day": day - DAY, "cap": SCORE_CAP}).all()


def _array(ids: Sequence[UUID]) -> str:
    """Return the ids as Postgres spells an array: the driver takes ten times as long over it."""
    return "{" + ",".join(map(str, ids)) + "}"


TAKEN = frozenset({"tokens_per_run", "cost_per_run"})
"""Metrics of what a run takes."""


@dataclass(frozen=True)
class Lens:
    """What makes a root run bad.

    Attributes:
        metric: `error_rate`, `sla_compliance`, `latency_p95`, `tokens_per_run`, `cost_per_run`, or a feedback key.
        limit: beyond it a run is bad: seconds for SLA and latency, tokens, or money.
    """

    metric: str
    limit: float = 0.0

    def badness(self, status: str, seconds: float | None, score: float | None) -> float | None:
        """Return how bad a run is, in [0, 1]; None where it does not count.

        Args:
            score: of the feedback key; for tokens and cost what it took.
        """
        if self.metric in TAKEN:
            return None if score is None else float(score > self.limit)
        if self.metric == "error_rate":
            return float(status == "error") if status in ("error", "success") else None
        if self.metric == "sla_compliance":
            if status not in ("error", "success"):
                return None
            return float(status == "error" or (seconds or 0.0) > self.limit)
        if self.metric == "latency_p95":
            return float((seconds or 0.0) > self.limit) if status == "success" else None
        return None if score is None else 1.0 - min(max(score, 0.0), 1.0)


@dataclass(frozen=True)
class SeenRun:
    """A root run through a lens."""

    id: UUID
    start: datetime
    badness: float
    seconds: float


def seen(session: Session, project_id: UUID, lens: Lens, *, since: datetime, until: datetime) -> list[SeenRun]:
    """Return the runs that started in [since, until) and count, oldest first; of very many the latest."""
    rows = session.execute(_LATEST, {"project": project_id, "since": since, "until": until, "limit": LOOKED_AT}).all()
    scores: dict[UUID, float] = {}
    if lens.metric in TAKEN:
        own = "total_tokens" if lens.metric == "tokens_per_run" else "total_cost"
        scores = {row.id: float(value) for row in rows if (value := getattr(row, own)) is not None}
        silent = [row.id for row in rows if row.id not in scores]
        called = _calls(session, silent, since.date())
        part = "tokens" if lens.metric == "tokens_per_run" else "cost"
        scores |= {row.trace_id: float(value) for row in called if (value := getattr(row, part)) is not None}
    elif lens.metric not in ("error_rate", "sla_compliance", "latency_p95"):
        found = _scores(session, [row.id for row in rows], since.date())
        scores = {row.trace_id: row.score for row in found if row.key == lens.metric}
    runs = []
    for row in reversed(rows):
        badness = lens.badness(row.status, row.seconds, scores.get(row.id))
        if badness is not None:
            runs.append(SeenRun(row.id, row.start_time, badness, row.seconds or 0.0))
    return runs


def by_slot(runs: Sequence[SeenRun], *, since: datetime, width: timedelta) -> list[tuple[datetime, float, int]]:
    """Return (start, Σ badness, runs) of the non-empty slots, counted from `since`, in time's order."""
    bad: dict[int, float] = defaultdict(float)
    counts: dict[int, int] = defaultdict(int)
    for run in runs:
        slot = (run.start - since) // width
        bad[slot] += run.badness
        counts[slot] += 1
    return [(since + slot * width, bad[slot], counts[slot]) for slot in sorted(counts)]


def worst(runs: Sequence[SeenRun], limit: int) -> list[UUID]:
    """Return the ids of the worst runs: the worst scored, of equals the slowest."""
    failed = [run for run in runs if run.badness > 0]
    return [run.id for run in sorted(failed, key=lambda run: (-run.badness, -run.seconds, run.start))[:limit]]


def last_start(session: Session, project_id: UUID, *, until: datetime) -> datetime | None:
    """Return when the latest root run before the moment began."""
    found: datetime | None = session.scalars(
        text("SELECT max(start_time) FROM runs WHERE is_root AND project_id = :project AND start_time <= :until"),
        {"project": project_id, "until": until},
    ).one()
    return found
