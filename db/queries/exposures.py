"""What the units of a rollout experienced: one row per finished root run that carries the rollout's variant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import bindparam, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session
from sqlalchemy.types import DateTime, Text, Uuid

from db.models.rollouts import RolloutEvent

ROWS_CAP = 20_000
"""Runs that are read at once; the rest is read the next time."""
LONGEST_RUN = timedelta(minutes=15)
"""A run that took longer is not looked for: the index is by start, and every look reads back so far."""


@dataclass(frozen=True)
class Exposure:
    """One request: who, in which arm, and how it went."""

    unit: str
    candidate: bool
    started_at: datetime
    ended_at: datetime
    failed: bool
    latency_ms: float
    scores: dict[str, float]
    """By feedback key, the mean over the trace."""
    attributes: dict[str, str]
    """Of the run's metadata, what was asked for and is there."""


@dataclass(frozen=True)
class Stage:
    """A percentage and since when it holds."""

    since: datetime
    percent: int


_RUNS = text("""
SELECT r.trace_id, r.metadata->>'targeting_key' AS unit, r.metadata->>cast(:label AS text) AS arm,
       r.start_time, r.end_time, r.status = 'error' AS failed,
       ARRAY(SELECT r.metadata->>a.name FROM unnest(cast(:attributes AS text[])) WITH ORDINALITY a(name, place)
              ORDER BY a.place) AS attributes
  FROM runs r JOIN projects p ON p.id = r.project_id
 WHERE p.name = :project AND r.is_root AND r.status IN ('success', 'error')
   AND r.start_time >= :oldest AND r.start_time < :until AND r.day >= cast(:oldest AS date) - 1
   AND r.end_time >= :since AND r.end_time < :until
   AND r.metadata->>cast(:label AS text) IN ('candidate', 'baseline') AND r.metadata ? 'targeting_key'
 ORDER BY r.end_time, r.id LIMIT :cap
""").columns(
    trace_id=Uuid, unit=Text, arm=Text, start_time=DateTime(timezone=True), end_time=DateTime(timezone=True),
    attributes=ARRAY(Text),
)  # fmt: skip

_SCORES = text("""
SELECT trace_id, key, avg(score) AS score FROM feedback
 WHERE trace_id = ANY(:traces) AND key = ANY(:keys) AND day >= cast(:oldest AS date) - 1
   AND score BETWEEN -1e9 AND 1e9
 GROUP BY trace_id, key
""").bindparams(bindparam("traces", type_=ARRAY(Uuid)), bindparam("keys", type_=ARRAY(Text)))

_KEYS = text("""
SELECT DISTINCT k FROM metric_buckets, jsonb_object_keys(scores) AS k WHERE app_id = :app AND bucket >= :since
""")


def exposures(
    session: Session,
    *,
    rollout_id: int,
    project: str,
    started_at: datetime,
    since: datetime,
    until: datetime,
    keys: Sequence[str],
    attributes: Sequence[str] = (),
) -> tuple[list[Exposure], datetime]:
    """Return the requests that finished in [since, until), in the order in which they did, and how far they reach.

    The second value is `until`, or earlier where there were more than `ROWS_CAP`.

    Args:
        started_at: when the rollout did; no run from before has its variant.
        attributes: keys of the run's metadata that are wanted.
    """
    oldest = max(since - LONGEST_RUN, started_at)
    rows = session.execute(
        _RUNS,
        {
            "label": f"rollout.{rollout_id}",
            "project": project,
            "oldest": oldest,
            "since": since,
            "until": until,
            "cap": ROWS_CAP,
            "attributes": list(attributes),
        },
    ).all()
    if len(rows) == ROWS_CAP and rows[0].end_time < rows[-1].end_time:
        until = rows[-1].end_time
        rows = [row for row in rows if row.end_time < until]
    scores: dict[UUID, dict[str, float]] = {}
    if rows and keys:
        found = session.execute(
            _SCORES, {"traces": [row.trace_id for row in rows], "keys": list(keys), "oldest": oldest}
        )
        for trace_id, key, score in found:
            scores.setdefault(trace_id, {})[key] = score
    result = [
        Exposure(
            unit=row.unit,
            candidate=row.arm == "candidate",
            started_at=row.start_time,
            ended_at=row.end_time,
            failed=row.failed,
            latency_ms=(row.end_time - row.start_time).total_seconds() * 1000,
            scores=scores.get(row.trace_id, {}),
            attributes={
                name: value for name, value in zip(attributes, row.attributes, strict=True) if value is not None
            },
        )
        for row in rows
    ]
    return result, until


def feedback_keys(session: Session, app_id: int, *, since: datetime) -> set[str]:
    """Return the feedback keys that the app's runs have had since then."""
    return set(session.scalars(_KEYS, {"app": app_id, "since": since}))


def stages(session: Session, rollout_id: int) -> list[Stage]:
    """Return the rollout's percentages, oldest first."""
    rows = session.execute(
        select(RolloutEvent.at, RolloutEvent.from_percent, RolloutEvent.to_percent)
        .where(RolloutEvent.rollout_id == rollout_id)
        .order_by(RolloutEvent.at, RolloutEvent.id)
    )
    return [Stage(at, after) for at, before, after in rows if before != after]
