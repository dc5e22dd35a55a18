"""A hostile candidate breaks its own case and nothing else."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from core.states import CaseOutcome
from targets.answers import Answer
from targets.checks import Exact
from targets.evaluators import judge
from targets.python import PythonRunner
from targets.spec import PythonTarget

TIMEOUT_S = 2.0

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits and namespaces are Linux'")


@pytest.fixture(scope="module")
def shared() -> Iterator[PythonRunner]:
    """One runner for all tests of the module: what one case leaves behind would show in the next."""
    spec = PythonTarget(
        kind="python",
        callable="tests.fakes.candidates:hostile",
        env={"NAMED": "yes"},
        timeout_s=TIMEOUT_S,
        memory_mb=400,
        path=[str(Path(__file__).parents[2])],
    )
    runner = PythonRunner(spec)
    yield runner
    runner.close()


@pytest.fixture
def runner(shared: PythonRunner) -> Iterator[PythonRunner]:
    """The shared runner, which must answer well before and after whatever happened."""
    assert shared.ask({"how": "behave"}, {}).output == {"value": 42}
    yield shared
    after = shared.ask({"how": "behave"}, {})
    assert (after.outcome, after.output) == (CaseOutcome.OK, {"value": 42}), after.error


def ask(runner: PythonRunner, how: str, **inputs: object) -> Answer:
    """Ask for one misdeed."""
    return runner.ask({"how": how, **inputs}, {})


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ("bomb", "Resource temporarily unavailable|ended by SIGKILL|no answer within"),
        ("memory", "MemoryError|ended by SIGKILL"),
        ("hang", "no answer within 2 s"),
        ("spin", "no answer within 2 s"),
        ("print", "File too large"),
        ("disk", "No space left on device|File too large"),
        ("exit", "asked to leave with 3"),
        ("_exit", "left with status 7"),
        ("abort", "SIGABRT"),
        ("raise", "ZeroDivisionError"),
        ("big", "65536 are allowed"),
        ("garbage", "out of turn"),
    ],
)
def test_a_misdeed_fails_its_own_case(runner: PythonRunner, how: str, error: str) -> None:
    """Fork bomb, memory, endless loops, a gigabyte of output, exits: `failed`, with the reason, within the time."""
    started = time.monotonic()
    answer = ask(runner, how)
    assert answer.outcome is CaseOutcome.FAILED
    assert any(part in (answer.error or "") for part in error.split("|")), answer.error
    assert time.monotonic() - started < TIMEOUT_S + 5


def test_a_fork_bomb_stays_small(runner: PythonRunner) -> None:
    """While it runs, there are no more processes than the target's limit, and afterwards none of them."""
    me, most, over = psutil.Process(), 0, threading.Event()
    others = len(me.children(recursive=True))  # the session's own servers

    def count() -> None:
        nonlocal most
        while not over.is_set():
            most = max(most, len(me.children(recursive=True)))

    counter = threading.Thread(target=count)
    counter.start()
    ask(runner, "bomb")
    over.set()
    counter.join()
    ask(runner, "behave")
    assert most - others <= runner.spec.processes + 3  # launcher, process 1 and the runner's own
    ours = [child for child in me.children(recursive=True) if "sandbox_child" in " ".join(child.cmdline())]
    assert len(ours) <= 3


def test_nothing_is_written_outside_the_folder(runner: PythonRunner, tmp_path: Path) -> None:
    """Neither by absolute path nor in the code's own folder; its own folder takes it."""
    tmp_path.chmod(0o777)
    here = Path(__file__).with_name("written")
    for path in (tmp_path / "written", here):
        assert ask(runner, "write", path=str(path)).outcome is CaseOutcome.FAILED
        assert not path.exists()
    assert ask(runner, "write", path="mine").output == "written"


def test_the_folder_of_a_fresh_process_is_empty(runner: PythonRunner) -> None:
    """What an earlier process wrote is gone with it."""
    ask(runner, "write", path="mine")
    ask(runner, "_exit")
    assert ask(runner, "folder").output == []


