"""Entry points of the evaluation queue: parse, delegate, dispatch. No decisions here."""

from __future__ import annotations

from datetime import datetime

import structlog

from agents import evaluation, impact
from agents.cadence import cadence
from core.settings import settings
from workers.runner import RunningJob, fleet_task

log = structlog.get_logger(__name__)


@fleet_task("evaluation.daily", long=True)
def daily(job: RunningJob) -> None:
    """Score every day that has ended and has no score yet, or an outdated one. A check, not an appointment."""
    with job.sessions() as session:
        scored = [evaluation.score_day(session, due.app_id, due.day) for due in evaluation.due(session, now=job.now)]
    with job.finish() as session:
        for fields in scored:
            evaluation.write_day(session, fields)
    if scored:
        log.info("evaluation.scored", days=len(scored))


@fleet_task("evaluation.measure_impact", long=True)
def measure_impact(job: RunningJob) -> None:
    """Measure what a rollout was worth and end its hold-back, or look again later."""
    rollout_id = int(job.args["rollout_id"])
    pace = cadence(demo=settings().demo)
    with job.sessions() as session:
        measured = impact.measure(session, rollout_id, now=job.now, cadence=pace)
    if isinstance(measured, datetime):
        job.postpone(measured)
        return
    if measured is not None and settings().has_model:
        from agents import impact_words  # a client of the model: megabytes that a worker without one does not need

        measured = impact_words.put_into_words(job.sessions, settings(), measured, now=job.now)
    with job.finish() as session:
        if measured is not None and not impact.settle(session, measured, now=job.now, parent=job.claim):
            # Paused, taken back or completed while we measured. Whether anything is left to do, the next look says.
            job.postpone(job.now + pace.retry, session)
