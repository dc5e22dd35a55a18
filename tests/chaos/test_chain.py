"""Kill whatever can be killed in the middle of a chain; nothing is lost and nothing happens twice."""

from __future__ import annotations

import itertools
import signal
import sys
import threading
from datetime import datetime, timedelta

import psutil
import pytest
from redis import Redis
from sqlalchemy import func, select

from core.states import JobState
from db.models.jobs import Job
from tests.chaos.conftest import Fleet
from tests.chaos.fleet import STEPS, app
from workers.beat import tick_key
from workers.relay import CeleryBroker

pytestmark = pytest.mark.chaos

CHAINS = 12


def test_a_worker_child_killed_at_every_point_of_every_step(fleet: Fleet) -> None:
    """SIGKILL before the work, inside its transaction and after its commit, in each of the three steps."""
    fleet.start_worker()
    points = [(point, step) for point in ("before", "inside", "after") for step in range(len(STEPS))]
    for chain, (point, step) in enumerate(points):
        fleet.enqueue(chain, die=point, die_step=step, die_times=1)
    fleet.until(lambda: fleet.done(len(points)), "all chains are done")
    fleet.until(lambda: _open_jobs(fleet) == 0, "no job is left open")
    fleet.assert_once(len(points))


def test_whole_workers_killed_again_and_again(fleet: Fleet) -> None:
    """SIGKILL of the worker with all its children while chains run; leases run out and another takes over."""
    fleet.start_worker("first")
    for chain in range(CHAINS):
        fleet.enqueue(chain)
    fleet.until(lambda: len(fleet.marks()) >= 3, "the first marks")
    fleet.kill("first")
    fleet.start_worker("second")
    fleet.until(lambda: len(fleet.marks()) >= 2 * CHAINS, "most marks")
    fleet.kill("second")
    fleet.start_worker("third")
    fleet.until(lambda: fleet.done(CHAINS), "all chains are done")
    fleet.assert_once(CHAINS)


def test_redis_killed_and_wiped_between_two_steps(fleet: Fleet) -> None:
    """The messages are gone for good; the rows are not."""
    fleet.start_worker("first-step", queues="monitoring")
    for chain in range(CHAINS):
        fleet.enqueue(chain)
    fleet.until(lambda: len(fleet.marks()) >= CHAINS, "the first step is done everywhere")
    fleet.kill("redis")
    for file in fleet.redis.folder.glob("appendonly*"):
        for part in [file] if file.is_file() else list(file.iterdir()):
            part.unlink()
    fleet.start_redis()
    fleet.start_worker("the-rest", queues="research,notifications")
    fleet.until(lambda: fleet.done(CHAINS), "all chains are done")
    fleet.assert_once(CHAINS)


def test_a_worker_hears_again_after_redis_restarted_twice(fleet: Fleet) -> None:
    """A worker that stays deaf after a restart of Redis is the most common silent failure of a fleet."""
    fleet.start_worker()
    for round_ in range(2):
        fleet.kill("redis")
        fleet.start_redis()
        fleet.enqueue(round_)
        fleet.until(lambda: fleet.done(round_ + 1), f"chain {round_} is done")  # noqa: B023
    fleet.assert_once(2)


def test_postgres_restarted_in_the_middle(fleet: Fleet) -> None:
    """Workers and relay reconnect; what was not committed is done again, what was committed is not."""
    fleet.start_worker()
    for chain in range(CHAINS):
        fleet.enqueue(chain)
    fleet.until(lambda: len(fleet.marks()) >= 2, "the first marks")
    fleet.kill("postgres", signal.SIGINT)
    fleet.start_postgres()
    fleet.until(lambda: fleet.done(CHAINS), "all chains are done")
    fleet.assert_once(CHAINS)


def test_every_message_delivered_twice(fleet: Fleet, broker: Redis) -> None:
    """A second publisher sends every job again, for as long as the chains run."""
    fleet.start_worker()
    stop = threading.Event()
    app.conf.broker_url = fleet.redis.url()
    sender = CeleryBroker(broker)

    def echo() -> None:
        while not stop.wait(0.02):
            with fleet.sessions() as session:
                for job_id, kind, queue in session.execute(select(Job.id, Job.kind, Job.queue)).all():
                    sender.publish(kind, job_id, queue)

    thread = threading.Thread(target=echo)
    thread.start()
    try:
        for chain in range(CHAINS):
            fleet.enqueue(chain)
        fleet.until(lambda: fleet.done(CHAINS), "all chains are done")
    finally:
        stop.set()
        thread.join()
    fleet.assert_once(CHAINS)


def test_a_message_lost_in_a_frozen_worker(fleet: Fleet, broker: Redis) -> None:
    """Taken from the list and never acknowledged: no setting of Celery helps, the outbox does."""
    fleet.start_worker("frozen", queues="monitoring")
    frozen = psutil.Process(fleet.processes["frozen"].pid)
    for process in [frozen, *frozen.children(recursive=True)]:
        process.suspend()
    fleet.enqueue(0)
    fleet.until(lambda: _dispatched(fleet) > 0, "the relay has sent it")
    fleet.kill("frozen")
    broker.flushall()  # the worst case: not even the unacknowledged set is left
    fleet.start_worker()
    fleet.until(lambda: fleet.done(1), "the chain is done")
    fleet.assert_once(1)


def test_poison_runs_a_bounded_number_of_times(fleet: Fleet) -> None:
    """A task that kills its process every time ends among the dead, visible, after exactly its attempts."""
    fleet.start_worker()
    job_id = fleet.enqueue(0, die="before", die_step=0, die_times=99)
    fleet.until(lambda: _state(fleet, job_id) is JobState.DEAD, "the job is dead")
    with fleet.sessions() as session:
        row = session.get_one(Job, job_id)
    assert fleet.executions(0, 0) == row.max_attempts == row.attempts
    assert fleet.marks() == {}


def test_two_beats_make_one_row_a_tick(fleet: Fleet) -> None:
    """Beat is no single point of failure where two of them do no harm."""
    fleet.stop_worker()
    for name in ("beat-1", "beat-2"):
        fleet.start(name, [sys.executable, "-m", "celery", "-A", "tests.chaos.beat", "beat", "-l", "INFO"])
    fleet.until(lambda: _ticks(fleet) >= 5, "five ticks")
    with fleet.sessions() as session:
        rows = session.execute(
            select(Job.key, Job.args["scheduled_for"].astext).where(Job.kind == "monitoring.mark").order_by(Job.id)
        ).all()
    slots = [slot for _, slot in rows]
    assert len(slots) == len(set(slots))
    times = sorted(datetime.fromisoformat(slot) for slot in slots)
    assert {tick_key("mark", time) for time in times} == {key for key, _ in rows}
    steps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert all(step >= timedelta(seconds=1) and not step % timedelta(seconds=1) for step in steps), "whole slots only"


def _ticks(fleet: Fleet) -> int:
    with fleet.sessions() as session:
        return int(session.scalar(select(func.count()).select_from(Job).where(Job.kind == "monitoring.mark")) or 0)


def _state(fleet: Fleet, job_id: int) -> JobState:
    with fleet.sessions() as session:
        return session.get_one(Job, job_id).state


def _dispatched(fleet: Fleet) -> int:
    with fleet.sessions() as session:
        return int(session.scalar(select(func.sum(Job.dispatches))) or 0)


def _open_jobs(fleet: Fleet) -> int:
    with fleet.sessions() as session:
        states = (JobState.QUEUED, JobState.RUNNING)
        return int(session.scalar(select(func.count()).select_from(Job).where(Job.state.in_(states))) or 0)