def test_secrets_are_not_inherited(runner: PythonRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the named environment arrives, and no descriptor but its own."""
    monkeypatch.setenv("OPENAI_API_KEY", "canary")
    ask(runner, "_exit")
    environment = ask(runner, "environment").output
    assert environment["NAMED"] == "yes"
    assert "canary" not in str(environment)
    assert "METAMON_STATE" not in environment
    with socket.socket() as held:
        os.set_inheritable(held.fileno(), True)
        ask(runner, "_exit")
        assert not [name for name in ask(runner, "descriptors").output if "socket" in name]


def test_files_that_nobody_named_cannot_be_read(runner: PythonRunner, tmp_path: Path) -> None:
    """A secret beside the code is no business of the candidate's."""
    if not runner.isolation["reads"]:
        pytest.skip("this kernel has no Landlock")
    secret = tmp_path / "secret"
    secret.write_text("canary")
    for path in (secret, Path(f"/proc/{os.getpid()}/environ")):
        assert ask(runner, "read", path=str(path)).outcome is CaseOutcome.FAILED


def test_there_is_no_network(runner: PythonRunner) -> None:
    """A server on this very machine cannot be reached."""
    if not runner.isolation["network"]:
        pytest.skip("this machine allows neither namespaces nor Landlock's network rules")
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert ask(runner, "connect", port=server.getsockname()[1]).outcome is CaseOutcome.FAILED


def test_the_parent_cannot_be_killed(runner: PythonRunner) -> None:
    """It would have killed this very test."""
    assert ask(runner, "kill", pid=os.getpid()).outcome is CaseOutcome.FAILED


def test_a_daemon_does_not_outlive_its_case(runner: PythonRunner) -> None:
    """A double fork with a session of its own is found and ended."""
    name = uuid.uuid4().hex
    assert ask(runner, "daemon", name=name).outcome is CaseOutcome.OK
    ask(runner, "behave")
    assert not [process for process in psutil.process_iter(["cmdline"]) if name in str(process.info["cmdline"])]


def test_patching_the_judge_patches_nobody(runner: PythonRunner) -> None:
    """The judge lives elsewhere: a wrong answer stays wrong, and the clock cannot be stopped."""
    check = Exact(type="exact", metric="fact_accuracy", path="value", expected=42)
    answer = ask(runner, "patch")
    assert judge(answer, [check], sla_ms=1000).scores.get("fact_accuracy") == 0.0
    ask(runner, "_exit")


def test_a_callable_that_cannot_be_imported_is_not_run() -> None:
    """That is a fault of the set-up and says nothing about a candidate."""
    runner = PythonRunner(PythonTarget(kind="python", callable="no_such_module:answer"))
    for _ in range(2):
        answer = runner.ask({}, {})
        assert answer.outcome is CaseOutcome.NOT_RUN
        assert "no_such_module" in (answer.error or "")
    runner.close()


def test_the_sandbox_dies_with_its_worker(tmp_path: Path) -> None:
    """A worker that is killed in the middle of a case leaves no process behind."""
    script = tmp_path / "worker.py"
    script.write_text(
        "from targets.python import PythonRunner\n"
        "from targets.spec import PythonTarget\n"
        f"runner = PythonRunner(PythonTarget(kind='python', callable='tests.fakes.candidates:hostile', "
        f"path=[{str(Path(__file__).parents[2])!r}]))\n"
        "runner.ask({'how': 'behave'}, {})\n"
        "print('ready', flush=True)\n"
        "runner.ask({'how': 'hang'}, {})\n"
    )
    worker = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
    assert worker.stdout is not None
    assert worker.stdout.readline() == b"ready\n"
    below = psutil.Process(worker.pid).children(recursive=True)
    assert below
    worker.kill()
    worker.wait()
    worker.stdout.close()
    gone, alive = psutil.wait_procs(below, timeout=10)
    assert len(gone) == len(below)
    assert not alive
