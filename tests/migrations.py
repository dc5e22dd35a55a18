"""`python -m tests.migrations`: upgrade an empty Postgres, compare it with the models, and replay the plain SQL."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg
from sqlalchemy import create_engine

from db.migrate import check, sql, upgrade
from db.session import engine_url
from workers.embedded.ports import free_port
from workers.embedded.postgres import Postgres


def main() -> None:
    """Fail with the difference where there is one."""
    with tempfile.TemporaryDirectory(prefix="metamon-migrations-") as folder:
        server = Postgres(Path(folder), free_port())
        server.initialise()
        process = subprocess.Popen(server.command(durable=False), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            server.wait_ready()
            server.create_database()
            engine = create_engine(engine_url(server.url()))
            upgrade(engine)
            upgrade(engine)  # twice does no harm
            check(engine)
            engine.dispose()
            server.create_database("by_psql")
            with psycopg.connect(server.url("by_psql"), autocommit=True) as connection:
                connection.execute(sql().encode())
            engine = create_engine(engine_url(server.url("by_psql")))
            check(engine)
            engine.dispose()
        finally:
            process.send_signal(signal.SIGINT)  # at once: a failed step leaves its connection open
            process.wait()
    sys.stdout.write("Migrations and models agree, by alembic and by plain SQL.\n")


if __name__ == "__main__":
    main()
