"""The monitored apps: listed by viewers, added and changed by an admin."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from agents.apps import add_app, change_app
from api.auth import Admin, Db, Viewer
from api.paging import Cursor, Limit
from db.queries.apps import AppRecord, get_app, list_apps
from db.queries.paging import Page, page
from db.repositories.apps import DuplicateAppError

router = APIRouter(prefix="/apps")


class NewApp(BaseModel):
    """An app to monitor: its name, any field of it, its configuration."""

    model_config = ConfigDict(extra="allow")

    name: str
    config: dict[str, Any] = Field(default_factory=dict)


class ChangedApp(BaseModel):
    """Fields to set, and configuration keys; a key set to null is removed."""

    model_config = ConfigDict(extra="allow")

    config: dict[str, Any] = Field(default_factory=dict)


@router.get("")
def index(_: Viewer, sessions: Db, cursor: Cursor = None, limit: Limit = 100) -> Page[AppRecord]:
    """List apps by name."""
    with sessions() as session:
        return page(
            lambda key, n: list_apps(session, key=key, limit=n),
            cursor=cursor,
            limit=limit,
            key=lambda app: (app.name,),
            kinds=(str,),
        )


@router.get("/{name}")
def show(name: str, _: Viewer, sessions: Db) -> AppRecord:
    """Return one app."""
    with sessions() as session:
        return get_app(session, name)


@router.post("", status_code=201)
def create(new: NewApp, bearer: Admin, sessions: Db) -> AppRecord:
    """Add an app; 409 where the name is taken."""
    try:
        with sessions.begin() as session:
            add_app(session, new.name, new.model_extra or {}, new.config, by=bearer.actor)
            return get_app(session, new.name)
    except DuplicateAppError as error:
        raise HTTPException(409, str(error)) from None


@router.patch("/{name}")
def change(name: str, changed: ChangedApp, bearer: Admin, sessions: Db) -> AppRecord:
    """Set fields and configuration keys."""
    with sessions.begin() as session:
        change_app(session, name, changed.model_extra or {}, changed.config, by=bearer.actor)
        return get_app(session, name)
