"""A run that ends without a verdict: cancelled by a person, or stopped where its budget was spent."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from core.states import PROPOSAL, VALIDATION, ProposalStatus, ValidationState
from db.models.validation import ValidationResult
from db.repositories import audit, validations


def cancel(session: Session, validation_id: int, *, by: str, now: datetime) -> None:
    """Stop a run. Chunks that are at it stop after their case; its proposal is left inconclusive.

    Raises:
        NotFoundError: there is no such run.
        ForbiddenTransitionError: it is over.
    """
    validation = validations.lock(session, validation_id)
    _end(session, validation, ValidationState.CANCELLED, reason=f"cancelled by {by}", by=by, now=now)


def stop_at_budget(session: Session, validation_id: int, *, now: datetime) -> None:
    """Stop a run whose budget is spent. What it has is kept for a run that resumes it."""
    validation = validations.lock(session, validation_id)
    if validation.state is not ValidationState.RUNNING:
        return
    spent = []
    if validation.budget_usd is not None:
        spent.append(f"${validation.spent_usd:.2f} of ${validation.budget_usd:.2f}")
    if validation.budget_tokens is not None:
        spent.append(f"{validation.spent_tokens} of {validation.budget_tokens} tokens")
    reason = f"the budget is spent: {' and '.join(spent)}; no verdict was made"
    _end(session, validation, ValidationState.STOPPED, reason=reason, by="policy:budget", now=now)


def _end(
    session: Session, validation: ValidationResult, state: ValidationState, *, reason: str, by: str, now: datetime
) -> None:
    validation.state = VALIDATION.check(validation.state, state)
    validation.finished_at = now
    validation.reasons = [reason]
    action = "cancel" if state is ValidationState.CANCELLED else "stop"
    audit.record(session, actor=by, action=f"validation.{action}", subject=f"validation:{validation.id}", reason=reason)
    if validation.proposal_id is None:
        return
    proposal = validations.lock_proposal(session, validation.proposal_id)
    if proposal.status is ProposalStatus.VALIDATING:
        proposal.status = PROPOSAL.check(proposal.status, ProposalStatus.INCONCLUSIVE)
        proposal.review_reason = f"validation {validation.id}: {reason}"
        proposal.updated_at = now
