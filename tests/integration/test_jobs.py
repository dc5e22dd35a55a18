"""The outbox: nothing lost, nothing twice."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, select, text
from sqlalchemy.orm import Session, sessionmaker

from core.clock import utc_now
from core.errors import ForbiddenTransitionError, PermanentError
from core.states import JobState
from db.models.jobs import Job
from db.queries import fleet
from db.repositories import jobs, retention
from workers.runner import RETRY_CAP, RunningJob, retry_delay, run

LEASE = timedelta(seconds=30)


def add(sessions: sessionmaker[Session], key: str = "research:1", **fields: object) -> int:
    """Enqueue one job."""
    with sessions.begin() as session:
        job_id = jobs.enqueue(session, key=key, kind="research.investigate", **fields)  # type: ignore[arg-type]
    assert job_id is not None
    return job_id


def state_of(sessions: sessionmaker[Session], job_id: int) -> Job:
    """Read a job's row."""
    with sessions() as session:
        return session.get_one(Job, job_id)


def test_asking_twice_makes_one_job(sessions: sessionmaker[Session]) -> None:
    """The key is the identity: the second insert is a no-op in the database."""
    add(sessions)
    with sessions.begin() as session:
        assert jobs.enqueue(session, key="research:1", kind="research.investigate") is None


def test_a_second_delivery_finds_nothing_to_do(sessions: sessionmaker[Session]) -> None:
    """Celery delivers at least once; the effect happens once."""
    job_id = add(sessions)
    effects: list[int] = []

    def handler(job: RunningJob) -> None:
        with job.finish() as session:
            effects.append(job.claim.attempt)
            job.then(session, key="validate:1", kind="validation.start", proposal_id=1)

    for owner in ("first", "second", "first"):
        run(job_id, handler, owner=owner, sessions=sessions)
    assert effects == [1]
    with sessions() as session:
        follow_up = session.scalars(select(Job).where(Job.kind == "validation.start")).one()
    assert (follow_up.root_id, follow_up.parent_id) == (job_id, job_id)


def test_effects_and_done_are_one_transaction(sessions: sessionmaker[Session]) -> None:
    """A handler that dies after its effects leaves neither effect nor done behind."""
    job_id = add(sessions)

    def handler(job: RunningJob) -> None:
        with job.finish() as session:
            job.then(session, key="validate:1", kind="validation.start")
            session.flush()
            raise RuntimeError("killed here")

    run(job_id, handler, owner="a", sessions=sessions)
    row = state_of(sessions, job_id)
    assert (row.state, row.attempts) == (JobState.QUEUED, 1)
    assert row.error == "RuntimeError: killed here"
    with sessions() as session:
        assert session.scalars(select(Job).where(Job.kind == "validation.start")).all() == []


def test_a_lost_lease_fences_the_late_worker_off(sessions: sessionmaker[Session]) -> None:
    """The first worker stalls beyond its lease, a second takes over; the first may not commit."""
    job_id = add(sessions)
    now = utc_now()
    with sessions.begin() as session:
        slow = jobs.claim(session, job_id, owner="slow", now=now, lease=LEASE)
    with sessions.begin() as session:
        assert jobs.claim(session, job_id, owner="quick", now=now, lease=LEASE) is None
    with sessions.begin() as session:
        quick = jobs.claim(session, job_id, owner="quick", now=now + 2 * LEASE, lease=LEASE)
    assert slow is not None
    assert quick is not None
    with sessions.begin() as session, pytest.raises(jobs.LostLeaseError):
        jobs.hold(session, slow)
    with sessions.begin() as session:
        jobs.finish(jobs.hold(session, quick), now)
    assert state_of(sessions, job_id).state is JobState.DONE


def test_the_redelivery_of_the_same_message_takes_over_at_once(sessions: sessionmaker[Session]) -> None:
    """A killed child's message comes back under its own task id: nobody waits for a lease."""
    job_id = add(sessions)
    for attempt in (1, 2):
        with sessions.begin() as session:
            taken = jobs.claim(session, job_id, owner="same-message", now=utc_now(), lease=LEASE)
        assert taken is not None
        assert taken.attempt == attempt


def test_poison_dies_after_its_attempts_and_can_be_revived(sessions: sessionmaker[Session]) -> None:
    """A job that kills its worker every time is taken exactly `max_attempts` times."""
    job_id = add(sessions, max_attempts=3)
    taken = 0
    for delivery in range(6):
        with sessions.begin() as session:
            later = utc_now() + delivery * 2 * LEASE
            if jobs.claim(session, job_id, owner=f"m{delivery}", now=later, lease=LEASE):
                taken += 1
    assert taken == 3
    assert state_of(sessions, job_id).state is JobState.DEAD
    with sessions.begin() as session:
        jobs.retry_by_hand(session, job_id, now=utc_now())
    row = state_of(sessions, job_id)
    assert (row.state, row.attempts) == (JobState.QUEUED, 0)


def test_a_permanent_error_is_dead_at_once(sessions: sessionmaker[Session]) -> None:
    """Trying again cannot help, so nobody does."""
    job_id = add(sessions)

    def handler(job: RunningJob) -> None:
        raise PermanentError("no such app")

    run(job_id, handler, owner="a", sessions=sessions)
    assert state_of(sessions, job_id).state is JobState.DEAD


