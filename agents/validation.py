"""Validation: what is compared with what, what came of it, and what that means for the proposal."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from agents import approval, review
from agents.change import Change, RefusedChangeError, apply, check_allowed
from agents.validation_plan import ALPHA, SMOKE_ALPHA, Plan, pace, plan
from agents.validation_run import chunks_of, planned
from agents.validation_verdict import (
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
from core.errors import MetamonError, NotFoundError
from core.states import PROPOSAL, VALIDATION, ProposalStatus, ValidationState, Verdict
from db.models.apps import App
from db.models.proposals import ImprovementProposal
from db.models.validation import GoldenCase, GoldenSet, ValidationResult
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


class NotResumableError(MetamonError):
    """The run has a verdict, or is still under way."""


@dataclass(frozen=True)
class Wish:
    """How a run is wanted.

    Attributes:
        by: who asks.
        seed: decides orders; the same seed runs the same way.
        repeats: runs of each case in each arm.
        smoke: cases of the sample that runs first; 0 for none.
        set_name: golden set; the newest version of it is used.
        budget_usd, budget_tokens: where to stop without a verdict.
        only_failed: a run whose wrong cases alone are run again.
    """

    by: str
    seed: int
    repeats: int = 1
    smoke: int = 0
    set_name: str | None = None
    budget_usd: float | None = None
    budget_tokens: int | None = None
    only_failed: int | None = None


# -- before --------------------------------------------------------------------------------------------------------


def prepare_ad_hoc(
    session: Session,
    app_name: str,
    changes: Mapping[str, Any],
    wish: Wish,
    *,
    now: datetime,
    baseline_of: int | None = None,
) -> tuple[ValidationResult, Plan]:
    """Make a run of the app's configuration against the same with some keys set otherwise.

    Args:
        baseline_of: a run whose candidate is compared with, instead of the configuration that is in force.

    Raises:
        NotFoundError: no such app, or no such run.
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
    baseline = dict(app.config)
    if baseline_of is not None:
        earlier = validations.get(session, baseline_of)
        if earlier.app_id != app.id:
            raise NothingToValidateError(f"run {baseline_of} is another app's: name one of {app_name}")
        baseline = dict(earlier.candidate)
    candidate = {**app.config, **changes}
    if candidate == baseline:
        raise NothingToValidateError(f"both arms would run {app_name} the same way: there is nothing to compare")
    return _prepare(session, app, candidate, wish, now=now, baseline=baseline)


def prepare_proposal(session: Session, proposal_id: int, wish: Wish, *, now: datetime) -> tuple[ValidationResult, Plan]:
    """Make a run of a proposal's change and mark the proposal as validating.

    Raises:
        NotFoundError: no such proposal.
        ValidationRunningError: a run of it is not over yet.
        ForbiddenTransitionError: the proposal is past validation.
        RefusedChangeError: the app does not allow the change.
        NothingToValidateError: no golden set, a change of code, or only a part of the cases is wanted.
        InvalidTargetError: the app cannot be run.
    """
    if wish.only_failed is not None:
        raise NothingToValidateError(
            "a proposal is validated on the whole golden set; try some cases with --app NAME --set KEY=VALUE"
        )
    proposal = validations.lock_proposal(session, proposal_id)
    status = _may_validate(session, proposal)
    app = session.get_one(App, proposal.app_id)
    change = Change.model_validate(proposal.change)
    if not change.applies_itself:
        raise NothingToValidateError(f"proposal {proposal_id} recommends a change of code: people try that out")
    check_allowed(change, app.allowed)
    made = _prepare(session, app, apply(app.config, change), wish, now=now, proposal_id=proposal_id)
    proposal.status = status
    proposal.updated_at = now
    return made


