"""How a job is run: claim, work, and one fenced transaction that carries its effects and its `done` together.

A message may come twice, late or after its job was done; whoever claims the row works, everyone else returns.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog
from celery import Task
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from core.clock import utc_now
from core.errors import PermanentError
from core.states import JobState
from db.repositories import jobs
from db.repositories.jobs import Claim, LostLeaseError
from db.session import Sessions, session_factory
from workers.app import app

log = structlog.get_logger(__name__)

LEASE = timedelta(seconds=30)
RETRY_BASE = timedelta(seconds=2)
RETRY_CAP = timedelta(minutes=10)
DATABASE_AWAY = (DBAPIError, PoolTimeoutError)
"""What a statement raises that did not come through; the wait for a connection is no error of the driver."""


class UnfinishedJobError(Exception):
    """A handler returned without opening its final transaction. A fault in our code."""


@dataclass
class RunningJob:
    """What a handler is given."""

    claim: Claim
    sessions: Sessions
    now: datetime
    finished: bool = field(default=False, init=False)

    @property
    def args(self) -> Mapping[str, Any]:
        """The job's arguments: ids and times."""
        return self.claim.args

    @contextmanager
    def finish(self) -> Iterator[Session]:
        """Open the one transaction that carries the effects, the next jobs and this job's `done`.

        Raises:
            LostLeaseError: another worker took over; nothing is committed.
        """
        with self.sessions() as session, session.begin():
            row = jobs.hold(session, self.claim)
            yield session
            session.flush()
            if row.state is JobState.RUNNING:
                jobs.finish(row, utc_now())
        self.finished = True

    def then(self, session: Session, *, key: str, kind: str, run_at: datetime | None = None, **args: Any) -> int | None:
        """Enqueue the next step in the transaction that `finish` opened."""
        return jobs.enqueue(session, key=key, kind=kind, args=args, run_at=run_at, parent=self.claim)

    def postpone(self, run_at: datetime, session: Session | None = None) -> None:
        """Look at this job again later; waiting is no attempt.

        Args:
            session: the transaction that `finish` opened, where it showed only there that the job must wait.
        """
        if session is not None:
            jobs.postpone(jobs.hold(session, self.claim), run_at)
            return
        with self.sessions() as own, own.begin():
            jobs.postpone(jobs.hold(own, self.claim), run_at)
        self.finished = True


Handler = Callable[[RunningJob], None]


def retry_delay(attempt: int) -> timedelta:
    """Return how long to wait after a failed attempt: 2 s · 2ⁿ, at most ten minutes."""
    return min(RETRY_BASE * (1 << min(attempt - 1, 16)), RETRY_CAP)


def run(
    job_id: int, handler: Handler, *, owner: str, sessions: Sessions, lease: timedelta = LEASE, heartbeat: bool = False
) -> None:
    """Run one delivery of a job. Returns normally whatever the outcome: the row says what became of it."""
    now = utc_now()
    try:
        with sessions() as session, session.begin():
            taken = jobs.claim(session, job_id, owner=owner, now=now, lease=lease)
    except DATABASE_AWAY as error:
        # Locked by another delivery, or Postgres is away. The row stays as it is and the relay sends it again.
        log.warning("job.not_claimed", job_id=job_id, error=type(error).__name__)
        return
    if taken is None:
        return
    job = RunningJob(taken, sessions, now)
    with structlog.contextvars.bound_contextvars(
        job_id=taken.id, root_id=taken.root_id, attempt=taken.attempt, kind=taken.kind, task_id=owner
    ):
        try:
            if heartbeat:
                with heartbeats(taken, sessions, lease):
                    handler(job)
            else:
                handler(job)
            if not job.finished:
                raise UnfinishedJobError(f"{taken.kind} returned without finishing")
        except LostLeaseError as error:
            log.warning("job.lease_lost", detail=str(error))
        except Exception as error:  # noqa: BLE001  # whatever a handler raises is the job's outcome, in its row
            _record_failure(taken, error, sessions)


def _record_failure(taken: Claim, error: Exception, sessions: Sessions) -> None:
    now = utc_now()
    permanent = isinstance(error, PermanentError)
    message = f"{type(error).__name__}: {error}"
    if isinstance(error, DBAPIError):
        # The statement's parameters may hold a trace's text: keep the driver's own words only.
        message = f"{type(error).__name__}: {type(error.orig).__name__}: {str(error.orig)[:500]}"
    log.error("job.failed", error=message[:500], permanent=permanent, exc_info=not isinstance(error, OperationalError))
    try:
        with sessions() as session, session.begin():
            jobs.fail(
                session, taken, message, now=now, retry_at=None if permanent else now + retry_delay(taken.attempt)
            )
    except DATABASE_AWAY:
        log.warning("job.failure_not_recorded")  # the lease runs out and the relay takes it from there


@contextmanager
def heartbeats(taken: Claim, sessions: Sessions, lease: timedelta) -> Iterator[None]:
    """Extend the lease from a thread while a long job works."""
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(lease.total_seconds() / 3):
            try:
                with sessions() as session, session.begin():
                    if not jobs.heartbeat(session, taken, lease_until=utc_now() + lease):
                        return
            except DATABASE_AWAY:
                continue  # Postgres is away: the lease may run out, and the fence holds

    thread = threading.Thread(target=beat, name=f"lease-{taken.id}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def fleet_task(name: str, *, long: bool = False, lease: timedelta = LEASE) -> Callable[[Handler], Task]:
    """Register a handler as the Celery task `name`. The message carries the job's id alone.

    Args:
        long: the work happens outside a transaction and may outlast the lease: extend it from a thread.
        lease: how long a silent worker keeps the job.
    """

    def register(handler: Handler) -> Task:
        # Celery's own retry is for a killed child alone: at once, under the same task id, which takes the row over.
        @app.task(name=name, bind=True, max_retries=8, default_retry_delay=0)
        @functools.wraps(handler)
        def task(self: Task, job_id: int) -> None:
            owner = self.request.id or "direct"
            run(job_id, handler, owner=owner, sessions=session_factory(), lease=lease, heartbeat=long)

        task.handler = handler
        return task

    return register
