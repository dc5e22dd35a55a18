"""Mails as people see them."""

from __future__ import annotations

import base64
import re
from datetime import datetime

from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import NotFoundError
from core.states import EmailState
from db.models.apps import App
from db.models.mail import Email
from db.queries.paging import DESCENDING, Key, after


class MailRecord(BaseModel):
    """One mail to one recipient, without its content."""

    id: int
    kind: str
    subject: str
    to: str
    state: EmailState
    sent_at: datetime | None
    created_at: datetime
    app: str | None
    alert_id: int | None
    attempts: int
    error: str | None
    message_id: str


class MailContent(MailRecord):
    """One mail with everything in it."""

    headers: dict[str, str]
    text: str
    html: str
    """Stands alone: its chart is in it as a data URI."""


def list_mails(
    session: Session,
    *,
    app: str | None = None,
    kind: str | None = None,
    state: EmailState | None = None,
    key: Key | None = None,
    limit: int = 50,
) -> list[MailRecord]:
    """Return mails, newest first.

    Args:
        key: (id,) of the last one seen.
    """
    query = select(Email, App.name).outerjoin(App, App.id == Email.app_id)
    if app is not None:
        query = query.where(App.name == app)
    if kind is not None:
        query = query.where(Email.kind == kind)
    if state is not None:
        query = query.where(Email.state == state)
    rows = session.execute(after(query, (Email.id, DESCENDING), key=key, limit=limit)).all()
    return [MailRecord(**_fields(row, name)) for row, name in rows]


def show_mail(session: Session, email_id: int) -> MailContent:
    """Return one mail.

    Raises:
        NotFoundError: there is no such mail.
    """
    found = session.execute(
        select(Email, App.name).outerjoin(App, App.id == Email.app_id).where(Email.id == email_id)
    ).one_or_none()
    if found is None:
        raise NotFoundError(f"there is no mail {email_id}; `metamon mail list` shows what there is")
    row, name = found
    headers = {str(key): str(value) for key, value in row.headers.items()}
    html = standalone(row.html_body, row.chart)
    return MailContent(**_fields(row, name), headers=headers, text=row.text_body, html=html)


def standalone(html: str, chart: bytes | None) -> str:
    """Return a mail's HTML for a browser: what a mail refers to by `cid:` is put into it."""
    if chart is None:
        return html
    uri = "data:image/png;base64," + base64.b64encode(chart).decode()
    return re.sub(r"cid:[0-9a-f]+@metamon", uri, html)


def _fields(row: Email, app: str | None) -> dict[str, object]:
    return {
        "id": row.id,
        "kind": row.kind,
        "subject": row.subject,
        "to": row.recipient,
        "state": row.state,
        "sent_at": row.sent_at,
        "created_at": row.created_at,
        "app": app,
        "alert_id": row.alert_id,
        "attempts": row.attempts,
        "error": row.error,
        "message_id": row.message_id,
    }
