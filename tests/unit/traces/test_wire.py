"""Splitting and unpacking uploads."""

from __future__ import annotations

from contextlib import suppress

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from traces import wire
from traces.wire import (
    MalformedUploadError,
    TooLargeError,
    UnknownEncodingError,
    boundary_of,
    decompress,
    parts_of,
)

NAMES = st.text(alphabet="abcdef0123456789.-", min_size=1, max_size=60)


@given(st.lists(st.tuples(NAMES, st.binary(max_size=200)), max_size=8))
def test_parts_come_back_as_they_were_sent(parts: list[tuple[str, bytes]]) -> None:
    """Whatever the data is, line ends and all: only the boundary separates."""
    boundary = b"0123456789abcdef0123456789abcdef"
    body = b"".join(
        b'--%s\r\nContent-Disposition: form-data; name="%s"\r\nX: y\r\n\r\n%s\r\n' % (boundary, name.encode(), data)
        for name, data in parts
    )
    found = list(parts_of(body + b"--" + boundary + b"--\r\n", boundary))
    assert [(part.name, part.data) for part in found] == parts


@given(st.binary(max_size=300))
def test_any_bytes_are_parts_or_a_clear_error(body: bytes) -> None:
    """Nothing else is raised."""
    with suppress(MalformedUploadError):
        list(parts_of(body, b"b"))


@given(st.binary(max_size=300))
def test_any_bytes_are_zstd_or_a_clear_error(body: bytes) -> None:
    """Nothing else is raised."""
    with suppress(MalformedUploadError):
        decompress(body, "zstd")


def test_what_expands_beyond_the_limit_is_refused() -> None:
    """At the limit it is still accepted."""
    body = zstandard.ZstdCompressor().compress(bytes(1000))
    assert decompress(body, " ZSTD ", limit=1000) == bytes(1000)
    with pytest.raises(TooLargeError, match="999"):
        decompress(body, "zstd", limit=999)


def test_what_is_not_compressed_has_the_same_limit() -> None:
    """Two ways to send the same."""
    assert decompress(bytes(10), None, limit=10) == bytes(10)
    with pytest.raises(TooLargeError, match="9 bytes"):
        decompress(bytes(10), None, limit=9)


def test_many_small_things_are_refused_before_they_are_made() -> None:
    """Two bytes on the wire are a dictionary in memory, a header is a part: both are counted first."""
    opened = b"[" + b"{}," * wire.MAX_CONTAINERS
    wire.check_containers(opened[:-3])
    with pytest.raises(TooLargeError, match="objects and lists"):
        wire.check_containers(opened)
    part = b'--b\r\nX: name="post.1"\r\n\r\n{}\r\n'
    assert sum(1 for _ in parts_of(part * wire.MAX_PARTS + b"--b--\r\n", b"b")) == wire.MAX_PARTS
    with pytest.raises(TooLargeError, match=str(wire.MAX_PARTS + 1)):
        next(parts_of(part * (wire.MAX_PARTS + 1) + b"--b--\r\n", b"b"))


def test_a_frame_that_asks_for_too_large_a_window_is_refused() -> None:
    """A few bytes must not make the server allocate gigabytes."""
    parameters = zstandard.ZstdCompressionParameters(window_log=27, compression_level=1)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    body = compressor.compress(b"x" * 1000) + compressor.flush()
    with pytest.raises(MalformedUploadError, match="zstd"):
        decompress(body, "zstd")


def test_an_encoding_that_is_not_spoken_is_named() -> None:
    """The answer says what is."""
    with pytest.raises(UnknownEncodingError, match="gzip"):
        decompress(b"", "gzip")
    assert decompress(b"x", None) == b"x"


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=abc", b"abc"),
        ('Multipart/Form-Data; charset=utf-8; BOUNDARY="a b"', b"a b"),
    ],
)
def test_the_boundary_is_read_from_the_content_type(content_type: str, boundary: bytes) -> None:
    """Quoted or not, in any case."""
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize(
    "content_type", [None, "", "application/json", "multipart/form-data", "text/plain; boundary=a"]
)
def test_a_content_type_without_a_boundary_is_refused(content_type: str | None) -> None:
    """The message says what is needed."""
    with pytest.raises(MalformedUploadError, match="multipart/form-data"):
        boundary_of(content_type)
