"""What every upload of the collector shares: a capped body, work in a thread, errors with the right status."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import anyio.to_thread
from anyio import CapacityLimiter
from anyio.lowlevel import RunVar
from fastapi import HTTPException, Request

from api import bodies
from traces import clean
from traces.clean import BadFieldError
from traces.wire import (
    MAX_BODY_BYTES,
    MalformedUploadError,
    TooLargeError,
    UnknownEncodingError,
    check_containers,
    decompress,
)

CONCURRENT_UPLOADS = 4
"""At most so many uploads are unpacked at once: together they may need this many decompression caps of memory."""

Result = TypeVar("Result")

_limiter: RunVar[CapacityLimiter] = RunVar("collector_uploads")


async def take_in(request: Request, work: Callable[[bytes], Result], *, limit: int = MAX_BODY_BYTES) -> Result:
    """Return what `work` makes of the request's body, decompressed to at most `limit` bytes, in a thread.

    It answers 413 for too much, 415 for an unknown encoding, 400 for what cannot be read, 422 for a wrong field.
    """
    bodies.allow(request, min(limit, MAX_BODY_BYTES))
    body = await request.body()
    encoding = request.headers.get("content-encoding")
    limiter = _limiter.get(None)
    if limiter is None:
        limiter = CapacityLimiter(CONCURRENT_UPLOADS)
        _limiter.set(limiter)
    try:
        return await anyio.to_thread.run_sync(lambda: work(plain_of(body, encoding, limit)), limiter=limiter)
    except TooLargeError as error:
        raise HTTPException(413, str(error)) from None
    except UnknownEncodingError as error:
        raise HTTPException(415, str(error)) from None
    except MalformedUploadError as error:
        raise HTTPException(400, str(error)) from None
    except BadFieldError as error:
        raise HTTPException(422, str(error)) from None


def plain_of(body: bytes, encoding: str | None, limit: int) -> bytes:
    """Return a body decompressed, and fit to be parsed.

    Raises:
        TooLargeError, MalformedUploadError, UnknownEncodingError: as `traces.wire` says.
    """
    plain = decompress(body, encoding, limit=limit)
    check_containers(plain)
    return plain


def json_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object that a body is.

    Raises:
        BadFieldError: it is none.
    """
    document, _ = clean.document(body, "the body")
    if not isinstance(document, dict):
        raise BadFieldError("the body must be a JSON object")
    return document
