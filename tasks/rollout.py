"""Entry points of the rollout queue: parse, delegate, dispatch. No decisions here."""

from __future__ import annotations

import structlog

from agents import guarding
from agents import rollout as rolling
from agents.cadence import cadence
from core.settings import settings
from db.repositories import rollouts
from workers.runner import RunningJob, fleet_task

log = structlog.get_logger(__name__)


@fleet_task("rollout.start")
def start(job: RunningJob) -> None:
    """Start an approved proposal's rollout, or wait for the live one that changes the same key."""
    proposal_id = int(job.args["proposal_id"])
    with job.finish() as session:
        try:
            rolling.start(session, proposal_id, now=job.now, parent=job.claim)
        except rolling.KeyTakenError as taken:
            log.info("rollout.waits", proposal_id=proposal_id, rollout_id=taken.rollout_id)
            job.postpone(job.now + cadence(demo=settings().demo).retry, session)


@fleet_task("rollout.guard")
def guard(job: RunningJob) -> None:
    """Have every live rollout looked at, in whatever state."""
    at = str(job.args["scheduled_for"])
    with job.finish() as session:
        for rollout_id in rollouts.live(session):
            job.then(
                session,
                key=f"advance:{rollout_id}:{at}",
                kind="rollout.advance",
                rollout_id=rollout_id,
                at=at,
            )


@fleet_task("rollout.advance", long=True)
def advance(job: RunningJob) -> None:
    """Look at one rollout and do what follows. Delivered twice, the second finds its runs taken in already."""
    pace = cadence(demo=settings().demo)
    with job.sessions() as session:
        judged = guarding.judge(session, int(job.args["rollout_id"]), now=job.now, cadence=pace)
    with job.finish() as session:
        if judged is not None:
            done = guarding.settle(session, judged, now=job.now, cadence=pace, parent=job.claim)
            log.info("rollout.judged", rollout_id=judged.rollout_id, done=done, reason=judged.decision.reason)
