"""The dashboard's files: hashed assets for ever, the page never from a cache, no page for an unknown API path."""

from __future__ import annotations

import gzip
import mimetypes
from functools import lru_cache
from html import escape
from pathlib import Path

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool
from starlette.middleware.base import RequestResponseEndpoint

PLACES = (Path(__file__).parent / "dashboard", Path(__file__).parents[1] / "dashboard" / "dist")
"""Inside the wheel; in a clone."""
NO_PAGE = ("api", "ofrep", "health", "metrics", "info", "unsubscribe", "assets")
"""First parts of a path that are never answered with the page."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; frame-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
"""Nothing from elsewhere, nothing inline: a script in a proposal's title stays a title."""
GUARDS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cross-Origin-Opener-Policy": "same-origin",
}
COMPRESSED = (".js", ".css", ".html", ".svg")
UNBUILT = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>metamon</title></head>
<body><h1>metamon runs, but its dashboard was not built</h1>
<p>{why}</p>
<p>To build it, in the clone, with Node 20.19 or newer:
<code>cd dashboard &amp;&amp; npm ci &amp;&amp; npm run build</code>.
Then reload this page.</p>
<p>Everything works without it: <code>metamon status</code> on the command line, the
<a href="/api/docs">API</a>.</p>
</body></html>
"""


def mount(app: FastAPI, places: tuple[Path, ...] = PLACES) -> None:
    """Serve the dashboard for every path that no other route has. To be called last."""

    def page(path: str, request: Request) -> Response:
        first = path.split("/", 1)[0]
        folder = next((place for place in places if (place / "index.html").is_file()), None)
        zipped = "gzip" in request.headers.get("accept-encoding", "")
        if folder is not None and path and (found := _inside(folder, path)) is not None:
            lasting = "public, max-age=31536000, immutable" if first == "assets" else "no-cache"
            return _file(found, lasting, zipped=zipped)
        if first in NO_PAGE:
            raise HTTPException(404, "there is nothing at this path")
        if folder is None:
            return Response(UNBUILT.format(why=escape(_why(places))), media_type="text/html", headers=GUARDS)
        return _file(folder / "index.html", "no-cache", zipped=zipped)

    app.add_api_route("/{path:path}", page, include_in_schema=False, response_model=None)

    # The SDK's collector answers at the root too, and some of its paths are names of pages (/settings): somebody who
    # opens an address in a browser means the page.
    @app.middleware("http")
    async def browsers_first(request: Request, call_next: RequestResponseEndpoint) -> Response:
        path = request.url.path.strip("/")
        opened = request.method == "GET" and request.headers.get("sec-fetch-mode") == "navigate"
        if opened and path.split("/", 1)[0] not in NO_PAGE:
            return await run_in_threadpool(page, path, request)
        return await call_next(request)


def _inside(folder: Path, path: str) -> Path | None:
    """Return the file of the built page at the path; None where there is none, or where it leads out or is hidden."""
    if "\0" in path or any(part.startswith(".") for part in path.split("/")):
        return None
    found = (folder / path).resolve()
    return found if found.is_relative_to(folder.resolve()) and found.is_file() else None


def _file(path: Path, lasting: str, *, zipped: bool) -> Response:
    zipped = zipped and path.suffix in COMPRESSED
    body, tag = _content(path, path.stat().st_mtime_ns, zipped=zipped)
    headers = {**GUARDS, "Cache-Control": lasting, "ETag": tag, "Vary": "Accept-Encoding"}
    if zipped:
        headers["Content-Encoding"] = "gzip"
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return Response(body, media_type=kind, headers=headers)


@lru_cache(maxsize=256)
def _content(path: Path, changed: int, *, zipped: bool) -> tuple[bytes, str]:
    """Return (body, ETag); read and compressed once a build. `changed` tells one build from the next."""
    body = path.read_bytes()
    return gzip.compress(body, 9) if zipped else body, f'"{changed:x}{"-gz" if zipped else ""}"'


def _why(places: tuple[Path, ...]) -> str:
    logs = [place.parent / "build.log" for place in places]
    failed = next((log for log in logs if log.is_file()), None)
    return (
        "The build failed; dashboard/build.log says why." if failed else "There is no build of it beside this server."
    )
