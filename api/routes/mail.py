"""Mails: what was sent to whom, and what a person decides about one whose fate is unknown."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ConfigDict, Field

from api.auth import Admin, Db, Viewer
from api.paging import Cursor, Limit
from core.clock import utc_now
from core.states import EmailState, Severity
from db.queries.addresses import MailProblem, RecipientRecord, list_recipients, mail_problems
from db.queries.emails import MailContent, MailRecord, list_mails, show_mail
from db.queries.paging import Page, page
from db.repositories import addresses, emails
from notifications import wishes

router = APIRouter(prefix="/mail")

SHUT_IN = (
    "sandbox allow-popups; default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'self'; "
    "base-uri 'none'; form-action 'none'"
)
"""A mail is text from traces and models: whatever is in it, it stays a picture of itself."""

MailId = Annotated[int, Path(ge=1, le=2**31 - 1)]


@router.get("")
def index(
    _: Viewer,
    sessions: Db,
    *,
    app: Annotated[str | None, Query(max_length=200)] = None,
    kind: Annotated[str | None, Query(max_length=24)] = None,
    state: EmailState | None = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[MailRecord]:
    """List mails, newest first."""
    with sessions() as session:
        return page(
            lambda key, n: list_mails(session, app=app, kind=kind, state=state, key=key, limit=n),
            cursor=cursor,
            limit=limit,
            key=lambda mail: (mail.id,),
        )


@router.get("/problems")
def problems(_: Viewer, sessions: Db) -> list[MailProblem]:
    """List what keeps people from hearing, for a banner: apps without a reader, addresses that bounce."""
    with sessions() as session:
        return mail_problems(session)


@router.get("/recipients")
def recipients(
    _: Viewer, sessions: Db, *, app: Annotated[str | None, Query(max_length=200)] = None
) -> list[RecipientRecord]:
    """List who is told of which app, and how."""
    with sessions() as session:
        return list_recipients(session, app=app)


class ChangedWish(BaseModel):
    """What to change of a reader's wishes; what is not named stays."""

    model_config = ConfigDict(extra="forbid")

    app: str = Field(max_length=200)
    address: str = Field(max_length=254)
    timezone: str | None = Field(default=None, max_length=100)
    mute: list[str] = Field(default_factory=list, max_length=20)
    unmute: list[str] = Field(default_factory=list, max_length=20)
    min_severity: Severity | None = None
    quiet: str | None = Field(default=None, max_length=20)


class Enabled(BaseModel):
    """An address to write to again."""

    model_config = ConfigDict(extra="forbid")

    address: str = Field(max_length=254)


@router.patch("/recipients")
def change_wish(changed: ChangedWish, bearer: Admin, sessions: Db) -> list[RecipientRecord]:
    """Set how a reader wants to hear of an app."""
    with sessions.begin() as session:
        given = changed.model_dump(exclude={"app", "address"})
        wishes.change(session, changed.app, changed.address, by=bearer.actor, now=utc_now(), **given)
        session.flush()
        return list_recipients(session, app=changed.app)


@router.post("/recipients/enable")
def enable(given: Enabled, bearer: Admin, sessions: Db) -> list[MailProblem]:
    """Write again to an address that bounced; returns the problems that are left."""
    with sessions.begin() as session:
        addresses.enable(session, given.address, by=bearer.actor)
        session.flush()
        return mail_problems(session)


@router.get("/{mail_id}")
def show(mail_id: MailId, _: Viewer, sessions: Db) -> MailContent:
    """Return one mail with its text, its HTML and its headers. The HTML travels as a string, never as a page."""
    with sessions() as session:
        return show_mail(session, mail_id)


@router.get("/{mail_id}/page", response_class=HTMLResponse)
def as_sent(mail_id: MailId, _: Viewer, sessions: Db) -> HTMLResponse:
    """Return a mail as its reader sees it, shut in: no script, no form, no origin, and nothing is loaded."""
    with sessions() as session:
        html = show_mail(session, mail_id).html
    return HTMLResponse(html, headers={"Content-Security-Policy": SHUT_IN, "X-Content-Type-Options": "nosniff"})


@router.post("/{mail_id}/resend")
def resend(mail_id: MailId, bearer: Admin, sessions: Db) -> MailRecord:
    """Send again what failed or is unknown."""
    with sessions.begin() as session:
        emails.resend(session, mail_id, by=bearer.actor)
        session.flush()
        return MailRecord.model_validate(show_mail(session, mail_id).model_dump())


@router.post("/{mail_id}/mark-sent")
def mark_sent(mail_id: MailId, bearer: Admin, sessions: Db) -> MailRecord:
    """Close an unknown mail: it is known to have arrived."""
    with sessions.begin() as session:
        emails.mark_sent(session, mail_id, by=bearer.actor, now=utc_now())
        session.flush()
        return MailRecord.model_validate(show_mail(session, mail_id).model_dump())
