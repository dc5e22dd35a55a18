"""What a fix really took, as somebody wrote it down."""

from __future__ import annotations

from sqlalchemy.orm import Session

from db.repositories import audit, validations


def write_down(session: Session, proposal_id: int, hours: float, *, by: str) -> None:
    """Keep the hours of a proposal; a second entry replaces the first, and both are in the audit log.

    Args:
        hours: hours of people, positive.
        by: who says so.

    Raises:
        NotFoundError: there is no such proposal.
        ValueError: the hours are not positive.
    """
    if not hours > 0:
        raise ValueError(f"hours must be positive, not {hours}")
    proposal = validations.lock_proposal(session, proposal_id)
    audit.record(
        session,
        actor=by,
        action="proposal.effort",
        subject=f"proposal:{proposal_id}",
        hours=hours,
        estimated=proposal.effort_hours,
        earlier=proposal.spent_hours,
    )
    proposal.spent_hours = hours
