"""Rollouts, what happened in them, and the flags that apps ask for."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from core.states import RolloutState
from db.base import Base, BigId, Created, Id, Json, state_type


class Flag(Base):
    """What OFREP serves to an app: its configuration, one flag per app, named `<app>.config`."""

    __tablename__ = "flags"

    id: Mapped[Id]
    app_id: Mapped[int] = mapped_column(ForeignKey("apps.id", ondelete="CASCADE"))
    key: Mapped[str] = mapped_column(unique=True)
    enabled: Mapped[bool] = mapped_column(server_default=text("true"))
    created_at: Mapped[Created]


class Rollout(Base):
    """A change on its way from 10 to 100 %. Several may run at once where they change different keys."""

    __tablename__ = "rollouts"

    id: Mapped[Id]
    app_id: Mapped[int] = mapped_column(ForeignKey("apps.id", ondelete="CASCADE"))
    proposal_id: Mapped[int] = mapped_column(ForeignKey("improvement_proposals.id", ondelete="CASCADE"), unique=True)
    change: Mapped[Json]
    salt: Mapped[str]
    """Makes this rollout's assignment independent of every other's."""
    state: Mapped[RolloutState] = mapped_column(state_type(RolloutState), server_default=RolloutState.RUNNING.value)
    percent: Mapped[int]
    """Share of units that get the candidate now: 10, 50, 100 minus the hold-back."""
    holdback_percent: Mapped[int] = mapped_column(server_default="10")
    paused_from: Mapped[str | None]
    """The state that `resume` goes back to."""
    reason: Mapped[str | None]
    guard: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    """The sequential guard's state; a restart continues bit-identically."""
    guarded_until: Mapped[datetime | None]
    """Runs that started before this moment have been fed to the guard."""
    stage_started_at: Mapped[datetime]
    started_at: Mapped[Created]
    finished_at: Mapped[datetime | None]


class RolloutEvent(Base):
    """A promotion, a pause, a rollback: by whom, and on what evidence."""

    __tablename__ = "rollout_events"

    id: Mapped[BigId]
    rollout_id: Mapped[int] = mapped_column(ForeignKey("rollouts.id", ondelete="CASCADE"), index=True)
    at: Mapped[datetime]
    kind: Mapped[str]
    from_percent: Mapped[int]
    to_percent: Mapped[int]
    actor: Mapped[str]
    evidence: Mapped[Json] = mapped_column(server_default=text("'{}'"))


class RolloutLook(Base):
    """What the guard saw at one look: the evidence over time. Thinned out as a rollout grows old."""

    __tablename__ = "rollout_looks"

    id: Mapped[BigId]
    rollout_id: Mapped[int] = mapped_column(ForeignKey("rollouts.id", ondelete="CASCADE"))
    at: Mapped[datetime]
    """Runs that ended before this moment are in it."""
    percent: Mapped[int]
    evidence: Mapped[Json]

    __table_args__ = (Index("ix_rollout_looks_rollout", "rollout_id", "at"),)
