"""The relay: what went wrong in a prototype of it must not come back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from fakeredis import FakeRedis, FakeServer
from redis import Redis
from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from core.clock import utc_now
from core.states import JobState
from db.models.jobs import Job
from db.repositories import jobs
from workers.relay import BACKOFF, WINDOW, CeleryBroker, Round, lead, run_round

QUEUE = ("research",)


class Lists:
    """A broker of plain lists: messages stay until a test takes them."""

    def __init__(self) -> None:
        self.sent: list[int] = []
        self.waiting: list[int] = []
        self.on_publish: Callable[[int], object] = lambda job_id: None

    def depth(self, queue: str) -> int:
        """Return how many wait."""
        return len(self.waiting)

    def publish(self, kind: str, job_id: int, queue: str) -> None:
        """Keep the message."""
        self.on_publish(job_id)
        self.sent.append(job_id)
        self.waiting.append(job_id)


def add(sessions: sessionmaker[Session], count: int, *, run_at: datetime | None = None) -> list[int]:
    """Enqueue that many jobs."""
    with sessions.begin() as session:
        made = [
            jobs.enqueue(session, key=f"research:{number}", kind="research.investigate", run_at=run_at)
            for number in range(count)
        ]
    return [job_id for job_id in made if job_id is not None]


def take(sessions: sessionmaker[Session], job_id: int, now: datetime) -> bool:
    """Claim a job and finish it; False where there was nothing to do."""
    with sessions.begin() as session:
        claim = jobs.claim(session, job_id, owner="w", now=now, lease=timedelta(seconds=30))
    if claim is None:
        return False
    with sessions.begin() as session:
        jobs.finish(jobs.hold(session, claim), now)
    return True


def test_a_backlog_is_not_sent_again_and_again(sessions: sessionmaker[Session]) -> None:
    """Dispatch storm: with a fixed six seconds, a backlog sent each job up to 21 times."""
    add(sessions, 3 * WINDOW)
    broker, now = Lists(), utc_now()
    for second in range(120):
        run_round(sessions, broker, QUEUE, now + timedelta(seconds=second))
        if broker.waiting:
            take(sessions, broker.waiting.pop(0), now + timedelta(seconds=second))
        assert len(broker.waiting) <= WINDOW
    assert len(broker.sent) <= WINDOW + 120


def test_an_emptied_redis_is_refilled_within_one_flat_back_off(sessions: sessionmaker[Session]) -> None:
    """Back-off stall: after Redis was emptied, jobs sent often before waited minutes for their next turn."""
    (job_id,) = add(sessions, 1)
    broker, now = Lists(), utc_now()
    with sessions.begin() as session:
        session.get_one(Job, job_id).dispatches = 12
        session.get_one(Job, job_id).dispatched_at = now
    run_round(sessions, broker, QUEUE, now + BACKOFF / 2)
    assert broker.sent == []
    run_round(sessions, broker, QUEUE, now + BACKOFF + timedelta(milliseconds=1))
    assert broker.sent == [job_id]


def test_a_long_queue_backs_off_exponentially(sessions: sessionmaker[Session]) -> None:
    """While others wait too, a message is probably not lost but waiting."""
    (job_id,) = add(sessions, 1)
    broker, now = Lists(), utc_now()
    broker.waiting = [999]
    with sessions.begin() as session:
        session.get_one(Job, job_id).dispatches = 4
        session.get_one(Job, job_id).dispatched_at = now
    run_round(sessions, broker, QUEUE, now + 7 * BACKOFF)
    assert broker.sent == []
    run_round(sessions, broker, QUEUE, now + 9 * BACKOFF)
    assert broker.sent == [job_id]


def test_the_worker_that_hears_of_a_job_finds_its_row_free(sessions: sessionmaker[Session]) -> None:
    """Lock race: published before COMMIT, the worker met the relay's row lock and the message was dropped."""
    add(sessions, 1)
    broker, now, claimed = Lists(), utc_now(), []
    broker.on_publish = lambda job_id: claimed.append(take(sessions, job_id, now))
    run_round(sessions, broker, QUEUE, now)
    assert claimed == [True]


