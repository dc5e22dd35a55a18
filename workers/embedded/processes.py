"""What the fleet consists of, beside its databases: one `Spec` for each process."""

from __future__ import annotations

import http.client
import os
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from workers.embedded.folder import StateFolder, write_private
from workers.embedded.postgres import Postgres
from workers.embedded.redis import EmbeddedRedis
from workers.embedded.supervisor import Process, Spec
from workers.queues import CONCURRENCY, QUEUES

SERVICES, APPS = 1, 2
"""Stages: apps are stopped before the services they work on."""

GRACE_S = {SERVICES: 3.5, APPS: 9.0}
"""Longest wait by stage; together they keep the promise to stop within 15 seconds."""

PYTHON = (sys.executable, "-P", "-m")  # -P: a folder `core` where the user stands must not shadow ours
COMMAND = (*PYTHON, "workers.command")
CELERY = (*PYTHON, "celery", "-A", "workers.app")


def environment(folder: StateFolder, extra: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of our own processes: the user's, minus settings that are set to nothing."""
    env = {name: value for name, value in os.environ.items() if value or not name.startswith("METAMON_")}
    env |= {
        "METAMON_STATE": str(folder.path),
        "PYTHONUNBUFFERED": "1",
        "REMAP_SIGTERM": "SIGQUIT",  # celery: SIGTERM begins the soft shutdown
    }
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # a dozen processes would compile every module at every start
    # Many small processes on few cores: numpy's threads and glibc's arenas would cost memory and win nothing.
    for name, value in {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}.items():
        env.setdefault(name, value)
    return env | dict(extra)


def answers_tcp(host: str, port: int) -> Callable[[Process], bool]:
    """Return a probe: something listens."""

    def probe(_: Process) -> bool:
        try:
            with socket.create_connection((host, port), timeout=1):
                return True
        except OSError:
            return False

    return probe


def answers_http(host: str, port: int, path: str) -> Callable[[Process], bool]:
    """Return a probe: an HTTP server answers, whatever it answers."""

    def probe(_: Process) -> bool:
        connection = http.client.HTTPConnection(host, port, timeout=3)
        try:
            connection.request("GET", path)
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        return True

    return probe


def said_ready(path: Path) -> Callable[[Process], bool]:
    """Return a probe: the file was touched in this life of the process."""

    def probe(process: Process) -> bool:
        try:
            return path.stat().st_mtime >= process.since.timestamp()
        except OSError:
            return False

    return probe


def reachable_at(host: str) -> str:
    """Return the address under which this machine reaches a server that listens on `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104  # compared, not bound


def url_of(host: str, port: int) -> str:
    """Return the URL under which this machine reaches an HTTP server that listens on `host`."""
    name = reachable_at(host)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def postgres(server: Postgres, env: Mapping[str, str]) -> Spec:
    """Return the embedded Postgres. SIGINT: do not wait for clients."""
    return Spec(
        "postgres", tuple(server.command()), env, f"postgresql://127.0.0.1:{server.port}/metamon",
        ready=answers_tcp("127.0.0.1", server.port),
        stop_signal=signal.SIGINT, death_signal=signal.SIGINT, stage=SERVICES,
    )  # fmt: skip


def redis(server: EmbeddedRedis, env: Mapping[str, str]) -> Spec:
    """Return the embedded Redis."""
    return Spec(
        "redis", tuple(server.command()), env, f"redis://127.0.0.1:{server.port}/0",
        ready=answers_tcp("127.0.0.1", server.port), death_signal=signal.SIGTERM, stage=SERVICES,
    )  # fmt: skip


def smtp(folder: StateFolder, port: int, env: Mapping[str, str], host: str = "127.0.0.1") -> Spec:
    """Return the embedded mail server."""
    return Spec(
        "smtp", (*PYTHON, "workers.embedded.smtp", str(port), str(folder.mail), host), env, f"smtp://{host}:{port}",
        ready=answers_tcp("127.0.0.1", port), stage=SERVICES,
    )  # fmt: skip


def workers(folder: StateFolder, env: Mapping[str, str]) -> list[Spec]:
    """Return one worker per queue, so that a long validation never sits on a sweep.

    Gossip and mingle would have workers talk to each other about what Postgres knows. `-O fair` gives a task to a child
    that is free, not to the next in turn, where it would wait behind a long one.
    """
    return [
        Spec(
            f"worker-{queue}",
            (
                *COMMAND, "worker", "-Q", queue, "-n", f"{queue}@%h", "--without-gossip", "--without-mingle",
                "-O", "fair", "-c", str(CONCURRENCY.get(queue, 1)), "-I", f"tasks.{queue},workers.embedded.worker",
            ),
            env, ready=said_ready(folder.run / f"{queue}.ready"), stage=APPS,
        )
        for queue in QUEUES
    ]  # fmt: skip


def flower(folder: StateFolder, host: str, port: int, *, login: str, env: Mapping[str, str]) -> Spec:
    """Return Flower; `login` is user:password. It travels in the environment: a command line is in every `ps`.

    Read-only: the rows are the truth. What Flower can revoke, kill or post, the relay would only send again.
    """
    store = folder.path / "flower"
    store.mkdir(mode=0o700, exist_ok=True)
    return Spec(
        "flower",
        (
            *CELERY, "flower", f"--address={host}", f"--port={port}", "--persistent=True", "--max_tasks=10000",
            "--max_workers=100", "--state_save_interval=60000", "--purge_offline_workers=300", "--read_only=True",
            "--tasks_columns=name,args,state,received,started,runtime,worker,uuid",
        ),
        {**env, "FLOWER_BASIC_AUTH": login, "FLOWER_DB": str(store / "state")},
        url_of(host, port),
        ready=answers_http(reachable_at(host), port, "/healthcheck"), stage=APPS,
    )  # fmt: skip


def flower_password(folder: StateFolder) -> str:
    """Return the generated password of Flower, the same at every start."""
    if not folder.flower_password.exists():
        write_private(folder.flower_password, secrets.token_urlsafe(18) + "\n")
    return folder.flower_password.read_text().strip()


def api(host: str, port: int, env: Mapping[str, str]) -> Spec:
    """Return the API."""
    return Spec(
        "api",
        (
            *PYTHON, "uvicorn", "--factory", "api.app:create_app", "--host", host, "--port", str(port),
            "--no-access-log", "--log-level", "warning", "--timeout-graceful-shutdown", "4",
        ),
        env, url_of(host, port), ready=answers_http(reachable_at(host), port, "/health"), stage=APPS,
    )  # fmt: skip


def clockwork(env: Mapping[str, str]) -> list[Spec]:
    """Return beat, which inserts ticks, and the relay, which publishes what is due."""
    return [
        Spec("beat", (*COMMAND, "beat"), env, stage=APPS),
        Spec("relay", (*PYTHON, "workers.relay"), env, stage=APPS),
    ]


def demo(env: Mapping[str, str]) -> Spec:
    """Return the demo's driver: the monitored application, its traffic and its faults."""
    return Spec("demo", (*PYTHON, "demo"), env, stage=APPS)
