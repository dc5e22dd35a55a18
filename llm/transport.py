"""An HTTP transport that reads no more of an answer than is reasonable."""

from __future__ import annotations

from collections.abc import Iterator

import httpx

ANSWER_CAP = 1_000_000
"""Bytes of one answer, after decompression of nothing: we ask for identity encoding."""


class AnswerTooLongError(httpx.ReadError):
    """The server sent more than any answer needs."""


class _Capped(httpx.SyncByteStream):
    def __init__(self, stream: httpx.SyncByteStream) -> None:
        self.stream = stream

    def __iter__(self) -> Iterator[bytes]:
        seen = 0
        for chunk in self.stream:
            seen += len(chunk)
            if seen > ANSWER_CAP:
                raise AnswerTooLongError(f"more than {ANSWER_CAP} bytes")
            yield chunk

    def close(self) -> None:
        self.stream.close()


class CappedTransport(httpx.HTTPTransport):
    """`httpx.HTTPTransport` with a cap on the answer's size."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request without asking for compression, and cap what comes back."""
        request.headers["accept-encoding"] = "identity"
        response = super().handle_request(request)
        assert isinstance(response.stream, httpx.SyncByteStream)
        response.stream = _Capped(response.stream)
        return response
