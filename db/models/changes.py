"""What changed lately, for those who watch."""

from __future__ import annotations

from sqlalchemy import BigInteger, Index
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base, BigId, Created


class Change(Base):
    """A hint that something is worth reading again. Written by triggers, announced by NOTIFY, pruned after an hour.

    Ids are taken when a row is written and seen when it is committed: a smaller one may appear after a larger one.
    """

    __tablename__ = "changes"

    id: Mapped[BigId]
    subject: Mapped[str]
    """alert, proposal, validation, rollout, evaluation, impact, job, mail, app"""
    subject_id: Mapped[int] = mapped_column(BigInteger)
    at: Mapped[Created]

    __table_args__ = (Index("ix_changes_at", "at"),)
