"""Every mail, one row per recipient; who hears what; and which addresses answer no more."""

from __future__ import annotations

from datetime import datetime, time

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from core.states import EmailState, Severity
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
    """critical, update, resolved, approval, blocked, rollback, implemented, hourly, digest, storm, dead_man, test."""
    recipient: Mapped[str]
    subject: Mapped[str]
    text_body: Mapped[str]
    html_body: Mapped[str]
    chart: Mapped[bytes | None]
    """A PNG that the HTML shows by `cid:`; its Content-ID is made of its bytes."""
    headers: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    """Extra headers: threading, list id."""
    message_id: Mapped[str] = mapped_column(unique=True)
    state: Mapped[EmailState] = mapped_column(state_type(EmailState), server_default=EmailState.QUEUED.value)
    attempts: Mapped[int] = mapped_column(server_default="0")
    error: Mapped[str | None]
    created_at: Mapped[Created]
    sent_at: Mapped[datetime | None]

    __table_args__ = (
        Index("ix_emails_created_at", "created_at"),
        Index("ix_emails_alert", "alert_id", postgresql_where=text("alert_id IS NOT NULL")),
    )


class MailAddress(Base):
    """What servers said of an address. An address without a row never bounced."""

    __tablename__ = "mail_addresses"

    address: Mapped[str] = mapped_column(primary_key=True)
    """In lower case."""
    bounces: Mapped[int] = mapped_column(server_default="0")
    """Hard bounces in a row; an accepted mail sets it back."""
    last_bounce_at: Mapped[datetime | None]
    last_error: Mapped[str | None]
    disabled_at: Mapped[datetime | None]
    """Since when nothing is written to it."""


class MailPreference(Base):
    """How somebody on an app's notify list wants to hear of it; without a row everything, at once, in its zone."""

    __tablename__ = "mail_preferences"

    app_id: Mapped[int] = mapped_column(ForeignKey("apps.id", ondelete="CASCADE"), primary_key=True)
    address: Mapped[str] = mapped_column(primary_key=True)
    """In lower case."""
    timezone: Mapped[str | None]
    """NULL: the app's."""
    muted: Mapped[list[str]] = mapped_column(server_default=text("'[]'"))
    """Kinds of mail that are not wanted."""
    min_severity: Mapped[Severity] = mapped_column(state_type(Severity), server_default=Severity.LOW.value)
    """Alerts below it are not mailed; the digest tells all, or its verdict would be false."""
    quiet_from: Mapped[time | None]
    quiet_until: Mapped[time | None]
    """Local hours in which only what is critical is sent; the rest waits for their end."""
    updated_at: Mapped[Created]


class SigningKey(Base):
    """A secret of this installation, made on first use: links in mails are signed with it."""

    __tablename__ = "signing_keys"

    name: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[bytes]
    created_at: Mapped[Created]
