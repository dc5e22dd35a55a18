"""Metric buckets: which ones changed, recomputed whole and set-based, rolled up to hours, read back for judging."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import delete, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.clock import floor_time
from db.models.apps import App, Watermark
from db.models.metrics import BucketChange, MetricBucket, MetricHour

SLOT = timedelta(minutes=1)
"""What a note in `bucket_changes` stands for."""

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

SCORE_KEYS_CAP = 64
"""Feedback keys that are counted per bucket, the most frequent first: a key per run must not make a bucket a book."""

SCORE_CAP = 1e9
"""Scores beyond this are no measurements; their squares would overflow."""


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


# Counts on root runs only: tags and metadata propagate to children. A feedback key that was given several times in
# one trace counts once, with its mean: the trace is the unit. Latency is that of answers, so that a quick failure is
# no quick answer. An unfinished run has no part in the rates. Tokens and cost are the root's where it states them,
# else the sum of its model calls'.
_RECOMPUTE = text("""
WITH touched AS (
    SELECT unnest(cast(:buckets AS timestamptz[])) AS bucket
), spans AS (
    SELECT * FROM unnest(cast(:lows AS timestamptz[]), cast(:highs AS timestamptz[])) AS s(low, high)
), roots AS MATERIALIZED (
    SELECT r.id, t.bucket, r.status,
           r.status IN ('success', 'error') AS finished,
           extract(epoch FROM r.end_time - r.start_time)::float8 AS seconds,
           coalesce(r.total_tokens, c.tokens) AS total_tokens, coalesce(r.total_cost, c.cost) AS total_cost
      FROM spans s
      JOIN runs r ON r.is_root AND r.project_id = :project AND r.start_time >= s.low AND r.start_time < s.high
      JOIN touched t ON t.bucket = date_bin(:width, r.start_time, 'epoch')
      LEFT JOIN LATERAL (SELECT sum(c.total_tokens) AS tokens,
                                sum(c.total_cost) FILTER (WHERE c.total_cost <> 'NaN') AS cost
                           FROM runs c
                          WHERE (r.total_tokens IS NULL OR r.total_cost IS NULL) AND c.trace_id = r.id
                            AND c.run_type = 'llm' AND NOT c.is_root
                            AND c.day BETWEEN cast(:first_day AS date) AND cast(:last_day AS date)) AS c ON true
), counted AS (
    SELECT bucket, count(*) AS runs,
           count(*) FILTER (WHERE finished) AS finished,
           count(*) FILTER (WHERE status = 'error') AS errors,
           count(*) FILTER (WHERE status = 'pending') AS pending,
           count(*) FILTER (WHERE status = 'abandoned') AS abandoned,
           count(*) FILTER (WHERE status = 'success' AND seconds * 1000 <= :sla_ms) AS sla_met,
           coalesce(sum(least(greatest(total_tokens, 0), 1000000000)), 0) AS tokens,
           coalesce(sum(least(greatest(total_cost, 0), 1e9)) FILTER (WHERE total_cost <> 'NaN'), 0) AS cost
      FROM roots GROUP BY bucket
), latencies AS (
    SELECT bucket, jsonb_object_agg(bin, n) AS latency
      FROM (SELECT bucket, floor(ln(least(greatest(seconds, 1e-6), 1e6)) / ln(1.02::float8))::int AS bin, count(*) AS n
              FROM roots WHERE status = 'success' AND seconds IS NOT NULL GROUP BY 1, 2) AS bins
     GROUP BY bucket
), scored AS (
    SELECT bucket, jsonb_object_agg(key, jsonb_build_object('n', n, 'sum', total, 'sumsq', squares)) AS scores
      FROM (SELECT bucket, key, count(*) AS n, sum(score) AS total, sum(score * score) AS squares,
                   row_number() OVER (PARTITION BY bucket ORDER BY count(*) DESC, key) AS place
              FROM (SELECT r.bucket, f.key, r.id, avg(f.score) AS score
                      FROM roots r JOIN feedback f ON f.trace_id = r.id
                     WHERE f.day >= cast(:first_day AS date)
                       AND f.score BETWEEN -cast(:score_cap AS float8) AND :score_cap
                     GROUP BY 1, 2, 3) AS per_trace
             GROUP BY bucket, key) AS keys
     WHERE place <= :keys_cap GROUP BY bucket
)
INSERT INTO metric_buckets AS m (app_id, bucket, runs, finished, errors, pending, abandoned, sla_met, latency, scores,
                                 tokens, cost, updated_at)
