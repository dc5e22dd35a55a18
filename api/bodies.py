"""How large the body of a request may be: little, until a route that knows its caller asks for more."""

from __future__ import annotations

from fastapi import HTTPException, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BYTES = 1024 * 1024
"""Of a body that nobody asked to be larger: forms and JSON that people and scripts send."""

_KEY = "metamon.body"


class CappedBodies:
    """Answers 413 as soon as a body states or turns out to be larger than it may be; passes its chunks on as they come.

    FastAPI reads a body that it validates before it asks who sends it, so the cap has to hold for strangers. A route
    that reads its body itself, hence after it knows its caller, may `allow` more.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body = scope[_KEY] = _Body(scope, receive)
        await self.app(scope, body.receive, send)


def allow(request: Request, limit: int) -> None:
    """Let this request's body have up to `limit` bytes. The caller is known and has not read of it yet."""
    body = request.scope.get(_KEY)
    if body is not None:
        body.limit = limit


class _Body:
    def __init__(self, scope: Scope, receive: Receive) -> None:
        stated = dict(scope["headers"]).get(b"content-length", b"")
        self.stated = int(stated) if stated.isdigit() else 0
        self.limit = MAX_BYTES
        self.size = 0
        self.source = receive

    async def receive(self) -> Message:
        self._check(self.stated)  # what is stated need not be waited for
        message = await self.source()
        if message["type"] == "http.request":
            self.size += len(message.get("body", b""))
            self._check(self.size)
        return message

    def _check(self, size: int) -> None:
        if size > self.limit:
            raise HTTPException(413, f"the body is larger than the {self.limit} bytes that are taken here; send less")
