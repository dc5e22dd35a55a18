"""Daily evaluations and impacts as rows: one a day and app, one a proposal."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.models.evaluation import ImprovementImpact, MetaEvaluationRun


def put_day(session: Session, **fields: Any) -> None:
    """Write an app's day, over what stood there: late data restates a day.

    Args:
        fields: columns of `MetaEvaluationRun`; `app_id` and `day` are its identity.
    """
    restated = {name: value for name, value in fields.items() if name not in ("app_id", "day")}
    session.execute(
        insert(MetaEvaluationRun)
        .values(**fields)
        .on_conflict_do_update(
            constraint="uq_meta_evaluation_runs_day", set_={**restated, "created_at": func.clock_timestamp()}
        )
    )


def add_impact_once(session: Session, **fields: Any) -> None:
    """Write what a proposal was worth; the first writing stands.

    Args:
        fields: columns of `ImprovementImpact`; `proposal_id` is its identity.
    """
    session.execute(
        insert(ImprovementImpact)
        .values(**fields)
        .on_conflict_do_nothing(index_elements=[ImprovementImpact.proposal_id])
    )
