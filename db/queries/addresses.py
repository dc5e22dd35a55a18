"""Who is told of which app, how, and which addresses answer no more."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.states import Severity
from db.models.apps import App
from db.models.mail import MailAddress, MailPreference
from db.repositories.addresses import BOUNCES_TO_DISABLE, is_last


class MailProblem(BaseModel):
    """Something that keeps people from hearing; shown as a banner."""

    kind: Literal["nobody", "disabled", "bouncing"]
    text: str
    mend: str
    address: str | None = None
    app: str | None = None


class RecipientRecord(BaseModel):
    """One address on an app's notify list, and how it wants to hear."""

    app: str
    address: str
    timezone: str
    muted: list[str]
    min_severity: Severity
    quiet: str | None
    """Local hours, `22:00-07:00`."""
    bounces: int
    disabled_at: datetime | None
    last_error: str | None


def mail_problems(session: Session) -> list[MailProblem]:
    """Return what to put up as banners: apps that nobody is told about, addresses that bounce, the worst first."""
    problems = [
        MailProblem(
            kind="nobody",
            app=name,
            text=f"Nobody is told about {name}",
            mend=f"metamon apps set {name} notify=you@example.com",
        )
        for name, notify in session.execute(select(App.name, App.notify).where(App.enabled).order_by(App.name))
        if not notify
    ]
    rows = session.scalars(
        select(MailAddress).where(MailAddress.bounces >= BOUNCES_TO_DISABLE).order_by(MailAddress.address)
    ).all()
    for row in sorted(rows, key=lambda row: row.disabled_at is not None):
        mend = f"correct it (metamon apps set APP notify=…) or, once it works: metamon mail enable {row.address}"
        if row.disabled_at is not None:
            text = f"{row.address} bounced {row.bounces} times and is written to no more"
            problems.append(MailProblem(kind="disabled", address=row.address, text=text, mend=mend))
        elif is_last(session, row.address):
            text = f"{row.address} bounces, and is the last address that could be told: nobody may be hearing you"
            problems.append(MailProblem(kind="bouncing", address=row.address, text=text, mend=mend))
    return problems


def list_recipients(session: Session, *, app: str | None = None) -> list[RecipientRecord]:
    """Return every address of every app's notify list with its wishes."""
    query = select(App).order_by(App.name)
    if app is not None:
        query = query.where(App.name == app)
    known = {row.address: row for row in session.scalars(select(MailAddress))}
    wishes = {(row.app_id, row.address): row for row in session.scalars(select(MailPreference))}
    return [
        _record(row, address, wishes.get((row.id, address.lower())), known.get(address.lower()))
        for row in session.scalars(query)
        for address in row.notify
    ]


def _record(app: App, address: str, wish: MailPreference | None, known: MailAddress | None) -> RecipientRecord:
    quiet = None
    if wish is not None and wish.quiet_from is not None and wish.quiet_until is not None:
        quiet = f"{wish.quiet_from:%H:%M}-{wish.quiet_until:%H:%M}"
    return RecipientRecord(
        app=app.name,
        address=address,
        timezone=(wish.timezone if wish else None) or app.timezone,
        muted=list(wish.muted) if wish else [],
        min_severity=wish.min_severity if wish else Severity.LOW,
        quiet=quiet,
        bounces=known.bounces if known else 0,
        disabled_at=known.disabled_at if known else None,
        last_error=known.last_error if known and known.bounces else None,
    )