def prepare_resume(session: Session, source_id: int, wish: Wish, *, now: datetime) -> tuple[ValidationResult, Plan]:
    """Make a run that takes over what another one finished before its budget, a person or an outage ended it.

    It has the same cases, arms, repeats and order. What could not be run or judged is run again.

    Raises:
        NotFoundError: no such run.
        NotResumableError: it has a verdict, or is under way.
    """
    source = validations.lock(session, source_id)
    unfinished = source.state in (ValidationState.STOPPED, ValidationState.CANCELLED)
    if not unfinished and source.verdict is not Verdict.ERROR:
        told = f"it says {source.verdict.value}" if source.verdict else "it is under way"
        raise NotResumableError(f"run {source_id} cannot be resumed: {told}")
    proposal = None
    if source.proposal_id is not None:
        proposal = validations.lock_proposal(session, source.proposal_id)
        status = _may_validate(session, proposal)
    app = session.get_one(App, source.app_id)
    made = ValidationResult(
        app_id=source.app_id,
        proposal_id=source.proposal_id,
        set_id=source.set_id,
        set_hash=source.set_hash,
        target=source.target,
        baseline=source.baseline,
        candidate=source.candidate,
        repeats=source.repeats,
        smoke=source.smoke,
        subset=source.subset,
        total=source.total,
        chunks=0,
        remaining=0,
        seed=source.seed,
        judges=list(source.judges),
        requested_by=wish.by,
        resumed_from=source.id,
        budget_usd=wish.budget_usd,
        budget_tokens=wish.budget_tokens,
    )
    session.add(made)
    session.flush()
    made.chunks = made.remaining = len(chunks_of(made, golden.outline(session, made.set_id)))
    taken_over = validations.take_over(session, source.id, made.id)
    if proposal is not None:
        proposal.status = status
        proposal.updated_at = now
    return made, _plan(session, app, made, now=now, taken_over=taken_over)


def _may_validate(session: Session, proposal: ImprovementProposal) -> ProposalStatus:
    running = validations.running_of(session, proposal.id)
    if running is not None:
        raise ValidationRunningError(
            f"proposal {proposal.id} is being validated by run {running}: metamon validate watch {running}"
        )
    return PROPOSAL.check(proposal.status, ProposalStatus.VALIDATING)


def _prepare(
    session: Session,
    app: App,
    candidate: dict[str, Any],
    wish: Wish,
    *,
    now: datetime,
    baseline: dict[str, Any] | None = None,
    proposal_id: int | None = None,
) -> tuple[ValidationResult, Plan]:
    parse_target(app.target)
    subset = None
    if wish.only_failed is not None:
        earlier = validations.get(session, wish.only_failed)
        chosen = session.get(GoldenSet, earlier.set_id) if earlier.app_id == app.id else None
        subset = validations.failed_cases(session, wish.only_failed)
        if chosen is None or not subset:
            raise NothingToValidateError(f"run {wish.only_failed} has no case of {app.name} that went wrong")
    else:
        chosen = golden.newest(session, app.id, wish.set_name)
    if chosen is None:
        named = f" named {wish.set_name!r}" if wish.set_name else ""
        raise NothingToValidateError(
            f"{app.name} has no golden set{named}: metamon golden import FILE --app {app.name}"
        )
    outline = golden.outline(session, chosen.id)
    validation = ValidationResult(
        app_id=app.id,
        proposal_id=proposal_id,
        set_id=chosen.id,
        set_hash=chosen.hash,
        target=app.target,
        baseline=baseline if baseline is not None else dict(app.config),
        candidate=candidate,
        repeats=wish.repeats,
        smoke=wish.smoke,
        subset=subset,
        total=2 * wish.repeats * len(outline if subset is None else subset),
        chunks=0,
        remaining=0,
        seed=wish.seed,
        requested_by=wish.by,
        budget_usd=wish.budget_usd,
        budget_tokens=wish.budget_tokens,
    )
    validation.chunks = validation.remaining = len(chunks_of(validation, outline))
    session.add(validation)
    session.flush()
    return validation, _plan(session, app, validation, now=now)


