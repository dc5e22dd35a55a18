"""A whole fleet, started and looked at through the command line as a stranger would."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

PATIENCE_S = 600


class Fleet:
    """A running `metamon up`."""

    def __init__(self, state: Path, *flags: str, env: Mapping[str, str] | None = None) -> None:
        self.state = state
        self.log = state.parent / "up.log"
        self._http: httpx.Client | None = None
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cli", "up", *flags, "--state", str(state)],
                stdout=log, stderr=subprocess.STDOUT, start_new_session=True, env={**os.environ, **(env or {})},
            )  # fmt: skip

    def tell(self, *arguments: str) -> str:
        """Run a command and return what it prints."""
        run = subprocess.run(
            [sys.executable, "-m", "cli", *arguments, "--state", str(self.state)],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        return run.stdout

    def ask(self, *arguments: str) -> Any:
        """Return what a command prints with --json; an empty list where it printed nothing."""
        printed = self.tell(*arguments, "--json")
        return json.loads(printed) if printed else []

    def look(self, path: str) -> list[dict[str, Any]]:
        """Return what a list of the API holds; nothing where the API is not up yet.

        For waiting: a command starts a Python each time, and would take half a processor from what it waits for.
        """
        if self._http is None:
            record = json.loads(file.read_bytes()) if (file := self.state / "fleet.json").exists() else {}
            if not any(service["name"] == "api" and service["state"] == "ok" for service in record.get("services", [])):
                return []
            token = self.ask("tokens", "create", "--scope", "viewer", "--name", "waiting")["token"]
            url = record["settings"]["public_url"] + "/api/v1"
            self._http = httpx.Client(base_url=url, headers={"x-api-key": token}, params={"limit": 200}, timeout=60)
        answer = self._http.get(path)
        return list(answer.json()["items"]) if answer.is_success else []

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        """Look until the condition holds and return what it returned."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            found = condition()
            if found:
                return found
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"waited in vain: {what}\n{self.log.read_text(errors='replace')[-6000:]}")
            time.sleep(1)

    def proposals(self, *statuses: str) -> list[dict[str, Any]]:
        """Return proposals in one of the states."""
        return [proposal for proposal in self.look("/proposals") if proposal["status"] in statuses]

    def close(self) -> None:
        """Let its API go."""
        if self._http is not None:
            self._http.close()


@contextmanager
def running(state: Path, *flags: str, env: Mapping[str, str] | None = None) -> Iterator[Fleet]:
    """Start a fleet and stop it by Ctrl-C in the end; nothing may stay behind."""
    fleet = Fleet(state, *flags, env=env)
    try:
        yield fleet
    finally:
        fleet.close()
        alive = fleet.process.poll() is None
        family = psutil.Process(fleet.process.pid).children(recursive=True) if alive else []
        fleet.process.send_signal(signal.SIGINT)
        fleet.process.wait(30)
        _, orphans = psutil.wait_procs(family, timeout=5)
        for orphan in orphans:
            orphan.kill()
        assert orphans == [], "Ctrl-C left orphans"
