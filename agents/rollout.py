"""A change on its way: started, moved on, paused, resumed, taken back. By the guard or by hand, always on record."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy.orm import Session

from agents import review
from agents.cadence import Cadence
from agents.change import Change, RefusedChangeError, check_allowed
from analysis.sequential import VERSION, RolloutGuard
from core.errors import MetamonError, PermanentError
from core.states import PROPOSAL, ROLLOUT, ProposalStatus, RolloutState
from db.models.rollouts import Rollout
from db.repositories import apps, audit, flags, jobs, rollouts
from db.repositories.jobs import Claim

log = structlog.get_logger(__name__)

STAGES = (10, 50, 100)
HOLDBACK_PERCENT = 10


class UnapprovedChangeError(PermanentError):
    """The proposal's change is not the one that was approved."""


class KeyTakenError(MetamonError):
    """A live rollout of the app changes the same key: two at once would explain each other's effects away."""

    def __init__(self, key: str, rollout_id: int) -> None:
        super().__init__(f"rollout {rollout_id} changes {key!r} at the moment: wait until it is over")
        self.rollout_id = rollout_id


class NoFurtherStageError(MetamonError):
    """The rollout cannot be promoted from where it is."""


def start(session: Session, proposal_id: int, *, now: datetime, parent: Claim | None = None) -> int | None:
    """Start the rollout of an approved proposal at the first stage; called twice, it starts once.

    Returns:
        The rollout's id, or None where there is nothing to roll out: the proposal is no longer approved, or the app
        no longer allows the change (it is rejected then, and the next one tried), or has moved on from what the change
        starts from (it is superseded then).

    Raises:
        KeyTakenError: it has to wait for another rollout; nothing was written.
        UnapprovedChangeError: the change is another than the one that was approved.
    """
    proposal = rollouts.lock_proposal(session, proposal_id)
    existing = rollouts.of_proposal(session, proposal_id)
    if existing is not None:
        return existing
    if proposal.status is not ProposalStatus.APPROVED:
        log.info("rollout.not_approved", proposal_id=proposal_id, status=proposal.status)
        return None
    app = rollouts.lock_app(session, proposal.app_id)
    change = Change.model_validate(proposal.change)
    if not change.applies_itself:
        raise PermanentError(f"proposal {proposal_id} recommends a change of code: people roll that out")
    if proposal.approved_hash != change.hash:
        raise UnapprovedChangeError(
            f"proposal {proposal_id} was approved with another change than it has now: validate and approve it again"
        )
    try:
        check_allowed(change, app.allowed)
    except RefusedChangeError as refusal:
        review.withdraw(session, proposal, by="policy:allowed-keys", reason=str(refusal), now=now, parent=parent)
        return None
    # Under the app's lock: whoever asks before it may be overtaken by the start of another proposal for the key.
    taken = rollouts.live_with_key(session, app.id, change.key)
    if taken is not None:
        raise KeyTakenError(change.key, taken)
    present = app.config.get(change.key)
    if present == change.to or (change.from_ is not None and present != change.from_):
        why = f"{change.key} is {present!r} by now, the change goes from {change.from_!r} to {change.to!r}"
        review.make_pointless(session, proposal, by="policy:rollout", reason=why, now=now)
        return None
    flags.ensure(session, app)
    rollout = Rollout(
        app_id=app.id,
        proposal_id=proposal_id,
        change=change.as_json(),
        salt=secrets.token_hex(8),
        percent=STAGES[0],
        holdback_percent=HOLDBACK_PERCENT,
        guarded_until=now,
        stage_started_at=now,
        started_at=now,
    )
    session.add(rollout)
    session.flush()
    proposal.status = PROPOSAL.check(proposal.status, ProposalStatus.ROLLING_OUT)
    proposal.updated_at = now
    rollouts.record(session, rollout, kind="start", from_percent=0, actor=proposal.reviewed_by or "policy", at=now)
    audit.record(
        session,
        actor=proposal.reviewed_by or "policy:rollout",
        action="rollout.start",
        subject=f"rollout:{rollout.id}",
        proposal_id=proposal_id,
        percent=rollout.percent,
    )
    return rollout.id


def promote(
    session: Session,
    rollout_id: int,
    *,
    by: str,
    reason: str,
    now: datetime,
    cadence: Cadence,
    evidence: dict[str, Any] | None = None,
    parent: Claim | None = None,
) -> int:
    """Move a rollout to its next stage and return the percentage.

    At 100 % the proposal is implemented, and a hold-back stays behind until the impact is measured.

    Raises:
        NotFoundError: there is no such rollout.
        NoFurtherStageError: it is not running, or at its last stage.
    """
    rollout = rollouts.lock(session, rollout_id)
    further = [stage for stage in STAGES if stage > rollout.percent]
    if rollout.state is not RolloutState.RUNNING or not further:
        raise NoFurtherStageError(
            f"rollout {rollout_id} is {rollout.state.value} at {rollout.percent} %: "
            "only a running one below 100 % can be promoted"
        )
    before, rollout.percent = rollout.percent, further[0]
    rollout.stage_started_at = now
    rollout.reason = reason
    if rollout.percent == STAGES[-1]:
        rollout.state = ROLLOUT.check(rollout.state, RolloutState.HOLDBACK)
        proposal = rollouts.lock_proposal(session, rollout.proposal_id)
        proposal.status = PROPOSAL.check(proposal.status, ProposalStatus.IMPLEMENTED)
        proposal.updated_at = now
        review.supersede(session, proposal, now=now)
        jobs.enqueue(
            session,
            key=f"impact:{rollout_id}",
            kind="evaluation.measure_impact",
            args={"rollout_id": rollout_id},
            run_at=now + cadence.impact_window,
            parent=parent,
        )
    _note(session, rollout, "promote", by=by, reason=reason, from_percent=before, now=now, evidence=evidence)
    return rollout.percent


