"""Entry points of the validation queue: parse, delegate, dispatch. No decisions here."""

from __future__ import annotations

import secrets

from agents import validation, validation_run
from core.settings import settings
from workers.runner import RunningJob, fleet_task


@fleet_task("validation.start")
def start(job: RunningJob) -> None:
    """Set a run going: a prepared one, or the one that a proposal needs."""
    with job.finish() as session:
        if "validation_id" in job.args:
            validation.launch(session, int(job.args["validation_id"]), now=job.now, parent=job.claim)
        else:
            validation.start_proposal(
                session, int(job.args["proposal_id"]), seed=secrets.randbelow(2**31), now=job.now, parent=job.claim
            )


@fleet_task("validation.run_chunk", long=True)
def run_chunk(job: RunningJob) -> None:
    """Run the cases of a chunk that are not on record; they are written one by one, the chunk is counted once."""
    validation_id, chunk = int(job.args["validation_id"]), int(job.args["chunk"])
    work = validation_run.load(job.sessions, validation_id, chunk)
    if work is not None:
        validation_run.run_chunk(job.sessions, work, attempt=job.claim.attempt)
    with job.finish() as session:
        validation.chunk_finished(session, validation_id, chunk, parent=job.claim)


@fleet_task("validation.finish")
def finish(job: RunningJob) -> None:
    """Judge a run and move its proposal."""
    with job.finish() as session:
        validation.finish(
            session,
            int(job.args["validation_id"]),
            now=job.now,
            auto_approve=settings().auto_approve,
            parent=job.claim,
        )
