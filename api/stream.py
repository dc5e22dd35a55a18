"""The live stream: one listener in each process, told on to everybody who watches."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import psycopg
import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from core.clock import utc_now
from db.repositories import changes
from db.repositories.changes import Told
from db.session import Sessions, make_sessions

log = structlog.get_logger(__name__)

WATCHERS_CAP = 200
"""Streams of one process."""
PENDING_CAP = 1000
"""Things that may wait for one watcher. Who is slower than that is told to read everything again."""
PRUNE_S = 300.0
RETRY_S = 1.0


class Watcher:
    """What one client has not been sent yet: one hint for each thing, however often it changed."""

    def __init__(self) -> None:
        self._pending: dict[tuple[str, int], Told] = {}
        self._something = asyncio.Event()
        self._overrun = False

    def tell(self, told: Told) -> None:
        """Add a hint."""
        self._pending.pop((told.subject, told.subject_id), None)
        if len(self._pending) >= PENDING_CAP:
            self.reset()
        self._pending[(told.subject, told.subject_id)] = told
        self._something.set()

    def reset(self) -> None:
        """Forget what waits: the client must read everything again."""
        self._pending.clear()
        self._overrun = True
        self._something.set()

    async def take(self, patience_s: float) -> tuple[bool, list[Told]]:
        """Return (whether something was forgotten, what waits); nothing where nothing came in time."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._something.wait(), max(patience_s, 0.0))
        self._something.clear()
        told, self._pending = list(self._pending.values()), {}
        overrun, self._overrun = self._overrun, False
        return overrun, told


class Hub:
    """Listens while somebody watches. All of it happens in the event loop that the first watcher came in."""

    def __init__(self, engine_of: Callable[[], Engine]) -> None:
        self._engine_of = engine_of
        self._watchers: set[Watcher] = set()
        self._task: asyncio.Task[None] | None = None
        self._listening = asyncio.Event()
        self._last = 0

    def __len__(self) -> int:
        return len(self._watchers)

    @property
    def full(self) -> bool:
        """Whether one more is one too many."""
        return len(self._watchers) >= WATCHERS_CAP

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[Watcher]:
        """Watch for the length of a block; it is entered when whatever is committed from now on will be told.

        Raises:
            TimeoutError: the database is away.
        """
        watcher = Watcher()
        self._watchers.add(watcher)
        try:
            if self._task is None or self._task.done():
                self._listening.clear()
                self._task = asyncio.create_task(self._run(), name="changes")
            await asyncio.wait_for(self._listening.wait(), 5)
            yield watcher
        finally:
            self._watchers.discard(watcher)

    async def close(self) -> None:
        """Stop listening."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _run(self) -> None:
        engine = self._engine_of()
        sessions = make_sessions(engine)
        dsn = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        while self._watchers:
            try:
                async with await psycopg.AsyncConnection.connect(
                    dsn, autocommit=True, connect_timeout=5, application_name="metamon-events"
                ) as connection:
                    await connection.execute(f"LISTEN {changes.CHANNEL}".encode())
                    await self._catch_up(sessions)
                    self._listening.set()
                    await self._hear(connection, sessions)
            except (psycopg.Error, SQLAlchemyError, OSError) as error:
                log.warning("events.database_away", error=type(error).__name__)
                self._listening.clear()
                await asyncio.sleep(RETRY_S)
        self._last = 0
        self._listening.clear()

    async def _hear(self, connection: psycopg.AsyncConnection, sessions: Sessions) -> None:
        prune_at = asyncio.get_running_loop().time()
        while self._watchers:
            async for note in connection.notifies(timeout=2.0, stop_after=500):
                change_id, subject, subject_id = note.payload.split(" ")
                self._tell(Told(int(change_id), subject, int(subject_id)))
            if asyncio.get_running_loop().time() >= prune_at:
                prune_at = asyncio.get_running_loop().time() + PRUNE_S
                await run_in_threadpool(_prune, sessions)

    async def _catch_up(self, sessions: Sessions) -> None:
        """Tell what was missed while the database was away."""
        last, told = await run_in_threadpool(_missed, sessions, self._last)
        for watcher in self._watchers if told is None else ():
            watcher.reset()
        for each in told or ():
            self._tell(each)
        self._last = max(self._last, last)

    def _tell(self, told: Told) -> None:
        self._last = max(self._last, told.id)
        for watcher in self._watchers:
            watcher.tell(told)


def _missed(sessions: Sessions, last: int) -> tuple[int, list[Told] | None]:
    with sessions() as session:
        newest = changes.newest(session)
        return newest, changes.since(session, last) if last else []


def _prune(sessions: Sessions) -> None:
    with sessions() as session, session.begin():
        changes.drop_old(session, now=utc_now())


def replay(sessions: Sessions, last: int | None) -> tuple[int, list[Told] | None]:
    """Return (the newest id, what was told after `last`): None where that cannot be retold."""
    with sessions() as session:
        return changes.newest(session), [] if last is None else changes.since(session, last)
