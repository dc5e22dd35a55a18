"""The run that shows what an incident was about, for the golden set."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.states import AlertState
from db.models.alerts import MonitoringAlert
from db.models.traces import Run
from db.models.validation import GoldenCase, GoldenSet
from db.repositories.roots import TAKEN

NOT_ABOUT_ANSWERS = TAKEN | {"volume"}
"""Metrics of which no single run says anything."""


def case_key(run_id: UUID) -> str:
    """Return the name of the case that is made of a run where nobody gives another."""
    return f"run-{run_id}"


def exemplar_of(session: Session, alert: MonitoringAlert) -> UUID | None:
    """Return the run of an incident that could become a regression case now.

    None while the incident goes on, where it was about volume, where no run of it is in the collector any more, and
    where one of them is a case of the app already.
    """
    if alert.state is not AlertState.RESOLVED or alert.metric in NOT_ABOUT_ANSWERS:
        return None
    shown = [UUID(run_id) for run_id in alert.run_ids if _is_id(run_id)]
    cases = (
        select(GoldenCase.id)
        .join(GoldenSet, GoldenSet.id == GoldenCase.set_id)
        .where(GoldenSet.app_id == alert.app_id, GoldenCase.key.in_([case_key(run_id) for run_id in shown]))
    )
    if not shown or session.scalar(cases.limit(1)) is not None:
        return None
    there = set(session.scalars(select(Run.id).where(Run.id.in_(shown))))
    return next((run_id for run_id in shown if run_id in there), None)


def _is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
