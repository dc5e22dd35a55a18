"""No secret of the environment reaches Flower, Redis or a log, whatever task runs and however it fails."""

from __future__ import annotations

import base64
import importlib
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from core.clock import utc_now
from core.settings import Settings
from core.states import JobState
from db.models.jobs import Job
from db.models.mail import Email
from tests.integration.notifications.rows import add_app
from workers.app import app as celery
from workers.embedded import processes
from workers.embedded.folder import StateFolder
from workers.embedded.ports import free_port
from workers.embedded.redis import EmbeddedRedis
from workers.queues import QUEUES, TASK_MODULES

CANARY = "canary-7f3a91c4"
PATIENCE_S = 240


def registered() -> list[str]:
    """Return the names of all tasks of ours; another test's own may be registered in this process too."""
    for module in TASK_MODULES:
        importlib.import_module(module)
    return sorted(name for name, task in celery.tasks.items() if task.__module__ in TASK_MODULES)


def wait_for(there: Callable[[], bool], what: str) -> None:
    """Look until it is there."""
    deadline = time.monotonic() + PATIENCE_S
    while not there():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.3)


@contextmanager
def process(command: list[str], env: dict[str, str], log: Path) -> Iterator[None]:
    """Run one process of the fleet for the length of a block."""
    with log.open("wb") as output:
        child = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=env, start_new_session=True)
    try:
        yield
    finally:
        child.terminate()
        try:
            child.wait(timeout=20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def everything_in(redis: Redis) -> str:
    """Return all that Redis holds, as text."""
    found: list[Any] = []
    for key in redis.keys("*"):
        kind = redis.type(key)
        if kind == b"list":
            found.append(redis.lrange(key, 0, -1))
        elif kind == b"hash":
            found.append(redis.hgetall(key))
        elif kind == b"zset":
            found.append(redis.zrange(key, 0, -1))
        elif kind == b"set":
            found.append(redis.smembers(key))
        else:
            found.append(redis.get(key))
    return repr(found)


def encoded(text: str) -> list[str]:
    """Return the secret as it stands, and what of it is in a message's base64 body whatever stands beside it."""
    found = [text]
    for pad in range(3):
        whole = (pad + len(text)) // 3 * 4  # letters that the secret alone decides end here
        found.append(base64.b64encode(b" " * pad + text.encode()).decode()[4 if pad else 0 : whole])
    return found


@pytest.mark.timeout(600)
def test_no_task_shows_a_secret(
    sessions: sessionmaker[Session], database_url: str, redis_server: EmbeddedRedis, redis_client: Redis, tmp_path: Path
) -> None:
    """Every registered task runs once with canaries for every secret; most fail, and their errors are told too."""
    names = registered()
    assert len(names) >= len(QUEUES)
    secrets = [name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)]
    assert len(secrets) >= 5
    folder = StateFolder(tmp_path / "state")
    folder.prepare()
    port = free_port()
    env = processes.environment(
        folder,
        {
            "METAMON_DATABASE_URL": database_url,
            "METAMON_REDIS_URL": redis_server.url(),
            "METAMON_SMTP_URL": f"smtp://user:{CANARY}@127.0.0.1:9",
            "METAMON_FLOWER_PASSWORD": CANARY,
            "LANGSMITH_API_KEY": CANARY,
            "OPENAI_API_KEY": CANARY,
            "OPENAI_BASE_URL": "http://127.0.0.1:9/v1",
            "METAMON_LANGSMITH_ENDPOINT": "http://127.0.0.1:9",
        },
    )
    with sessions.begin() as session:
        app = add_app(session)
        mail = Email(
            key="k", kind="test", recipient="ada@example.com", subject="s", text_body="t", html_body="h", headers={},
            message_id="<1@x>", app_id=app.id,
        )  # fmt: skip
        session.add(mail)
        session.flush()
        ids = ("alert_id", "proposal_id", "validation_id", "rollout_id", "subject_id")
        args = {"app_id": app.id, "email_id": mail.id, "event": "alert_critical", "chunk": 0}
        args |= dict.fromkeys(ids, 1) | dict.fromkeys(("at", "scheduled_for"), utc_now().isoformat())
        for name in names:
            session.add(Job(key=f"canary:{name}", kind=name, queue=name.partition(".")[0], args=args, max_attempts=1))

    def states() -> set[JobState]:
        with sessions() as session:
            return set(session.scalars(select(Job.state).where(Job.key.startswith("canary:"), Job.attempts == 0)))

    def seen() -> dict[str, Any]:
        request = urllib.request.Request(f"http://127.0.0.1:{port}/api/tasks")
        request.add_header("Authorization", "Basic " + base64.b64encode(f"ops:{CANARY}".encode()).decode())
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                found: dict[str, Any] = json.loads(answer.read())
        except (OSError, urllib.error.URLError):
            return {}
        return found

    include = ",".join(TASK_MODULES)
    worker = [
        sys.executable, "-P", "-m", "celery", "-A", "workers.app", "worker", "-Q", ",".join(QUEUES), "-n", "all@%h",
        "-P", "solo", "--without-gossip", "--without-mingle", "-I", include, "-l", "DEBUG",
    ]  # fmt: skip
    flower = processes.flower(folder, "127.0.0.1", port, login=f"ops:{CANARY}", env=env)
    with ExitStack() as running:
        running.enter_context(process(list(flower.command), dict(flower.env), tmp_path / "flower.log"))
        wait_for(lambda: _open(port), "Flower")
        running.enter_context(process(worker, env, tmp_path / "worker.log"))
        relay = [sys.executable, "-P", "-m", "workers.relay"]
        running.enter_context(process(relay, env, tmp_path / "relay.log"))
        wait_for(lambda: not states(), "every job to be taken")
        wait_for(lambda: {task["name"] for task in seen().values()} >= set(names), "Flower to know every task")
        tasks = seen()
        held = everything_in(redis_client)
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/api/tasks", timeout=10)
        assert refused.value.code == 401
        refused.value.close()

    said = {
        "Flower": json.dumps(tasks),
        "Redis": held,
        **{log.name: log.read_text(errors="replace") for log in tmp_path.glob("*.log")},
    }
    for place, content in said.items():
        assert content
        for secret in encoded(CANARY):
            assert secret not in content, f"{place} holds a secret"
    assert "job.failed" in said["worker.log"]  # errors were told, and none told a secret
    with sessions() as session:
        errors = " ".join(error or "" for error in session.scalars(select(Job.error)))
        rows = {f"job {job_id}" for job_id in session.scalars(select(Job.id))}
    assert CANARY not in errors
    assert {task["args"] for task in tasks.values()} <= rows  # readable, and nothing but the job's number


def _open(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthcheck", timeout=5):
            return True
    except (OSError, urllib.error.URLError):
        return False


def test_the_canary_would_be_found() -> None:
    """The search finds a secret in a message's body too, whatever stands before it."""
    for shift in range(3):
        body = base64.b64encode(b"x" * shift + f"password={CANARY}&more".encode()).decode()
        assert any(secret in body for secret in encoded(CANARY)), shift
