"""Migrations as functions: upgrade, check, and the same as plain SQL."""

from __future__ import annotations

import io

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Engine

from core.errors import NotFoundError


def _config(output: io.StringIO | None = None) -> Config:
    config = Config(output_buffer=output) if output else Config()
    config.set_main_option("script_location", "db:migrations")
    config.set_main_option("path_separator", "os")
    return config


def upgrade(engine: Engine) -> None:
    """Bring the database to the newest revision. Safe to run twice and from two processes."""
    config = _config()
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()


def check(engine: Engine) -> None:
    """Raise where the models and the migrated database differ."""
    config = _config(io.StringIO())
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.check(config)


def sql(start: str | None = None) -> str:
    """Return the migrations as SQL for psql: all, or those after a revision.

    Raises:
        NotFoundError: there is no such revision.
    """
    buffer = io.StringIO()
    config = _config(buffer)
    try:
        command.upgrade(config, f"{start}:head" if start else "head", sql=True)
    except CommandError:
        known = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
        raise NotFoundError(f"there is no revision {start!r}; there are, newest first: {', '.join(known)}") from None
    return buffer.getvalue()
