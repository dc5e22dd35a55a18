"""Runs and feedback as the collector stores them. Partitioned by day; retention drops whole partitions."""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from core.states import RunStatus
from db.base import Base, Created, Json, state_type


class Run(Base):
    """One traced run, merged from its post and its patches in whatever order they came.

    `day` is derived from the run itself (its start as `dotted_order` states it), so that post and patch of one run
    meet in one partition. Payloads are zstd-compressed JSON.
    """

    __tablename__ = "runs"

    # The id comes first: within a partition the key's index then serves look-ups by id.
    id: Mapped[UUID] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    trace_id: Mapped[UUID]
    parent_run_id: Mapped[UUID | None]
    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str | None]
    run_type: Mapped[str | None]
    is_root: Mapped[bool]
    dotted_order: Mapped[str | None]
    start_time: Mapped[datetime]
    """As the client stated it, clamped where its clock is absurd (see `traces`)."""
    end_time: Mapped[datetime | None]
    status: Mapped[RunStatus] = mapped_column(state_type(RunStatus))
    error: Mapped[str | None] = mapped_column(Text)
    tags: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=text("'{}'"))
    run_metadata: Mapped[Json] = mapped_column("metadata", JSONB, server_default=text("'{}'"))
    """What the app said of the run (`extra.metadata`): the attributes that research localises over."""
    prompt_tokens: Mapped[int | None] = mapped_column(BigInteger)
    completion_tokens: Mapped[int | None] = mapped_column(BigInteger)
    total_tokens: Mapped[int | None] = mapped_column(BigInteger)
    total_cost: Mapped[float | None]
    reference_example_id: Mapped[UUID | None]
    inputs: Mapped[bytes | None]
    outputs: Mapped[bytes | None]
    events: Mapped[bytes | None]
    extra: Mapped[bytes | None]
    serialized: Mapped[bytes | None]
    posted: Mapped[bool] = mapped_column(server_default=text("false"))
    """Whether the post has been seen; a patch alone leaves gaps that a late post fills."""
    received_at: Mapped[Created]
    updated_at: Mapped[Created]

    __table_args__ = (
        Index("ix_runs_trace_id", "trace_id"),
        Index("ix_runs_roots", "project_id", "start_time", postgresql_where=text("is_root")),
        {"postgresql_partition_by": "RANGE (day)"},
    )


class Feedback(Base):
    """A score on a run. It may arrive before its run does; it is joined when the run is known."""

    __tablename__ = "feedback"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    run_id: Mapped[UUID | None]
    trace_id: Mapped[UUID | None]
    """Root run of the trace: what the score counts for. Filled in as soon as the run is known."""
    project_id: Mapped[UUID | None]
    key: Mapped[str]
    score: Mapped[float | None]
    """NULL where the client sent none, or no finite number."""
    value: Mapped[Json | None]
    comment: Mapped[str | None]
    correction: Mapped[Json | None]
    source: Mapped[Json | None]
    created_at: Mapped[datetime]
    modified_at: Mapped[datetime]

    __table_args__ = (
        Index("ix_feedback_run_id", "run_id"),
        Index("ix_feedback_trace_id", "trace_id"),
        {"postgresql_partition_by": "RANGE (day)"},
    )


class LooseEnd(Base):
    """Something that arrived before the run it belongs to, to be joined when the run comes.

    A patch that names no time cannot know its run's partition, and feedback may overtake its run. The table stays
    tiny, so that every ingest can afford to look here instead of through all partitions.
    """

    __tablename__ = "loose_ends"

    run_id: Mapped[UUID] = mapped_column(primary_key=True)
    """The run that is awaited."""
    ref: Mapped[UUID] = mapped_column(primary_key=True)
    """Id of what waits: the feedback's, or the run's own where a placeholder row of it waits."""
    is_feedback: Mapped[bool]
    day: Mapped[date]
    """Partition in which it waits."""
    received_at: Mapped[Created]
