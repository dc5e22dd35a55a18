"""A paused queue keeps its jobs; the guards of rollouts stay awake."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from core.clock import utc_now
from core.states import Scope
from db.models.access import AuditEntry
from db.queries.pauses import list_pauses
from db.repositories import jobs, pauses
from tests.api_server import bearer, served_api
from workers.queues import QUEUES
from workers.relay import run_round


class Shelf:
    """A broker that keeps what it is given."""

    def __init__(self) -> None:
        self.kinds: list[str] = []

    def depth(self, queue: str) -> int:
        """Nothing ever waits."""
        return 0

    def publish(self, kind: str, job_id: int, queue: str) -> None:
        """Keep it."""
        self.kinds.append(kind)


@pytest.fixture
def http(sessions: sessionmaker[Session]) -> Iterator[httpx.Client]:
    """An admin's client."""
    with served_api(sessions) as url, httpx.Client(base_url=f"{url}/api/v1", timeout=60) as client:
        client.headers.update(bearer(sessions, Scope.ADMIN))
        yield client


def test_a_paused_fleet_sends_the_guards_alone(http: httpx.Client, sessions: sessionmaker[Session]) -> None:
    """All paused: nothing but the guard goes out; unpaused: everything does. Both are on record."""
    kinds = {"monitoring.sweep", "research.investigate", "rollout.guard", "rollout.advance", "rollout.start"}
    with sessions.begin() as session:
        for kind in kinds:
            jobs.enqueue(session, key=kind, kind=kind)
    assert http.post("/pause", json={"queue": None, "reason": "maintenance"}).json()[0]["queue"] is None
    shelf = Shelf()
    run_round(sessions, shelf, QUEUES, utc_now() + timedelta(seconds=1))
    assert set(shelf.kinds) == {"rollout.guard", "rollout.advance"}
    assert http.delete("/pause/all").status_code == 204
    assert http.delete("/pause/all").status_code == 404
    run_round(sessions, shelf, QUEUES, utc_now() + timedelta(seconds=1))
    assert sorted(shelf.kinds) == sorted(kinds)
    with sessions() as session:
        noted = session.scalars(
            select(AuditEntry.action).where(AuditEntry.subject == "queue:*").order_by(AuditEntry.id)
        )
        assert list(noted) == ["queue.pause", "queue.unpause"]


def test_one_queue_is_paused_alone(http: httpx.Client, sessions: sessionmaker[Session]) -> None:
    """The others go on; a queue that there is not is refused and the real ones are named."""
    with sessions.begin() as session:
        for kind in ("research.investigate", "monitoring.sweep"):
            jobs.enqueue(session, key=kind, kind=kind)
    assert http.post("/pause", json={"queue": "research", "reason": "model is down"}).status_code == 200
    refused = http.post("/pause", json={"queue": "nope", "reason": "x"})
    assert (refused.status_code, "research" in refused.json()["detail"]) == (400, True)
    shelf = Shelf()
    run_round(sessions, shelf, QUEUES, utc_now() + timedelta(seconds=1))
    assert shelf.kinds == ["monitoring.sweep"]
    assert [pause["by"] for pause in http.get("/pause").json()] == ["token:tess"]
    assert "research is paused" in " ".join(http.get("/overview").json()["verdict"]["reasons"])


def test_what_was_sent_before_the_pause_is_not_begun(sessions: sessionmaker[Session]) -> None:
    """A message that is on its way finds the door closed, and the job is as it was."""
    now = utc_now() + timedelta(seconds=1)
    with sessions.begin() as session:
        held = jobs.enqueue(session, key="a", kind="research.investigate")
        guard = jobs.enqueue(session, key="b", kind="rollout.advance")
        pauses.pause(session, None, queues=QUEUES, by="test", reason="now", now=now)
    assert held is not None
    assert guard is not None
    lease = timedelta(minutes=1)
    with sessions.begin() as session:
        assert jobs.claim(session, held, owner="x", now=now, lease=lease) is None
        assert jobs.claim(session, guard, owner="x", now=now, lease=lease) is not None
        assert [pause.reason for pause in list_pauses(session)] == ["now"]
        pauses.unpause(session, None, by="test")
        taken = jobs.claim(session, held, owner="x", now=now, lease=lease)
    assert taken is not None
    assert taken.attempt == 1
