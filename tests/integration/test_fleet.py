"""`metamon up` for real: two whole fleets side by side, killed, restarted, stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import psutil
import pytest
from sqlalchemy.orm import Session, sessionmaker

from core.clock import utc_now
from core.settings import Settings
from core.states import Scope
from db.repositories import tokens
from db.session import make_engine, make_sessions
from workers import status
from workers.embedded.folder import FleetRecord, StateFolder
from workers.queues import QUEUES

SERVICES = {"postgres", "redis", "smtp", "api", "beat", "relay", "flower", *(f"worker-{queue}" for queue in QUEUES)}
T = TypeVar("T")
START_S = 240
"""Generous: this machine may be busy with other things."""


def metamon(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the console script against a state folder."""
    return subprocess.run(
        [*COMMAND, *arguments, "--state", str(folder)], capture_output=True, text=True, check=False, env=environment()
    )


COMMAND = (sys.executable, "-c", "from cli.main import main; main()")


def environment() -> dict[str, str]:
    """Return an environment without any setting of ours, and no terminal colours."""
    return {name: value for name, value in os.environ.items() if not name.startswith("METAMON_")}


class Up:
    """One `metamon up` of a test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.output = folder.with_name(folder.name + ".out")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it where it does not run."""
        if self.process is None or self.process.poll() is not None:
            with self.output.open("ab") as output:
                self.process = subprocess.Popen(
                    [*COMMAND, "up", "--state", str(self.folder)],
                    stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment(), start_new_session=True,
                )  # fmt: skip

    def ready(self) -> FleetRecord:
        """Wait until every service is well and return the fleet's record."""

        def well() -> FleetRecord | None:
            assert self.process is not None
            assert self.process.poll() is None, self.output.read_text()
            record = StateFolder(self.folder).running()
            states = {service.name: service.state for service in record.services} if record else {}
            return record if states == dict.fromkeys(SERVICES, "ok") else None

        return wait_for(well, START_S, self.output.read_text)

    def kill(self) -> None:
        """Kill it the hard way, if it runs."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


def wait_for(condition: Callable[[], T | None], timeout_s: float, story: Callable[[], str] = str) -> T:
    """Return the first answer that is something."""
    deadline = time.monotonic() + timeout_s
    while True:
        if found := condition():
            return found
        assert time.monotonic() < deadline, story()
        time.sleep(0.1)


def family(folder: Path) -> list[psutil.Process]:
    """Return every living process of a state folder's fleet, found by its environment."""
    found = []
    for process in psutil.process_iter(["environ", "status"]):
        environ = process.info["environ"] or {}
        if environ.get("METAMON_STATE") == str(folder) and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def service_pid(record: FleetRecord, name: str) -> int:
    """Return the process id of a service."""
    pid = next(service.pid for service in record.services if service.name == name)
    assert pid is not None
    return pid


@pytest.fixture(scope="module")
def ups(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Up, Up]]:
    """Two fleets that start at the same moment, in folders with a space in their names."""
    base = tmp_path_factory.mktemp("two fleets")
    pair = Up(base / "first state"), Up(base / "second state")
    for up in pair:
        up.start()
    yield pair
    for up in pair:
        up.kill()
    for up in pair:
        wait_for(lambda up=up: not family(up.folder), 30)  # type: ignore[misc]


@pytest.fixture
def first(ups: tuple[Up, Up]) -> Up:
    """The first fleet, up."""
    ups[0].start()
    return ups[0]


@pytest.fixture
def second(ups: tuple[Up, Up]) -> Up:
    """The second fleet, up."""
    ups[1].start()
    return ups[1]


def test_two_states_run_side_by_side(first: Up, second: Up) -> None:
    """Every port of the second is moved out of the first one's way, and each database is its own."""
    one, two = first.ready(), second.ready()
    urls = [[service.url for service in record.services if service.url] for record in (one, two)]
    assert len(urls[0]) == len(urls[1]) == 5
    assert not set(urls[0]) & set(urls[1])
    for record in (one, two):
        with urllib.request.urlopen(record.settings["public_url"] + "/health", timeout=20) as answer:
            assert json.load(answer) == {"status": "ok"}


