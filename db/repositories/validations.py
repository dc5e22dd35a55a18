"""Validation runs as rows: executions written once, and the counter that brings a run to its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.errors import NotFoundError
from core.states import ProposalStatus, ValidationState
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


def is_running(session: Session, validation_id: int) -> bool:
    """Whether a run is neither finished nor cancelled."""
    state = session.scalar(select(ValidationResult.state).where(ValidationResult.id == validation_id))
    return state is ValidationState.RUNNING


def add_executions(session: Session, validation_id: int, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write executions; one that is there already stays as it is: a case is never counted twice."""
    values = [{"validation_id": validation_id, **row} for row in rows]
    session.execute(
        insert(ValidationCase).values(values).on_conflict_do_nothing(constraint="uq_validation_cases_execution")
    )


def executed(session: Session, validation_id: int, case_ids: Sequence[int]) -> set[tuple[int, str, int]]:
    """Return what is written of these cases: (case, arm, repeat)."""
    rows = session.execute(
        select(ValidationCase.case_id, ValidationCase.arm, ValidationCase.repeat).where(
            ValidationCase.validation_id == validation_id, ValidationCase.case_id.in_(case_ids)
        )
    )
    return {(case_id, arm, repeat) for case_id, arm, repeat in rows}


def executions(session: Session, validation_id: int) -> list[ValidationCase]:
    """Return all that is written of a run, in the order of cases."""
    return list(
        session.scalars(
            select(ValidationCase)
            .where(ValidationCase.validation_id == validation_id)
            .order_by(ValidationCase.case_id, ValidationCase.repeat, ValidationCase.arm)
        )
    )


def chunk_done(session: Session, validation_id: int) -> int:
    """Count one chunk down and return how many are left. Call it in the chunk's finishing transaction alone."""
    return session.execute(
        update(ValidationResult)
        .where(ValidationResult.id == validation_id)
        .values(remaining=ValidationResult.remaining - 1)
        .returning(ValidationResult.remaining)
    ).scalar_one()


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


def recent_latency(session: Session, app_id: int, *, since: datetime) -> float | None:
    """Return the mean time of one execution in the app's latest runs, ms; None where there was none."""
    mean = session.scalar(
        select(func.avg(ValidationCase.latency_ms))
        .join(ValidationResult, ValidationResult.id == ValidationCase.validation_id)
        .where(ValidationResult.app_id == app_id, ValidationCase.created_at >= since)
    )
    return float(mean) if mean is not None else None


def next_in_rank(session: Session, proposal: ImprovementProposal) -> ImprovementProposal | None:
    """Return the next proposal of the same alert that can be tried, locked; None where there is none."""
    if proposal.alert_id is None:
        return None
    return session.scalars(
        select(ImprovementProposal)
        .where(
            ImprovementProposal.alert_id == proposal.alert_id,
            ImprovementProposal.rank > proposal.rank,
            ImprovementProposal.status == ProposalStatus.PROPOSED,
            ImprovementProposal.change["type"].astext != "code",
        )
        .order_by(ImprovementProposal.rank, ImprovementProposal.id)
        .limit(1)
        .with_for_update()
    ).one_or_none()


def siblings(session: Session, proposal: ImprovementProposal) -> list[ImprovementProposal]:
    """Return the other proposals of the same alert, locked, by rank."""
    if proposal.alert_id is None:
        return []
    return list(
        session.scalars(
            select(ImprovementProposal)
            .where(ImprovementProposal.alert_id == proposal.alert_id, ImprovementProposal.id != proposal.id)
            .order_by(ImprovementProposal.rank, ImprovementProposal.id)
            .with_for_update()
        )
    )


def _there(row: ValidationResult | None, validation_id: int) -> ValidationResult:
    if row is None:
        raise NotFoundError(f"there is no validation {validation_id}; `metamon validate list` shows what there is")
    return row