def _plan(session: Session, app: App, validation: ValidationResult, *, now: datetime, taken_over: int = 0) -> Plan:
    latency, cost = validations.recent_pace(session, app.id, since=now - LATENCY_MEMORY)
    made = plan(
        planned(_cases(session, validation)),
        repeats=validation.repeats,
        latency_ms=latency or app.sla_ms,
        chunks=validation.remaining,
        concurrency=parse_target(validation.target).concurrency,
        cost_usd=cost,
        taken_over=taken_over,
    )
    if validation.subset is not None:
        made.warnings.append("only cases that went wrong before: this can find a regression, it cannot pass")
    return made.model_copy(update={"budget_usd": validation.budget_usd, "budget_tokens": validation.budget_tokens})


def _cases(session: Session, validation: ValidationResult) -> list[GoldenCase]:
    rows = golden.cases_of(session, validation.set_id)
    if validation.subset is None:
        return rows
    wanted = set(validation.subset)
    return [row for row in rows if row.id in wanted]


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
        validation, _ = prepare_proposal(session, proposal_id, Wish("policy:validation", seed), now=now)
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
    spec = parse_target(validation.target)
    _send(session, validation, 1 if validation.smoke else pace(spec.concurrency).window, parent=parent)
    longest = timedelta(seconds=validation.total * spec.timeout_s)
    jobs.enqueue(
        session,
        key=f"deadline:{validation_id}",
        kind="validation.finish",
        args={"validation_id": validation_id},
        run_at=now + longest + PATIENCE,
        parent=parent,
    )


def _send(session: Session, validation: ValidationResult, count: int, *, parent: Claim | None) -> None:
    """Send so many more chunks on their way: no more are under way at once than the app allows."""
    for chunk in range(validation.launched, min(validation.launched + count, validation.chunks)):
        jobs.enqueue(
            session,
            key=f"chunk:{validation.id}:{chunk}",
            kind="validation.run_chunk",
            args={"validation_id": validation.id, "chunk": chunk},
            parent=parent,
        )
        validation.launched = chunk + 1


def chunk_finished(
    session: Session, validation_id: int, chunk: int, *, case_ids: Sequence[int], parent: Claim | None = None
) -> None:
    """Count a chunk down, in its finishing transaction; send the next one. The last one enqueues the verdict.

    Args:
        case_ids: the chunk's cases; none where it was not run.

    So does a smoke sample that shows a disaster, while a harmless one lets the rest run; and a chunk that could not ask
    the target a single time in all its attempts: the rest would wait as long for nothing, and can be resumed.
    """
    validation = validations.lock(session, validation_id)
    if validation.state is not ValidationState.RUNNING:
        return
    validation.remaining -= 1
    window = pace(parse_target(validation.target).concurrency).window
    over = validation.remaining == 0 or validations.none_asked(session, validation_id, case_ids)
    if validation.smoke and chunk == 0 and not over:
        over = _is_disaster(session, validation)
        if not over:
            _send(session, validation, window, parent=parent)
    elif not over:
        _send(session, validation, 1, parent=parent)
    if over:
        jobs.enqueue(
            session,
            key=f"finish:{validation_id}",
            kind="validation.finish",
            args={"validation_id": validation_id},
            parent=parent,
        )


# -- after ---------------------------------------------------------------------------------------------------------


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
    rows = _cases(session, validation)
    stopped_early = bool(validation.smoke and validation.remaining and _is_disaster(session, validation))
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
    _announce(session, "approval_needed", proposal.id, parent)


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
    reason = f"{change.key} is {change.to!r} already"
    review.make_pointless(session, proposal, by="policy:validation", reason=reason, now=now)


def _announce(session: Session, event: str, subject_id: int, parent: Claim | None) -> None:
    jobs.enqueue(
        session,
        key=f"announce:{event}:{subject_id}",
        kind="notifications.announce",
        args={"event": event, "subject_id": subject_id},
        parent=parent,
    )


def _is_disaster(session: Session, validation: ValidationResult) -> bool:
    sample = set(chunks_of(validation, golden.outline(session, validation.set_id))[0])
    rows = golden.some_of(session, sorted(sample))
    executions = [row for row in validations.executions(session, validation.id) if row.case_id in sample]
    results = compare(rows, executions, repeats=validation.repeats)
    gating = {name: result for name, result in results.items() if name not in REPORTED}
    return judge(gating, alpha=SMOKE_ALPHA).outcome is Outcome.FAIL
