"""`GET /events`: what changed, as it happens. Hints alone; what they mean is read from the other routes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

import orjson
from fastapi import APIRouter, Header, HTTPException, Request
from fastapi.responses import StreamingResponse
from sqlalchemy.orm import Session, sessionmaker
from starlette.concurrency import run_in_threadpool

from api.auth import Db, Viewer, caller_of
from api.stream import Hub, replay
from core.clock import utc_now

router = APIRouter()

TICK_S = 2.0
TICKS_PER_CHECK = 8
"""How often it is looked whether the watcher may still watch."""


class EventStream(StreamingResponse):
    """A stream of server-sent events."""

    media_type = "text/event-stream"


@router.get(
    "/events",
    response_class=EventStream,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def events(
    request: Request,
    _: Viewer,
    sessions: Db,
    last_event_id: Annotated[str | None, Header(max_length=40)] = None,
) -> EventStream:
    """Stream events until the client goes.

    - `tick` every two seconds: `{"at"}`. Its id is where to resume from.
    - `change`: `{"subject", "id"}`: read it again. An impact's id is its proposal's.
    - `reset`: too much was missed to be told: read everything again.

    Resume with `Last-Event-ID`; something may be told twice, nothing is left out.
    """
    last = None
    if last_event_id is not None and last_event_id.isascii() and last_event_id.isdigit():
        last = min(int(last_event_id), 2**63 - 1)
    hub: Hub = request.app.state.hub
    if hub.full:
        raise HTTPException(503, "too many streams are open; poll instead", headers={"Retry-After": "30"})
    return EventStream(
        _stream(request, sessions, hub, last), headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )


async def _stream(
    request: Request, sessions: sessionmaker[Session], hub: Hub, last: int | None
) -> AsyncIterator[bytes]:
    clock = asyncio.get_running_loop().time
    ticks = 0
    try:
        async with hub.watching() as watcher:
            newest, missed = await run_in_threadpool(replay, sessions, last)
            sent = newest
            if missed is None:
                yield _event("reset", {}, sent)
            for told in missed or ():
                yield _event("change", {"subject": told.subject, "id": told.subject_id}, max(last or 0, told.id))
            next_tick = clock()
            while True:
                if clock() >= next_tick:
                    if await request.is_disconnected():
                        return
                    ticks += 1
                    if ticks % TICKS_PER_CHECK == 0:
                        await run_in_threadpool(caller_of, request, sessions)
                    yield _event("tick", {"at": utc_now()}, sent)
                    next_tick = clock() + TICK_S
                overrun, changed = await watcher.take(next_tick - clock())
                if overrun:
                    yield _event("reset", {}, sent)
                for told in changed:
                    sent = max(sent, told.id)
                    yield _event("change", {"subject": told.subject, "id": told.subject_id}, sent)
    except (HTTPException, TimeoutError):
        return  # signed out, or the database is away: the client comes again and hears why


def _event(name: str, data: dict[str, object], event_id: int) -> bytes:
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (event_id, name.encode(), orjson.dumps(data))
