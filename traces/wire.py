"""The bytes of an upload: decompress within a cap, split a multipart body. No meaning yet."""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BytesIO
from typing import NamedTuple

import zstandard

from core.errors import MetamonError

MAX_BODY_BYTES = 20 * 1024 * 1024
"""Of an upload as it travels; the SDK is told of it and sends less."""

MAX_DECOMPRESSED_BYTES = 100 * 1024 * 1024
"""Of a multipart upload. The SDK closes one at 20 MiB, and overshoots while its server is slow."""

MAX_PARTS = 50_000
"""Of a multipart upload. The SDK closes one at 1000 posts and patches of some five parts each, and overshoots, too."""

MAX_RUNS = 10_000
"""Posts and patches of a JSON batch: ten times what the SDK puts into one."""

MAX_CONTAINERS = 1_000_000
"""Brackets and braces that open in an upload: `{}` takes two bytes on the wire and thirty times as much in memory."""

MAX_WINDOW_BYTES = 32 * 1024 * 1024
"""Memory a zstd frame may ask for. The SDK's level takes half a megabyte."""

CHUNK_BYTES = 1024 * 1024

_BOUNDARY = re.compile(r'boundary=(?:"([^"]{1,200})"|([^\s;,"]{1,200}))', re.IGNORECASE)


class MalformedUploadError(MetamonError):
    """The upload cannot be read."""


class TooLargeError(MetamonError):
    """The upload is larger than what is accepted."""


class UnknownEncodingError(MetamonError):
    """The upload is encoded in a way that is not understood."""


class Part(NamedTuple):
    """One part of a multipart body."""

    name: str
    data: bytes


def decompress(body: bytes, encoding: str | None, *, limit: int = MAX_DECOMPRESSED_BYTES) -> bytes:
    """Return the body as it was before its content encoding.

    Raises:
        TooLargeError: it is, or expands to, more than `limit`. No more than that is ever held.
        MalformedUploadError: it is no zstd, or asks for an unreasonable window.
        UnknownEncodingError: the encoding is neither zstd nor identity.
    """
    name = (encoding or "identity").strip().lower()
    if name == "identity":
        if len(body) > limit:
            raise TooLargeError(f"the upload is larger than {limit} bytes; send fewer runs at once")
        return body
    if name != "zstd":
        raise UnknownEncodingError(f"Content-Encoding {name[:50]!r} is not understood; send zstd or none")
    decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES)
    expanded = BytesIO()
    try:
        # Frames are streamed and state no size, so the cap is on what comes out.
        with decompressor.stream_reader(body, read_across_frames=True) as reader:
            while chunk := reader.read(CHUNK_BYTES):
                if expanded.tell() + len(chunk) > limit:
                    raise TooLargeError(f"the upload expands beyond {limit} bytes; send fewer runs at once")
                expanded.write(chunk)
    except zstandard.ZstdError as error:
        raise MalformedUploadError(f"the body is no readable zstd stream: {error}") from None
    return expanded.getvalue()


def check_containers(body: bytes) -> None:
    """Refuse what would take many times its size to parse, before it is parsed.

    Raises:
        TooLargeError: it opens more objects and lists than `MAX_CONTAINERS`, braces within texts counted in.
    """
    if body.count(b"{") + body.count(b"[") > MAX_CONTAINERS:
        raise TooLargeError(f"the upload has more than {MAX_CONTAINERS} objects and lists; send fewer runs at once")


def boundary_of(content_type: str | None) -> bytes:
    """Return the boundary that a multipart content type names.

    Raises:
        MalformedUploadError: it is no multipart/form-data, or it names none.
    """
    found = _BOUNDARY.search(content_type or "")
    if not (content_type or "").lower().startswith("multipart/form-data") or found is None:
        raise MalformedUploadError("Content-Type must be multipart/form-data with a boundary")
    return (found.group(1) or found.group(2)).encode()


def parts_of(body: bytes, boundary: bytes) -> Iterator[Part]:
    """Yield the parts of a multipart body, each copied out when it is its turn.

    Raises:
        MalformedUploadError: it does not begin with the boundary, ends before the closing one (an upload that was
            cut off), or a part has no header or no name.
        TooLargeError: it has more than `MAX_PARTS` parts.
    """
    opening = b"--" + boundary
    delimiter = b"\r\n" + opening
    begin = body.find(opening)
    if begin < 0 or body[:begin].strip():
        raise MalformedUploadError("the body does not begin with the boundary that Content-Type names")
    at = begin + len(opening)
    count = body.count(delimiter, at)
    closing = at if count == 0 else body.rfind(delimiter) + len(delimiter)
    if not body.startswith(b"--", closing):
        raise MalformedUploadError("the body ends before its closing boundary: the upload was cut off; send it again")
    if count > MAX_PARTS:
        raise TooLargeError(f"the upload has {count} parts, more than {MAX_PARTS}; send fewer runs at once")
    for number in range(1, count + 1):
        end = body.index(delimiter, at)
        headed = body.find(b"\r\n\r\n", at, end)
        _, named, rest = body[at : max(at, headed)].partition(b'name="')
        name, closed, _ = rest.partition(b'"')
        if not named or not closed:
            raise MalformedUploadError(f"part {number} has no Content-Disposition with a name")
        yield Part(name.decode(errors="replace"), body[headed + 4 : end])
        at = end + len(delimiter)
