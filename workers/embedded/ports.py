"""Ports on loopback: one that is free, and one that no other fleet of this user takes meanwhile."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout


def free_port(preferred: int = 0, host: str = "127.0.0.1") -> int:
    """Return `preferred` where it is free on `host`, else a free one that the system picks."""
    for port in (preferred, 0):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError(f"no port is free on {host}")


class Ports:
    """Claims on ports, held as locked files for as long as this object lives.

    A fleet chooses all its ports first and binds some of them much later: a second one that starts at the same moment
    would find them free.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or Path(tempfile.gettempdir()) / f"metamon-ports-{os.geteuid()}"
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self._locks: list[BaseFileLock] = []

    def claim(self, preferred: int = 0, host: str = "127.0.0.1") -> int:
        """Return `preferred` where it is free and unclaimed, else another one that is."""
        while True:
            port = free_port(preferred, host)
            lock = FileLock(self.folder / str(port), is_singleton=False)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                preferred = 0
                continue
            self._locks.append(lock)
            return port

    def release(self) -> None:
        """Give all of them back."""
        for lock in self._locks:
            lock.release()
        self._locks.clear()