SELECT :app, t.bucket, coalesce(c.runs, 0), coalesce(c.finished, 0), coalesce(c.errors, 0), coalesce(c.pending, 0),
       coalesce(c.abandoned, 0), coalesce(c.sla_met, 0), coalesce(l.latency, '{}'), coalesce(s.scores, '{}'),
       coalesce(c.tokens, 0), coalesce(c.cost, 0), :now
  FROM touched t
  LEFT JOIN counted c USING (bucket) LEFT JOIN latencies l USING (bucket) LEFT JOIN scored s USING (bucket)
 WHERE c.bucket IS NOT NULL OR EXISTS (SELECT FROM metric_buckets o WHERE o.app_id = :app AND o.bucket = t.bucket)
    ON CONFLICT (app_id, bucket) DO UPDATE
   SET revision = m.revision + 1, runs = excluded.runs, finished = excluded.finished, errors = excluded.errors,
       pending = excluded.pending, abandoned = excluded.abandoned, sla_met = excluded.sla_met,
       latency = excluded.latency, scores = excluded.scores, tokens = excluded.tokens, cost = excluded.cost,
       updated_at = excluded.updated_at
 WHERE (m.runs, m.finished, m.errors, m.pending, m.abandoned, m.sla_met, m.latency, m.scores, m.tokens, m.cost)
       IS DISTINCT FROM (excluded.runs, excluded.finished, excluded.errors, excluded.pending, excluded.abandoned,
                         excluded.sla_met, excluded.latency, excluded.scores, excluded.tokens, excluded.cost)
