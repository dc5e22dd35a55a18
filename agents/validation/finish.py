"""What came of a run, and what that means for its proposal."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import structlog
from sqlalchemy.orm import Session

from agents import approval, review
from agents.change import Change
from agents.validation.plan import ALPHA, SMOKE_ALPHA
from agents.validation.prepare import cases_of
from agents.validation.run import chunks_of
from agents.validation.verdict import (
    REGRESSED_CAP,
    REPORTED,
    as_json,
    compare,
    decide,
    number,
    regressed,
    where_worse,
    worse_cases,
)
from analysis.verdict import Outcome, judge
from core.states import PROPOSAL, VALIDATION, ProposalStatus, ValidationState, Verdict
from db.models.apps import App
from db.models.proposals import ImprovementProposal
from db.models.validation import ValidationResult
from db.repositories import audit, golden, jobs, validations
from db.repositories.jobs import Claim

log = structlog.get_logger(__name__)


def finish(
    session: Session,
    validation_id: int,
    *,
    now: datetime,
    auto_approve: bool,
    run_url: Callable[[str], str] = str,
    parent: Claim | None = None,
) -> Verdict | None:
    """Judge a run and move its proposal. None where it is over already.

    Args:
        run_url: where the run of an id can be looked at.
    """
    validation = validations.lock(session, validation_id)
    if validation.state is not ValidationState.RUNNING:
        return None
    rows = cases_of(session, validation)
    stopped_early = bool(validation.smoke and validation.remaining and is_disaster(session, validation))
    if stopped_early:
        sample = set(chunks_of(validation, golden.outline(session, validation.set_id))[0])
        rows = [row for row in rows if row.id in sample]
    executions = validations.executions(session, validation_id)
    results = compare(rows, executions, repeats=validation.repeats)
    verdict, reasons = decide(
        results,
        executions,
        expected=2 * validation.repeats * len(rows),
        alpha=SMOKE_ALPHA if stopped_early else ALPHA - SMOKE_ALPHA if validation.smoke else ALPHA,
        example=validations.first_error(session, validation_id),
    )
    if verdict is Verdict.FAIL:
        reasons += where_worse(rows, executions, results, repeats=validation.repeats)
    if stopped_early:
        reasons.append(f"stopped after the first {len(rows)} cases of {validation.total // 2 // validation.repeats}")
    if len(validation.judges) > 1:
        reasons.append(f"the model that judges changed on the way: {', then '.join(validation.judges)}")
    if validation.subset is not None and verdict is Verdict.PASS:
        # Cases chosen for having failed get better by chance alone.
        verdict = Verdict.INCONCLUSIVE
        reasons.insert(0, "only cases that went wrong before were run: a whole run decides")
    worse = worse_cases(executions)
    shown = worse[:REGRESSED_CAP]
    answers = validations.answers(session, validation_id, sorted({case_id for case_id, *_ in shown}))
    validation.state = VALIDATION.check(validation.state, ValidationState.FINISHED)
    validation.verdict = verdict
    validation.reasons = reasons
    validation.comparison = {name: as_json(result) for name, result in results.items()}
    validation.baseline_metrics = {name: number(result.baseline) for name, result in results.items()}
    validation.candidate_metrics = {name: number(result.candidate) for name, result in results.items()}
    validation.regressed = regressed(shown, {row.id: row.key for row in rows}, answers, run_url)
    validation.regressions = len({case_id for case_id, *_ in worse})
    validation.finished_at = now
    if validation.proposal_id is not None:
        proposal = validations.lock_proposal(session, validation.proposal_id)
        _conclude(session, proposal, validation, now=now, auto_approve=auto_approve, parent=parent)
    return verdict


def _conclude(
    session: Session,
    proposal: ImprovementProposal,
    validation: ValidationResult,
    *,
    now: datetime,
    auto_approve: bool,
    parent: Claim | None,
) -> None:
    if proposal.status is not ProposalStatus.VALIDATING or validation.verdict is None:
        return  # somebody rejected it meanwhile
    reason = f"validation {validation.id}: {'; '.join(validation.reasons)}"[:2000]
    decision = approval.decide(
        approval.parse(session.get_one(App, proposal.app_id).policy),
        change=Change.model_validate(proposal.change),
        impact=proposal.impact,
        verdict=validation.verdict,
        auto_approve=auto_approve,
    )
    if decision is not None:
        _decided(session, proposal, decision, reason=reason, now=now, parent=parent)
        return
    if validation.verdict is Verdict.FAIL:
        _not_passed(session, proposal, ProposalStatus.BLOCKED, "proposal.block", reason, now=now)
        jobs.announce(session, "proposal_blocked", proposal.id, parent)
        review.try_next(session, proposal, parent=parent)
        return
    leave_open(session, proposal, reason, now=now, parent=parent)


def _decided(
    session: Session,
    proposal: ImprovementProposal,
    decision: approval.Decision,
    *,
    reason: str,
    now: datetime,
    parent: Claim | None,
) -> None:
    by = f"policy:{decision.rule}"
    if decision.action is approval.Action.APPROVE:
        review.approve(session, proposal.id, by=by, reason=reason, now=now, parent=parent)
        return
    proposal.status = PROPOSAL.check(proposal.status, ProposalStatus.AWAITING_APPROVAL)
    proposal.updated_at = now
    audit.record(
        session,
        actor=by,
        action="proposal.ask",
        subject=f"proposal:{proposal.id}",
        reason=reason,
        change_hash=proposal.change_hash,
    )
    jobs.announce(session, "approval_needed", proposal.id, parent)


def leave_open(
    session: Session, proposal: ImprovementProposal, reason: str, *, now: datetime, parent: Claim | None
) -> None:
    """Leave a proposal undecided, with the reason, and try the next one."""
    _not_passed(session, proposal, ProposalStatus.INCONCLUSIVE, "proposal.inconclusive", reason, now=now)
    review.try_next(session, proposal, parent=parent)


def _not_passed(
    session: Session, proposal: ImprovementProposal, status: ProposalStatus, action: str, reason: str, *, now: datetime
) -> None:
    proposal.status = PROPOSAL.check(proposal.status, status)
    proposal.review_reason = reason
    proposal.updated_at = now
    audit.record(session, actor="policy:validation", action=action, subject=f"proposal:{proposal.id}", reason=reason)


def supersede_done(session: Session, proposal: ImprovementProposal, change: Change, now: datetime) -> None:
    """Take back a proposal whose change is in force already."""
    if ProposalStatus.SUPERSEDED not in PROPOSAL.table[proposal.status]:
        return
    reason = f"{change.key} is {change.to!r} already"
    review.make_pointless(session, proposal, by="policy:validation", reason=reason, now=now)


def is_disaster(session: Session, validation: ValidationResult) -> bool:
    """Tell whether the smoke sample alone shows that the candidate is worse."""
    sample = set(chunks_of(validation, golden.outline(session, validation.set_id))[0])
    rows = golden.some_of(session, sorted(sample))
    executions = [row for row in validations.executions(session, validation.id) if row.case_id in sample]
    results = compare(rows, executions, repeats=validation.repeats)
    gating = {name: result for name, result in results.items() if name not in REPORTED}
    return judge(gating, alpha=SMOKE_ALPHA).outcome is Outcome.FAIL
