"""Runs in, in every way the SDK sends them, and out again through v1 and v2."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session, sessionmaker

from api.auth import Db, Ingest, RunReader
from api.routes.uploads import json_object, take_in
from core.clock import utc_now
from core.errors import NotFoundError
from core.settings import settings
from db.queries import projects as project_queries
from db.queries import runs as run_queries
from db.queries.runs import PAYLOADS, RunQuery, RunRecord
from traces import clean, ingest
from traces.ingest import Upload
from traces.normalise import RawRun
from traces.wire import MAX_BODY_BYTES, MAX_DECOMPRESSED_BYTES, boundary_of, parts_of

MAX_ERRORS_SHOWN = 20

router_v1 = APIRouter()
router_v2 = APIRouter()


_reading = threading.Lock()
"""One upload at a time is parsed: that takes many times its size, and the interpreter for itself anyway."""


async def accept(
    request: Request,
    sessions: sessionmaker[Session],
    read: Callable[[bytes], Upload],
    *,
    limit: int = MAX_BODY_BYTES,
) -> JSONResponse:
    """Store an upload and answer 202 when it is durable.

    What could not be read is listed under `errors` by the part's name; 422 where nothing could be.
    """

    def work(body: bytes) -> Upload:
        with _reading:
            upload = read(body)
        ingest.store(sessions, upload, now=utc_now())
        return upload

    upload = await take_in(request, work, limit=limit)
    errors = dict(list(upload.errors.items())[:MAX_ERRORS_SHOWN])
    if errors and not upload.stored:
        name, problem = next(iter(errors.items()))
        return JSONResponse({"detail": f"nothing was stored; {name}: {problem}", "errors": errors}, 422)
    return JSONResponse({"message": "stored", "refused": len(upload.errors), "errors": errors}, 202)


@router_v1.post("/runs/multipart", status_code=202)
async def post_multipart(request: Request, sessions: Db, bearer: Ingest) -> JSONResponse:
    """Take in a multipart body of posts, patches and feedback, plain or as zstd."""
    now = utc_now()
    content_type = request.headers.get("content-type")
    return await accept(
        request,
        sessions,
        lambda body: ingest.from_parts(parts_of(body, boundary_of(content_type)), now=now, kept=settings().kept),
        limit=MAX_DECOMPRESSED_BYTES,
    )


@router_v1.post("/runs/batch", status_code=202)
async def post_batch(request: Request, sessions: Db, bearer: Ingest) -> JSONResponse:
    """Take in `{"post": […], "patch": […]}`."""
    now = utc_now()
    return await accept(
        request,
        sessions,
        lambda body: ingest.from_batch(clean.document(body, "the body")[0], now=now, kept=settings().kept),
    )


@router_v1.post("/runs", status_code=202)
async def post_run(request: Request, sessions: Db, bearer: Ingest) -> JSONResponse:
    """Take in one run."""
    return await accept(request, sessions, lambda body: _single(body, None))


@router_v1.patch("/runs/{run_id}", status_code=202)
async def patch_run(run_id: UUID, request: Request, sessions: Db, bearer: Ingest) -> JSONResponse:
    """Take in what became of a run. It may be unknown yet."""
    return await accept(request, sessions, lambda body: _single(body, run_id))


def _single(body: bytes, run_id: UUID | None) -> Upload:
    document = json_object(body)
    if run_id is not None:
        document["id"] = str(run_id)
    upload = Upload(kept=settings().kept)
    upload.add_run([RawRun(run_id is None, document)], "run", now=utc_now())
    return upload


class V1Query(BaseModel):
    """The body of `POST /runs/query`. What is not understood is ignored, as the cloud does."""

    session: list[UUID] | None = None
    id: list[UUID] | None = None
    trace: UUID | None = None
    parent_run: UUID | None = None
    reference_example: list[UUID] | None = None
    run_type: str | None = None
    is_root: bool | None = None
    error: bool | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None
    filter: str | None = None
    trace_filter: str | None = None
    tree_filter: str | None = None
    query: str | None = None
    select: list[str] | None = None
    order: str = "desc"
    limit: int = Field(default=100, ge=1, le=100)
    cursor: str | None = None


@router_v1.post("/runs/query")
def query_runs(asked: V1Query, sessions: Db, bearer: Ingest) -> dict[str, Any]:
    """Return a page of runs."""
    if asked.query:
        raise HTTPException(422, 'query is not supported; use filter, such as search("time out")')
    wanted = frozenset(PAYLOADS if asked.select is None else set(PAYLOADS) & set(asked.select))
    with sessions() as session:
        page, following = run_queries.query(
            session,
            RunQuery(
                project_ids=asked.session,
                ids=asked.id,
                trace_id=asked.trace,
                parent_run_id=asked.parent_run,
                reference_example_ids=asked.reference_example,
                run_type=asked.run_type,
                is_root=asked.is_root,
                has_error=asked.error,
                start=asked.start_time,
                end=asked.end_time,
                filters=[asked.filter] if asked.filter else [],
                trace_filters=[asked.trace_filter] if asked.trace_filter else [],
                tree_filters=[asked.tree_filter] if asked.tree_filter else [],
                ascending=asked.order == "asc",
                payloads=wanted,
            ),
            limit=asked.limit,
            cursor=asked.cursor,
        )
    return {"runs": [as_v1(record) for record in page], "cursors": {"next": following}}


@router_v1.get("/runs/{run_id}")
def get_run(run_id: UUID, sessions: Db, bearer: RunReader) -> dict[str, Any]:
    """Return one run with its payloads."""
    return as_v1(_read(sessions, run_id, PAYLOADS))


def _read(sessions: sessionmaker[Session], run_id: UUID, payloads: tuple[str, ...] | frozenset[str]) -> RunRecord:
    with sessions() as session:
        record = run_queries.get(session, run_id, payloads=payloads)
    if record is None:
        raise NotFoundError(f"there is no run {run_id}")
    return record


class V2Query(BaseModel):
    """The body of `POST /api/v2/runs/query`."""

    project_ids: list[UUID] | None = None
    ids: list[UUID] | None = None
    trace_id: UUID | None = None
    reference_dataset_id: UUID | None = None
    reference_examples: list[UUID] | None = None
    run_type: str | None = None
    is_root: bool | None = None
    has_error: bool | None = None
    min_start_time: datetime | None = None
    max_start_time: datetime | None = None
    min_feedback_modified_at: datetime | None = None
    max_feedback_modified_at: datetime | None = None
    filter: str | None = None
    trace_filter: str | None = None
    tree_filter: str | None = None
    ai_search: str | None = None
    sem_filter: str | None = None
    selects: list[str] | None = None
    page_size: int = Field(default=100, ge=1, le=1000)
    cursor: str | None = None


V2_PAYLOADS = {
    "INPUTS": "inputs", "OUTPUTS": "outputs", "EVENTS": "events", "EXTRA": "extra", "MANIFEST": "serialized",
    "INPUTS_PREVIEW": "inputs", "OUTPUTS_PREVIEW": "outputs",
}  # fmt: skip
DEFAULT_WINDOW = timedelta(days=1)


@router_v2.post("/runs/query")
def query_runs_v2(asked: V2Query, sessions: Db, bearer: Ingest) -> dict[str, Any]:
    """Return a page of runs, the last day's where no start is given, each with the selected fields."""
    if asked.ai_search or asked.sem_filter:
        raise HTTPException(501, "ai_search and sem_filter are not supported; use filter")
    if (asked.project_ids is None) == (asked.reference_dataset_id is None):
        raise HTTPException(422, "name either project_ids or reference_dataset_id")
    wanted = frozenset(V2_PAYLOADS[name] for name in asked.selects or () if name in V2_PAYLOADS)
    start = asked.min_start_time
    with sessions() as session:
        projects = asked.project_ids
        if asked.reference_dataset_id is not None:
            projects = project_queries.experiments(session, asked.reference_dataset_id)
        elif start is None:
            start = utc_now() - DEFAULT_WINDOW
        page, following = run_queries.query(
            session,
            RunQuery(
                project_ids=projects,
                ids=asked.ids,
                trace_id=asked.trace_id,
                reference_example_ids=asked.reference_examples,
                run_type=asked.run_type,
                is_root=asked.is_root,
                has_error=asked.has_error,
                start=start,
                end=asked.max_start_time,
                filters=[asked.filter] if asked.filter else [],
                trace_filters=[asked.trace_filter] if asked.trace_filter else [],
                tree_filters=[asked.tree_filter] if asked.tree_filter else [],
                feedback_from=asked.min_feedback_modified_at,
                feedback_until=asked.max_feedback_modified_at,
                payloads=wanted,
            ),
            limit=asked.page_size,
            cursor=asked.cursor,
        )
    return {"items": [as_v2(record, asked.selects) for record in page], "next_cursor": following}


