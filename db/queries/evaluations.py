"""Daily evaluations as people see them."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import NotFoundError
from db.models.apps import App
from db.models.evaluation import MetaEvaluationRun
from db.queries.paging import ASCENDING, DESCENDING, Key, after


class EvaluationRecord(BaseModel):
    """One app's day."""

    id: int
    app: str
    day: date
    runs: int
    quality_score: float | None
    fact_accuracy: float | None
    guardrail_pass_rate: float | None
    sla_compliance: float | None
    error_rate: float | None
    latency_p95_s: float | None
    cost: float | None
    summary: str


class EvaluationDetail(EvaluationRecord):
    """One app's day with its comparisons."""

    window_start: datetime
    window_end: datetime
    metrics: dict[str, Any]
    vs_previous_day: dict[str, Any]
    vs_baseline: dict[str, Any]
    created_at: datetime


def list_evaluations(
    session: Session, *, app: str | None = None, key: Key | None = None, limit: int = 60
) -> list[EvaluationRecord]:
    """Return evaluations, the latest day first.

    Args:
        key: (day, app) of the last one seen.
    """
    statement = _rows()
    if app is not None:
        statement = statement.where(App.name == app)
    statement = after(statement, (MetaEvaluationRun.day, DESCENDING), (App.name, ASCENDING), key=key, limit=limit)
    return [EvaluationRecord.model_validate(_fields(*row)) for row in session.execute(statement)]


def show_evaluation(session: Session, evaluation_id: int) -> EvaluationDetail:
    """Return one evaluation.

    Raises:
        NotFoundError: there is no such evaluation.
    """
    row = session.execute(_rows().where(MetaEvaluationRun.id == evaluation_id)).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no evaluation {evaluation_id}; `metamon evaluations list` shows what there is")
    return EvaluationDetail.model_validate(_fields(*row))


def evaluation_of(session: Session, app: str, day: date) -> EvaluationDetail | None:
    """Return an app's day, or None where it has not been scored."""
    row = session.execute(_rows().where(App.name == app, MetaEvaluationRun.day == day)).one_or_none()
    return None if row is None else EvaluationDetail.model_validate(_fields(*row))


def daily(session: Session, app_id: int, metric: str, *, since: date) -> dict[date, float]:
    """Return a metric by scored day: the day's mean, for `latency_ms` its 95th percentile. Days without are left out.

    Args:
        metric: as a rollout contrasts it: `error_free`, `sla_met`, `latency_ms`, or a feedback key.
    """
    rows = session.execute(
        select(MetaEvaluationRun.day, MetaEvaluationRun.metrics, MetaEvaluationRun.latency_p95_s)
        .where(MetaEvaluationRun.app_id == app_id, MetaEvaluationRun.day >= since)
        .order_by(MetaEvaluationRun.day)
    )
    name = "sla_compliance" if metric == "sla_met" else metric
    found: dict[date, float] = {}
    for day, metrics, p95 in rows:
        if metric == "latency_ms":
            value = None if p95 is None else 1000 * p95
        else:
            value = metrics[name].get("mean") if isinstance(metrics.get(name), dict) else None
        if value is not None:
            found[day] = float(value)
    return found


def _rows() -> Any:
    return select(MetaEvaluationRun, App.name).join(App, App.id == MetaEvaluationRun.app_id)


def _fields(row: MetaEvaluationRun, app: str) -> dict[str, Any]:
    return {column.key: getattr(row, column.key) for column in MetaEvaluationRun.__table__.columns} | {"app": app}
