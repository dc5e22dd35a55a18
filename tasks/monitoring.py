"""Entry points of the monitoring queue: parse, delegate, dispatch. No decisions here."""

from __future__ import annotations

from datetime import datetime

import structlog

from agents.monitoring import check
from agents.monitoring.check import Cadence
from core.settings import settings
from db.repositories import apps_monitored, partitions, retention
from traces.select import source_of
from workers.runner import RunningJob, fleet_task

log = structlog.get_logger(__name__)


@fleet_task("monitoring.sweep")
def sweep(job: RunningJob) -> None:
    """Have every enabled app checked. Idempotent: (app, slot) is one check."""
    at = str(job.args["scheduled_for"])
    with job.finish() as session:
        for app_id in apps_monitored.enabled(session):
            job.then(session, key=f"check:{app_id}:{at}", kind="monitoring.check_app", app_id=app_id, at=at)


@fleet_task("monitoring.check_app", long=True)
def check_app(job: RunningJob) -> None:
    """Check one app. Idempotent: a second check of the same moment finds no note and no news."""
    app_id, at = int(job.args["app_id"]), datetime.fromisoformat(str(job.args["at"]))
    with job.sessions() as session:
        kind = apps_monitored.source_of(session, app_id)
    source = source_of(kind, job.sessions, settings())
    if kind == "langsmith":
        source.pull(app_id, job.now)
    pace = Cadence.of(sweep=settings().sweep_period, bucket=settings().bucket_width, demo=settings().demo)
    with job.finish() as session:
        checked = check.check_app(
            session, app_id, at=at, now=job.now, cadence=pace, run_url=source.run_url, parent=job.claim
        )
        if checked.behind is not None:
            # One job counts the rest, part by part, however many sweeps come by: each of those helps by one part.
            key = f"check:{app_id}:behind:{checked.behind.isoformat()}"
            if job.claim.key == key:
                job.postpone(job.now, session)
            else:
                job.then(session, key=key, kind="monitoring.check_app", app_id=app_id, at=at.isoformat())
        if checked.recheck_at is not None:
            then = checked.recheck_at.isoformat(timespec="seconds")
            job.then(
                session,
                key=f"check:{app_id}:{then}",
                kind="monitoring.check_app",
                run_at=checked.recheck_at,
                app_id=app_id,
                at=then,
            )
    if checked.moved.fired or checked.moved.resolved:
        log.info("alerts.moved", app_id=app_id, fired=checked.moved.fired, resolved=checked.moved.resolved)


@fleet_task("monitoring.retain", long=True)
def retain(job: RunningJob) -> None:
    """Give up on runs that never ended, and drop what is past its time, each step on its own. Idempotent."""
    with job.sessions() as session:
        embedded = apps_monitored.enabled(session, source="embedded")
    for app_id in embedded:
        source_of("embedded", job.sessions, settings()).pull(app_id, job.now)
    kept = settings().kept
    with job.sessions() as session, session.begin():
        deleted = retention.delete_old(session, now=job.now, runs_kept=kept)
    dropped = partitions.drop_before(job.sessions, (job.now - kept).date())
    with job.finish():
        pass
    log.info("retention.done", partitions=len(dropped), **deleted)
