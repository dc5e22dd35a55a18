"""What is compared with what: a run of a proposal, of a candidate of one's own, or of what an earlier run left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from agents.change import Change, apply, check_allowed
from agents.validation.plan import Plan, plan
from agents.validation.run import chunks_of, planned
from core.errors import MetamonError, NotFoundError
from core.states import PROPOSAL, ProposalStatus, ValidationState, Verdict
from db.models.apps import App
from db.models.proposals import ImprovementProposal
from db.models.validation import GoldenCase, GoldenSet, ValidationResult
from db.repositories import golden, validations
from targets.spec import parse_target

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
        planned(cases_of(session, validation)),
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


def cases_of(session: Session, validation: ValidationResult) -> list[GoldenCase]:
    """Return the cases of a run: those of its set, or the subset that it was asked for."""
    rows = golden.cases_of(session, validation.set_id)
    if validation.subset is None:
        return rows
    wanted = set(validation.subset)
    return [row for row in rows if row.id in wanted]
