"""Where "Stop daily digests" leads: a page that asks on GET, and acts on POST alone. Mail scanners follow every link.

RFC 8058: a mail program's own button posts `List-Unsubscribe=One-Click` to the same address, without cookies.
"""

from __future__ import annotations

from html import escape
from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import HTMLResponse

from api.auth import Db
from core.clock import utc_now
from notifications.unsubscribe import TOKEN_CAP, BadTokenError
from notifications.wishes import describe, follow

router = APIRouter(prefix="/unsubscribe", include_in_schema=False)

Token = Annotated[str, Path(max_length=TOKEN_CAP)]

FORM_CAP = 1000
"""Bytes of a form that are read; ours has six, a mail program's own 26."""

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex"><meta name="referrer" content="no-referrer">
<meta name="color-scheme" content="light dark"><title>{title}</title><style>
:root {{ color-scheme: light dark; --bg: #f0f2f5; --card: #fff; --ink: #171a21; --soft: #5d6675; --go: #1d5bd6; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --bg: #0f1115; --card: #1a1d24; --ink: #eef0f4; --soft: #a4acba; --go: #3b74e6; }} }}
body {{ margin: 0; min-height: 100vh; display: grid; place-items: center; background: var(--bg); color: var(--ink);
  font: 16px/1.5 -apple-system, BlinkMacSystemFont, "Segoe UI", Helvetica, Arial, sans-serif; }}
main {{ background: var(--card); border-radius: 10px; padding: 32px; margin: 16px; max-width: 420px; }}
h1 {{ font-size: 22px; line-height: 1.3; margin: 0 0 8px; }} p {{ color: var(--soft); margin: 0 0 20px; }}
button {{ font: inherit; font-weight: 600; color: #fff; background: var(--go); border: 0; border-radius: 6px;
  padding: 10px 22px; cursor: pointer; }} button:focus-visible {{ outline: 3px solid var(--ink); outline-offset: 2px; }}
</style></head><body><main><h1>{title}</h1><p>{text}</p>{form}</main></body></html>
"""
HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
}


def _page(title: str, text: str, *, button: str = "", undo: bool = False, status: int = 200) -> HTMLResponse:
    form = ""
    if button:
        field = '<input type="hidden" name="undo" value="1">' if undo else ""
        form = f'<form method="post">{field}<button>{escape(button)}</button></form>'
    return HTMLResponse(
        PAGE.format(title=escape(title), text=escape(text), form=form), status_code=status, headers=HEADERS
    )


def _not_ours(error: BadTokenError) -> HTMLResponse:
    return _page("This link does not work", f"{error}.".capitalize(), status=404)


@router.get("/{token}")
def ask(token: Token, sessions: Db) -> HTMLResponse:
    """Show what the link would do. Changes nothing."""
    try:
        with sessions.begin() as session:
            wish, app, muted = describe(session, token)
    except BadTokenError as error:
        return _not_ours(error)
    if muted:
        return _page(
            "You have stopped these digests",
            f"{wish.address} gets no daily digest of {app}. Alerts still arrive.",
            button="Send them again",
            undo=True,
        )
    return _page(
        f"Stop the daily digests of {app}?",
        f"They go to {wish.address}. Alerts and questions that need you still arrive.",
        button="Stop daily digests",
    )


@router.post("/{token}")
async def act(token: Token, request: Request, sessions: Db) -> HTMLResponse:
    """Stop the digests, or send them again where the page's own button says so."""
    from anyio import to_thread

    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > FORM_CAP:
            break
    undo = b"undo=1" in body

    def work() -> HTMLResponse:
        try:
            with sessions.begin() as session:
                wish, app = follow(session, token, muted=not undo, now=utc_now())
        except BadTokenError as error:
            return _not_ours(error)
        if undo:
            return _page("You get them again", f"The next daily digest of {app} goes to {wish.address}.")
        return _page(
            "Done: no more daily digests",
            f"{wish.address} gets no daily digest of {app} from now on. Alerts still arrive.",
            button="Send them again",
            undo=True,
        )

    return await to_thread.run_sync(work)
