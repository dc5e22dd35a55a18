"""The relay: the only one that publishes. Dispatcher of due jobs and reconciler of lost ones.

One leads (an advisory lock), others wait. Each round: release expired leases, fill each queue up to a bounded window,
mark the rows, COMMIT, and only then publish.
"""

from __future__ import annotations

import signal
import threading
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import psycopg
import structlog
from kombu.exceptions import OperationalError as BrokerError
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError

from core.clock import utc_now
from core.logging import configure_logging
from core.settings import settings
from db.repositories import jobs, pauses
from db.session import Sessions, engine, make_sessions
from workers.app import app, redis_url
from workers.queues import QUEUES

log = structlog.get_logger(__name__)

LEADER_LOCK = 7_305_811_942
WINDOW = 100
"""Messages that may wait in one queue. The rest waits in Postgres, where it costs nothing and is not sent twice."""
BACKOFF = timedelta(seconds=5)
IDLE = timedelta(seconds=1)
"""Longest wait for a notification: due times, leases and lost messages are looked at this often."""


class Broker(Protocol):
    """Where messages go."""

    def depth(self, queue: str) -> int:
        """Return how many messages wait."""

    def publish(self, kind: str, job_id: int, queue: str) -> None:
        """Send one message."""


class CeleryBroker:
    """The real one: depth by LLEN, publishing through the Celery app."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis

    def depth(self, queue: str) -> int:
        """Return LLEN of the queue's list."""
        return int(self.redis.llen(queue))

    def publish(self, kind: str, job_id: int, queue: str) -> None:
        """Send the job's id under a fresh task id: a redelivery is told from a re-dispatch by it."""
        app.send_task(
            kind,
            args=[job_id],
            queue=queue,
            routing_key=queue,
            task_id=str(uuid.uuid4()),
            retry=False,
            argsrepr=f"job {job_id}",  # what Flower shows: `metamon jobs show N`
            kwargsrepr="",
        )


@dataclass
class Round:
    """What one round did."""

    released: int = 0
    published: int = 0
    unpublished: int = 0


def run_round(
    sessions: Sessions, broker: Broker, queues: Iterable[str], now: datetime, *, reconcile: bool = True
) -> Round:
    """Do one round. Errors of the broker leave rows marked; they are overdue in a moment and go again.

    Args:
        queues: the queues to fill.
        reconcile: look at expired leases too.
    """
    done = Round()
    if reconcile:
        with sessions() as session, session.begin():
            done.released = jobs.release_expired(session, now)
    with sessions() as session:
        held = pauses.held(session)
    for queue in queues:
        only = pauses.NEVER_HELD if pauses.holds(held, queue) else None
        try:
            depth = broker.depth(queue)
        except RedisError:
            continue
        room = WINDOW - depth
        if room <= 0:
            continue
        with sessions() as session, session.begin():
            due = jobs.mark_due(session, queue, now=now, limit=room, queue_empty=depth == 0, base=BACKOFF, only=only)
        for job_id, kind in due:
            try:
                broker.publish(kind, job_id, queue)
                done.published += 1
            except (RedisError, BrokerError, OSError) as error:
                done.unpublished += 1
                log.warning("relay.not_published", job_id=job_id, error=type(error).__name__)
    return done


def lead(database: Engine, broker: Broker, queues: tuple[str, ...], stop: threading.Event) -> None:
    """Be a relay until told to stop: wait for the lock, then do rounds; survive Postgres and Redis going away."""
    sessions = make_sessions(database)
    dsn = database.url.set(drivername="postgresql").render_as_string(hide_password=False)
    while not stop.is_set():
        try:
            # A connection of its own: the lock and the LISTEN live exactly as long as it does.
            with psycopg.connect(dsn, autocommit=True, connect_timeout=5) as connection:
                row = connection.execute("SELECT pg_try_advisory_lock(%s)", [LEADER_LOCK]).fetchone()
                if not (row and row[0]):
                    stop.wait(IDLE.total_seconds())
                    continue
                log.info("relay.leading")
                connection.execute(f"LISTEN {jobs.CHANNEL}")
                woken: set[str] = set(queues)
                while not stop.is_set():
                    # A full round every second; between two, only the queues that a notification named.
                    full = woken == set(queues)
                    done = run_round(sessions, broker, [q for q in queues if q in woken], utc_now(), reconcile=full)
                    if full:
                        next_full = time.monotonic() + IDLE.total_seconds()
                    if done.unpublished:
                        stop.wait(IDLE.total_seconds())
                    woken = hear(connection, next_full - time.monotonic()) or set(queues)
        except (DBAPIError, psycopg.Error) as error:
            log.warning("relay.database_away", error=type(error).__name__)
            stop.wait(IDLE.total_seconds())


def hear(connection: psycopg.Connection, patience_s: float) -> set[str]:
    """Return the queues that have new jobs; empty where nothing was heard in time."""
    if patience_s <= 0:
        return set()
    heard = {note.payload for note in connection.notifies(timeout=patience_s, stop_after=1)}
    if heard:  # the rest of a burst, without waiting
        heard |= {note.payload for note in connection.notifies(timeout=0)}
    return heard


def main() -> None:
    """Run a relay until SIGTERM or SIGINT."""
    configure_logging(settings().log_level)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with Redis.from_url(
        redis_url().replace("redis+socket://", "unix://", 1),
        socket_timeout=5,
        socket_connect_timeout=5,
        health_check_interval=10,
    ) as redis:
        lead(engine(), CeleryBroker(redis), QUEUES, stop)


if __name__ == "__main__":
    main()
