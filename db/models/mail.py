"""Every mail: one row per recipient, one Message-ID per row."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from core.states import EmailState
from db.base import Base, Created, Id, Json, state_type


class Email(Base):
    """A mail to one recipient, rendered when it was decided and sent by a job of its own."""

    __tablename__ = "emails"

    id: Mapped[Id]
    key: Mapped[str] = mapped_column(unique=True)
    """`<kind>:<subject of the mail>:<recipient>`: deciding twice makes one mail."""
    app_id: Mapped[int | None] = mapped_column(ForeignKey("apps.id", ondelete="CASCADE"))
    alert_id: Mapped[int | None] = mapped_column(ForeignKey("monitoring_alerts.id", ondelete="SET NULL"))
    kind: Mapped[str]
    """critical, resolved, approval, blocked, rollback, implemented, hourly, digest, test."""
    recipient: Mapped[str]
    subject: Mapped[str]
    text_body: Mapped[str]
    html_body: Mapped[str]
    headers: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    """Extra headers: threading, list id."""
    message_id: Mapped[str] = mapped_column(unique=True)
    state: Mapped[EmailState] = mapped_column(state_type(EmailState), server_default=EmailState.QUEUED.value)
    attempts: Mapped[int] = mapped_column(server_default="0")
    error: Mapped[str | None]
    created_at: Mapped[Created]
    sent_at: Mapped[datetime | None]

    __table_args__ = (Index("ix_emails_created_at", "created_at"),)
