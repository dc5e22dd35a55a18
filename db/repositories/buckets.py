"""Metric buckets: which ones changed, recomputed whole and set-based, rolled up to hours, read back for judging."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np
import orjson
from numpy.typing import NDArray
from sqlalchemy import literal, select, text
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.orm import Session

from analysis.buckets import aggregate
from db.models.apps import App, Watermark
from db.models.metrics import MetricBucket, MetricHour
from db.repositories import roots

SLOT_S = 60
"""Seconds that a note in `bucket_changes` stands for."""

Touched = NDArray[np.int64]
"""Buckets that changed, sorted, each once: their starts divided by the width, counted from the epoch."""

HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Counts:
    """What happened in one bucket or hour."""

    start: datetime
    runs: int
    finished: int
    errors: int
    pending: int
    sla_met: int
    scores: Mapping[str, Mapping[str, float]]
    latency: Mapping[str, int]
    latency_p95: float | None = None
    answered: int = 0
    tokens: int = 0
    cost: float = 0.0


_WRITE = text("""
INSERT INTO metric_buckets AS m (app_id, bucket, runs, finished, errors, pending, abandoned, sla_met, latency, scores,
                                 tokens, cost, updated_at)
SELECT :app, bucket, runs, finished, errors, pending, abandoned, sla_met, latency, scores, tokens, cost, :now
  FROM jsonb_to_recordset(cast(:rows AS jsonb))
       AS n(bucket timestamptz, runs int, finished int, errors int, pending int, abandoned int, sla_met int,
            latency jsonb, scores jsonb, tokens bigint, cost float8)
    ON CONFLICT (app_id, bucket) DO UPDATE
   SET revision = m.revision + 1, runs = excluded.runs, finished = excluded.finished, errors = excluded.errors,
       pending = excluded.pending, abandoned = excluded.abandoned, sla_met = excluded.sla_met,
       latency = excluded.latency, scores = excluded.scores, tokens = excluded.tokens, cost = excluded.cost,
       updated_at = excluded.updated_at
 WHERE (m.runs, m.finished, m.errors, m.pending, m.abandoned, m.sla_met, m.latency, m.scores, m.tokens, m.cost)
       IS DISTINCT FROM (excluded.runs, excluded.finished, excluded.errors, excluded.pending, excluded.abandoned,
                         excluded.sla_met, excluded.latency, excluded.scores, excluded.tokens, excluded.cost)
""")
_EMPTY = text("""
UPDATE metric_buckets
   SET revision = revision + 1, runs = 0, finished = 0, errors = 0, pending = 0, abandoned = 0, sla_met = 0,
       latency = '{}', scores = '{}', tokens = 0, cost = 0, updated_at = :now
 WHERE app_id = :app AND bucket = ANY (cast(:gone AS timestamptz[]))
""")

_ROLL_UP = text("""
WITH parts AS MATERIALIZED (
    SELECT date_bin('1 hour', bucket, 'epoch') AS hour, * FROM metric_buckets
     WHERE app_id = :app AND bucket >= :first AND bucket < :end
       AND date_bin('1 hour', bucket, 'epoch') = ANY (cast(:hours AS timestamptz[]))
), counted AS (
    SELECT hour, sum(runs) AS runs, sum(finished) AS finished, sum(errors) AS errors, sum(sla_met) AS sla_met,
           sum(tokens) AS tokens, sum(cost) AS cost
      FROM parts GROUP BY hour
), bins AS (
    SELECT hour, key::int AS bin, sum(value::bigint) AS n
      FROM parts, jsonb_each_text(latency) GROUP BY 1, 2
), ranked AS (
    SELECT *, sum(n) OVER (PARTITION BY hour ORDER BY bin) AS reached, sum(n) OVER (PARTITION BY hour) AS total
      FROM bins
), latencies AS (
    SELECT hour, jsonb_object_agg(bin, n) AS latency, max(total) AS answered,
           power(1.02::float8, min(bin) FILTER (WHERE reached >= 0.95 * total) + 0.5) AS p95
      FROM ranked GROUP BY hour
), scored AS (
    SELECT hour, jsonb_object_agg(key, jsonb_build_object('n', n, 'sum', total, 'sumsq', squares)) AS scores
      FROM (SELECT hour, key, sum((value->>'n')::bigint) AS n, sum((value->>'sum')::float8) AS total,
                   sum((value->>'sumsq')::float8) AS squares
              FROM parts, jsonb_each(scores) GROUP BY 1, 2) AS keys
     GROUP BY hour
)
INSERT INTO metric_hours (app_id, hour, runs, finished, errors, sla_met, answered, latency_p95, latency, scores,
                          tokens, cost)
SELECT :app, c.hour, c.runs, c.finished, c.errors, c.sla_met, coalesce(l.answered, 0), l.p95, coalesce(l.latency, '{}'),
       coalesce(s.scores, '{}'), c.tokens, c.cost
  FROM counted c LEFT JOIN latencies l USING (hour) LEFT JOIN scored s USING (hour)
    ON CONFLICT (app_id, hour) DO UPDATE
   SET runs = excluded.runs, finished = excluded.finished, errors = excluded.errors, sla_met = excluded.sla_met,
       answered = excluded.answered, latency_p95 = excluded.latency_p95, latency = excluded.latency,
       scores = excluded.scores, tokens = excluded.tokens, cost = excluded.cost
