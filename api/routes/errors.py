"""Errors by pattern over HTTP: list them, say what belongs together."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from agents.research.errors import ErrorPatternRecord, patterns_of
from api.auth import Db, Reviewer, Viewer
from core.clock import utc_now
from core.settings import settings
from db.queries.golden import app_id_of
from db.repositories import error_patterns

router = APIRouter(prefix="/errors")

AppName = Annotated[str, Query(max_length=200)]
PatternKey = Annotated[str, Path(max_length=40)]


class Merge(BaseModel):
    """Which pattern it shall count for."""

    model_config = ConfigDict(extra="forbid")

    into: str = Field(max_length=40)


class Split(BaseModel):
    """Which errors to take out."""

    model_config = ConfigDict(extra="forbid")

    containing: str = Field(max_length=200)


class Made(BaseModel):
    """The pattern that the errors belong to from now on."""

    key: str


@router.get("")
def index(
    _: Viewer, sessions: Db, app: AppName, hours: Annotated[float, Query(gt=0, le=24 * 31)] = 24
) -> list[ErrorPatternRecord]:
    """Sort the errors of the last hours into patterns, the most frequent first."""
    now = utc_now()
    return patterns_of(sessions, settings(), app, since=now - timedelta(hours=hours), until=now)


@router.post("/{key}/merge")
def merge(key: PatternKey, wish: Merge, bearer: Reviewer, sessions: Db, app: AppName) -> Made:
    """Let a pattern count for another."""
    with sessions.begin() as session:
        error_patterns.merge(session, app_id_of(session, app), key, wish.into, by=bearer.actor)
    return Made(key=wish.into)


@router.post("/{key}/unmerge")
def unmerge(key: PatternKey, bearer: Reviewer, sessions: Db, app: AppName) -> Made:
    """Let a merged pattern stand for itself again."""
    with sessions.begin() as session:
        error_patterns.unmerge(session, app_id_of(session, app), key, by=bearer.actor)
    return Made(key=key)


@router.post("/{key}/split")
def split(key: PatternKey, wish: Split, bearer: Reviewer, sessions: Db, app: AppName) -> Made:
    """Take the errors that hold a text out of a pattern."""
    with sessions.begin() as session:
        app_id = app_id_of(session, app)
        made = error_patterns.split(session, app_id, key, wish.containing, by=bearer.actor, now=utc_now())
    return Made(key=made)


@router.post("/{key}/join")
def join(key: PatternKey, bearer: Reviewer, sessions: Db, app: AppName) -> Made:
    """Put back what was split off."""
    with sessions.begin() as session:
        error_patterns.join(session, app_id_of(session, app), key, by=bearer.actor)
    return Made(key=key)
