"""Who may do what, and who did."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from core.states import Scope
from db.base import Base, BigId, Created, Id, Json, state_type


class User(Base):
    """A person. Sign-in comes with the dashboard; today the row names who decides."""

    __tablename__ = "users"

    id: Mapped[Id]
    email: Mapped[str] = mapped_column(unique=True)
    role: Mapped[Scope] = mapped_column(state_type(Scope))
    disabled_at: Mapped[datetime | None]
    created_at: Mapped[Created]


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

    __table_args__ = (Index("ix_audit_log_at", "at"),)
