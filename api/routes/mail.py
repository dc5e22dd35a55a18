"""Mails: what was sent to whom, and what a person decides about one whose fate is unknown."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from api.auth import Admin, Db, Viewer
from core.clock import utc_now
from core.states import EmailState
from db.queries.emails import MailContent, MailRecord, list_mails, show_mail
from db.repositories import emails

router = APIRouter(prefix="/mail")

MailId = Annotated[int, Path(ge=1, le=2**31 - 1)]


@router.get("")
def index(
    _: Viewer,
    sessions: Db,
    *,
    app: Annotated[str | None, Query(max_length=200)] = None,
    kind: Annotated[str | None, Query(max_length=24)] = None,
    state: EmailState | None = None,
    before: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> list[MailRecord]:
    """List mails, newest first; `before` an id for the next page."""
    with sessions() as session:
        return list_mails(session, app=app, kind=kind, state=state, before=before, limit=limit)


@router.get("/{mail_id}")
def show(mail_id: MailId, _: Viewer, sessions: Db) -> MailContent:
    """Return one mail with its text, its HTML and its headers. The HTML travels as a string, never as a page."""
    with sessions() as session:
        return show_mail(session, mail_id)


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
