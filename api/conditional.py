"""Polled answers that did not change are not sent again; and nothing of the API is kept or sniffed by a browser."""

from __future__ import annotations

import hashlib

from starlette.types import ASGIApp, Message, Receive, Scope, Send

GUARDS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
)
PREFIX = "/api/v1/"
BODY_CAP = 4 * 1024 * 1024
"""Bytes of an answer that is held back to be hashed."""


class ConditionalAnswers:
    """Adds an ETag to JSON answers of GET under `/api/v1` and answers 304 to who has them; passes streams on.

    The answer is made either way: what is saved is the way, and the client's work with it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or not scope["path"].startswith(PREFIX):
            await self.app(scope, receive, send)
            return
        answer = _Answer(scope, send)
        await self.app(scope, receive, answer.send)


class _Answer:
    def __init__(self, scope: Scope, send: Send) -> None:
        self.known = dict(scope["headers"]).get(b"if-none-match", b"")
        self.get = scope["method"] == "GET"
        self.out = send
        self.start: Message = {}
        self.held: list[bytes] = []
        self.size = 0
        self.holding = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = dict(message["headers"])
            added = [pair for pair in GUARDS if pair[0] not in headers]
            if b"cache-control" not in headers:
                added.append((b"cache-control", b"private, no-cache"))
            self.start = {**message, "headers": [*message["headers"], *added]}
            kept = headers.get(b"cache-control") == b"no-store"
            json = headers.get(b"content-type", b"").startswith(b"application/json")
            self.holding = self.get and message["status"] == 200 and json and not kept
            if not self.holding:
                await self.out(self.start)
            return
        if not self.holding:
            await self.out(message)
            return
        self.held.append(message.get("body", b""))
        self.size += len(self.held[-1])
        if self.size > BODY_CAP:
            self.holding = False
            await self.out(self.start)
            await self.out({**message, "body": b"".join(self.held)})
        elif not message.get("more_body"):
            await self._finish(b"".join(self.held))

    async def _finish(self, body: bytes) -> None:
        tag = b'W/"' + hashlib.blake2b(body, digest_size=16).hexdigest().encode() + b'"'
        headers = [*self.start["headers"], (b"etag", tag)]
        if tag in (part.strip() for part in self.known.split(b",")) or self.known.strip() == b"*":
            left_out = (b"content-length", b"content-type")
            headers = [pair for pair in headers if pair[0] not in left_out]
            await self.out({**self.start, "status": 304, "headers": headers})
            await self.out({"type": "http.response.body", "body": b""})
            return
        await self.out({**self.start, "headers": headers})
        await self.out({"type": "http.response.body", "body": body})
