"""The audit log: what a person or a policy decided, written in the transaction of the decision."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from db.models.access import AuditEntry


def record(session: Session, *, actor: str, action: str, subject: str, **detail: Any) -> None:
    """Add an entry.

    Args:
        actor: `cli:<user>`, `token:<name>`, `policy:<name>`, `rollout:<id>`.
        action: `<thing>.<verb>`.
        subject: `<thing>:<id>`.
        detail: anything JSON can hold; never a secret.
    """
    session.add(AuditEntry(actor=actor, action=action, subject=subject, detail=detail))
