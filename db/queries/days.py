"""An app's days added up from its buckets."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session


@dataclass(frozen=True)
class DayTotals:
    """What happened in a window of one app. `revision` grows with every restatement of one of its buckets."""

    runs: int
    finished: int
    errors: int
    sla_met: int
    tokens: int
    cost: float
    revision: int
    scores: dict[str, tuple[float, float, float]]
    """By feedback key: (n, sum, sum of squares)."""
    latency: dict[str, int]
    """The merged log-histogram of seconds."""


_TOTALS = text("""
SELECT coalesce(sum(runs), 0) AS runs, coalesce(sum(finished), 0) AS finished, coalesce(sum(errors), 0) AS errors,
       coalesce(sum(sla_met), 0) AS sla_met, coalesce(sum(tokens), 0) AS tokens, coalesce(sum(cost), 0) AS cost,
       coalesce(sum(revision), 0) AS revision
  FROM metric_buckets WHERE app_id = :app AND bucket >= :low AND bucket < :high
""")

_SCORES = text("""
SELECT key, sum((value->>'n')::float8) AS n, sum((value->>'sum')::float8) AS total,
       sum((value->>'sumsq')::float8) AS squares
  FROM metric_buckets, jsonb_each(scores) WHERE app_id = :app AND bucket >= :low AND bucket < :high
 GROUP BY key ORDER BY key
""")

_LATENCY = text("""
SELECT key, sum(value::bigint) AS n
  FROM metric_buckets, jsonb_each_text(latency) WHERE app_id = :app AND bucket >= :low AND bucket < :high
 GROUP BY key
""")

_REVISIONS = text("""
SELECT (bucket AT TIME ZONE :zone)::date AS day, sum(revision) AS revision
  FROM metric_buckets WHERE app_id = :app AND bucket >= :low AND bucket < :high GROUP BY 1
""")

_EVALUATED = text("""
SELECT day, coalesce((metrics->>'revision')::bigint, 0) AS revision
  FROM meta_evaluation_runs WHERE app_id = :app AND day >= :first
""")


def totals(session: Session, app_id: int, low: datetime, high: datetime) -> DayTotals:
    """Return what happened in [low, high)."""
    window: dict[str, Any] = {"app": app_id, "low": low, "high": high}
    row = session.execute(_TOTALS, window).one()
    return DayTotals(
        runs=int(row.runs),
        finished=int(row.finished),
        errors=int(row.errors),
        sla_met=int(row.sla_met),
        tokens=int(row.tokens),
        cost=float(row.cost),
        revision=int(row.revision),
        scores={key: (n, total, squares) for key, n, total, squares in session.execute(_SCORES, window)},
        latency={key: int(n) for key, n in session.execute(_LATENCY, window)},
    )


def revisions(session: Session, app_id: int, low: datetime, high: datetime, zone: str) -> dict[date, int]:
    """Return by local day how often its buckets were written; days without a bucket are missing."""
    rows = session.execute(_REVISIONS, {"app": app_id, "low": low, "high": high, "zone": zone})
    return {day: int(revision) for day, revision in rows}


def evaluated(session: Session, app_id: int, first: date) -> dict[date, int]:
    """Return by local day since `first` at which revision it was evaluated."""
    return {day: int(revision) for day, revision in session.execute(_EVALUATED, {"app": app_id, "first": first})}
