"""Golden sets: list them, read one, import a new version."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request

from api import bodies
from api.auth import Db, Reviewer, Viewer
from api.paging import Cursor, Limit, SmallId
from db.queries.golden import (
    GoldenCaseRecord,
    GoldenSetDetail,
    GoldenSetRecord,
    app_id_of,
    list_cases,
    list_sets,
    show_set,
)
from db.queries.paging import Page, page
from db.repositories import golden
from targets.golden import parse_lines

router = APIRouter(prefix="/golden")

MAX_BODY = 64 * 1024 * 1024


@router.get("")
def index(
    _: Viewer,
    sessions: Db,
    app: Annotated[str | None, Query(max_length=200)] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[GoldenSetRecord]:
    """List all versions, newest first."""
    with sessions() as session:
        return page(
            lambda key, n: list_sets(session, app, key=key, limit=n),
            cursor=cursor,
            limit=limit,
            key=lambda record: (record.id,),
        )


@router.get("/{set_id}")
def show(set_id: SmallId, _: Viewer, sessions: Db) -> GoldenSetDetail:
    """Read one version: what it covers."""
    with sessions() as session:
        return show_set(session, set_id)


@router.get("/{set_id}/cases")
def cases(
    set_id: SmallId, _: Viewer, sessions: Db, cursor: Cursor = None, limit: Limit = 100
) -> Page[GoldenCaseRecord]:
    """List a version's cases in their order."""
    with sessions() as session:
        show_set(session, set_id)
        return page(
            lambda key, n: list_cases(session, set_id, key=key, limit=n),
            cursor=cursor,
            limit=limit,
            key=lambda case: (case.key,),
            kinds=(str,),
        )


@router.post("", status_code=201)
async def create(
    request: Request,
    _: Reviewer,
    sessions: Db,
    app: Annotated[str, Query(max_length=200)],
    name: Annotated[str, Query(min_length=1, max_length=100)] = golden.DEFAULT,
) -> GoldenSetDetail:
    """Import JSON lines as a new version; the same content again is the same version."""
    bodies.allow(request, MAX_BODY)
    body = await request.body()
    from starlette.concurrency import run_in_threadpool

    def write() -> GoldenSetDetail:
        parsed = parse_lines(body.decode("utf-8", "replace").splitlines())
        with sessions.begin() as session:
            made = golden.import_set(session, app_id_of(session, app), name, parsed)
            return show_set(session, made.id)

    return await run_in_threadpool(write)
