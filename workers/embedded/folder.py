"""The state folder of a fleet: its lock, its `fleet.json`, and what a killed `up` left behind.

`fleet.json` (mode 0600) holds `settings` (read by `core.settings` in every other process), `up` (who supervises) and
`services` (every process: where it is, how it is).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout
from pydantic import BaseModel

from core.errors import MetamonError, UnavailableError
from core.settings import FLEET_FILE
from workers.embedded.supervisor import Process, ServiceState

STALE_GRACE_S = 6.0
CLOCK_SLACK_S = 2.0
"""The creation time of a process moves by this much at most when the clock is set."""
MIN_FREE_BYTES = 300_000_000
"""What a new database with its write-ahead log needs, and some."""


class FleetRunsError(MetamonError):
    """Something that needs a stopped fleet met a running one."""


class DiskFullError(UnavailableError):
    """The state folder's disk has too little room."""


class ServiceRecord(BaseModel):
    """One process or outside service of the fleet."""

    name: str
    state: str
    url: str | None = None
    pid: int | None = None
    created: float | None = None
    stop_signal: int = int(signal.SIGTERM)
    restarts: int = 0
    since: datetime | None = None
    log: str | None = None


class FleetRecord(BaseModel):
    """The content of `fleet.json`."""

    settings: dict[str, Any]
    pid: int
    created: float
    started_at: datetime
    services: list[ServiceRecord]


class StateFolder:
    """The folder and everything in it that is not a database."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self.file = self.path / FLEET_FILE
        self.logs = self.path / "logs"
        self.mail = self.path / "mail"
        self.run = self.path / "run"
        self.flower_password = self.path / "flower.password"
        self._lock = FileLock(self.path / "up.lock", mode=0o600)

    def prepare(self) -> None:
        """Make the folders, private to the user.

        Raises:
            DiskFullError: less than `MIN_FREE_BYTES` are free.
        """
        for folder in (self.path, self.logs, self.mail, self.run):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        free = shutil.disk_usage(self.path).free
        if free < MIN_FREE_BYTES:
            raise DiskFullError(
                f"only {free // 1_000_000} MB are free on the disk of {self.path}, a fleet needs "
                f"{MIN_FREE_BYTES // 1_000_000}: free some, or name a folder on another disk with --state"
            )

    def lock(self) -> None:
        """Take the lock that says "a fleet runs here". The system drops it when we die, however we die.

        Raises:
            FleetRunsError: another `up` has it.
        """
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            record = self.read()
            who = f" (process {record.pid})" if record else ""
            raise FleetRunsError(
                f"a fleet runs from {self.path} already{who}: `metamon status` says where everything is, "
                "`metamon down` stops it, --state DIR starts another beside it"
            ) from None

    def unlock(self) -> None:
        """Give the lock back."""
        self._lock.release()

    def read(self) -> FleetRecord | None:
        """Return what the fleet wrote, or None where none runs or ran and was killed before it could write."""
        try:
            return FleetRecord.model_validate_json(self.file.read_bytes())
        except (OSError, ValueError):
            return None

    def running(self) -> FleetRecord | None:
        """Return the record of a fleet whose `up` is alive."""
        record = self.read()
        return record if record and self.alive(record) else None

    @staticmethod
    def alive(record: FleetRecord) -> bool:
        """Tell whether that very `up` still runs."""
        return _alive(record.pid, record.created)

    def is_ours(self) -> bool:
        """Tell whether a fleet ever ran here, before somebody deletes it."""
        return (self.path / "up.lock").exists() and self.logs.is_dir()

    def write(self, settings: dict[str, Any], started_at: datetime, services: Sequence[ServiceRecord]) -> None:
        """Replace `fleet.json` in one step: nobody reads half a file."""
        record = FleetRecord(
            settings=settings,
            pid=os.getpid(),
            created=psutil.Process().create_time(),
            started_at=started_at,
            services=list(services),
        )
        temporary = self.file.with_suffix(".new")
        write_private(temporary, record.model_dump_json(indent=2))
        temporary.replace(self.file)

    def forget(self) -> None:
        """Remove `fleet.json`."""
        self.file.unlink(missing_ok=True)

    def stop_leftovers(self) -> list[str]:
        """Stop what a killed `up` left running, then forget it. Returns the names. Needs the lock."""
        record = self.read()
        found = []
        for service in record.services if record else []:
            if service.pid and service.created and _alive(service.pid, service.created):
                found.append(service)
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(service.pid, service.stop_signal)
        deadline = time.monotonic() + STALE_GRACE_S
        for service in found:
            assert service.pid is not None
            assert service.created is not None
            while _alive(service.pid, service.created):
                if time.monotonic() > deadline:
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.killpg(service.pid, signal.SIGKILL)  # each leads a group of its own
                    deadline = time.monotonic() + 1
                time.sleep(0.05)
        self._drop_stale_postmaster()
        self.forget()
        return [service.name for service in found]

    def _drop_stale_postmaster(self) -> None:
        """Remove Postgres' own lock where its process id belongs to somebody else by now (a reboot, a container)."""
        lock = self.path / "postgres" / "data" / "postmaster.pid"
        with contextlib.suppress(OSError, ValueError, IndexError):
            pid = int(lock.read_text().splitlines()[0])
            try:
                ours = str(lock.parent) in psutil.Process(pid).cmdline()
            except psutil.NoSuchProcess:
                ours = False
            if not ours:
                lock.unlink()


def write_private(path: Path, content: str) -> None:
    """Write a file that nobody but its owner ever could read."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(content)


def _alive(pid: int, created: float) -> bool:
    """Tell whether the very process that was recorded still runs, not another one with its id."""
    try:
        process = psutil.Process(pid)
        return bool(abs(process.create_time() - created) < CLOCK_SLACK_S and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def record_of(process: Process) -> ServiceRecord:
    """Return a supervised process as it is written to `fleet.json`."""
    return ServiceRecord(
        name=process.spec.name,
        state=process.state.value,
        url=process.spec.url,
        pid=process.pid,
        created=process.created if process.state is not ServiceState.RESTARTING else None,
        stop_signal=int(process.spec.stop_signal),
        restarts=process.restarts,
        since=process.since,
        log=str(process.log),
    )
