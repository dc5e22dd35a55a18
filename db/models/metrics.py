"""Five-minute buckets, restated when late data touches them."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base, BigId, Created, Json


class BucketChange(Base):
    """A note that something in a project's bucket changed, written in the transaction that changed it.

    The sweep deletes the notes it can see and recomputes exactly those buckets. No watermark over a sequence, so no
    commit can slip behind one; an aborted sweep leaves its notes where they were.
    """

    __tablename__ = "bucket_changes"

    id: Mapped[BigId]
    project_id: Mapped[UUID]
    bucket: Mapped[datetime]
    """Start of the minute-aligned slot the change falls in; the sweep widens it to the app's bucket."""

    __table_args__ = (Index("ix_bucket_changes_project", "project_id", "bucket"),)


class MetricBucket(Base):
    """What happened to one app in one bucket. Recomputed whole, never incremented."""

    __tablename__ = "metric_buckets"

    app_id: Mapped[int] = mapped_column(ForeignKey("apps.id", ondelete="CASCADE"), primary_key=True)
    bucket: Mapped[datetime] = mapped_column(primary_key=True)
    """Start of the bucket."""
    revision: Mapped[int] = mapped_column(server_default="1")
    runs: Mapped[int]
    """Root runs that started in the bucket, finished or not."""
    finished: Mapped[int]
    """Of these, the ones that ended in success or error: the denominator of the rates."""
    errors: Mapped[int]
    pending: Mapped[int]
    abandoned: Mapped[int]
    sla_met: Mapped[int]
    """Finished without error and within the app's `sla_ms`."""
    latency: Mapped[Json] = mapped_column(JSONB, server_default=text("'{}'"))
    """Mergeable log-histogram of seconds (see `analysis.histogram`)."""
    scores: Mapped[Json] = mapped_column(JSONB, server_default=text("'{}'"))
    """By feedback key: {"n": count, "sum": Σ score, "sumsq": Σ score²}."""
    tokens: Mapped[int] = mapped_column(BigInteger, server_default="0")
    cost: Mapped[float] = mapped_column(server_default="0")
    updated_at: Mapped[Created]


class MetricHour(Base):
    """A complete hour of one app, rolled up from its buckets: what the baseline is read from.

    Written when the hour is over and again when late data restates one of its buckets.
    """

    __tablename__ = "metric_hours"

    app_id: Mapped[int] = mapped_column(ForeignKey("apps.id", ondelete="CASCADE"), primary_key=True)
    hour: Mapped[datetime] = mapped_column(primary_key=True)
    """Start of the hour."""
    runs: Mapped[int]
    finished: Mapped[int]
    errors: Mapped[int]
    sla_met: Mapped[int]
    answered: Mapped[int]
    """Runs in the latency histogram."""
    latency_p95: Mapped[float | None]
    """Seconds; NULL in an hour without an answer."""
    latency: Mapped[Json] = mapped_column(JSONB, server_default=text("'{}'"))
    scores: Mapped[Json] = mapped_column(JSONB, server_default=text("'{}'"))
    tokens: Mapped[int] = mapped_column(BigInteger, server_default="0")
    cost: Mapped[float] = mapped_column(server_default="0")


class DetectorState(Base):
    """What the detectors of one app remember, up to the buckets that late data no longer changes.

    Moves in the transaction of the check that taught it, so that no bucket teaches twice and none is forgotten.
    """

    __tablename__ = "detector_states"

    app_id: Mapped[int] = mapped_column(ForeignKey("apps.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    """`rates` or `series`."""
    settled_until: Mapped[datetime]
    """End of the last bucket that taught."""
    step_s: Mapped[int]
    metrics: Mapped[list[str]]
    """The series, in their order."""
    state: Mapped[Json] = mapped_column(JSONB)
    """See `analysis.detection.state`."""
    learning_since: Mapped[Created]
    """When the memory began: before, or with another version, nothing was kept."""
    note: Mapped[str] = mapped_column(server_default="")
    """Why an earlier memory was given up; empty where none was."""
    updated_at: Mapped[Created]
