"""The fleet's status and the audit log."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from api.auth import Admin, Db, Viewer
from api.paging import Cursor, Limit
from core.clock import utc_now
from core.settings import settings
from db.queries.audit import AuditRecord, list_entries
from db.queries.paging import Page, page
from workers.status import Status, read

router = APIRouter()


class SettingRecord(BaseModel):
    """One setting as it is in force; a secret only says that it is set."""

    name: str
    value: Any
    description: str | None


@router.get("/status")
def status(_: Viewer, sessions: Db) -> Status:
    """Say how the fleet is and where everything is; the same as `metamon status --json`."""
    return read(settings(), sessions, now=utc_now())


@router.get("/audit")
def audit(
    _: Admin,
    sessions: Db,
    subject: Annotated[str | None, Query(max_length=200, description="`proposal:12`")] = None,
    actor: Annotated[str | None, Query(max_length=400, description="`user:ann@example.com`")] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[AuditRecord]:
    """List who decided what, newest first."""
    with sessions() as session:
        return page(
            lambda key, n: list_entries(session, subject=subject, actor=actor, key=key, limit=n),
            cursor=cursor,
            limit=limit,
            key=lambda entry: (entry.id,),
        )


@router.get("/settings")
def in_force(_: Admin) -> list[SettingRecord]:
    """List the settings in force, secrets masked."""
    values = settings()
    dumped = values.model_dump(mode="json")
    return [
        SettingRecord(name=name, value=dumped[name], description=field.description)
        for name, field in type(values).model_fields.items()
    ]
