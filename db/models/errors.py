"""Error patterns that were seen, so that a pattern keeps its name over restarts and releases."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base, BigId


class ErrorPattern(Base):
    """A group of errors of one app. What a person merged or split stays so."""

    __tablename__ = "error_patterns"

    id: Mapped[BigId]
    app_id: Mapped[int] = mapped_column(ForeignKey("apps.id", ondelete="CASCADE"))
    key: Mapped[str]
    """Made of the first error that was seen of it; it never changes, though the template widens."""
    kind: Mapped[str]
    frames: Mapped[list[str]] = mapped_column(server_default=text("'[]'"))
    template: Mapped[str]
    """Masked and redacted."""
    merged_into: Mapped[str | None]
    """Key of the pattern that it counts for."""
    split_of: Mapped[str | None]
    """Key of the pattern that it was taken out of."""
    containing: Mapped[str | None]
    """Text that tells its errors from those it was split of."""
    first_seen: Mapped[datetime]
    last_seen: Mapped[datetime]

    __table_args__ = (UniqueConstraint("app_id", "key", name="uq_error_patterns_key"),)