def test_status_says_how_it_is_and_where_everything_is(first: Up) -> None:
    """One JSON document for whoever looks from outside; all is well, so it leaves with 0."""
    record = first.ready()
    run = metamon(first.folder, "status", "--json")
    assert run.returncode == 0, run.stdout + run.stderr
    document = json.loads(run.stdout)
    assert (document["verdict"], document["reasons"], document["apps"], document["rollouts"]) == ("ok", [], [], [])
    assert [queue["name"] for queue in document["queues"]] == list(QUEUES)
    assert {"queued", "running", "dead", "oldest_age_s"} <= document["queues"][0].keys()
    assert {service["name"] for service in document["services"]} == SERVICES
    assert document["url"] == record.settings["public_url"]
    assert document["flower_url"] == record.settings["flower_url"]
    assert record.settings["flower_password"] not in run.stdout


def test_flower_asks_for_the_password(first: Up) -> None:
    """On loopback, with basic auth: its pages show arguments and can kill workers."""
    record = first.ready()
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(record.settings["flower_url"] + "/workers", timeout=20)


def test_a_second_up_is_refused_while_it_runs(first: Up) -> None:
    """It names the way out, and does not harm the running fleet."""
    record = first.ready()
    run = metamon(first.folder, "up")
    assert run.returncode == 2
    assert f"process {record.pid}" in run.stderr
    assert "metamon down" in run.stderr
    assert first.ready().pid == record.pid


def test_a_killed_worker_is_started_again(first: Up) -> None:
    """Kill -9 of one process: the others do not notice."""
    before = first.ready()
    pid = service_pid(before, "worker-research")
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: service_pid_or_none(first, "worker-research") not in (None, pid), START_S)
    after = first.ready()
    changed = {service.name for service in after.services if service_pid(before, service.name) != service.pid}
    assert changed == {"worker-research"}


def service_pid_or_none(up: Up, name: str) -> int | None:
    """Return a service's process id where it runs."""
    record = StateFolder(up.folder).running()
    return next((service.pid for service in record.services if service.name == name), None) if record else None


def test_a_killed_up_does_not_stand_in_the_way_of_the_next_and_loses_nothing(second: Up) -> None:
    """Kill -9 of `up`: its processes go, the status says what to do, and the next `up` finds its database."""
    record = second.ready()
    with database(record) as sessions, sessions.begin() as session:
        token = tokens.create(session, name="kept", scope=Scope.VIEWER, by="test")
    second.kill()
    found = status.read(Settings(state=second.folder), None, now=utc_now())
    assert found.verdict is status.Verdict.DOWN
    assert "was killed: metamon up" in found.reasons[0]
    second.start()
    again = second.ready()
    assert again.pid != record.pid
    with database(again) as sessions, sessions.begin() as session:
        assert tokens.find(session, token, now=utc_now()) is not None


@contextmanager
def database(record: FleetRecord) -> Iterator[sessionmaker[Session]]:
    """Open a fleet's database."""
    engine = make_engine(record.settings["database_url"])
    try:
        yield make_sessions(engine)
    finally:
        engine.dispose()


def test_ctrl_c_stops_everything_within_fifteen_seconds(second: Up) -> None:
    """No orphan, no file that speaks of a fleet."""
    second.ready()
    process = second.process
    assert process is not None
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    assert time.monotonic() - begun < 15
    assert family(second.folder) == []
    assert not (second.folder / "fleet.json").exists()


def test_down_stops_the_fleet_of_another_shell(first: Up) -> None:
    """From anywhere, by the state folder alone."""
    first.ready()
    run = metamon(first.folder, "down")
    assert run.returncode == 0, run.stderr
    assert first.process is not None
    assert first.process.wait(5) == 0
    assert family(first.folder) == []