def test_a_silent_workers_job_goes_out_again(sessions: sessionmaker[Session]) -> None:
    """An expired lease is another attempt, and the last attempt's is the end."""
    (job_id,) = add(sessions, 1)
    broker, now = Lists(), utc_now()
    with sessions.begin() as session:
        jobs.claim(session, job_id, owner="dead", now=now, lease=timedelta(seconds=30))
    run_round(sessions, broker, QUEUE, now + timedelta(seconds=29))
    assert broker.sent == []
    run_round(sessions, broker, QUEUE, now + timedelta(seconds=31))
    assert broker.sent == [job_id]
    with sessions.begin() as session:
        row = session.get_one(Job, job_id)
        row.attempts, row.state, row.lease_until = row.max_attempts, JobState.RUNNING, now
    run_round(sessions, broker, QUEUE, now + timedelta(seconds=60))
    with sessions() as session:
        assert session.get_one(Job, job_id).state is JobState.DEAD


def test_a_job_waits_for_its_time(sessions: sessionmaker[Session]) -> None:
    """`run_at` is a column, not an ETA in Redis that comes back with every visibility time-out."""
    now = utc_now()
    (job_id,) = add(sessions, 1, run_at=now + timedelta(minutes=10))
    broker = Lists()
    run_round(sessions, broker, QUEUE, now)
    assert broker.sent == []
    assert not take(sessions, job_id, now), "a message that comes too early finds nothing to do"
    run_round(sessions, broker, QUEUE, now + timedelta(minutes=10))
    assert broker.sent == [job_id]


def test_a_redis_that_is_away_marks_nothing(sessions: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the queue's length cannot be read nothing counts as sent: it goes as soon as Redis is back."""
    (job_id,) = add(sessions, 1)
    server = FakeServer()
    sent: list[list[int]] = []
    monkeypatch.setattr("workers.app.app.send_task", lambda kind, *, args, **_: sent.append(args))
    broker, now = CeleryBroker(FakeRedis(server=server)), utc_now()
    server.connected = False
    assert run_round(sessions, broker, QUEUE, now) == Round()
    server.connected = True
    assert run_round(sessions, broker, QUEUE, now).published == 1
    assert sent == [[job_id]]


def test_of_two_relays_one_sends_and_the_other_takes_over(db_engine: Engine, sessions: sessionmaker[Session]) -> None:
    """A second relay is for the day on which the first one's machine is gone; until then it sends nothing."""
    relays = [(Lists(), threading.Event()) for _ in range(2)]
    threads = [threading.Thread(target=lead, args=[db_engine, broker, QUEUE, stop]) for broker, stop in relays]
    for thread in threads:
        thread.start()
    try:
        for number in range(1, 6):
            with sessions.begin() as session:
                jobs.enqueue(session, key=f"research:{number}", kind="research.investigate")
            wait_for(lambda number=number: sum(len(broker.sent) for broker, _ in relays) >= number)  # type: ignore[misc]
        (leader, stop), (other, _) = sorted(relays, key=lambda relay: -len(relay[0].sent))
        assert (len(leader.sent), len(other.sent)) == (5, 0)
        stop.set()
        wait_for(lambda: not all(thread.is_alive() for thread in threads))
        with sessions.begin() as session:
            jobs.enqueue(session, key="research:last", kind="research.investigate")
        wait_for(lambda: other.sent)
    finally:
        for _, stop in relays:
            stop.set()
        for thread in threads:
            thread.join()


def wait_for(condition: Callable[[], object]) -> None:
    """Look until something holds."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_refusing_redis_leaves_the_job_for_the_next_round(
    sessions: sessionmaker[Session], redis_client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Marked but not published is overdue in five seconds, and nothing is lost."""
    (job_id,) = add(sessions, 1)
    broker, now = CeleryBroker(redis_client), utc_now()

    def refuse(*_: object, **__: object) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr("workers.app.app.send_task", refuse)
    assert run_round(sessions, broker, QUEUE, now).unpublished == 1
    sent: list[list[int]] = []
    monkeypatch.setattr("workers.app.app.send_task", lambda kind, *, args, **_: sent.append(args))
    assert run_round(sessions, broker, QUEUE, now + BACKOFF + timedelta(seconds=1)).published == 1
    assert sent == [[job_id]]