""")

FIRST_LOOK = 64
"""Buckets whose runs are counted first."""

SPANS_CAP = 200
"""Index ranges per recomputation. A backfill with holes is read in wider ranges and filtered by bucket."""


def lock_watermark(session: Session, app_id: int, name: str, *, now: datetime) -> Watermark:
    """Return the watermark, locked until the transaction ends: checks of one app go one after the other.

    A new one has an empty state.
    """
    session.execute(insert(Watermark).values(app_id=app_id, name=name, at=now).on_conflict_do_nothing())
    return session.get_one(Watermark, (app_id, name), with_for_update=True, populate_existing=True)


_NOTED = text("""
SELECT DISTINCT extract(epoch FROM bucket)::bigint AS slot FROM bucket_changes
 WHERE project_id = :project AND bucket >= :since ORDER BY slot
""")
_TAKE = text("""
WITH taken AS (
    DELETE FROM bucket_changes WHERE project_id = :project AND bucket >= :since AND bucket < :until RETURNING bucket
)
SELECT DISTINCT extract(epoch FROM bucket)::bigint AS slot FROM taken ORDER BY slot
""")
_EVER, _NEVER = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Taken:
    """Buckets that changed, as many as one transaction should recompute.

    Attributes:
        until: where the next transaction goes on; None where it took all that was noted.
        left: buckets that it leaves.
    """

    touched: Touched
    until: datetime | None
    left: int


def take_changes(
    session: Session, project_id: UUID, width: timedelta, *, limit: int, since: datetime | None = None
) -> Taken:
    """Delete a project's notes and return the buckets that they touch; of a backlog the oldest part alone.

    Args:
        limit: about so many root runs the buckets hold together; one bucket is taken however many it holds.
        since: what is noted of the time before stays. Who goes on where the last part ended comes to an end, however
            quickly the past changes behind it.
    """
    width_s = int(width.total_seconds())
    reach = {"project": project_id, "since": since or _EVER}
    noted = widen(list(session.scalars(_NOTED, reach)), width)
    size = _fitting(session, project_id, noted, width_s, limit)
    left = noted.size - size
    until = _at(int(noted[size - 1] + 1) * width_s) if left else None
    # What this statement deletes was committed before the runs are read; what it does not see stays for the next.
    slots = list(session.scalars(_TAKE, {**reach, "until": until or _NEVER}))
    return Taken(widen(slots, width), until, left)


def _fitting(session: Session, project_id: UUID, touched: Touched, width_s: int, limit: int) -> int:
    """Return how many of the buckets, from the oldest on, can be read without more than `limit` root runs.

    At ever longer parts, so that what is counted is in proportion to what is taken and not to the whole backlog.
    """
    size = FIRST_LOOK
    while touched.size:
        part = touched[:size]
        index, runs = roots.counts(session, project_id, _read_for(part, width_s), width_s=width_s)
        reached = np.cumsum(runs)
        if reached.size and reached[-1] > limit:
            over = index[np.searchsorted(reached, limit, side="right")]
            return max(int(np.searchsorted(touched, over)), 1)
        if part.size == touched.size:
            break
        size *= 16
    return int(touched.size)


def widen(slots: Sequence[int], width: timedelta) -> Touched:
    """Return the buckets of that width (in whole seconds) that the slots touch."""
    width_s = int(width.total_seconds())
    starts = np.asarray(slots, dtype=np.int64)
    edges = [*range(0, SLOT_S, width_s), SLOT_S - 1]
    return np.unique(np.concatenate([(starts + edge) // width_s for edge in edges]))


def recompute(
    session: Session, app: App, project_id: UUID, touched: Touched, *, width: timedelta, now: datetime
) -> int:
    """Recompute the buckets of an app from its runs, all at once. Returns how many rows were written.

    A bucket that comes out as it was keeps its revision; one that lost its runs is restated as empty.
    """
    if touched.size == 0:
        return 0
    width_s = int(width.total_seconds())
    runs, scores = roots.read(session, project_id, _read_for(touched, width_s))
    wanted = set(touched.tolist())
    # A span may bridge a gap: its buckets were not touched and stay as they are.
    counted = [
        bucket for bucket in aggregate(runs, scores, width_s=width_s, sla_ms=app.sla_ms) if bucket.index in wanted
    ]
    restated = 0
    if counted:
        rows = [{**vars(bucket), "bucket": _at(bucket.index * width_s)} for bucket in counted]
        document = orjson.dumps(rows).decode()
        restated += _count(session.execute(_WRITE, {"app": app.id, "now": now, "rows": document}))
    ends = _at(int(touched[0]) * width_s), _at(int(touched[-1] + 1) * width_s)
    present = session.scalars(
        select(MetricBucket.bucket).where(
            MetricBucket.app_id == app.id,
            MetricBucket.bucket >= ends[0],
            MetricBucket.bucket < ends[1],
            MetricBucket.runs > 0,
        )
    )
    emptied = wanted - {bucket.index for bucket in counted}
    gone = [start for start in present if int(start.timestamp()) // width_s in emptied]
    if gone:
        restated += _count(session.execute(_EMPTY, {"app": app.id, "now": now, "gone": gone}))
    return restated


def _at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _count(result: Any) -> int:
    return int(result.rowcount)


def _read_for(touched: Touched, width_s: int) -> list[tuple[datetime, datetime]]:
    """Return the stretches of time that are read for these buckets."""
    return [(_at(low * width_s), _at(high * width_s)) for low, high in _spans(touched)]


def _spans(touched: Touched) -> list[tuple[int, int]]:
    """Return index ranges [low, high) over the buckets: gaps are bridged, ever wider ones, until the ranges are few."""
    steps = np.diff(touched)
    gap = 1
    while np.count_nonzero(steps > gap) >= SPANS_CAP:
        gap *= 4
    breaks = np.flatnonzero(steps > gap)
    lows = touched[np.concatenate([[0], breaks + 1])]
    highs = touched[np.concatenate([breaks, [touched.size - 1]])] + 1
    return list(zip(lows.tolist(), highs.tolist(), strict=True))


def hours_of(touched: Touched, width: timedelta) -> set[datetime]:
    """Return the starts of the hours that the buckets begin in."""
    hour_s = int(HOUR.total_seconds())
    hours = np.unique(touched * int(width.total_seconds()) // hour_s)
    return {_at(hour * hour_s) for hour in hours.tolist()}


def roll_up(session: Session, app_id: int, hours: Iterable[datetime]) -> None:
    """Roll complete hours up from their buckets, in one statement."""
    starts = sorted(set(hours))
    if starts:
        ends = {"first": starts[0], "end": starts[-1] + HOUR}
        session.execute(_ROLL_UP, {"app": app_id, "hours": starts, **ends})


def recent(session: Session, app_id: int, *, since: datetime, latency_since: datetime) -> list[Counts]:
    """Return the buckets from `since` on, oldest first; histograms only from `latency_since` on."""
    columns = (
        MetricBucket.bucket, MetricBucket.runs, MetricBucket.finished, MetricBucket.errors, MetricBucket.pending,
        MetricBucket.sla_met, MetricBucket.scores, MetricBucket.tokens, MetricBucket.cost,
    )  # fmt: skip
    where = (MetricBucket.app_id == app_id, MetricBucket.bucket >= since)
    latencies: dict[datetime, dict[str, Any]] = dict(
        session.execute(
            select(MetricBucket.bucket, MetricBucket.latency).where(*where, MetricBucket.bucket >= latency_since)
        ).all()
    )
    return [
        Counts(
            start=row.bucket, runs=row.runs, finished=row.finished, errors=row.errors, pending=row.pending,
            sla_met=row.sla_met, scores=row.scores, latency=latencies.get(row.bucket, {}), tokens=row.tokens,
            cost=row.cost,
        )
        for row in session.execute(select(*columns).where(*where).order_by(MetricBucket.bucket))
    ]  # fmt: skip


def latest(session: Session, app_id: int, *, until: datetime, limit: int) -> list[Counts]:
    """Return the latest so many buckets that start before `until`, histograms included, oldest first."""
    since = session.scalar(
        select(MetricBucket.bucket)
        .where(MetricBucket.app_id == app_id, MetricBucket.bucket < until)
        .order_by(MetricBucket.bucket.desc())
        .offset(limit - 1)
        .limit(1)
    )
    first = since or datetime(1970, 1, 1, tzinfo=UTC)
    return [part for part in recent(session, app_id, since=first, latency_since=first) if part.start < until]


def hours(session: Session, app_id: int, *, since: datetime, until: datetime, histograms: bool = False) -> list[Counts]:
    """Return the complete hours that start in [since, until), oldest first; p95 alone where no histograms are asked."""
    statement = (
        select(
            MetricHour.hour, MetricHour.runs, MetricHour.finished, MetricHour.errors, MetricHour.sla_met,
            MetricHour.scores, MetricHour.latency_p95, MetricHour.answered,
            MetricHour.latency if histograms else literal({}, JSONB).label("latency"),
        )
        .where(MetricHour.app_id == app_id, MetricHour.hour >= since, MetricHour.hour < until)
        .order_by(MetricHour.hour)
    )  # fmt: skip
    return [
        Counts(
            start=row.hour, runs=row.runs, finished=row.finished, errors=row.errors, pending=0, sla_met=row.sla_met,
            scores=row.scores, latency=row.latency, latency_p95=row.latency_p95, answered=row.answered,
        )
        for row in session.execute(statement)
    ]  # fmt: skip


def apps_of_project(session: Session, name: str) -> list[App]:
    """Return the enabled apps whose traffic the project is: they share its notes."""
    return list(session.scalars(select(App).where(App.project == name, App.enabled).order_by(App.id)))
