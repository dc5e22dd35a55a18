"""Validation: what is compared with what, what came of it, and what that means for the proposal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from agents import review
from agents.change import Change, RefusedChangeError, apply, check_allowed
from agents.validation_plan import ALPHA, SMOKE_ALPHA, Plan, chunk_size, layout, plan
from agents.validation_run import chunks_of, planned
from agents.validation_verdict import REPORTED, as_json, compare, decide, number, regressions
from analysis.verdict import Outcome, judge
from core.errors import MetamonError, NotFoundError
from core.states import PROPOSAL, VALIDATION, ProposalStatus, ValidationState, Verdict
from db.models.apps import App
from db.models.proposals import ImprovementProposal
from db.models.validation import ValidationResult
from db.repositories import audit, golden, jobs, validations
from db.repositories.jobs import Claim
from targets.spec import parse_target

log = structlog.get_logger(__name__)

PATIENCE = timedelta(minutes=10)
"""How long over its estimate a run may take before it is judged by what there is."""
LATENCY_MEMORY = timedelta(days=7)


class NothingToValidateError(MetamonError):
    """There is no golden set, no target, or nothing that would change."""


class ValidationRunningError(MetamonError):
    """The proposal is being validated already."""


# -- before --------------------------------------------------------------------------------------------------------


def prepare_ad_hoc(
    session: Session,
    app_name: str,
    changes: Mapping[str, Any],
    *,
    by: str,
    seed: int,
    now: datetime,
    repeats: int = 1,
    smoke: int = 0,
    set_name: str | None = None,
) -> tuple[ValidationResult, Plan]:
    """Make a run of the app's configuration against the same with some keys set otherwise.

    Raises:
        NotFoundError: no such app.
        NothingToValidateError: no golden set, no such key, or nothing differs.
        InvalidTargetError: the app cannot be run.
    """
    app = session.scalars(select(App).where(App.name == app_name)).one_or_none()
    if app is None:
        names = ", ".join(session.scalars(select(App.name).order_by(App.name))) or "none yet"
        raise NotFoundError(f"there is no app {app_name!r}; there is: {names}")
    known = sorted({*app.config, *app.allowed})
    for key in changes:
        if key not in known:
            raise NothingToValidateError(f"{key!r} is no configuration key of {app_name}; its keys: {', '.join(known)}")
    candidate = {**app.config, **changes}
    if candidate == app.config:
        raise NothingToValidateError(f"{app_name} runs with exactly this already: there is nothing to compare")
    return _prepare(session, app, candidate, by=by, seed=seed, now=now, repeats=repeats, smoke=smoke, set_name=set_name)


def prepare_proposal(
    session: Session,
    proposal_id: int,
    *,
    by: str,
    seed: int,
    now: datetime,
    repeats: int = 1,
    smoke: int = 0,
    set_name: str | None = None,
) -> tuple[ValidationResult, Plan]:
    """Make a run of a proposal's change and mark the proposal as validating.

    Raises:
        NotFoundError: no such proposal.
        ValidationRunningError: a run of it is not over yet.
        ForbiddenTransitionError: the proposal is past validation.
        RefusedChangeError: the app does not allow the change.
        NothingToValidateError: no golden set, or a change of code.
        InvalidTargetError: the app cannot be run.
    """
    proposal = validations.lock_proposal(session, proposal_id)
    running = validations.running_of(session, proposal_id)
    if running is not None:
        raise ValidationRunningError(
            f"proposal {proposal_id} is being validated by run {running}: metamon validate watch {running}"
        )
    status = PROPOSAL.check(proposal.status, ProposalStatus.VALIDATING)
    app = session.get_one(App, proposal.app_id)
    change = Change.model_validate(proposal.change)
    if not change.applies_itself:
        raise NothingToValidateError(f"proposal {proposal_id} recommends a change of code: people try that out")
    check_allowed(change, app.allowed)
    made = _prepare(
        session,
        app,
        apply(app.config, change),
        by=by,
        seed=seed,
        now=now,
        repeats=repeats,
        smoke=smoke,
        set_name=set_name,
        proposal_id=proposal_id,
    )
    proposal.status = status
    proposal.updated_at = now
    return made


def _prepare(
    session: Session,
    app: App,
    candidate: dict[str, Any],
    *,
    by: str,
    seed: int,
    now: datetime,
    repeats: int,
    smoke: int,
    set_name: str | None,
    proposal_id: int | None = None,
) -> tuple[ValidationResult, Plan]:
    spec = parse_target(app.target)
    chosen = golden.newest(session, app.id, set_name)
    if chosen is None:
        named = f" named {set_name!r}" if set_name else ""
        raise NothingToValidateError(
            f"{app.name} has no golden set{named}: metamon golden import FILE --app {app.name}"
        )
    rows = planned(golden.cases_of(session, chosen.id))
    chunks = layout(rows, seed=seed, size=chunk_size(spec.timeout_s, repeats), smoke=smoke)
    validation = ValidationResult(
        app_id=app.id,
        proposal_id=proposal_id,
        set_id=chosen.id,
        set_hash=chosen.hash,
        target=app.target,
        baseline=dict(app.config),
        candidate=candidate,
        repeats=repeats,
        smoke=smoke,
        total=2 * repeats * len(rows),
        remaining=len(chunks),
        seed=seed,
        requested_by=by,
    )
    session.add(validation)
    session.flush()
    latency = validations.recent_latency(session, app.id, since=now - LATENCY_MEMORY) or app.sla_ms
    return validation, plan(rows, repeats=repeats, latency_ms=latency, chunks=len(chunks))


def enqueue_start(session: Session, validation_id: int) -> None:
    """Enqueue the start of a prepared run."""
    jobs.enqueue(
        session,
        key=f"validate:run:{validation_id}",
        kind="validation.start",
        args={"validation_id": validation_id},
    )


def start_proposal(
    session: Session, proposal_id: int, *, seed: int, now: datetime, parent: Claim | None = None
) -> int | None:
    """Start the validation of a proposal; where it cannot be validated, say so on it and try the next one.

    Returns:
        The run's id, or None where nothing runs.
    """
    proposal = validations.lock_proposal(session, proposal_id)
    if ProposalStatus.VALIDATING not in PROPOSAL.table[proposal.status]:
        log.info("validation.not_wanted", proposal_id=proposal_id, status=proposal.status)
        return None
    app = session.get_one(App, proposal.app_id)
    change = Change.model_validate(proposal.change)
    if change.applies_itself and app.config.get(change.key, math.nan) == change.to:
        _supersede_done(session, proposal, change, now)
        return None
    try:
        validation, _ = prepare_proposal(session, proposal_id, by="policy:validation", seed=seed, now=now)
    except RefusedChangeError as error:
        review.reject(session, proposal_id, by="policy:allowed-keys", reason=str(error), now=now, parent=parent)
        review.try_next(session, proposal, parent=parent)
        return None
    except MetamonError as error:
        proposal.status = PROPOSAL.check(proposal.status, ProposalStatus.VALIDATING)
        _leave_open(session, proposal, f"not validated: {error}", now=now, parent=parent)
        return None
    launch(session, validation.id, now=now, parent=parent)
    return validation.id


def launch(session: Session, validation_id: int, *, now: datetime, parent: Claim | None = None) -> None:
    """Set a prepared run going: a job per chunk, and one that judges in any case if chunks get lost for good."""
    validation = validations.lock(session, validation_id)
    if validation.state is not ValidationState.QUEUED:
        return
    validation.state = VALIDATION.check(validation.state, ValidationState.RUNNING)
    validation.started_at = now
    chunks = 1 if validation.smoke else validation.remaining
    enqueue_chunks(session, validation_id, range(chunks), parent=parent)
    spec = parse_target(validation.target)
    longest = timedelta(seconds=validation.total * spec.timeout_s)
    jobs.enqueue(
        session,
        key=f"deadline:{validation_id}",
        kind="validation.finish",
        args={"validation_id": validation_id},
        run_at=now + longest + PATIENCE,
        parent=parent,
    )


def enqueue_chunks(session: Session, validation_id: int, chunks: range, *, parent: Claim | None) -> None:
    """Enqueue chunks by number."""
    for chunk in chunks:
        jobs.enqueue(
            session,
            key=f"chunk:{validation_id}:{chunk}",
            kind="validation.run_chunk",
            args={"validation_id": validation_id, "chunk": chunk},
            parent=parent,
        )


def chunk_finished(session: Session, validation_id: int, chunk: int, *, parent: Claim | None = None) -> None:
    """Count a chunk down, in its finishing transaction; the last one enqueues the verdict.

    So does a smoke sample that shows a disaster, while a harmless one lets the rest run.
    """
    validation = validations.lock(session, validation_id)
    if validation.state is not ValidationState.RUNNING:
        return
    left = validations.chunk_done(session, validation_id)
    if left and validation.smoke and chunk == 0:
        if not _is_disaster(session, validation):
            enqueue_chunks(session, validation_id, range(1, left + 1), parent=parent)
            return
        left = 0
    if left == 0:
        jobs.enqueue(
            session,
            key=f"finish:{validation_id}",
            kind="validation.finish",
            args={"validation_id": validation_id},
            parent=parent,
        )


# -- after ---------------------------------------------------------------------------------------------------------


def finish(
    session: Session, validation_id: int, *, now: datetime, auto_approve: bool, parent: Claim | None = None
) -> Verdict | None:
    """Judge a run and move its proposal. None where it is over already."""
    validation = validations.lock(session, validation_id)
    if validation.state is not ValidationState.RUNNING:
        return None
    rows = golden.cases_of(session, validation.set_id)
    stopped_early = bool(validation.smoke and validation.remaining and _is_disaster(session, validation))
    if stopped_early:
        sample = set(chunks_of(validation, rows)[0])
        rows = [row for row in rows if row.id in sample]
    executions = validations.executions(session, validation_id)
    results = compare(rows, executions, repeats=validation.repeats)
    verdict, reasons = decide(
        results,
        executions,
        expected=2 * validation.repeats * len(rows),
        alpha=SMOKE_ALPHA if stopped_early else ALPHA - SMOKE_ALPHA if validation.smoke else ALPHA,
    )
    if stopped_early:
        reasons.append(f"stopped after the first {len(rows)} cases of {validation.total // 2 // validation.repeats}")
    regressed, count = regressions(rows, executions)
    validation.state = VALIDATION.check(validation.state, ValidationState.FINISHED)
    validation.verdict = verdict
    validation.reasons = reasons
    validation.comparison = {name: as_json(result) for name, result in results.items()}
    validation.baseline_metrics = {name: number(result.baseline) for name, result in results.items()}
    validation.candidate_metrics = {name: number(result.candidate) for name, result in results.items()}
    validation.regressed = regressed
    validation.regressions = count
    validation.finished_at = now
    if validation.proposal_id is not None:
        proposal = validations.lock_proposal(session, validation.proposal_id)
        _conclude(session, proposal, validation, now=now, auto_approve=auto_approve, parent=parent)
    return verdict


def cancel(session: Session, validation_id: int, *, by: str, now: datetime) -> None:
    """Stop a run. Chunks that are at it stop after their case; its proposal is left inconclusive.

    Raises:
        NotFoundError: there is no such run.
        ForbiddenTransitionError: it is over.
    """
    validation = validations.lock(session, validation_id)
    validation.state = VALIDATION.check(validation.state, ValidationState.CANCELLED)
    validation.finished_at = now
    audit.record(session, actor=by, action="validation.cancel", subject=f"validation:{validation_id}")
    if validation.proposal_id is not None:
        proposal = validations.lock_proposal(session, validation.proposal_id)
        if proposal.status is ProposalStatus.VALIDATING:
            proposal.status = PROPOSAL.check(proposal.status, ProposalStatus.INCONCLUSIVE)
            proposal.review_reason = f"validation {validation_id} was cancelled by {by}"
            proposal.updated_at = now


def _conclude(
    session: Session,
    proposal: ImprovementProposal,
    validation: ValidationResult,
    *,
    now: datetime,
    auto_approve: bool,
    parent: Claim | None,
) -> None:
    if proposal.status is not ProposalStatus.VALIDATING:
        return  # somebody rejected it meanwhile
    reason = f"validation {validation.id}: {'; '.join(validation.reasons)}"[:2000]
    if validation.verdict is Verdict.PASS:
        if proposal.impact == "low":
            review.approve(session, proposal.id, by="policy:low-impact", reason=reason, now=now, parent=parent)
        elif auto_approve:
            review.approve(session, proposal.id, by="policy:auto-approve", reason=reason, now=now, parent=parent)
        else:
            proposal.status = PROPOSAL.check(proposal.status, ProposalStatus.AWAITING_APPROVAL)
            proposal.updated_at = now
            _announce(session, "approval_needed", proposal.id, parent)
        return
    if validation.verdict is Verdict.FAIL:
        proposal.status = PROPOSAL.check(proposal.status, ProposalStatus.BLOCKED)
        proposal.review_reason = reason
        proposal.updated_at = now
        audit.record(
            session,
            actor="policy:validation",
            action="proposal.block",
            subject=f"proposal:{proposal.id}",
            reason=reason,
        )
        _announce(session, "proposal_blocked", proposal.id, parent)
        review.try_next(session, proposal, parent=parent)
        return
    _leave_open(session, proposal, reason, now=now, parent=parent)


def _leave_open(
    session: Session, proposal: ImprovementProposal, reason: str, *, now: datetime, parent: Claim | None
) -> None:
    proposal.status = PROPOSAL.check(proposal.status, ProposalStatus.INCONCLUSIVE)
    proposal.review_reason = reason
    proposal.updated_at = now
    audit.record(
        session,
        actor="policy:validation",
        action="proposal.inconclusive",
        subject=f"proposal:{proposal.id}",
        reason=reason,
    )
    review.try_next(session, proposal, parent=parent)


def _supersede_done(session: Session, proposal: ImprovementProposal, change: Change, now: datetime) -> None:
    if ProposalStatus.SUPERSEDED not in PROPOSAL.table[proposal.status]:
        return
    proposal.status = PROPOSAL.check(proposal.status, ProposalStatus.SUPERSEDED)
    proposal.updated_at = now
    audit.record(
        session,
        actor="policy:validation",
        action="proposal.supersede",
        subject=f"proposal:{proposal.id}",
        reason=f"{change.key} is {change.to!r} already",
    )


def _announce(session: Session, event: str, subject_id: int, parent: Claim | None) -> None:
    jobs.enqueue(
        session,
        key=f"announce:{event}:{subject_id}",
        kind="notifications.announce",
        args={"event": event, "subject_id": subject_id},
        parent=parent,
    )


def _is_disaster(session: Session, validation: ValidationResult) -> bool:
    rows = golden.cases_of(session, validation.set_id)
    sample = set(chunks_of(validation, rows)[0])
    rows = [row for row in rows if row.id in sample]
    executions = [row for row in validations.executions(session, validation.id) if row.case_id in sample]
    results = compare(rows, executions, repeats=validation.repeats)
    gating = {name: result for name, result in results.items() if name not in REPORTED}
    return judge(gating, alpha=SMOKE_ALPHA).outcome is Outcome.FAIL
