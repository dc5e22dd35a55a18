"""Validation runs as rows: executions written once, and the counter that brings a run to its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, func, literal, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.errors import NotFoundError
from core.states import CaseOutcome, ProposalStatus, ValidationState
from db.models.proposals import ImprovementProposal
from db.models.validation import ValidationCase, ValidationResult


def get(session: Session, validation_id: int) -> ValidationResult:
    """Return a run.

    Raises:
        NotFoundError: there is no such run.
    """
    return _there(session.get(ValidationResult, validation_id), validation_id)


def lock(session: Session, validation_id: int) -> ValidationResult:
    """Return a run, locked for this transaction.

    Raises:
        NotFoundError: there is no such run.
    """
    return _there(
        session.get(ValidationResult, validation_id, with_for_update=True, populate_existing=True), validation_id
    )


def lock_proposal(session: Session, proposal_id: int) -> ImprovementProposal:
    """Return a proposal, locked for this transaction.

    Raises:
        NotFoundError: there is no such proposal.
    """
    proposal = session.get(ImprovementProposal, proposal_id, with_for_update=True, populate_existing=True)
    if proposal is None:
        raise NotFoundError(f"there is no proposal {proposal_id}; `metamon proposals list` shows what there is")
    return proposal


@dataclass(frozen=True)
class Ledger:
    """A run's account after a payment."""

    running: bool
    over_budget: bool


def add_executions(
    session: Session, validation_id: int, rows: Sequence[Mapping[str, Any]], *, judge: str | None = None
) -> Ledger:
    """Write executions of a running run and book what they cost; one that is there already stays as it is.

    Args:
        judge: version of the model that judged them, where one did.

    The row of the run is locked by the booking, so that nothing is written for one that is over.
    """
    run = lock(session, validation_id)
    if run.state is not ValidationState.RUNNING:
        return Ledger(running=False, over_budget=False)
    added = session.execute(
        insert(ValidationCase)
        .values([{"validation_id": validation_id, **row} for row in rows])
        .on_conflict_do_nothing(constraint="uq_validation_cases_execution")
        .returning(ValidationCase.cost, ValidationCase.tokens)
    ).all()
    if judge is not None and judge not in run.judges:
        run.judges = [*run.judges, judge]
    run.spent_usd += sum(cost or 0.0 for cost, _ in added)
    run.spent_tokens += sum(tokens or 0 for _, tokens in added)
    return Ledger(
        running=True,
        over_budget=(run.budget_usd is not None and run.spent_usd >= run.budget_usd)
        or (run.budget_tokens is not None and run.spent_tokens >= run.budget_tokens),
    )


def take_over(session: Session, source_id: int, validation_id: int) -> int:
    """Copy what another run finished; outages and judges that failed are not copied, they are run again.

    Returns:
        How many executions were copied.
    """
    names = (
        "case_id",
        "arm",
        "repeat",
        "outcome",
        "output",
        "scores",
        "latency_ms",
        "cost",
        "tokens",
        "error",
        "run_id",
    )
    columns = [getattr(ValidationCase, name) for name in names]
    finished = select(literal(validation_id), *columns).where(
        ValidationCase.validation_id == source_id,
        ValidationCase.outcome.in_((CaseOutcome.OK, CaseOutcome.FAILED)),
    )
    copied = session.scalars(
        insert(ValidationCase).from_select(["validation_id", *names], finished).returning(ValidationCase.id)
    )
    return len(copied.all())


def failed_cases(session: Session, validation_id: int) -> list[int]:
    """Return the ids of the cases that the candidate of a run got wrong in any way, or worse than its baseline."""
    rows = session.execute(
        select(ValidationCase.case_id, ValidationCase.scores, ValidationCase.outcome)
        .where(ValidationCase.validation_id == validation_id, ValidationCase.arm == "candidate")
        .order_by(ValidationCase.case_id)
    )
    return list(
        dict.fromkeys(
            case_id
            for case_id, scores, outcome in rows
            if outcome is not CaseOutcome.OK or any(score < 1 for score in scores.values())
        )
    )


def executed(session: Session, validation_id: int, case_ids: Sequence[int]) -> set[tuple[int, str, int]]:
    """Return what is written of these cases: (case, arm, repeat)."""
    rows = session.execute(
        select(ValidationCase.case_id, ValidationCase.arm, ValidationCase.repeat).where(
            ValidationCase.validation_id == validation_id, ValidationCase.case_id.in_(case_ids)
        )
    )
    return {(case_id, arm, repeat) for case_id, arm, repeat in rows}


def none_asked(session: Session, validation_id: int, case_ids: Sequence[int]) -> bool:
    """Tell whether these cases are on record and not one of them could be asked."""
    outcomes = set(
        session.scalars(
            select(ValidationCase.outcome)
            .where(ValidationCase.validation_id == validation_id, ValidationCase.case_id.in_(case_ids))
            .distinct()
        )
    )
    return outcomes == {CaseOutcome.NOT_RUN}