@router_v2.get("/runs/{run_id}")
def get_run_v2(
    run_id: UUID, sessions: Db, bearer: Ingest, selects: Annotated[list[str] | None, Query()] = None
) -> dict[str, Any]:
    """Return the selected fields of one run."""
    wanted = frozenset(V2_PAYLOADS[name] for name in selects or () if name in V2_PAYLOADS)
    return as_v2(_read(sessions, run_id, wanted), selects)


@router_v2.get("/runs/{run_id}/url")
def get_run_url_v2(run_id: UUID, request: Request, sessions: Db, bearer: Ingest) -> dict[str, str]:
    """Return where the run can be looked at."""
    record = _read(sessions, run_id, frozenset())
    return {"url": f"{str(request.base_url).rstrip('/')}/api/v1/runs/{record.id}"}


def as_v1(record: RunRecord) -> dict[str, Any]:
    """Return a run in the form of v1."""
    extra = record.extra if isinstance(record.extra, dict) else {}
    return {
        "id": record.id,
        "name": record.name or "",
        "run_type": record.run_type or "chain",
        "start_time": record.start_time,
        "end_time": record.end_time,
        "status": record.status,
        "error": record.error,
        "inputs": _object(record.inputs) or {},
        "outputs": _object(record.outputs),
        "events": record.events,
        "extra": {**extra, "metadata": record.metadata},
        "serialized": record.serialized,
        "tags": record.tags,
        "trace_id": record.trace_id,
        "dotted_order": record.dotted_order or "",
        "parent_run_id": record.parent_run_id,
        "parent_run_ids": ancestors(record),
        "is_root": record.is_root,
        "session_id": record.project_id,
        "reference_example_id": record.reference_example_id,
        "prompt_tokens": record.prompt_tokens,
        "completion_tokens": record.completion_tokens,
        "total_tokens": record.total_tokens,
        "total_cost": record.total_cost,
        "feedback_stats": {key: stats.model_dump() for key, stats in record.feedback.items()} or None,
        "app_path": f"/api/v1/runs/{record.id}",
        "s3_urls": {},
    }


