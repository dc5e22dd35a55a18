"""Starts processes, starts again what dies, and stops all of them: the part of `metamon up` that must not fail.

One loop in the main thread starts and reaps (the kernel ties a child to the *thread* that started it); whether a
process is ready is found out by a thread of its own. Why no library: docs/adr/0003-embedded-services.md.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import psutil

from core.errors import UnavailableError
from workers.embedded import leash

POLL_S = 0.2
BACKOFF_S = 0.5
BACKOFF_CAP_S = 30.0
HEALTHY_AFTER_S = 30.0
"""A process that lived this long and then dies is started again at once."""
LOG_CAP_BYTES = 5_000_000
"""Size at which a log is moved to `<name>.log.1`; each process keeps two."""
LOG_CHECK_S = 10.0


class StartError(UnavailableError):
    """Something that the fleet cannot do without did not start."""


class ServiceState(StrEnum):
    """What a supervised process is at."""

    STARTING = "starting"
    OK = "ok"
    RESTARTING = "restarting"
    """It died and waits out its back-off."""
    STOPPED = "stopped"


@dataclass(frozen=True)
class Spec:
    """What to run and how to treat it."""

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    url: str | None = None
    """Where it is, without a password."""
    ready: Callable[[Process], bool] | None = None
    """Asked from a thread until it answers True; None: ready when it runs."""
    stop_signal: signal.Signals = signal.SIGTERM
    death_signal: signal.Signals = signal.SIGKILL
    """What it gets when the supervisor was killed. Gentler ones only for who needs nobody else to stop: a worker whose
    Redis went at the same moment would try to tell it for ever."""
    stage: int = 1
    """Higher stages are stopped first: what works before what it works on."""


class Process:
    """One supervised process through all its lives."""

    def __init__(self, spec: Spec, log: Path) -> None:
        self.spec = spec
        self.log = log
        self.state = ServiceState.STARTING
        self.popen: subprocess.Popen[bytes] | None = None
        self.created: float | None = None
        """The system's creation time of the process, which with its id tells it from a later one of the same id."""
        self.restarts = 0
        self.failures = 0
        """Deaths in a row without a healthy life between; the exponent of the back-off."""
        self.since = datetime.now(UTC)
        self.exit_code: int | None = None
        self.is_ready = threading.Event()
        self.started_at = 0.0
        self.start_seconds = 0.0
        """How long its present life took to become ready."""
        self.next_start = 0.0

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self.popen.pid if self.popen else None

    def wait_ready(self, timeout_s: float, stop: threading.Event) -> None:
        """Return when it is ready.

        Raises:
            StartError: it died three times, or is not ready within `timeout_s`. Carries the end of its log.
        """
        deadline = time.monotonic() + timeout_s
        while not self.is_ready.wait(0.05):
            if stop.is_set():
                raise StartError("stopped while starting")
            if self.failures >= 3 or time.monotonic() > deadline:
                what = f"left with {self.exit_code}" if self.failures else f"is not ready after {timeout_s:.0f} s"
                raise StartError(f"{self.spec.name} {what}; the end of {self.log}:\n{log_tail(self.log)}")


