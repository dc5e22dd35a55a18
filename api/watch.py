"""A thread of the API that looks whether monitoring lives: the one watcher that does not depend on the fleet."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from fastapi import APIRouter, FastAPI

from core.clock import utc_now
from core.settings import settings
from db.session import Sessions, session_factory
from notifications import dead_man

log = structlog.get_logger(__name__)

PERIOD_S = 30.0


@asynccontextmanager
async def watching(app: FastAPI) -> AsyncIterator[None]:
    """Look every half minute as long as the API runs. Two APIs do no harm: a silence has one mail for each reader."""
    stop = threading.Event()
    sessions: Sessions = getattr(app.state, "sessions", None) or session_factory()
    thread = threading.Thread(target=_watch, args=(sessions, stop), name="dead-man", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()


def _watch(sessions: Sessions, stop: threading.Event) -> None:
    since = utc_now()
    while not stop.wait(PERIOD_S):
        try:
            dead_man.check(sessions, now=utc_now, settings=settings(), since=since)
        except Exception as error:  # noqa: BLE001  # the watcher outlives whatever it finds: the database may be away
            log.warning("watch.failed", error=type(error).__name__)


router = APIRouter(lifespan=watching)
