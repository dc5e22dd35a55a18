"""The bytes of an upload: decompress within a cap, split a multipart body. No meaning yet."""

from __future__ import annotations

import re
from typing import NamedTuple

import zstandard

from core.errors import MetamonError

MAX_BODY_BYTES = 20 * 1024 * 1024
"""Of an upload as it travels; the SDK is told of it and sends less."""

MAX_DECOMPRESSED_BYTES = 200 * 1024 * 1024

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
        TooLargeError: it expands beyond `limit`. No more than that is ever held.
        MalformedUploadError: it is no zstd, or asks for an unreasonable window.
        UnknownEncodingError: the encoding is neither zstd nor identity.
    """
    name = (encoding or "identity").strip().lower()
    if name == "identity":
        return body
    if name != "zstd":
        raise UnknownEncodingError(f"Content-Encoding {name[:50]!r} is not understood; send zstd or none")
    decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES)
    chunks: list[bytes] = []
    size = 0
    try:
        # Frames are streamed and state no size, so the cap is on what comes out.
        with decompressor.stream_reader(body, read_across_frames=True) as reader:
            while chunk := reader.read(CHUNK_BYTES):
                size += len(chunk)
                if size > limit:
                    raise TooLargeError(f"the upload expands beyond {limit} bytes; send fewer runs at once")
                chunks.append(chunk)
    except zstandard.ZstdError as error:
        raise MalformedUploadError(f"the body is no readable zstd stream: {error}") from None
    return b"".join(chunks)


def boundary_of(content_type: str | None) -> bytes:
    """Return the boundary that a multipart content type names.

    Raises:
        MalformedUploadError: it is no multipart/form-data, or it names none.
    """
    found = _BOUNDARY.search(content_type or "")
    if not (content_type or "").lower().startswith("multipart/form-data") or found is None:
        raise MalformedUploadError("Content-Type must be multipart/form-data with a boundary")
    return (found.group(1) or found.group(2)).encode()


def parts_of(body: bytes, boundary: bytes) -> list[Part]:
    """Return the parts of a multipart body.

    Raises:
        MalformedUploadError: it does not begin with the boundary, ends before the closing one (an upload that was
            cut off), or a part has no header or no name.
    """
    sections = (b"\r\n" + body).split(b"\r\n--" + boundary)
    if len(sections) == 1 or sections[0].strip():
        raise MalformedUploadError("the body does not begin with the boundary that Content-Type names")
    if not sections[-1].startswith(b"--"):
        raise MalformedUploadError("the body ends before its closing boundary: the upload was cut off; send it again")
    parts = []
    for number, section in enumerate(sections[1:-1], start=1):
        header, separator, data = section.partition(b"\r\n\r\n")
        _, named, rest = header.partition(b'name="')
        name, closed, _ = rest.partition(b'"')
        if not separator or not named or not closed:
            raise MalformedUploadError(f"part {number} has no Content-Disposition with a name")
        parts.append(Part(name.decode(errors="replace"), data))
    return parts
