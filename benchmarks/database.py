"""A Postgres of a benchmark's own, as durable as a user's."""

from __future__ import annotations

import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from db.migrate import upgrade
from db.session import engine_url, make_engine
from workers.embedded.ports import free_port
from workers.embedded.postgres import Postgres


@dataclass(frozen=True)
class Database:
    """A migrated, empty database; `pid` is its server's."""

    url: str
    pid: int


@contextmanager
def own_database() -> Iterator[Database]:
    """Serve a database in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        server = Postgres(Path(folder), free_port())
        server.initialise()
        with (
            Path(folder, "log").open("wb") as log,
            subprocess.Popen(server.command(), stdout=log, stderr=log) as process,
        ):
            try:
                server.wait_ready()
                server.create_database("bench")
                engine = make_engine(engine_url(server.url("bench")))
                upgrade(engine)
                engine.dispose()
                yield Database(server.url("bench"), process.pid)
            finally:
                process.send_signal(signal.SIGINT)  # at once: a benchmark that failed leaves connections open
