"""A rendered mail becomes rows: one per recipient, each with its job, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import structlog
from sqlalchemy.orm import Session

from core.settings import Settings
from db.models.apps import App
from db.repositories import emails
from db.repositories.jobs import Claim
from notifications.policy import mail_key, message_id, recipients, safe_header, zone_of
from notifications.views import Rendered, Site

log = structlog.get_logger(__name__)


def site_of(app: App, settings: Settings) -> Site:
    """Return where the reader of this app's mails is."""
    return Site(
        app=app.name,
        public_url=public_url(settings),
        zone=zone_of(app.timezone),
        demo=settings.demo,
    )


def public_url(settings: Settings) -> str:
    """Return how people reach us, without a slash at the end."""
    return (settings.public_url or f"http://{settings.api_host}:{settings.api_port}").rstrip("/")


def listeners(app: App, *, what: str) -> list[str]:
    """Return whom to write to. Nobody is no error, and is said aloud; so is an entry that is no address."""
    good, bad = recipients(app.notify)
    for entry in bad:
        log.warning("mail.bad_address", app=app.name, address=entry[:100], what=what)
    if not good:
        log.warning(
            "mail.no_recipient", app=app.name, what=what, mend=f"metamon apps set {app.name} --notify you@example.com"
        )
    return good


def queue(
    session: Session,
    app: App,
    *,
    event: str,
    subject: object,
    kind: str,
    to: Sequence[str],
    render: Callable[[str], Rendered],
    sender: str,
    now: datetime,
    alert_id: int | None = None,
    parent: Claim | None = None,
) -> list[int]:
    """Queue one mail for each recipient and return the new rows' ids; who was written to before gets nothing.

    Args:
        event: first part of the key, with `subject` the mail's identity.
        render: the mail for one recipient.
    """
    made: list[int] = []
    for recipient in to:
        key = mail_key(event, subject, recipient)
        mail = render(recipient)
        email_id = emails.queue_once(
            session,
            key=key,
            kind=kind,
            recipient=recipient,
            subject=safe_header(mail.subject),
            text=mail.text,
            html=mail.html,
            headers={name: safe_header(value) for name, value in mail.headers.items()},
            message_id=message_id(key, sender=sender, since=app.created_at),
            now=now,
            app_id=app.id,
            alert_id=alert_id,
            parent=parent,
        )
        if email_id is not None:
            made.append(email_id)
    return made