def test_a_finished_job_cannot_be_cancelled(sessions: sessionmaker[Session]) -> None:
    """The table of transitions speaks for everyone."""
    job_id = add(sessions)

    def handler(job: RunningJob) -> None:
        with job.finish():
            pass

    run(job_id, handler, owner="a", sessions=sessions)
    with sessions.begin() as session, pytest.raises(ForbiddenTransitionError, match="final state"):
        jobs.cancel(session, job_id, now=utc_now())


def test_a_lease_is_kept_while_a_long_job_works(sessions: sessionmaker[Session]) -> None:
    """Where the first lease would have ended, nobody takes the work away."""
    job_id = add(sessions)
    lease = timedelta(seconds=3)

    def handler(job: RunningJob) -> None:
        first = state_of(sessions, job_id).lease_until
        assert first is not None
        deadline = time.monotonic() + 30
        while (state_of(sessions, job_id).lease_until or first) <= first and time.monotonic() < deadline:
            time.sleep(0.05)
        with sessions.begin() as session:
            assert jobs.release_expired(session, first + timedelta(milliseconds=1)) == 0
        with job.finish():
            pass

    run(job_id, handler, owner="a", sessions=sessions, lease=lease, heartbeat=True)
    assert state_of(sessions, job_id).state is JobState.DONE


def test_the_last_of_fifty_attempts_waits_no_longer_than_the_cap() -> None:
    """A mail is tried for hours: its fiftieth failure is recorded like its first."""
    assert [retry_delay(attempt) for attempt in (1, 2, 50, 5000)] == [
        timedelta(seconds=2), timedelta(seconds=4), RETRY_CAP, RETRY_CAP,
    ]  # fmt: skip


def test_waiting_is_no_attempt(sessions: sessionmaker[Session]) -> None:
    """A job that looks and waits may do so for ever."""
    job_id = add(sessions)
    later = utc_now() + timedelta(hours=1)
    run(job_id, lambda job: job.postpone(later), owner="a", sessions=sessions)
    row = state_of(sessions, job_id)
    assert (row.state, row.attempts, row.run_at) == (JobState.QUEUED, 0, later)


def add_finished(sessions: sessionmaker[Session], state: JobState, count: int, *, days_ago: int) -> None:
    """Add jobs that ended so many days ago."""
    with sessions.begin() as session:
        session.execute(
            text(
                "INSERT INTO jobs (key, kind, queue, state, created_at, finished_at) "
                "SELECT concat_ws(':', cast(:state AS text), cast(:days AS text), n), 'research.investigate', "
                "'research', :state, now() - :days * interval '1 day', now() - :days * interval '1 day' "
                "FROM generate_series(1, :count) AS n"
            ),
            {"state": state.value, "days": days_ago, "count": count},
        )


@pytest.mark.parametrize(("kept_days", "left"), [(30, {8, 80}), (365, {8, 80, 100})])
def test_dead_jobs_wait_for_a_person_and_not_for_ever(
    sessions: sessionmaker[Session], kept_days: int, left: set[int]
) -> None:
    """A quarter, or as long as runs are kept; what is done goes after a week."""
    for state in (JobState.DONE, JobState.DEAD):
        for days in (8, 80, 100):
            add_finished(sessions, state, 1, days_ago=days)
    with sessions.begin() as session:
        deleted = retention.delete_old(session, now=utc_now(), runs_kept=timedelta(days=kept_days))
    with sessions() as session:
        keys = set(session.scalars(select(Job.key)))
    assert keys == {f"dead:{days}:1" for days in left}
    assert deleted["jobs"] == 6 - len(left)


def test_the_queues_are_counted_past_all_that_is_done(sessions: sessionmaker[Session], db_engine: Engine) -> None:
    """Scraped every few seconds: a week of done jobs must not be read for it."""
    now = utc_now()
    add_finished(sessions, JobState.DONE, 20_000, days_ago=1)
    add_finished(sessions, JobState.DEAD, 2, days_ago=1)
    with sessions.begin() as session:
        open_jobs: dict[str, dict[str, Any]] = {
            "due": {"run_at": now - timedelta(seconds=40), "dispatches": 2},
            "later": {"run_at": now + timedelta(hours=1)},
            "held": {"state": JobState.RUNNING, "lease_until": now + LEASE},
            "lost": {"state": JobState.RUNNING, "lease_until": now - LEASE},
        }
        for key, fields in open_jobs.items():
            session.add(Job(**{"key": key, "kind": "research.investigate", "queue": "research", **fields}))
        session.execute(text("ANALYZE jobs"))
    plans: list[str] = []

    def explain(connection: Connection, _cursor: object, statement: str, given: Any, *_: object) -> None:
        if "EXPLAIN" not in statement:
            plans.extend(row[0] for row in connection.exec_driver_sql(f"EXPLAIN {statement}", given))

    event.listen(db_engine, "before_cursor_execute", explain)
    with sessions() as session:
        idle, research = fleet.queues(session, ["rollout", "research"], now=now)
    event.remove(db_engine, "before_cursor_execute", explain)
    assert idle.model_dump() == {
        "name": "rollout", "queued": 0, "running": 0, "dead": 0, "oldest_age_s": None, "redispatched": 0,
        "expired_leases": 0,
    }  # fmt: skip
    assert (research.queued, research.running, research.dead) == (2, 2, 2)
    assert (research.oldest_age_s, research.redispatched, research.expired_leases) == (40, 1, 1)
    assert {name for name in ("ix_jobs_due", "ix_jobs_leases", "ix_jobs_dead") if name in " ".join(plans)} == {
        "ix_jobs_due", "ix_jobs_leases", "ix_jobs_dead",
    }  # fmt: skip
    assert not any("Seq Scan" in line for line in plans)
