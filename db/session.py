"""Engine and sessions. Made on first use in the process that uses them, never before a fork."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache

from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session, sessionmaker

from core.errors import MetamonError, UnavailableError
from core.settings import settings

Sessions = Callable[[], Session]
"""What agents are given: call it, use the result as a context manager, commit yourself or use `.begin()`."""


class NoDatabaseError(UnavailableError):
    """No database is configured and no embedded fleet runs from this state folder."""


def engine_url(url: str) -> str:
    """Return the URL with the driver that we use, whatever dialect name the user wrote."""
    for prefix in ("postgresql+psycopg://", "postgresql://", "postgres://"):
        if url.startswith(prefix):
            return "postgresql+psycopg://" + url.removeprefix(prefix)
    raise MetamonError("METAMON_DATABASE_URL must look like postgresql://user:password@host:port/name")


def make_engine(url: str, *, pool_size: int = 5) -> Engine:
    """Return an engine whose connections name themselves and give up on locks rather than hang."""
    return create_engine(
        engine_url(url),
        pool_size=pool_size,
        max_overflow=10,
        pool_pre_ping=True,  # a restarted Postgres must cost one reconnect, not one failed job
        connect_args={"application_name": "metamon", "connect_timeout": 5, "client_encoding": "utf8"},
    )


def make_sessions(engine: Engine) -> sessionmaker[Session]:
    """Return the factory that code is handed."""
    return sessionmaker(engine, expire_on_commit=False)


@lru_cache
def _engine_of(pid: int) -> Engine:
    url = settings().database_url
    if url is None:
        raise NoDatabaseError(
            f"no fleet runs from {settings().state} and METAMON_DATABASE_URL is not set: "
            "start one with `metamon up`, or name its folder with --state"
        )
    return make_engine(url.get_secret_value())


def engine() -> Engine:
    """Return this process' engine. Keyed by the process id, so that a forked child never shares a socket."""
    return _engine_of(os.getpid())


def session_factory() -> sessionmaker[Session]:
    """Return this process' session factory."""
    return make_sessions(engine())