def log_tail(path: Path, size: int = 1200) -> str:
    """Return the last lines of a log."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - size))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-6:])
    except OSError:
        return "(no log)"


class Supervisor:
    """Keeps processes alive. `run` is the loop; `add` may be called from any thread."""

    def __init__(self, logs: Path, changed: Callable[[], None]) -> None:
        self.logs = logs
        self.changed = changed
        """Called in the loop's thread after any process started, became ready or died."""
        self.processes: list[Process] = []
        self._dirty = threading.Event()
        self._logs_checked = 0.0

    def add(self, spec: Spec) -> Process:
        """Have a process started in the loop's next round and kept alive from then on."""
        process = Process(spec, self.logs / f"{spec.name}.log")
        self.processes.append(process)
        return process

    def note(self) -> None:
        """Have `changed` called in the loop's next round."""
        self._dirty.set()

    def run(self, stop: threading.Event) -> None:
        """Supervise until told to stop. Call it in the main thread."""
        while not stop.wait(POLL_S):
            self.tick()

    def tick(self) -> None:
        """Reap, restart, rotate."""
        now = time.monotonic()
        for process in list(self.processes):
            if process.popen is not None and process.popen.poll() is not None:
                self._bury(process, now)
            if process.popen is None and now >= process.next_start:
                self._start(process, now)
        if now - self._logs_checked > LOG_CHECK_S:
            self._logs_checked = now
            self._rotate()
        if self._dirty.is_set():
            self._dirty.clear()
            self.changed()

    def stop(self, grace_s: Mapping[int, float], hurry: threading.Event) -> None:
        """Stop everything, stage by stage; what does not go within its stage's grace is killed.

        Args:
            grace_s: seconds by stage.
            hurry: set to kill the present stage at once.
        """
        for stage in sorted({process.spec.stage for process in self.processes}, reverse=True):
            group = [process for process in self.processes if process.spec.stage == stage and process.popen]
            for process in group:
                assert process.popen is not None
                process.popen.send_signal(process.spec.stop_signal)
            deadline = time.monotonic() + grace_s[stage]
            while time.monotonic() < deadline and not hurry.is_set():
                if all(process.popen is None or process.popen.poll() is not None for process in group):
                    break
                time.sleep(0.05)
            hurry.clear()
            for process in group:
                kill_group(process)
                process.state = ServiceState.STOPPED

    def _start(self, process: Process, now: float) -> None:
        spec = process.spec
        process.is_ready.clear()
        process.state = ServiceState.STARTING
        process.since = datetime.now(UTC)
        process.started_at = now
        # Appending, so that cutting the file off at its cap takes effect under the writer.
        try:
            with process.log.open("ab") as log:
                process.popen = subprocess.Popen(
                    [
                        sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), str(int(spec.death_signal)),
                        *spec.command,
                    ],
                    env=dict(spec.env), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    start_new_session=True,  # the terminal's Ctrl-C reaches `up` alone, which stops all in order
                )  # fmt: skip
        except OSError as error:  # no such program, or a disk that is full: no reason to let the others go
            _add_line(process.log, f"cannot be started: {error}")
            self._failed(process, now)
            return
        with contextlib.suppress(psutil.Error):
            process.created = psutil.Process(process.popen.pid).create_time()
        threading.Thread(target=self._watch, args=[process, process.popen], daemon=True).start()
        self._dirty.set()

    def _watch(self, process: Process, popen: subprocess.Popen[bytes]) -> None:
        """Find out when this life of the process is ready."""
        ready = process.spec.ready
        pause = 0.05
        while process.popen is popen and not (ready is None or ready(process)):
            time.sleep(pause)
            pause = min(pause * 1.2, 0.5)
        if process.popen is popen:
            process.start_seconds = time.monotonic() - process.started_at
            process.state = ServiceState.OK
            process.is_ready.set()
            self._dirty.set()

    def _bury(self, process: Process, now: float) -> None:
        assert process.popen is not None
        process.exit_code = process.popen.returncode
        kill_group(process)
        if now - process.started_at >= HEALTHY_AFTER_S:
            process.failures = 0
        _add_line(process.log, f"-- {process.spec.name} left with {process.exit_code}")
        self._failed(process, now)

    def _failed(self, process: Process, now: float) -> None:
        process.popen = None
        process.is_ready.clear()
        process.next_start = now + min(BACKOFF_S * 2 ** min(process.failures, 16), BACKOFF_CAP_S)
        process.failures += 1
        process.restarts += 1
        process.state = ServiceState.RESTARTING
        process.since = datetime.now(UTC)
        self._dirty.set()

    def _rotate(self) -> None:
        for process in self.processes:
            with contextlib.suppress(OSError):
                if process.log.stat().st_size > LOG_CAP_BYTES:
                    shutil.copyfile(process.log, process.log.with_suffix(".log.1"))
                    os.truncate(process.log, 0)


def _add_line(path: Path, line: str) -> None:
    with contextlib.suppress(OSError), path.open("ab", buffering=0) as log:
        log.write(f"{line}\n".encode())


def kill_group(process: Process) -> None:
    """Kill what is left of a process and its children, and reap it."""
    if process.popen is None:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.popen.pid, signal.SIGKILL)
    process.popen.wait()
