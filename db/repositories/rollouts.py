"""Rollouts as rows: made once per proposal, locked for every decision, with a record of each."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from core.errors import NotFoundError
from core.states import LIVE_ROLLOUTS
from db.models.apps import App
from db.models.proposals import ImprovementProposal
from db.models.rollouts import Rollout, RolloutEvent, RolloutLook

LOOKS_CAP = 400
"""Looks of the guard that are kept of one rollout."""


def lock(session: Session, rollout_id: int) -> Rollout:
    """Return the rollout, locked for the transaction that decides about it.

    Raises:
        NotFoundError: there is no such rollout.
    """
    row = session.get(Rollout, rollout_id, with_for_update=True, populate_existing=True)
    if row is None:
        raise NotFoundError(f"there is no rollout {rollout_id}; `metamon rollouts list` shows what there is")
    return row


def lock_app(session: Session, app_id: int) -> App:
    """Return the app, locked: one transaction at a time changes its configuration or starts a rollout of it."""
    return session.get_one(App, app_id, with_for_update=True, populate_existing=True)


def lock_proposal(session: Session, proposal_id: int) -> ImprovementProposal:
    """Return the proposal, locked.

    Raises:
        NotFoundError: there is no such proposal.
    """
    row = session.get(ImprovementProposal, proposal_id, with_for_update=True, populate_existing=True)
    if row is None:
        raise NotFoundError(f"there is no proposal {proposal_id}; `metamon proposals list` shows what there is")
    return row


def of_proposal(session: Session, proposal_id: int) -> int | None:
    """Return the id of the proposal's rollout, or None."""
    return session.scalar(select(Rollout.id).where(Rollout.proposal_id == proposal_id))


def live_with_key(session: Session, app_id: int, key: str) -> int | None:
    """Return the id of the app's live rollout that changes the key, or None."""
    return session.scalar(
        select(Rollout.id)
        .where(Rollout.app_id == app_id, Rollout.state.in_(LIVE_ROLLOUTS), Rollout.change["key"].astext == key)
        .order_by(Rollout.id)
    )


def live(session: Session) -> list[int]:
    """Return the ids of all live rollouts."""
    return list(session.scalars(select(Rollout.id).where(Rollout.state.in_(LIVE_ROLLOUTS)).order_by(Rollout.id)))


def note_look(session: Session, rollout: Rollout, *, at: datetime, evidence: dict[str, Any]) -> None:
    """Keep what the guard saw. Of a long rollout every second look is forgotten whenever there are too many."""
    session.add(RolloutLook(rollout_id=rollout.id, at=at, percent=rollout.percent, evidence=evidence))
    session.flush()
    ids = session.scalars(
        select(RolloutLook.id).where(RolloutLook.rollout_id == rollout.id).order_by(RolloutLook.id)
    ).all()
    if len(ids) > LOOKS_CAP:
        session.execute(delete(RolloutLook).where(RolloutLook.id.in_(ids[1:-1:2])))


def record(
    session: Session,
    rollout: Rollout,
    *,
    kind: str,
    from_percent: int,
    actor: str,
    at: datetime,
    evidence: dict[str, Any] | None = None,
) -> None:
    """Add an event; `to_percent` is what the rollout has now."""
    session.add(
        RolloutEvent(
            rollout_id=rollout.id,
            at=at,
            kind=kind,
            from_percent=from_percent,
            to_percent=rollout.percent,
            actor=actor,
            evidence=evidence or {},
        )
    )
