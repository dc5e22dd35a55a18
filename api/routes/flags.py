"""OFREP: any OpenFeature SDK gets its app's configuration here, with the variants of the live rollouts in it."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict

from agents import change
from analysis.assignment import gets_candidate
from api.auth import Db, Ingest
from db.queries.flags import FlagSource, flag_sources
from db.session import Sessions

router = APIRouter()

CACHE_SECONDS = 0.5
"""How long what the database said is served on: so long a rollback takes to reach everybody."""
BODY_CAP = 64 * 1024
KEY_CAP = 1024


class Evaluation(BaseModel):
    """One flag evaluated for one unit."""

    model_config = ConfigDict(extra="forbid")

    key: str
    value: dict[str, Any]
    variant: str
    reason: str
    metadata: dict[str, str]


class BadContextError(Exception):
    """The request cannot be evaluated; the code is OFREP's."""

    def __init__(self, code: str, details: str) -> None:
        super().__init__(details)
        self.code = code
        self.details = details


class Cache:
    """All flags of one database as of half a second ago at most."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self._flags: dict[str, FlagSource] = {}

    def flags(self, sessions: Sessions) -> dict[str, FlagSource]:
        """Return the flags by key. Whoever finds them stale reads them, the others wait for it."""
        if time.monotonic() - self._read_at < CACHE_SECONDS:
            return self._flags
        with self._lock:
            if time.monotonic() - self._read_at >= CACHE_SECONDS:
                # The clock before the query: what is read may be as old as its beginning.
                started = time.monotonic()
                with sessions() as session:
                    self._flags = flag_sources(session)
                self._read_at = started
            return self._flags


def evaluate(source: FlagSource, unit: str) -> Evaluation:
    """Return what the unit gets: the configuration with the change of every rollout that chose it."""
    value: dict[str, Any] = dict(source.config)
    if not source.enabled:
        return Evaluation(key=source.key, value=value, variant="baseline", reason="DISABLED", metadata={})
    metadata = {}
    for split in source.splits:
        chosen = gets_candidate(split.salt, unit, split.percent)
        metadata[f"rollout.{split.rollout_id}"] = "candidate" if chosen else "baseline"
        if chosen:
            value = change.apply(value, change.Change.model_validate(split.change))
    return Evaluation(
        key=source.key,
        value=value,
        variant="candidate" if "candidate" in metadata.values() else "baseline",
        reason="SPLIT" if metadata else "STATIC",
        metadata=metadata,
    )


def unit_of(body: bytes) -> str:
    """Return the targeting key that a request's body names.

    Raises:
        BadContextError: the body is no OFREP request, or names no usable key.
    """
    if len(body) > BODY_CAP:
        raise BadContextError("INVALID_CONTEXT", f"the context may have {BODY_CAP} bytes, not {len(body)}")
    try:
        content = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        raise BadContextError("PARSE_ERROR", "the body is not JSON") from None
    context = content.get("context", {}) if isinstance(content, dict) else None
    if not isinstance(context, dict):
        raise BadContextError("INVALID_CONTEXT", 'the body must look like {"context": {"targetingKey": "user-1"}}')
    unit = context.get("targetingKey")
    if unit is None or unit == "":
        raise BadContextError(
            "TARGETING_KEY_MISSING", "context.targetingKey is missing: the user or thread that must keep its variant"
        )
    if not isinstance(unit, str) or len(unit) > KEY_CAP:
        raise BadContextError(
            "INVALID_CONTEXT", f"context.targetingKey must be a string of at most {KEY_CAP} characters"
        )
    return unit


def _problem(status: int, code: str, details: str, **more: str) -> JSONResponse:
    return JSONResponse({**more, "errorCode": code, "errorDetails": details}, status_code=status)


def _cache(request: Request) -> Cache:
    state = request.app.state
    if not hasattr(state, "flag_cache"):
        state.flag_cache = Cache()
    cache: Cache = state.flag_cache
    return cache


async def _body(request: Request) -> bytes:
    parts = bytearray()
    async for chunk in request.stream():
        parts += chunk
        if len(parts) > BODY_CAP:
            break
    return bytes(parts)


Body = Annotated[bytes, Depends(_body)]


@router.post("/evaluate/flags/{key}", response_model=Evaluation)
def evaluate_flag(key: str, request: Request, body: Body, sessions: Db, _: Ingest) -> Response:
    """Evaluate one flag for one unit."""
    try:
        unit = unit_of(body)
    except BadContextError as error:
        return _problem(400, error.code, error.details, key=key)
    source = _cache(request).flags(sessions).get(key)
    if source is None:
        return _problem(404, "FLAG_NOT_FOUND", f"there is no flag {key!r}; an app's flag is <app>.config", key=key)
    return JSONResponse(evaluate(source, unit).model_dump())


@router.post("/evaluate/flags")
def evaluate_flags(request: Request, body: Body, sessions: Db, _: Ingest) -> Response:
    """Evaluate all flags for one unit; 304 where nothing changed since the ETag that was sent."""
    try:
        unit = unit_of(body)
    except BadContextError as error:
        return _problem(400, error.code, error.details)
    sources = _cache(request).flags(sessions)
    flags = [evaluate(sources[key], unit).model_dump() for key in sorted(sources)]
    content = json.dumps({"flags": flags}, sort_keys=True).encode()
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if etag in known:
        return Response(status_code=304, headers={"ETag": etag})
    return Response(content, media_type="application/json", headers={"ETag": etag})
