"""Holding the fleet, or one of its queues; the guards of rollouts stay awake."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from api.auth import Admin, Db, Viewer
from core.clock import utc_now
from db.queries.pauses import PauseRecord, list_pauses
from db.repositories import pauses
from workers.queues import QUEUES

router = APIRouter(prefix="/pause")


class NewPause(BaseModel):
    """What is held, and why."""

    model_config = ConfigDict(extra="forbid")

    queue: str | None = Field(default=None, max_length=40)
    """None holds all."""
    reason: str = Field(min_length=1, max_length=1000)


@router.get("")
def index(_: Viewer, sessions: Db) -> list[PauseRecord]:
    """List what is paused; a queue of null stands for all."""
    with sessions() as session:
        return list_pauses(session)


@router.post("")
def pause(new: NewPause, caller: Admin, sessions: Db) -> list[PauseRecord]:
    """Hold a queue, or all. Jobs stay where they are; rollouts stay guarded."""
    with sessions.begin() as session:
        pauses.pause(session, new.queue, queues=QUEUES, by=caller.actor, reason=new.reason, now=utc_now())
        return list_pauses(session)


@router.delete("/{queue}", status_code=204)
def unpause(
    queue: Annotated[str, Path(max_length=40, description="A queue's name, or `all`.")], caller: Admin, sessions: Db
) -> None:
    """Let a queue go on; `all` lifts the pause of all."""
    with sessions.begin() as session:
        pauses.unpause(session, None if queue in ("all", "null") else queue, by=caller.actor)
