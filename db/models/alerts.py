"""Alerts, every transition they make, and silences."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from core.states import AlertKind, AlertState, Severity
from db.base import Base, BigId, Created, Id, Json, state_type


class MonitoringAlert(Base):
    """Something is wrong with a metric of an app. One open alert per fingerprint."""

    __tablename__ = "monitoring_alerts"

    id: Mapped[Id]
    app_id: Mapped[int] = mapped_column(ForeignKey("apps.id", ondelete="CASCADE"))
    fingerprint: Mapped[str]
    """`kind:metric`, what makes two detections the same alert."""
    kind: Mapped[AlertKind] = mapped_column(state_type(AlertKind))
    severity: Mapped[Severity] = mapped_column(state_type(Severity))
    state: Mapped[AlertState] = mapped_column(state_type(AlertState))
    metric: Mapped[str]
    title: Mapped[str]
    observed: Mapped[float | None]
    expected: Mapped[float | None]
    expected_low: Mapped[float | None]
    expected_high: Mapped[float | None]
    p_value: Mapped[float | None]
    recovers_at: Mapped[float | None]
    """Where the metric counts as well again: nearer to usual than where it fires, so that it does not flip."""
    reasons: Mapped[list[str]] = mapped_column(server_default=text("'[]'"))
    """Sentences for a person: what was seen against what was expected, and in how many runs."""
    window_start: Mapped[datetime]
    """Start of the first bad bucket."""
    window_end: Mapped[datetime]
    """End of the latest bad bucket."""
    trace_urls: Mapped[list[str]] = mapped_column(server_default=text("'[]'"))
    run_ids: Mapped[list[str]] = mapped_column(server_default=text("'[]'"))
    flapping: Mapped[bool] = mapped_column(server_default=text("false"))
    silenced: Mapped[bool] = mapped_column(server_default=text("false"))
    group_id: Mapped[int | None] = mapped_column(ForeignKey("monitoring_alerts.id", ondelete="SET NULL"), index=True)
    """The alert under which it was told, where one mail told of several; its own id where it is that alert."""
    tracker: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    """The state machine's own memory (since when, flips, hold)."""
    opened_at: Mapped[datetime]
    fired_at: Mapped[datetime | None]
    resolved_at: Mapped[datetime | None]
    acknowledged_at: Mapped[datetime | None]
    acknowledged_by: Mapped[str | None]
    emailed_at: Mapped[datetime | None]
    """When its first mail was queued; the mails themselves are in `emails`."""
    updated_at: Mapped[Created]

    __table_args__ = (
        Index(
            "uq_monitoring_alerts_open",
            "app_id",
            "fingerprint",
            unique=True,
            postgresql_where=text("state <> 'resolved'"),
        ),
        Index("ix_monitoring_alerts_opened_at", "opened_at"),
    )


class AlertEvent(Base):
    """One transition of an alert, or something a person did to it."""

    __tablename__ = "alert_events"

    id: Mapped[BigId]
    alert_id: Mapped[int] = mapped_column(ForeignKey("monitoring_alerts.id", ondelete="CASCADE"), index=True)
    at: Mapped[datetime]
    kind: Mapped[str]
    """The state it entered, or `acknowledged`, `escalated`, `silenced`, `updated`."""
    observed: Mapped[float | None]
    detail: Mapped[Json] = mapped_column(server_default=text("'{}'"))


class Silence(Base):
    """Mutes what matches it until it expires."""

    __tablename__ = "silences"

    id: Mapped[Id]
    app_id: Mapped[int] = mapped_column(ForeignKey("apps.id", ondelete="CASCADE"))
    fingerprint: Mapped[str | None]
    """NULL mutes the whole app."""
    author: Mapped[str]
    reason: Mapped[str]
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    created_at: Mapped[Created]
