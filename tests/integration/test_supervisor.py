"""The supervisor with small real processes: what dies comes back, what stops leaves nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from workers.embedded import supervisor as module
from workers.embedded.supervisor import ServiceState, Spec, StartError, Supervisor

SLEEP = ("sleep", "600")


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    """A supervisor that is stopped after the test."""
    keeper = Supervisor(tmp_path, lambda: None)
    yield keeper
    hurry = threading.Event()
    hurry.set()
    keeper.stop({1: 0, 2: 0}, hurry)


def until(keeper: Supervisor, condition: Callable[[], object], timeout_s: float = 20) -> None:
    """Turn the loop until something holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, [process.state for process in keeper.processes]
        keeper.tick()
        time.sleep(0.01)


def test_a_killed_process_is_started_again(supervisor: Supervisor) -> None:
    """Kill -9 costs one back-off and gives a new process."""
    process = supervisor.add(Spec("sleeper", SLEEP, os.environ))
    until(supervisor, lambda: process.state is ServiceState.OK)
    first = process.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    until(supervisor, lambda: process.state is ServiceState.OK and process.pid != first)
    assert process.restarts == 1


def test_the_pause_grows_with_every_death_in_a_row(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot start must not eat the machine."""
    monkeypatch.setattr(module, "BACKOFF_S", 0.05)
    process = supervisor.add(Spec("broken", ("false",), os.environ))
    pauses = []
    for deaths in range(1, 4):
        until(supervisor, lambda deaths=deaths: process.failures == deaths)  # type: ignore[misc]
        pauses.append(process.next_start - time.monotonic())
    assert process.exit_code == 1
    assert pauses[0] < pauses[1] < pauses[2]


def test_the_pause_has_a_cap_after_thousands_of_deaths(supervisor: Supervisor) -> None:
    """A service that is away for a night must not end the supervisor in the morning."""
    process = supervisor.add(Spec("broken", ("false",), os.environ))
    process.failures = 5000
    until(supervisor, lambda: process.failures > 5000)
    assert process.next_start - time.monotonic() <= module.BACKOFF_CAP_S


def test_a_log_that_cannot_be_opened_costs_its_process_alone(tmp_path: Path, supervisor: Supervisor) -> None:
    """A full disk, say: the others are kept alive, and it is started when there is room."""
    blocked = tmp_path / "blocked.log"
    blocked.mkdir()
    process = supervisor.add(Spec("blocked", SLEEP, os.environ))
    other = supervisor.add(Spec("other", SLEEP, os.environ))
    until(supervisor, lambda: process.failures and other.state is ServiceState.OK)
    blocked.rmdir()
    until(supervisor, lambda: process.state is ServiceState.OK)


def test_what_never_starts_is_reported_with_the_end_of_its_log(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says what the process said."""
    monkeypatch.setattr(module, "BACKOFF_S", 0.01)
    process = supervisor.add(Spec("broken", ("sh", "-c", "echo the disk is on fire; exit 7"), os.environ))
    until(supervisor, lambda: process.failures >= 3)
    with pytest.raises(StartError, match=r"broken left with 7.*\n.*the disk is on fire"):
        process.wait_ready(5, threading.Event())


def test_a_missing_program_is_a_failure_and_not_the_end(supervisor: Supervisor) -> None:
    """The loop goes on and the log names what was missing."""
    process = supervisor.add(Spec("absent", ("/no/such/program",), os.environ))
    until(supervisor, lambda: process.failures)
    assert "/no/such/program" in process.log.read_text()


def test_readiness_is_what_the_probe_says(supervisor: Supervisor) -> None:
    """Running is not ready."""
    answer = threading.Event()
    process = supervisor.add(Spec("slow", SLEEP, os.environ, ready=lambda _: answer.is_set()))
    until(supervisor, lambda: process.pid)
    assert process.state is ServiceState.STARTING
    answer.set()
    until(supervisor, lambda: process.state is ServiceState.OK)


def test_the_children_of_a_dead_process_die_with_it(supervisor: Supervisor, tmp_path: Path) -> None:
    """A killed worker's own children hold connections and locks: they must not outlive it."""
    note = tmp_path / "child"
    script = f'sleep 600 & echo $! > "{note}.new"; mv "{note}.new" "{note}"; wait'
    process = supervisor.add(Spec("parent", ("sh", "-c", script), os.environ))
    until(supervisor, note.exists)
    child = psutil.Process(int(note.read_text()))
    note.unlink()
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    until(supervisor, lambda: process.restarts == 1)
    until(supervisor, lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_stopping_goes_by_stages_and_kills_the_deaf(supervisor: Supervisor, tmp_path: Path) -> None:
    """Apps before services; who ignores the signal is killed after its grace."""
    deaf = 'trap "" TERM; touch "$0"; while :; do sleep 600; done'
    app = supervisor.add(Spec("app", ("sh", "-c", deaf, str(tmp_path / "deaf")), os.environ, stage=2))
    service = supervisor.add(Spec("service", SLEEP, os.environ, stage=1))
    until(supervisor, lambda: (tmp_path / "deaf").exists() and service.state is ServiceState.OK)
    begun = time.monotonic()
    supervisor.stop({1: 5, 2: 0.3}, threading.Event())
    assert 0.3 <= time.monotonic() - begun < 4
    assert app.popen is not None
    assert service.popen is not None
    assert (app.popen.returncode, service.popen.returncode) == (-signal.SIGKILL, -signal.SIGTERM)


def test_a_log_over_its_cap_is_cut_while_it_is_written(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fleet that runs for a year does not fill the disk with logs."""
    monkeypatch.setattr(module, "LOG_CAP_BYTES", 10_000)
    monkeypatch.setattr(module, "LOG_CHECK_S", 0.0)
    process = supervisor.add(Spec("loud", ("sh", "-c", "while :; do echo $(seq 200); done"), os.environ))
    old = process.log.with_suffix(".log.1")
    until(supervisor, old.exists)
    old.unlink()
    until(supervisor, old.exists)  # the writer went on in the cut file
    assert process.log.stat().st_size + old.stat().st_size < 5_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent's death")
def test_processes_die_with_a_killed_supervisor(tmp_path: Path) -> None:
    """Kill -9 of `up` leaves nothing running."""
    script = (
        "import os, pathlib, sys, time\n"
        "from workers.embedded.supervisor import Spec, Supervisor\n"
        "keeper = Supervisor(pathlib.Path(sys.argv[1]), lambda: None)\n"
        "process = keeper.add(Spec('sleeper', ('sleep', '600'), os.environ))\n"
        "while not process.is_ready.is_set(): keeper.tick(); time.sleep(0.01)\n"
        "print(process.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    up = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    with up:
        assert up.stdout is not None
        child = psutil.Process(int(up.stdout.readline()))
        up.kill()
        up.wait()
        psutil.wait_procs([child], timeout=10)
        assert not child.is_running()
