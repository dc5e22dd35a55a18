"""Mails that a person asks for at the shell: a test, a digest now."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import NotFoundError
from core.settings import Settings
from core.states import Severity
from db.models.apps import App
from db.repositories import addresses, audit, emails
from notifications import digest, render, unsubscribe
from notifications.listeners import listeners
from notifications.outbox import public_url, site_of
from notifications.policy import check_address, message_id, zone_of
from notifications.views import EventView, Rendered, Site


def queue_test(session: Session, to: str, *, now: datetime, settings: Settings) -> int:
    """Add a test mail without a job: the one who asked delivers it and waits for the answer.

    Raises:
        BadAddressError: that is no address.
    """
    recipient = check_address(to)
    mail = render.test(EventView(site=Site(app="metamon", public_url=public_url(settings), zone=UTC), now=now))
    return _add(session, "test", recipient, mail, app_id=None, now=now, settings=settings)


def queue_drill(
    session: Session, app: str, *, by: str, now: datetime, settings: Settings, deliver: bool = True
) -> list[int]:
    """Add a mail to everybody who would be told of a critical alert of this app; returns the mails' ids.

    Args:
        by: who asked; it is in the audit log.
        deliver: False leaves out the jobs: the caller sends the mails itself.

    Raises:
        NotFoundError: there is no such app.
    """
    row = _app(session, app)
    readers = listeners(session, row, kind="critical", what="drill", severity=Severity.CRITICAL)
    site = site_of(row, settings)
    audit.record(session, actor=by, action="alert.test", subject=f"app:{app}", readers=len(readers))
    return [
        _add(
            session,
            "test",
            reader.address,
            render.drill(EventView(site=replace(site, zone=reader.zone), now=now)),
            app_id=row.id,
            now=now,
            settings=settings,
            deliver=deliver,
        )
        for reader in readers
    ]


def preview_digest(session: Session, app: str, *, now: datetime, settings: Settings, to: str | None = None) -> Rendered:
    """Return the digest that the app's readers would get now. Tells nobody and marks nothing as told.

    Args:
        to: whose unsubscribe link it bears; without it the link leads to the settings.

    Raises:
        NotFoundError: there is no such app.
    """
    row = _app(session, app)
    day = now.astimezone(zone_of(row.timezone)).date()
    view = digest.collect(session, row, now=now, day=day, told_until=None, settings=settings)
    link = None
    if to is not None:
        key = addresses.signing_key(session, unsubscribe.KEY_NAME)
        link = digest.unsubscribe_url(view.site, row.id, to, key)
    return render.digest(view, unsubscribe=link)


def queue_digest(session: Session, app: str, to: str, *, now: datetime, settings: Settings) -> int:
    """Queue the digest of this moment for one recipient, beside the daily one; returns the mail's id.

    Raises:
        NotFoundError: there is no such app.
        BadAddressError: that is no address.
    """
    recipient = check_address(to)
    row = _app(session, app)
    mail = preview_digest(session, app, now=now, settings=settings, to=recipient)
    return _add(session, "digest", recipient, mail, app_id=row.id, now=now, settings=settings, deliver=True)


def _app(session: Session, name: str) -> App:
    row = session.scalars(select(App).where(App.name == name)).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no app {name!r}; `metamon apps list` shows what there is")
    return row


def _add(
    session: Session,
    kind: str,
    recipient: str,
    mail: Rendered,
    *,
    app_id: int | None,
    now: datetime,
    settings: Settings,
    deliver: bool = False,
) -> int:
    # Asked for twice is wanted twice: the moment is part of the key.
    key = f"{kind}-by-hand:{now.isoformat()}:{recipient.lower()}"
    email_id = emails.queue_once(
        session,
        key=key,
        kind=kind,
        recipient=recipient,
        subject=mail.subject,
        text=mail.text,
        html=mail.html,
        chart=mail.chart,
        headers=mail.headers,
        message_id=message_id(key, sender=settings.mail_from, since=now),
        now=now,
        app_id=app_id,
        deliver=deliver,
    )
    assert email_id is not None
    return email_id
