"""Servers and workers that a test may kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from redis import Redis
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from db.migrate import upgrade
from db.repositories import jobs
from db.session import make_engine, make_sessions
from tests.chaos.fleet import CREATE_MARKS, STEPS
from workers.embedded.ports import free_port
from workers.embedded.postgres import Postgres
from workers.embedded.redis import EmbeddedRedis

PATIENCE_S = 90
SERVERS = ("postgres", "redis", "relay")
WORKER = "worker"


@dataclass
class Fleet:
    """Postgres, Redis, a relay and workers, each a process that can be killed."""

    folder: Path
    postgres: Postgres
    redis: EmbeddedRedis
    engine: Engine
    sessions: sessionmaker[Session]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    well: bool = False
    """Whether the last test came to its end: what runs may serve the next one."""

    def tidy(self) -> None:
        """Be as at first: the servers and the relay up, no job, no worker but one that an earlier test left well."""
        dead = [name for name, process in self.processes.items() if process.poll() is not None]
        workers = [name for name in self.processes if name not in SERVERS and not (self.well and name == WORKER)]
        for name in {*dead, *workers}:
            self.kill(name)
        self.well = False
        for name, start in (
            ("postgres", self.start_postgres),
            ("redis", self.start_redis),
            ("relay", self.start_relay),
        ):
            if name not in self.processes:
                start()
        with self.engine.begin() as connection:
            for table in ("jobs", "marks", "executions"):
                connection.execute(text(f"DELETE FROM {table}"))
        with Redis.from_url(self.redis.url()) as client:  # a test may leave thousands of messages
            for key in client.scan_iter():
                if not key.startswith(b"_kombu.binding."):  # what a worker declares once
                    client.delete(key)

    def start(self, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        """Start a process in a group of its own."""
        environment = {
            **os.environ,
            "METAMON_STATE": str(self.folder / "state"),
            "METAMON_DATABASE_URL": self.postgres.url(),
            "METAMON_REDIS_URL": self.redis.url(),
            "METAMON_TASK_EVENTS": "false",
        }
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, env=environment
            )
        self.processes[name] = process
        return process

    def start_postgres(self) -> None:
        """Start the cluster and wait for it."""
        self.start("postgres", self.postgres.command())
        self.postgres.wait_ready()

    def start_redis(self) -> None:
        """Start Redis and wait for it."""
        self.start("redis", self.redis.command())
        self.redis.wait_ready()

    def start_worker(self, name: str = WORKER, queues: str = "monitoring,research,notifications") -> None:
        """Start a worker and wait until it answers; the one that an earlier test left well is as good as a new one."""
        if name in self.processes:
            return
        self.stop_worker()
        log = self.folder / f"{name}.log"
        begun = log.stat().st_size if log.exists() else 0
        self.start(
            name,
            [
                sys.executable, "-m", "celery", "-A", "tests.chaos.fleet", "worker", "-Q", queues, "-n", f"{name}@%h",
                "--without-gossip", "--without-mingle", "-O", "fair", "-c", "2", "-l", "INFO",
            ],
        )  # fmt: skip
        self.until(lambda: b" ready." in log.read_bytes()[begun:], f"{name} is ready")

    def stop_worker(self) -> None:
        """End the worker that an earlier test left, where there is one."""
        if WORKER in self.processes:
            self.kill(WORKER)

    def start_relay(self, name: str = "relay") -> None:
        """Start a relay."""
        self.start(name, [sys.executable, "-m", "workers.relay"])

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Signal a process and everything below it, and wait for it."""
        process = self.processes.pop(name)
        try:
            below = psutil.Process(process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            below = []
        process.send_signal(number)
        if number == signal.SIGKILL:
            for child in below:
                with suppress(psutil.NoSuchProcess):  # it went with its parent
                    child.kill()
        process.wait(30)

    def kill_all(self) -> None:
        """End everything, the newest first."""
        for name in reversed(list(self.processes)):
            self.kill(name)

    def enqueue(self, chain: int, **args: object) -> int:
        """Start a chain at its first step."""
        with self.sessions.begin() as session:
            job_id = jobs.enqueue(
                session, key=f"mark:{chain}:0", kind=STEPS[0], args={"chain": chain, "step": 0, **args}
            )
        assert job_id is not None
        return job_id

    def marks(self) -> dict[tuple[int, int], int]:
        """Return how many marks each (chain, step) has."""
        with self.sessions() as session:
            rows = session.execute(text("SELECT chain, step, count(*) FROM marks GROUP BY 1, 2")).all()
        return {(chain, step): count for chain, step, count in rows}

    def executions(self, chain: int, step: int) -> int:
        """Return how often a step was begun."""
        with self.sessions() as session:
            return int(
                session.execute(
                    text("SELECT count(*) FROM executions WHERE chain = :chain AND step = :step"),
                    {"chain": chain, "step": step},
                ).scalar_one()
            )

    def done(self, chains: int) -> bool:
        """Tell whether every step of every chain left its mark."""
        try:
            return len(self.marks()) >= chains * len(STEPS)
        except OperationalError:
            return False  # Postgres is away: that is what some tests are about

    def until(self, condition: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> None:
        """Wait for a condition by looking at it; fail with the logs where it never comes."""
        deadline = time.monotonic() + patience_s
        while not condition():
            if time.monotonic() > deadline:
                tails = "\n".join(
                    f"--- {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-15:])
                    for log in sorted(self.folder.glob("*.log"))
                )
                pytest.fail(f"waited {patience_s} s in vain: {what}\n{tails}")
            time.sleep(0.05)

    def assert_once(self, chains: int) -> None:
        """Nothing lost, nothing twice."""
        expected = {(chain, step): 1 for chain in range(chains) for step in range(len(STEPS))}
        assert self.marks() == expected
        self.well = True


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The fleet of all chaos tests."""
    folder = tmp_path_factory.mktemp("chaos")
    postgres = Postgres(folder / "postgres", free_port())
    redis = EmbeddedRedis(folder / "redis", free_port())
    postgres.initialise()
    redis.initialise()
    with ExitStack() as stack:
        engine = make_engine(postgres.url())  # looks at a connection before it is used again: some tests end them all
        fleet = Fleet(folder, postgres, redis, engine, make_sessions(engine))
        stack.callback(fleet.kill_all)
        stack.callback(engine.dispose)
        fleet.start_postgres()
        postgres.create_database()
        upgrade(engine)
        with engine.begin() as connection:
            connection.execute(text(CREATE_MARKS))
        yield fleet


@pytest.fixture
def fleet(servers: Fleet) -> Fleet:
    """A running fleet without a job."""
    servers.tidy()
    return servers


@pytest.fixture
def broker(fleet: Fleet) -> Iterator[Redis]:
    """A client of the fleet's Redis."""
    with Redis.from_url(fleet.redis.url()) as client:
        yield client
