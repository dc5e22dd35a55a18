"""A rendered mail becomes rows: one per recipient, each with its job, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, tzinfo

from sqlalchemy.orm import Session

from core.settings import Settings
from db.models.apps import App
from db.repositories import emails
from db.repositories.jobs import Claim
from notifications.listeners import Listener
from notifications.policy import mail_key, message_id, safe_header, zone_of
from notifications.views import Rendered, Site


def site_of(app: App, settings: Settings, zone: tzinfo | None = None) -> Site:
    """Return where the reader of this app's mails is: in the zone, or in the app's."""
    return Site(
        app=app.name,
        public_url=public_url(settings),
        zone=zone or zone_of(app.timezone),
        demo=settings.demo,
    )


def public_url(settings: Settings) -> str:
    """Return how people reach us, without a slash at the end."""
    return (settings.public_url or f"http://{settings.api_host}:{settings.api_port}").rstrip("/")


def by_zone(render: Callable[[tzinfo], Rendered]) -> Callable[[Listener], Rendered]:
    """Return a renderer for listeners that renders once for each zone: for mails that differ in nothing else."""
    done: dict[str, Rendered] = {}

    def rendered(listener: Listener) -> Rendered:
        name = str(listener.zone)
        if name not in done:
            done[name] = render(listener.zone)
        return done[name]

    return rendered


def queue(
    session: Session,
    app: App,
    *,
    event: str,
    subject: object,
    kind: str,
    to: Sequence[Listener],
    render: Callable[[Listener], Rendered],
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
    for listener in to:
        key = mail_key(event, subject, listener.address)
        mail = render(listener)
        email_id = emails.queue_once(
            session,
            key=key,
            kind=kind,
            recipient=listener.address,
            subject=safe_header(mail.subject),
            text=mail.text,
            html=mail.html,
            chart=mail.chart,
            headers={name: safe_header(value) for name, value in mail.headers.items()},
            message_id=message_id(key, sender=sender, since=app.created_at),
            now=now,
            not_before=listener.not_before(kind, now),
            app_id=app.id,
            alert_id=alert_id,
            parent=parent,
        )
        if email_id is not None:
            made.append(email_id)
    return made
