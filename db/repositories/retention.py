"""What is old goes: raw runs by dropping partitions (`partitions`), the rest by plain deletes of bounded size."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from core.states import JobState
from db.models.jobs import Job
from db.models.metrics import BucketChange, MetricBucket, MetricHour
from db.repositories import changes, user_sessions

JOBS_KEPT = timedelta(days=7)
DEAD_JOBS_KEPT = timedelta(days=90)
"""A dead job waits for a person; nobody tries again what failed a quarter ago, or before the oldest run there is."""
BUCKETS_KEPT = timedelta(days=35)
HOURS_KEPT = timedelta(days=400)

BATCH = 50_000
"""Rows of a table that one run deletes: the rest waits for the next."""


def delete_old(session: Session, *, now: datetime, runs_kept: timedelta) -> dict[str, int]:
    """Delete what is past its time and no partition. Returns the rows by table.

    Args:
        runs_kept: of raw runs, feedback and the notes about them; buckets live at least as long.
    """
    buckets_kept = max(BUCKETS_KEPT, runs_kept)
    counts = {
        "jobs": _delete_jobs(session, now - JOBS_KEPT, dead_before=now - max(DEAD_JOBS_KEPT, runs_kept)),
        "metric_buckets": _count(session, MetricBucket, MetricBucket.bucket < now - buckets_kept),
        "metric_hours": _count(session, MetricHour, MetricHour.hour < now - HOURS_KEPT),
        "bucket_changes": _count(session, BucketChange, BucketChange.bucket < now - runs_kept),
    }
    counts["sessions"] = user_sessions.drop_old(session, now=now)
    counts["changes"] = changes.drop_old(session, now=now)
    return counts


def _delete_jobs(session: Session, before: datetime, *, dead_before: datetime) -> int:
    over = Job.state.in_([JobState.DONE, JobState.CANCELLED])
    forgotten = (Job.state == JobState.DEAD) & (Job.finished_at < dead_before)
    old = select(Job.id).where(Job.finished_at < before, over | forgotten).order_by(Job.id).limit(BATCH)
    return int(session.execute(delete(Job).where(Job.id.in_(old))).rowcount)  # type: ignore[attr-defined]


def _count(session: Session, table: type[MetricBucket | MetricHour | BucketChange], old: object) -> int:
    return int(session.execute(delete(table).where(old)).rowcount)  # type: ignore[arg-type,attr-defined]
