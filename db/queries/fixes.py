"""What became of earlier fixes: what they promised, what they delivered, what they took."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.states import ProposalStatus
from db.models.apps import App
from db.models.evaluation import ImprovementImpact
from db.models.proposals import ImprovementProposal


class PastFix(BaseModel):
    """One proposal of a change, with what is known of its end."""

    proposal_id: int
    app: str
    kind: str
    title: str
    status: ProposalStatus
    impact: str
    metric: str
    conditions: dict[str, str]
    """The cause that it was for."""
    change: dict[str, Any]
    change_hash: str
    ceiling_pct: float | None
    predicted_pct: float
    predicted_low: float
    predicted_high: float
    measured_pct: float | None
    """None where nothing was measured, or by a description without a control."""
    effort_hours: float
    effort_hours_p80: float
    spent_hours: float | None
    created_at: datetime


def past_fixes(session: Session, *, app: str | None = None, limit: int = 1000) -> list[PastFix]:
    """Return proposals with what became of them, newest first.

    Args:
        app: only this app's; all apps' where None.
    """
    query = (
        select(ImprovementProposal, App.name, ImprovementImpact)
        .join(App, App.id == ImprovementProposal.app_id)
        .outerjoin(ImprovementImpact, ImprovementImpact.proposal_id == ImprovementProposal.id)
        .order_by(ImprovementProposal.id.desc())
        .limit(limit)
    )
    if app is not None:
        query = query.where(App.name == app)
    return [_record(proposal, name, impact) for proposal, name, impact in session.execute(query)]


def _record(row: ImprovementProposal, app: str, impact: ImprovementImpact | None) -> PastFix:
    measured = impact.measured_pct if impact is not None and impact.method == "holdback" else None
    return PastFix(
        proposal_id=row.id,
        app=app,
        kind=row.kind,
        title=row.title,
        status=row.status,
        impact=row.impact,
        metric=row.metric,
        conditions=row.cause.get("conditions", {}),
        change=row.change,
        change_hash=row.change_hash,
        ceiling_pct=row.ceiling_pct,
        predicted_pct=row.predicted_pct,
        predicted_low=row.predicted_low,
        predicted_high=row.predicted_high,
        measured_pct=measured,
        effort_hours=row.effort_hours,
        effort_hours_p80=row.effort_hours_p80,
        spent_hours=row.spent_hours,
        created_at=row.created_at,
    )