def pause(
    session: Session, rollout_id: int, *, by: str, reason: str, now: datetime, evidence: dict[str, Any] | None = None
) -> None:
    """Stop a rollout where it is: units keep their variants, the guard keeps watching.

    Raises:
        NotFoundError: there is no such rollout.
        ForbiddenTransitionError: it is not on its way, or paused already.
    """
    rollout = rollouts.lock(session, rollout_id)
    before = rollout.state
    rollout.state = ROLLOUT.check(before, RolloutState.PAUSED)
    rollout.paused_from = before.value
    rollout.reason = reason
    _note(session, rollout, "pause", by=by, reason=reason, from_percent=rollout.percent, now=now, evidence=evidence)


def resume(session: Session, rollout_id: int, *, by: str, reason: str, now: datetime) -> None:
    """Let a paused rollout go on. Whoever resumes has looked at the split: the check of the ratio starts afresh.

    Raises:
        NotFoundError: there is no such rollout.
        ForbiddenTransitionError: it is not paused.
    """
    rollout = rollouts.lock(session, rollout_id)
    target = RolloutState(rollout.paused_from or RolloutState.RUNNING.value)
    rollout.state = ROLLOUT.check(rollout.state, target)
    rollout.paused_from = None
    rollout.reason = reason
    if rollout.guard.get("sequential", {}).get("version") == VERSION:
        guard = RolloutGuard.from_state(rollout.guard["sequential"])
        guard.forget_split()
        rollout.guard = {**rollout.guard, "sequential": guard.state()}
    _note(session, rollout, "resume", by=by, reason=reason, from_percent=rollout.percent, now=now, evidence=None)


def roll_back(
    session: Session,
    rollout_id: int,
    *,
    by: str,
    reason: str,
    now: datetime,
    evidence: dict[str, Any] | None = None,
    parent: Claim | None = None,
) -> None:
    """Give everybody the baseline again, say so, and let the next proposal for the same cause be tried.

    A completed rollout can be taken back too: the app's configuration gets its former value again.

    Raises:
        NotFoundError: there is no such rollout.
        ForbiddenTransitionError: it was rolled back already.
    """
    rollout = rollouts.lock(session, rollout_id)
    if rollout.state is RolloutState.COMPLETED:
        _restore(session, rollout)
    before, rollout.percent = rollout.percent, 0
    rollout.state = ROLLOUT.check(rollout.state, RolloutState.ROLLED_BACK)
    rollout.reason = reason
    rollout.stage_started_at = now
    rollout.finished_at = now
    proposal = rollouts.lock_proposal(session, rollout.proposal_id)
    proposal.status = PROPOSAL.check(proposal.status, ProposalStatus.ROLLED_BACK)
    proposal.updated_at = now
    _note(session, rollout, "rollback", by=by, reason=reason, from_percent=before, now=now, evidence=evidence)
    jobs.announce(session, "rolled_back", rollout.proposal_id, parent)
    review.try_next(session, proposal, parent=parent)


def complete(session: Session, rollout_id: int, *, now: datetime, parent: Claim | None = None) -> bool:
    """End the hold-back: the change becomes part of the app's configuration. False where it is not in its hold-back."""
    rollout = rollouts.lock(session, rollout_id)
    if rollout.state is not RolloutState.HOLDBACK:
        return False
    by = f"rollout:{rollout_id}"
    rollout.state = ROLLOUT.check(rollout.state, RolloutState.COMPLETED)
    rollout.finished_at = now
    app = rollouts.lock_app(session, rollout.app_id)
    change = Change.model_validate(rollout.change)
    apps.configure(session, app.name, {change.key: change.to}, by=by)
    _note(
        session,
        rollout,
        "complete",
        by=by,
        reason=rollout.reason or "",
        from_percent=rollout.percent,
        now=now,
        evidence=None,
    )
    jobs.announce(session, "implemented", rollout.proposal_id, parent)
    return True


def _restore(session: Session, rollout: Rollout) -> None:
    app = rollouts.lock_app(session, rollout.app_id)
    change = Change.model_validate(rollout.change)
    if app.config.get(change.key) == change.to:  # where somebody has set something else since, theirs stands
        apps.configure(session, app.name, {change.key: change.from_}, by=f"rollout:{rollout.id}")


def _note(
    session: Session,
    rollout: Rollout,
    kind: str,
    *,
    by: str,
    reason: str,
    from_percent: int,
    now: datetime,
    evidence: dict[str, Any] | None,
) -> None:
    rollouts.record(
        session,
        rollout,
        kind=kind,
        from_percent=from_percent,
        actor=by,
        at=now,
        evidence={"reason": reason, **(evidence or {})},
    )
    audit.record(
        session,
        actor=by,
        action=f"rollout.{kind}",
        subject=f"rollout:{rollout.id}",
        reason=reason,
        from_percent=from_percent,
        to_percent=rollout.percent,
    )
