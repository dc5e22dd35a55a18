"""What people and policies decide about proposals: once, on record, and bound to the change it was decided for."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from agents.change import Change
from core.errors import ForbiddenTransitionError, MetamonError
from core.states import PROPOSAL, AlertState, ProposalStatus
from db.models.alerts import MonitoringAlert
from db.models.proposals import ImprovementProposal
from db.repositories import audit, jobs, proposals, validations
from db.repositories.jobs import Claim

REVIEWED = frozenset(
    {
        ProposalStatus.APPROVED,
        ProposalStatus.REJECTED,
        ProposalStatus.ROLLING_OUT,
        ProposalStatus.IMPLEMENTED,
        ProposalStatus.ROLLED_BACK,
    }
)


class ReviewConflictError(ForbiddenTransitionError):
    """Somebody else decided first. The message names them."""

    def __init__(self, proposal: ImprovementProposal, target: str) -> None:
        super().__init__(f"proposal {proposal.id}", proposal.status, target, frozenset())
        self.reviewed_by = proposal.reviewed_by
        self.reviewed_at = proposal.reviewed_at
        self.decision = "rejected" if proposal.status is ProposalStatus.REJECTED else "approved"
        when = f" at {proposal.reviewed_at:%Y-%m-%d %H:%M} UTC" if proposal.reviewed_at else ""
        self.args = (
            f"proposal {proposal.id} was decided by {proposal.reviewed_by}{when} and is {proposal.status.value}: "
            f"it cannot become {target}",
        )


class ChangedProposalError(MetamonError):
    """The change is another than the one that was validated: approval is void."""


def approve(
    session: Session,
    proposal_id: int,
    *,
    by: str,
    reason: str,
    now: datetime,
    change_hash: str | None = None,
    parent: Claim | None = None,
) -> None:
    """Approve a proposal and enqueue its rollout, bound to the hash of the change.

    Args:
        by: `cli:<user>`, `user:<email>`, `token:<name>`, `policy:<name>`.
        change_hash: of the change that the reviewer looked at; not compared where None.

    Raises:
        NotFoundError: there is no such proposal.
        ReviewConflictError: it was decided before; the message says by whom.
        ForbiddenTransitionError: it is not at the point where one approves.
        ChangedProposalError: its change is not the one that was validated, or not the one that was looked at.
    """
    proposal = validations.lock_proposal(session, proposal_id)
    target = ProposalStatus.APPROVED
    if proposal.reviewed_by is not None and proposal.status in REVIEWED:
        raise ReviewConflictError(proposal, target.value)
    _same(proposal, change_hash)
    change = Change.model_validate(proposal.change)
    if change.hash != proposal.change_hash:
        raise ChangedProposalError(
            f"proposal {proposal_id}: the change is not the one that was validated; validate it again: "
            f"metamon validate run --proposal {proposal_id}"
        )
    if proposal.status is ProposalStatus.VALIDATING and not by.startswith("policy:"):
        raise ForbiddenTransitionError(
            f"proposal {proposal_id}", proposal.status.value, target.value, frozenset({"what validation finds"})
        )
    proposal.status = PROPOSAL.check(proposal.status, target)
    proposal.approved_hash = proposal.change_hash
    _decided(session, proposal, action="proposal.approve", by=by, reason=reason, now=now)
    jobs.enqueue(
        session,
        key=f"rollout:{proposal_id}",
        kind="rollout.start",
        args={"proposal_id": proposal_id},
        parent=parent,
    )


def reject(
    session: Session,
    proposal_id: int,
    *,
    by: str,
    reason: str,
    now: datetime,
    change_hash: str | None = None,
    parent: Claim | None = None,
) -> None:
    """Reject a proposal; the next one for the same cause is tried.

    Raises:
        NotFoundError: there is no such proposal.
        ReviewConflictError: it was decided before; the message says by whom.
        ForbiddenTransitionError: it is rolling out or over.
        ChangedProposalError: its change is not the one that was looked at.
    """
    proposal = validations.lock_proposal(session, proposal_id)
    if proposal.reviewed_by is not None and proposal.status in REVIEWED:
        raise ReviewConflictError(proposal, ProposalStatus.REJECTED.value)
    _same(proposal, change_hash)
    had_turn = proposal.status is not ProposalStatus.PROPOSED
    proposal.status = PROPOSAL.check(proposal.status, ProposalStatus.REJECTED)
    _decided(session, proposal, action="proposal.reject", by=by, reason=reason, now=now)
    if had_turn:
        try_next(session, proposal, parent=parent)


def withdraw(
    session: Session, proposal: ImprovementProposal, *, by: str, reason: str, now: datetime, parent: Claim | None = None
) -> None:
    """Take an approval back because the change may not be rolled out any more; people hear of it, the next is tried.

    Raises:
        ForbiddenTransitionError: it is past the point where it could be.
    """
    proposal.status = PROPOSAL.check(proposal.status, ProposalStatus.REJECTED)
    told = f"{proposal.reviewed_by} approved it, but it may not be rolled out any more: {reason}"
    _decided(session, proposal, action="proposal.reject", by=by, reason=told[:2000], now=now)
    jobs.announce(session, "proposal_blocked", proposal.id, parent)
    try_next(session, proposal, parent=parent)


def try_next(session: Session, proposal: ImprovementProposal, *, parent: Claim | None = None) -> None:
    """Enqueue the validation of the next proposal for the same cause, where the alert is not over.

    Safe to call twice: the job's key is made of the proposal and the number of its runs.
    """
    if proposal.alert_id is None:
        return
    alert = session.get(MonitoringAlert, proposal.alert_id)
    if alert is None or alert.state is AlertState.RESOLVED:
        return
    following = validations.next_in_rank(session, proposal)
    if following is not None:
        _validate(session, following.id, parent)


def start_first(session: Session, alert_id: int, *, parent: Claim | None = None) -> list[int]:
    """Enqueue the validation of each cause's first proposal, where none for that cause is on its way.

    Returns:
        ids of the proposals whose validation is asked for.
    """
    taken = {row.cause.get("id") for row in proposals.under_way(session, alert_id)}
    started: list[int] = []
    for row in proposals.to_be_tried(session, alert_id):
        if row.cause.get("id") not in taken:
            taken.add(row.cause.get("id"))
            _validate(session, row.id, parent)
            started.append(row.id)
    return started


def _validate(session: Session, proposal_id: int, parent: Claim | None) -> None:
    number = validations.of_proposal(session, proposal_id) + 1
    jobs.enqueue(
        session,
        key=f"validate:proposal:{proposal_id}:{number}",
        kind="validation.start",
        args={"proposal_id": proposal_id},
        parent=parent,
    )


def supersede(session: Session, proposal: ImprovementProposal, *, now: datetime) -> list[int]:
    """Mark the other proposals for the same cause as pointless, for this one is implemented; return their ids."""
    done: list[int] = []
    for other in validations.siblings(session, proposal):
        if ProposalStatus.SUPERSEDED not in PROPOSAL.table[other.status]:
            continue
        why = f"proposal {proposal.id} was implemented for the same cause"
        make_pointless(session, other, by=f"proposal:{proposal.id}", reason=why, now=now)
        done.append(other.id)
    return done


def make_pointless(session: Session, proposal: ImprovementProposal, *, by: str, reason: str, now: datetime) -> None:
    """Mark a proposal as superseded: what it wants is so already, or can no longer be.

    Raises:
        ForbiddenTransitionError: it is past the point where it could be.
    """
    proposal.status = PROPOSAL.check(proposal.status, ProposalStatus.SUPERSEDED)
    proposal.updated_at = now
    audit.record(session, actor=by, action="proposal.supersede", subject=f"proposal:{proposal.id}", reason=reason)


def _same(proposal: ImprovementProposal, change_hash: str | None) -> None:
    if change_hash is not None and change_hash != proposal.change_hash:
        raise ChangedProposalError(
            f"proposal {proposal.id} is about another change by now: look at it again before you decide"
        )


def _decided(
    session: Session, proposal: ImprovementProposal, *, action: str, by: str, reason: str, now: datetime
) -> None:
    proposal.reviewed_by = by
    proposal.reviewed_at = now
    proposal.review_reason = reason
    proposal.updated_at = now
    audit.record(
        session,
        actor=by,
        action=action,
        subject=f"proposal:{proposal.id}",
        reason=reason,
        change_hash=proposal.change_hash,
    )
