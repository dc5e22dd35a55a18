"""Jobs: the durable record beside Flower, and the two things an operator does to one."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Query

from api.auth import Admin, Db, Viewer
from api.paging import Cursor, Limit
from core.clock import utc_now
from core.states import JobState
from db.queries.jobs import JobDetail, JobNode, JobRecord, QueueSummary, list_jobs, show_job, summarise
from db.queries.paging import Page, page
from db.repositories import audit, jobs

router = APIRouter(prefix="/jobs")

JobId = Annotated[int, Path(ge=1, le=2**63 - 1)]


@router.get("")
def index(
    _: Viewer,
    sessions: Db,
    *,
    queue: Annotated[str | None, Query(max_length=40)] = None,
    state: JobState | None = None,
    kind: Annotated[str | None, Query(max_length=80)] = None,
    older_than_s: Annotated[float | None, Query(ge=0, le=1e9)] = None,
    root_id: Annotated[int | None, Query(ge=1, le=2**63 - 1)] = None,
    ticks: bool = False,
    oldest_first: bool = False,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[JobRecord]:
    """List jobs, newest first; beat's own done ticks only with `ticks`."""
    with sessions() as session:
        return page(
            lambda key, n: list_jobs(
                session,
                now=utc_now(),
                queue=queue,
                state=state,
                kind=kind,
                older_than=None if older_than_s is None else timedelta(seconds=older_than_s),
                root_id=root_id,
                ticks=ticks,
                oldest_first=oldest_first,
                key=key,
                limit=n,
            ),
            cursor=cursor,
            limit=limit,
            key=lambda job: (job.id,),
        )


@router.get("/summary")
def summary(_: Viewer, sessions: Db) -> list[QueueSummary]:
    """Count jobs by queue and state, with the age of the oldest."""
    with sessions() as session:
        return summarise(session, now=utc_now())


@router.get("/{job_id}/tree")
def chain(job_id: JobId, _: Viewer, sessions: Db) -> JobNode:
    """Return the whole chain that a job belongs to, from its root."""
    with sessions() as session:
        return show_job(session, job_id, now=utc_now()).chain


@router.get("/{job_id}")
def show(job_id: JobId, _: Viewer, sessions: Db) -> JobDetail:
    """Return one job with the chain it belongs to, as a tree."""
    with sessions() as session:
        return show_job(session, job_id, now=utc_now())


@router.post("/{job_id}/retry")
def retry(job_id: JobId, bearer: Admin, sessions: Db) -> JobDetail:
    """Give a dead or cancelled job a fresh set of attempts."""
    now = utc_now()
    with sessions.begin() as session:
        jobs.retry_by_hand(session, job_id, now=now)
        audit.record(session, actor=bearer.actor, action="job.retry", subject=f"job:{job_id}")
        session.flush()
        return show_job(session, job_id, now=now)


@router.post("/{job_id}/cancel")
def cancel(job_id: JobId, bearer: Admin, sessions: Db) -> JobDetail:
    """Stop a job that is not finished; a worker that is at it cannot commit any more."""
    now = utc_now()
    with sessions.begin() as session:
        jobs.cancel(session, job_id, now=now)
        audit.record(session, actor=bearer.actor, action="job.cancel", subject=f"job:{job_id}")
        session.flush()
        return show_job(session, job_id, now=now)