""")

_ROLL_UP = text("""
WITH touched AS (
    SELECT unnest(cast(:hours AS timestamptz[])) AS hour
), parts AS MATERIALIZED (
    SELECT t.hour, b.* FROM touched t
      JOIN metric_buckets b ON b.app_id = :app AND b.bucket >= t.hour AND b.bucket < t.hour + interval '1 hour'
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

SPANS_CAP = 200
"""Index ranges per recomputation. A backfill with holes is read in wider ranges and filtered by bucket."""


def lock_watermark(session: Session, app_id: int, name: str, *, now: datetime) -> Watermark:
    """Return the watermark, locked until the transaction ends: checks of one app go one after the other.

    A new one has an empty state.
    """
    session.execute(insert(Watermark).values(app_id=app_id, name=name, at=now).on_conflict_do_nothing())
    return session.get_one(Watermark, (app_id, name), with_for_update=True, populate_existing=True)


def take_changes(session: Session, project_id: UUID) -> list[datetime]:
    """Delete the notes of a project that this transaction sees, and return their slots, sorted, each once."""
    slots = session.scalars(
        delete(BucketChange).where(BucketChange.project_id == project_id).returning(BucketChange.bucket)
    )
    return sorted(set(slots))


def widen(slots: Iterable[datetime], width: timedelta) -> list[datetime]:
    """Return the starts of the buckets of that width that the slots touch, sorted."""
    touched: set[datetime] = set()
    for slot in slots:
        start = floor_time(slot, width)
        while start < slot + SLOT:
            touched.add(start)
            start += width
    return sorted(touched)


def recompute(
    session: Session, app: App, project_id: UUID, buckets: Sequence[datetime], *, width: timedelta, now: datetime
) -> int:
    """Recompute the buckets of an app from its runs, in one statement. Returns how many rows were written.

    A bucket that comes out as it was keeps its revision; one that lost its runs is restated as empty.
    """
    if not buckets:
        return 0
    spans = _spans(buckets, width)
    result = session.execute(
        _RECOMPUTE,
        {
            "app": app.id, "project": project_id, "buckets": list(buckets), "width": width, "sla_ms": app.sla_ms,
            "lows": [low for low, _ in spans], "highs": [high for _, high in spans],
            # Children and scores lie in the partitions from the root's day on; a day of grace for skewed clocks.
            "first_day": (buckets[0] - DAY).date(), "last_day": (buckets[-1] + 2 * DAY).date(),
            "keys_cap": SCORE_KEYS_CAP, "score_cap": SCORE_CAP, "now": now,
        },
    )  # fmt: skip
    return int(result.rowcount)  # type: ignore[attr-defined]


def _spans(buckets: Sequence[datetime], width: timedelta) -> list[tuple[datetime, datetime]]:
    """Return ranges that cover the buckets: gaps are bridged, ever wider ones, until the ranges are few."""
    gap = width
    while True:
        spans: list[tuple[datetime, datetime]] = []
        for bucket in buckets:
            if spans and bucket - spans[-1][1] < gap:
                spans[-1] = (spans[-1][0], bucket + width)
            else:
                spans.append((bucket, bucket + width))
        if len(spans) <= SPANS_CAP:
            return spans
        gap *= 4


def roll_up(session: Session, app_id: int, hours: Iterable[datetime]) -> None:
    """Roll complete hours up from their buckets, in one statement."""
    starts = sorted(set(hours))
    if starts:
        session.execute(_ROLL_UP, {"app": app_id, "hours": starts})


def hours_of(moments: Iterable[datetime]) -> set[datetime]:
    """Return the starts of the hours that the moments fall in."""
    return {floor_time(moment, HOUR) for moment in moments}


def recent(session: Session, app_id: int, *, since: datetime, latency_since: datetime) -> list[Counts]:
    """Return the buckets from `since` on, oldest first; histograms only from `latency_since` on."""
    columns = (
        MetricBucket.bucket, MetricBucket.runs, MetricBucket.finished, MetricBucket.errors, MetricBucket.pending,
        MetricBucket.sla_met, MetricBucket.scores,
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
            sla_met=row.sla_met, scores=row.scores, latency=latencies.get(row.bucket, {}),
        )
        for row in session.execute(select(*columns).where(*where).order_by(MetricBucket.bucket))
    ]  # fmt: skip


def hours(session: Session, app_id: int, *, since: datetime, until: datetime) -> list[Counts]:
    """Return the complete hours that start in [since, until), oldest first, with p95 instead of histograms."""
    statement = (
        select(
            MetricHour.hour, MetricHour.runs, MetricHour.finished, MetricHour.errors, MetricHour.sla_met,
            MetricHour.scores, MetricHour.latency_p95, MetricHour.answered,
        )
        .where(MetricHour.app_id == app_id, MetricHour.hour >= since, MetricHour.hour < until)
        .order_by(MetricHour.hour)
    )  # fmt: skip
    return [
        Counts(
            start=row.hour, runs=row.runs, finished=row.finished, errors=row.errors, pending=0, sla_met=row.sla_met,
            scores=row.scores, latency={}, latency_p95=row.latency_p95, answered=row.answered,
        )
        for row in session.execute(statement)
    ]  # fmt: skip


def apps_of_project(session: Session, name: str) -> list[App]:
    """Return the enabled apps whose traffic the project is: they share its notes."""
    return list(session.scalars(select(App).where(App.project == name, App.enabled).order_by(App.id)))


def drop_before(session: Session, *, buckets: datetime, hours: datetime, changes: datetime) -> dict[str, int]:
    """Delete what is older than each moment; returns the rows deleted by table."""
    counts: dict[str, int] = {}
    for name, statement in (
        ("metric_buckets", delete(MetricBucket).where(MetricBucket.bucket < buckets)),
        ("metric_hours", delete(MetricHour).where(MetricHour.hour < hours)),
        ("bucket_changes", delete(BucketChange).where(BucketChange.bucket < changes)),
    ):
        counts[name] = int(session.execute(statement).rowcount)  # type: ignore[attr-defined]
    return counts

