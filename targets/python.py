"""The outside of the sandbox: one process per arm answers case after case and is replaced when a case breaks it."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from core.states import CaseOutcome
from targets.answers import MAX_OUTPUT, Answer, answered
from targets.spec import PythonTarget

CHILD = Path(__file__).with_name("sandbox_child.py")
DISK_MB = 64
FILE_MB = 16
CPU_S = 600
"""CPU seconds of one process over all its cases; a single case is bounded by its wall clock."""
JITTER_MS = 250.0
"""How much longer a round trip may take than the call that the child timed. Beyond, the round trip counts."""
FOLDER = "metamon-case-"
BASE_ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1"}


class _GoneError(Exception):
    """The process ended, hung or spoke nonsense. The message says which."""


class PythonRunner:
    """Asks a Python callable inside the sandbox.

    A case that hangs, exits, runs out of memory or breaks the protocol is `failed` and costs its process; the next case
    gets a fresh one. Where the callable cannot even be imported, cases are `not_run`.
    """

    def __init__(self, spec: PythonTarget) -> None:
        self.spec = spec
        self.isolation: dict[str, bool] = {}
        """What the machine allowed, once a process is ready: network, processes, folder, user, reads, writes."""
        self._process: subprocess.Popen[bytes] | None = None
        self._questions = -1
        self._answers = -1
        self._work: str | None = None
        self._pending = b""
        self._unavailable: str | None = None

    def ask(self, inputs: Mapping[str, Any], config: Mapping[str, Any]) -> Answer:
        """Ask one question."""
        if self._unavailable is not None:
            return Answer(CaseOutcome.NOT_RUN, error=self._unavailable)
        if self._process is None or self._process.poll() is not None:
            try:
                self._start()
            except (_GoneError, OSError) as error:
                self.close()
                self._unavailable = f"{self.spec.callable} cannot be started: {error}"
                return Answer(CaseOutcome.NOT_RUN, error=self._unavailable)
        nonce = secrets.token_hex(8)
        question = json.dumps({"nonce": nonce, "inputs": dict(inputs), "config": dict(config)})
        started = time.perf_counter()
        try:
            self._send(question.encode() + b"\n", started + self.spec.timeout_s)
            reply = self._receive(started + self.spec.timeout_s)
            if reply.get("nonce") != nonce:
                raise _GoneError("the process answered out of turn")
        except (_GoneError, OSError) as error:
            elapsed = (time.perf_counter() - started) * 1000
            self.close()
            return Answer(CaseOutcome.FAILED, latency_ms=elapsed, error=str(error))
        elapsed = (time.perf_counter() - started) * 1000
        timed = reply.get("ms")
        # The child's clock leaves our scheduling out; it is believed only where ours does not contradict it.
        latency = timed if isinstance(timed, float) and elapsed - JITTER_MS <= timed <= elapsed else elapsed
        if reply.get("left") or self._pending or "MemoryError" in str(reply.get("error", ""))[:20]:
            self.close()  # what this case left behind must not meet the next one
        if "error" in reply:
            return Answer(CaseOutcome.FAILED, latency_ms=latency, error=str(reply["error"])[:2000])
        return answered(reply.get("answer"), latency)

    def close(self) -> None:
        """End the process with all that it started, and remove its folder."""
        if self._process is not None:
            _end(self._process)
            self._process = None
        for descriptor in (self._questions, self._answers):
            if descriptor >= 0:
                os.close(descriptor)
        self._questions = self._answers = -1
        self._pending = b""
        if self._work is not None:
            shutil.rmtree(self._work, ignore_errors=True)
            self._work = None

    def _start(self) -> None:
        self.close()
        _sweep()
        self._work = tempfile.mkdtemp(prefix=f"{FOLDER}{os.getpid()}-")
        their_questions, self._questions = os.pipe()
        self._answers, their_answers = os.pipe()
        os.set_blocking(self._questions, False)
        os.set_blocking(self._answers, False)
        named = [value for value in self.spec.env.values() if value.startswith("/") and Path(value).exists()]
        spec = {
            "callable": self.spec.callable,
            "path": self.spec.path,
            "read": [*self.spec.read, *named],
            "network": self.spec.network,
            "work": self._work,
            "parent": os.getpid(),
            "questions": their_questions,
            "answers": their_answers,
            "limits": {
                "memory_mb": self.spec.memory_mb,
                "cpu_s": CPU_S,
                "disk_mb": DISK_MB,
                "file_mb": FILE_MB,
                "processes": self.spec.processes,
                "output_bytes": MAX_OUTPUT,
            },
        }
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-B", str(CHILD), json.dumps(spec)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**BASE_ENV, "HOME": self._work, "TMPDIR": self._work, **self.spec.env},
                cwd="/",
                pass_fds=(their_questions, their_answers),
                start_new_session=True,
            )
        finally:
            os.close(their_questions)
            os.close(their_answers)
        first = self._receive(time.perf_counter() + self.spec.start_timeout_s)
        if "unavailable" in first or "ready" not in first:
            raise _GoneError(str(first.get("unavailable", "it broke the protocol"))[:1000])
        self.isolation = {str(name): bool(value) for name, value in dict(first.get("isolation", {})).items()}

    def _send(self, data: bytes, deadline: float) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._questions, selectors.EVENT_WRITE)
            while data:
                if not selector.select(max(0.0, deadline - time.perf_counter())):
                    raise _GoneError(f"no answer within {self.spec.timeout_s:g} s")
                try:
                    data = data[os.write(self._questions, data) :]
                except BrokenPipeError:
                    raise _GoneError(self._epitaph()) from None

    def _receive(self, deadline: float) -> dict[str, Any]:
        with selectors.DefaultSelector() as selector:
            selector.register(self._answers, selectors.EVENT_READ)
            while b"\n" not in self._pending:
                if len(self._pending) > 2 * MAX_OUTPUT:
                    raise _GoneError("the process broke the protocol: a line without an end")
                if not selector.select(max(0.0, deadline - time.perf_counter())):
                    raise _GoneError(f"no answer within {self.spec.timeout_s:g} s")
                chunk = os.read(self._answers, 65_536)
                if not chunk:
                    raise _GoneError(self._epitaph())
                self._pending += chunk
        line, _, self._pending = self._pending.partition(b"\n")
        try:
            reply = json.loads(line)
        except (ValueError, RecursionError):
            reply = None
        if not isinstance(reply, dict):
            raise _GoneError("the process broke the protocol: a line that is no JSON object")
        return reply

    def _epitaph(self) -> str:
        """Say how the process ended."""
        assert self._process is not None
        try:
            status = self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            return "the process closed its answers"
        number = -status if status < 0 else status - 128
        with contextlib.suppress(ValueError):
            if status < 0 or status > 128:
                return f"the process was ended by {signal.Signals(number).name}"
        return f"the process left with status {status}"


def _sweep() -> None:
    """Remove the folders of workers that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER}*"):
        owner = folder.name.removeprefix(FOLDER).partition("-")[0]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the launcher and everything below it, until nothing is left."""
    with contextlib.suppress(psutil.Error):
        launcher = psutil.Process(process.pid)
        for _ in range(50):
            below = launcher.children(recursive=True)
            if not below:
                break
            for child in below:
                with contextlib.suppress(psutil.Error):
                    child.kill()
            psutil.wait_procs(below, timeout=0.2)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=5)