class Execution(NamedTuple):
    """What a verdict needs of an execution. The texts stay in the database: a large run would fill the memory."""

    case_id: int
    arm: str
    repeat: int
    outcome: CaseOutcome
    scores: dict[str, float]
    latency_ms: float | None


def executions(session: Session, validation_id: int) -> list[Execution]:
    """Return all that is written of a run, in the order of cases."""
    rows = session.execute(
        select(
            ValidationCase.case_id,
            ValidationCase.arm,
            ValidationCase.repeat,
            ValidationCase.outcome,
            ValidationCase.scores,
            ValidationCase.latency_ms,
        )
        .where(ValidationCase.validation_id == validation_id)
        .order_by(ValidationCase.case_id, ValidationCase.repeat, ValidationCase.arm)
    )
    return [Execution._make(row) for row in rows]


def answers(session: Session, validation_id: int, case_ids: Sequence[int]) -> list[ValidationCase]:
    """Return the executions of certain cases, with all that was said."""
    return list(
        session.scalars(
            select(ValidationCase)
            .where(ValidationCase.validation_id == validation_id, ValidationCase.case_id.in_(case_ids))
            .order_by(ValidationCase.case_id, ValidationCase.repeat, ValidationCase.arm)
        )
    )


def first_error(session: Session, validation_id: int) -> str | None:
    """Return what stood in the way of the first execution that was not run or not judged."""
    return session.scalar(
        select(ValidationCase.error)
        .where(
            ValidationCase.validation_id == validation_id,
            ValidationCase.outcome.in_((CaseOutcome.NOT_RUN, CaseOutcome.JUDGE_ERROR)),
            ValidationCase.error.is_not(None),
        )
        .order_by(ValidationCase.id)
        .limit(1)
    )


def of_proposal(session: Session, proposal_id: int) -> int:
    """Return how many runs a proposal has had."""
    return session.scalars(
        select(func.count()).select_from(ValidationResult).where(ValidationResult.proposal_id == proposal_id)
    ).one()


def running_of(session: Session, proposal_id: int) -> int | None:
    """Return the proposal's run that is not over, or None."""
    return session.scalar(
        select(ValidationResult.id)
        .where(
            ValidationResult.proposal_id == proposal_id,
            ValidationResult.state.in_((ValidationState.QUEUED, ValidationState.RUNNING)),
        )
        .order_by(ValidationResult.id.desc())
        .limit(1)
    )


def recent_pace(session: Session, app_id: int, *, since: datetime) -> tuple[float | None, float | None]:
    """Return what one execution took in the app's latest runs: mean ms, mean USD; None where nothing is known."""
    latency, cost = session.execute(
        select(func.avg(ValidationCase.latency_ms), func.avg(ValidationCase.cost))
        .join(ValidationResult, ValidationResult.id == ValidationCase.validation_id)
        .where(ValidationResult.app_id == app_id, ValidationCase.created_at >= since)
    ).one()
    return (None if latency is None else float(latency), None if cost is None else float(cost))


def next_in_rank(session: Session, proposal: ImprovementProposal) -> ImprovementProposal | None:
    """Return the next proposal for the same cause that can be tried, locked; None where there is none."""
    if proposal.alert_id is None:
        return None
    return session.scalars(
        select(ImprovementProposal)
        .where(
            ImprovementProposal.alert_id == proposal.alert_id,
            ImprovementProposal.id != proposal.id,
            _same_cause(proposal),
            ImprovementProposal.status == ProposalStatus.PROPOSED,
            ImprovementProposal.change["type"].astext != "code",
        )
        .order_by(ImprovementProposal.rank, ImprovementProposal.id)
        .limit(1)
        .with_for_update()
    ).one_or_none()


def siblings(session: Session, proposal: ImprovementProposal) -> list[ImprovementProposal]:
    """Return the other proposals for the same cause, locked, by rank."""
    if proposal.alert_id is None:
        return []
    return list(
        session.scalars(
            select(ImprovementProposal)
            .where(
                ImprovementProposal.alert_id == proposal.alert_id,
                ImprovementProposal.id != proposal.id,
                _same_cause(proposal),
            )
            .order_by(ImprovementProposal.rank, ImprovementProposal.id)
            .with_for_update()
        )
    )


def _same_cause(proposal: ImprovementProposal) -> ColumnElement[bool]:
    """Compare causes by their id within the alert; proposals of before there were several have none, or the first."""
    cause = str(proposal.cause.get("id", ""))
    return func.coalesce(ImprovementProposal.cause["id"].astext, "") == cause


def _there(row: ValidationResult | None, validation_id: int) -> ValidationResult:
    if row is None:
        raise NotFoundError(f"there is no validation {validation_id}; `metamon validate list` shows what there is")
    return row
