"""Entry points of the validation queue: parse, delegate, dispatch. No decisions here."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import partial
from uuid import UUID

from agents import screening
from agents.validation import run as validation_run
from agents.validation import traces as validation_traces
from agents.validation.finish import finish as judge_run
from agents.validation.start import chunk_finished, launch, start_proposal
from core.settings import settings
from db.repositories import apps_monitored, validations
from llm.completion import chat_models
from llm.grading import grader
from targets.spec import open_target
from traces.experiments import experiments_of
from traces.select import source_of
from workers.runner import RunningJob, fleet_task


@fleet_task("validation.start")
def start(job: RunningJob) -> None:
    """Set a run going: a prepared one, or the one that a proposal needs."""
    with job.finish() as session:
        if "validation_id" in job.args:
            launch(session, int(job.args["validation_id"]), now=job.now, parent=job.claim)
        else:
            start_proposal(
                session, int(job.args["proposal_id"]), seed=secrets.randbelow(2**31), now=job.now, parent=job.claim
            )


@fleet_task("validation.screen", long=True)
def screen(job: RunningJob) -> None:
    """Try an alert's proposals on a few cases, order them, and start the first; without evidence the order stays."""
    alert_id = int(job.args["alert_id"])
    found = screening.load(job.sessions, alert_id, screening.Limits.of(settings()), attempt=job.claim.attempt)
    if isinstance(found, screening.Screen):
        found = screening.look(
            found,
            opener=partial(open_target, models=chat_models(settings())),
            grader=grader(settings()) if found.needs_grader else None,
        )
    with job.finish() as session:
        screening.conclude(session, alert_id, found, now=job.now, parent=job.claim)


@fleet_task("validation.run_chunk", long=True)
def run_chunk(job: RunningJob) -> None:
    """Run the cases of a chunk that are not on record; they are written one by one, the chunk is counted once."""
    validation_id, chunk = int(job.args["validation_id"]), int(job.args["chunk"])
    work = validation_run.load(job.sessions, validation_id, chunk)
    case_ids = [] if work is None else [case.id for case in work.cases]
    if work is not None:
        validation_run.Chunk(
            job.sessions,
            work,
            opener=partial(open_target, models=chat_models(settings())),
            grader=grader(settings()) if work.needs_grader else None,
            tracer=validation_traces.tracer(
                job.sessions, validation_id, experiments_of(work.source, job.sessions, settings())
            ),
            attempt=job.claim.attempt,
        ).run()
    with job.finish() as session:
        chunk_finished(session, validation_id, chunk, case_ids=case_ids, parent=job.claim)


@fleet_task("validation.finish")
def finish(job: RunningJob) -> None:
    """Judge a run and move its proposal."""
    validation_id = int(job.args["validation_id"])
    run_url = _run_url(job, validation_id)
    with job.finish() as session:
        judge_run(
            session,
            validation_id,
            now=job.now,
            auto_approve=settings().auto_approve,
            run_url=run_url,
            parent=job.claim,
        )


def _run_url(job: RunningJob, validation_id: int) -> Callable[[str], str]:
    with job.sessions() as session:
        kind = apps_monitored.source_of(session, validations.get(session, validation_id).app_id)
    source = source_of(kind, job.sessions, settings())

    def url(run_id: str) -> str:
        try:
            return source.run_url(validation_traces.project_of(validation_id), UUID(run_id))
        except ValueError:
            return run_id  # the app's own, whatever it is

    return url
