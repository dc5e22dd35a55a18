"""Who may do what, and who did."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from core.states import Scope
from db.base import Base, BigId, Created, Id, Json, state_type


class User(Base):
    """A person who signs in."""

    __tablename__ = "users"

    id: Mapped[Id]
    email: Mapped[str] = mapped_column(unique=True)
    """In lower case."""
    role: Mapped[Scope] = mapped_column(state_type(Scope))
    password_hash: Mapped[str | None]
    """argon2id, with its parameters; NULL signs nobody in."""
    time_zone: Mapped[str] = mapped_column(server_default="UTC")
    disabled_at: Mapped[datetime | None]
    created_at: Mapped[Created]


class UserSession(Base):
    """Somebody who is signed in: what a cookie stands for, kept as a hash."""

    __tablename__ = "user_sessions"

    id: Mapped[BigId]
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    hash: Mapped[str] = mapped_column(unique=True)
    """SHA-256 of the cookie's 32 random bytes."""
    address: Mapped[str] = mapped_column(server_default="")
    created_at: Mapped[Created]
    last_seen_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    revoked_at: Mapped[datetime | None]


class LoginAttempt(Base):
    """How often a sign-in was tried in the present window, by who tries and as whom."""

    __tablename__ = "login_attempts"

    key: Mapped[str] = mapped_column(primary_key=True)
    """SHA-256 of the kind and the values: nobody's address or mistyped password is kept here."""
    attempts: Mapped[int]
    since: Mapped[datetime] = mapped_column(index=True)
    """Start of the window."""


class ApiToken(Base):
    """A bearer token, kept as a hash, shown once."""

    __tablename__ = "api_tokens"

    id: Mapped[Id]
    name: Mapped[str]
    scope: Mapped[Scope] = mapped_column(state_type(Scope))
    prefix: Mapped[str]
    """First characters, so that a person recognises it in a list."""
    hash: Mapped[str] = mapped_column(unique=True)
    """SHA-256: the token is 32 random bytes, so a slow hash would add nothing."""
    created_by: Mapped[str]
    created_at: Mapped[Created]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class AuditEntry(Base):
    """Something a person or a policy decided."""

    __tablename__ = "audit_log"

    id: Mapped[BigId]
    at: Mapped[Created]
    actor: Mapped[str]
    action: Mapped[str]
    """`proposal.approve`, `rollout.rollback`, `token.create` …"""
    subject: Mapped[str]
    """`proposal:12`"""
    detail: Mapped[Json] = mapped_column(server_default=text("'{}'"))

    __table_args__ = (
        Index("ix_audit_log_at", "at"),
        Index("ix_audit_log_subject", "subject", "id"),
        Index("ix_audit_log_actor", "actor", "id"),
    )
