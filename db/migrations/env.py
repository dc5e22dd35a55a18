"""How alembic runs our migrations: with a lock timeout, so that a migration never queues up behind a long reader."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection, text

import db.models  # noqa: F401  # registers the tables
from db.base import Base
from db.session import engine

LOCK_TIMEOUT_MS = 5000


def include_object(item: object, name: str | None, kind: str, reflected: bool, compare_to: object) -> bool:
    """Leave the day partitions out of the comparison: the collector makes them and retention drops them."""
    return not (kind == "table" and name is not None and name.startswith(("runs_", "feedback_")))


def run(connection: Connection) -> None:
    """Run the migrations on a connection."""
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        include_object=include_object,
        compare_type=True,
        compare_server_default=False,
    )
    with context.begin_transaction():
        connection.execute(text(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}"))
        # Two upgrades at once: the second waits here and then finds nothing to do.
        connection.execute(text("SELECT pg_advisory_xact_lock(7305811943)"))
        context.run_migrations()


if context.is_offline_mode():
    context.configure(dialect_name="postgresql", target_metadata=Base.metadata, literal_binds=True)
    with context.begin_transaction():
        context.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")
        context.run_migrations()
else:
    given = context.config.attributes.get("connection")
    if given is not None:
        run(given)
    else:
        with engine().connect() as connection:
            run(connection)
