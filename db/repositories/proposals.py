"""Improvement proposals as rows: adding them once, finding open ones, and what became of earlier ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.states import ProposalStatus
from db.models.apps import App
from db.models.proposals import ImprovementProposal

OPEN = (
    ProposalStatus.PROPOSED,
    ProposalStatus.VALIDATING,
    ProposalStatus.AWAITING_APPROVAL,
    ProposalStatus.APPROVED,
    ProposalStatus.ROLLING_OUT,
)
"""On its way: a second proposal of the same change would be a twin."""

FALLEN = (ProposalStatus.BLOCKED, ProposalStatus.REJECTED, ProposalStatus.ROLLED_BACK)


def lock_app(session: Session, app_id: int) -> None:
    """Let one transaction at a time decide about an app's proposals, so that two alerts make no twins."""
    session.execute(select(App.id).where(App.id == app_id).with_for_update(key_share=True))


def add_once(session: Session, **fields: Any) -> int | None:
    """Add a proposal, or return None where its alert has one with this very change.

    Args:
        fields: columns of `ImprovementProposal`; `alert_id` and `change_hash` are its identity.
    """
    statement = (
        insert(ImprovementProposal)
        .values(**fields)
        .on_conflict_do_nothing(constraint="uq_improvement_proposals_change")
        .returning(ImprovementProposal.id)
    )
    return session.execute(statement).scalar_one_or_none()


def open_twin(
    session: Session, *, app_id: int, alert_id: int, keys: Sequence[str], conditions: Sequence[Mapping[str, str]]
) -> int | None:
    """Return the id of another alert's open proposal that changes one of the keys for one of the causes, or None."""
    rows = session.scalars(
        select(ImprovementProposal)
        .where(
            ImprovementProposal.app_id == app_id,
            ImprovementProposal.status.in_(OPEN),
            ImprovementProposal.alert_id.is_distinct_from(alert_id),
            ImprovementProposal.change["key"].astext.in_(keys),
        )
        .order_by(ImprovementProposal.id)
    )
    for row in rows:
        if row.cause.get("conditions") in [dict(entry) for entry in conditions]:
            return row.id
    return None


def fallen(session: Session, *, app_id: int, since: datetime) -> dict[str, tuple[int, ProposalStatus]]:
    """Return what was tried and fell since a moment: (id, how) of the latest proposal by change hash."""
    rows = session.execute(
        select(ImprovementProposal.change_hash, ImprovementProposal.id, ImprovementProposal.status)
        .where(
            ImprovementProposal.app_id == app_id,
            ImprovementProposal.status.in_(FALLEN),
            ImprovementProposal.created_at >= since,
        )
        .order_by(ImprovementProposal.id)
    )
    return {change: (proposal, status) for change, proposal, status in rows}


def of_alert(session: Session, alert_id: int) -> list[int]:
    """Return the ids of an alert's proposals, by rank."""
    return list(
        session.scalars(
            select(ImprovementProposal.id)
            .where(ImprovementProposal.alert_id == alert_id)
            .order_by(ImprovementProposal.rank)
        )
    )


def to_be_tried(session: Session, alert_id: int, *, lock: bool = False) -> list[ImprovementProposal]:
    """Return an alert's proposals that apply themselves and that nothing was begun with yet, by rank.

    Args:
        lock: for this transaction.
    """
    query = (
        select(ImprovementProposal)
        .where(
            ImprovementProposal.alert_id == alert_id,
            ImprovementProposal.status == ProposalStatus.PROPOSED,
            ImprovementProposal.change["type"].astext != "code",
        )
        .order_by(ImprovementProposal.rank, ImprovementProposal.id)
    )
    if lock:
        query = query.with_for_update().execution_options(populate_existing=True)
    return list(session.scalars(query))


def under_way(session: Session, alert_id: int) -> list[ImprovementProposal]:
    """Return an alert's proposals that are on their way from validation to everybody."""
    going = [status for status in OPEN if status is not ProposalStatus.PROPOSED]
    return list(
        session.scalars(
            select(ImprovementProposal).where(
                ImprovementProposal.alert_id == alert_id, ImprovementProposal.status.in_(going)
            )
        )
    )
