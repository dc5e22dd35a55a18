"""The dead man's switch: that monitoring fell silent is mailed by a process that needs nothing of the fleet.

The API runs it: no Celery, no Redis, no worker. Only the database and the mail server must live.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.settings import Settings
from core.states import EmailState
from db.models.apps import App
from db.models.mail import Email
from db.queries.fleet import last_done
from db.queries.status import LATE_SWEEP, LATE_SWEEP_MIN
from db.repositories import emails
from db.session import Sessions
from notifications import render
from notifications.deliver import deliver
from notifications.listeners import Listener, listeners
from notifications.outbox import site_of
from notifications.policy import mail_key, message_id
from notifications.smtp import PostponedError, parse_server
from notifications.views import SilenceView

log = structlog.get_logger(__name__)

KIND = "dead_man"
KEPT_TRYING = timedelta(hours=12)
TIMEOUT_S = 10.0


def limit(settings: Settings) -> timedelta:
    """Return how long monitoring may be silent: 12 minutes at a sweep every five."""
    return max(LATE_SWEEP * settings.sweep_period, LATE_SWEEP_MIN)


def check(sessions: Sessions, *, now: Callable[[], datetime], settings: Settings, since: datetime) -> list[int]:
    """Mail a silence once to everybody, and try again what could not be sent; returns the ids of mails that are new.

    Args:
        since: when this process began to watch: before that, nobody was late.
    """
    at = now()
    with sessions() as session, session.begin():
        made = _tell(session, now=at, settings=settings, since=since)
        waiting = session.scalars(
            select(Email.id)
            .where(Email.kind == KIND, Email.state == EmailState.QUEUED, Email.created_at > at - KEPT_TRYING)
            .order_by(Email.id)
        ).all()
    if settings.smtp_url is None:
        return made
    server = parse_server(settings.smtp_url.get_secret_value(), timeout_s=TIMEOUT_S)
    for email_id in waiting:
        try:
            deliver(sessions, email_id, server=server, sender=settings.mail_from, now=now)
        except PostponedError as error:
            log.warning("mail.dead_man_waits", mail_id=email_id, reason=str(error))
    return made


def _tell(session: Session, *, now: datetime, settings: Settings, since: datetime) -> list[int]:
    last = last_done(session, "monitoring.sweep", now=now)
    if now - max(last or since, since) <= limit(settings):
        return []
    made: list[int] = []
    told: set[str] = set()
    for app in session.scalars(select(App).where(App.enabled).order_by(App.id)).all():
        for reader in listeners(session, app, kind=KIND, what="dead man's switch"):
            if reader.address.lower() not in told:  # one silence, however many apps
                told.add(reader.address.lower())
                made += _queue(session, app, reader, last=last, now=now, settings=settings, since=since)
    if made:
        log.error("monitoring.silent", last_sweep=last.isoformat() if last else None)
    return made


def _queue(
    session: Session,
    app: App,
    reader: Listener,
    *,
    last: datetime | None,
    now: datetime,
    settings: Settings,
    since: datetime,
) -> list[int]:
    # The last sign of life names the silence: told once, until there is another.
    key = mail_key(KIND, (last or app.created_at).isoformat(), reader.address)
    site = site_of(app, settings, reader.zone)
    mail = render.dead_man(SilenceView(site=site, now=now, last_sweep=last, limit=limit(settings)))
    email_id = emails.queue_once(
        session,
        key=key,
        kind=KIND,
        recipient=reader.address,
        subject=mail.subject,
        text=mail.text,
        html=mail.html,
        headers=mail.headers,
        message_id=message_id(key, sender=settings.mail_from, since=app.created_at),
        now=now,
        app_id=app.id,
        deliver=False,
    )
    return [] if email_id is None else [email_id]