def as_v2(record: RunRecord, selects: list[str] | None) -> dict[str, Any]:
    """Return the selected fields of a run in the form of v2; its id alone where none are selected."""
    extra = record.extra if isinstance(record.extra, dict) else {}
    everything: dict[str, Any] = {
        "ID": record.id,
        "NAME": record.name or "",
        "RUN_TYPE": (record.run_type or "chain").upper(),
        "STATUS": "PENDING" if record.end_time is None and record.error is None else record.status.upper(),
        "START_TIME": record.start_time,
        "END_TIME": record.end_time,
        "LATENCY_SECONDS": record.latency_s,
        "ERROR": record.error,
        "ERROR_PREVIEW": record.error[:200] if record.error else None,
        "EXTRA": {**extra, "metadata": record.metadata},
        "METADATA": record.metadata,
        "EVENTS": record.events,
        "INPUTS": _object(record.inputs),
        "OUTPUTS": _object(record.outputs),
        "MANIFEST": record.serialized,
        "PARENT_RUN_IDS": ancestors(record),
        "PROJECT_ID": record.project_id,
        "TRACE_ID": record.trace_id,
        "DOTTED_ORDER": record.dotted_order,
        "IS_ROOT": record.is_root,
        "REFERENCE_EXAMPLE_ID": record.reference_example_id,
        "TOTAL_TOKENS": record.total_tokens,
        "PROMPT_TOKENS": record.prompt_tokens,
        "COMPLETION_TOKENS": record.completion_tokens,
        "TOTAL_COST": record.total_cost,
        "TAGS": record.tags,
        "FEEDBACK_STATS": {key: stats.model_dump() for key, stats in record.feedback.items()},
    }
    wanted = {"ID", *(selects or ())}
    return {name.lower(): value for name, value in everything.items() if name in wanted}


def ancestors(record: RunRecord) -> list[str]:
    """Return the ids of the runs above this one, from the root down."""
    segments = (record.dotted_order or "").split(".")[:-1]
    return [segment.partition("Z")[2] for segment in segments]


def _object(value: Any) -> Any:
    return value if value is None or isinstance(value, dict) else {"value": value}
