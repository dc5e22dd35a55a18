"""Migrations as functions: upgrade, check, and the same as plain SQL."""

from __future__ import annotations

import io

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine


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


def sql() -> str:
    """Return all migrations as SQL for psql."""
    buffer = io.StringIO()
    command.upgrade(_config(buffer), "head", sql=True)
    return buffer.getvalue()
