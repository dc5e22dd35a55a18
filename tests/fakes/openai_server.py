"""A real HTTP server on loopback that speaks OpenAI's chat protocol, and can be told to misbehave."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[dict[str, Any]], dict[str, Any] | str]


class OpenAIServer:
    """What it was asked is in `requests`; how it answers is `behaviour`.

    Behaviours: `good`, `garbage` (no JSON), `wrong` (JSON of another schema), `truncated` (stops in the middle),
    `silent` (headers never come), `dribble` (a byte now and then), `huge` (megabytes), `down` (500), `limited` (429),
    `refusal`, `hangup` (closes without an answer).
    """

    def __init__(self) -> None:
        self.behaviour = "good"
        self.script: list[str] = []
        """Behaviours of the next calls, before `behaviour` applies."""
        self.content: Any = {}
        """What a good answer holds."""
        self.contents: dict[str, Any] = {}
        """The same by the name of the schema that is asked for, where it differs."""
        self.requests: list[dict[str, Any]] = []
        self.raw: list[bytes] = []
        self.stop = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: Any) -> None:
                """Keep quiet."""

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                server.raw.append(body)
                server.requests.append(json.loads(body))
                server.answer(self)

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True

    @property
    def url(self) -> str:
        """The base URL, `/v1` included."""
        return f"http://127.0.0.1:{self.http.server_address[1]}/v1"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one call."""
        behaviour = self.script.pop(0) if self.script else self.behaviour
        handler.close_connection = True
        if behaviour == "hangup":
            return
        if behaviour == "silent":
            self.stop.wait(30)
            return
        if behaviour in ("down", "limited"):
            self._send(
                handler, {"error": {"message": behaviour, "type": "server_error"}}, 500 if behaviour == "down" else 429
            )
            return
        schema = self.requests[-1].get("response_format", {}).get("json_schema", {}).get("name", "")
        content = json.dumps(self.contents.get(schema, self.content))
        text = {
            "garbage": "I am sure it is fine, trust me",
            "wrong": json.dumps({"action": "approve", "proposal": 1}),
            "truncated": content[: len(content) // 2],
        }.get(behaviour, content)
        reply = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": "fake",
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "length" if behaviour == "truncated" else "stop",
                    "message": {
                        "role": "assistant",
                        "content": None if behaviour == "refusal" else text,
                        "refusal": "no" if behaviour == "refusal" else None,
                    },
                }
            ],
            "usage": {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150},
        }
        if behaviour == "huge":
            reply["padding"] = "x" * 5_000_000
        if behaviour == "dribble":
            self._dribble(handler, json.dumps(reply).encode())
            return
        self._send(handler, reply, 200)

    def _send(self, handler: BaseHTTPRequestHandler, reply: dict[str, Any], status: int) -> None:
        body = json.dumps(reply).encode()
        handler.send_response(status)
        handler.send_header("content-type", "application/json")
        handler.send_header("content-length", str(len(body)))
        handler.end_headers()
        try:
            handler.wfile.write(body)
        except OSError:
            return

    def _dribble(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        handler.send_response(200)
        handler.send_header("content-type", "application/json")
        handler.send_header("content-length", str(len(body)))
        handler.end_headers()
        for place in range(len(body)):
            if self.stop.wait(0.2):
                return
            try:
                handler.wfile.write(body[place : place + 1])
                handler.wfile.flush()
            except OSError:
                return


@contextmanager
def openai_server() -> Iterator[OpenAIServer]:
    """Run a server for the length of a block."""
    server = OpenAIServer()
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stop.set()
        server.http.shutdown()
        server.http.server_close()
        thread.join()
