"""Impacts as people see them: predicted against measured."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import NotFoundError
from db.models.apps import App
from db.models.evaluation import ImprovementImpact
from db.models.proposals import ImprovementProposal
from db.queries.paging import DESCENDING, Key, after


class ImpactRecord(BaseModel):
    """What one deployed proposal was worth. Percentages are relative changes of `metric` over all traffic."""

    id: int
    proposal_id: int
    rollout_id: int
    app: str
    title: str
    metric: str
    method: str
    before: dict[str, Any]
    after: dict[str, Any]
    predicted_pct: float
    predicted_interval: tuple[float, float]
    measured_pct: float | None
    measured_interval: tuple[float, float] | None
    p_value: float | None
    significant: bool
    within_prediction: bool | None
    benefit: float | None
    cost: float | None
    roi: float | None
    roi_interval: tuple[float, float] | None
    assumptions: dict[str, Any]
    explanation: str | None
    """A model's words on it, where one is configured."""
    explained_by: str | None
    window_start: datetime
    window_end: datetime


class CalibrationPoint(BaseModel):
    """Predicted against measured for one proposal, percent."""

    proposal_id: int
    title: str
    metric: str
    predicted_pct: float
    predicted_interval: tuple[float, float]
    measured_pct: float | None
    measured_interval: tuple[float, float] | None


class Calibration(BaseModel):
    """How far predictions can be believed."""

    points: list[CalibrationPoint]
    coverage: float | None
    """Share of measured values that lie within their predicted interval; 0.9 is what is promised."""
    bias: float | None
    """Mean of measured minus predicted, percentage points; negative: too much is promised."""


def calibration(session: Session, *, app: str | None = None, limit: int = 500) -> Calibration:
    """Return the latest predictions with what came of them. Only what a hold-back measured judges a prediction."""
    records = list_impacts(session, app=app, limit=limit)
    measured = [
        (record, record.measured_pct)
        for record in records
        if record.measured_pct is not None and record.method == "holdback"
    ]
    within = [record.predicted_interval[0] <= value <= record.predicted_interval[1] for record, value in measured]
    return Calibration(
        points=[CalibrationPoint.model_validate(record.model_dump()) for record in records],
        coverage=sum(within) / len(within) if within else None,
        bias=sum(value - record.predicted_pct for record, value in measured) / len(measured) if measured else None,
    )


def list_impacts(
    session: Session, *, app: str | None = None, key: Key | None = None, limit: int = 200
) -> list[ImpactRecord]:
    """Return impacts, newest first.

    Args:
        key: (id,) of the last one seen.
    """
    statement = _rows()
    if app is not None:
        statement = statement.where(App.name == app)
    statement = after(statement, (ImprovementImpact.id, DESCENDING), key=key, limit=limit)
    return [_record(*row) for row in session.execute(statement)]


def show_impact(session: Session, proposal_id: int) -> ImpactRecord:
    """Return the impact of a proposal.

    Raises:
        NotFoundError: none was measured.
    """
    row = session.execute(_rows().where(ImprovementImpact.proposal_id == proposal_id)).one_or_none()
    if row is None:
        raise NotFoundError(
            f"no impact of proposal {proposal_id} was measured; `metamon impact list` shows what there is"
        )
    return _record(*row)


def _rows() -> Any:
    return (
        select(ImprovementImpact, App.name, ImprovementProposal)
        .join(ImprovementProposal, ImprovementProposal.id == ImprovementImpact.proposal_id)
        .join(App, App.id == ImprovementProposal.app_id)
    )


def _record(row: ImprovementImpact, app: str, proposal: ImprovementProposal) -> ImpactRecord:
    return ImpactRecord.model_validate(
        {column.key: getattr(row, column.key) for column in ImprovementImpact.__table__.columns}
        | {
            "app": app,
            "title": proposal.title,
            "predicted_interval": (proposal.predicted_low, proposal.predicted_high),
            "measured_interval": _pair(row.measured_low, row.measured_high),
            "roi_interval": _pair(row.roi_low, row.roi_high),
        }
    )


def _pair(low: float | None, high: float | None) -> tuple[float, float] | None:
    return None if low is None or high is None else (low, high)
