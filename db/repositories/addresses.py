"""Addresses that bounce, and how people want to hear of an app."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.errors import NotFoundError
from core.states import Scope
from db.models.access import User
from db.models.apps import App
from db.models.mail import MailAddress, MailPreference, SigningKey
from db.repositories import audit

BOUNCES_TO_DISABLE = 2
ERROR_CAP = 300


def bounced(session: Session, address: str, *, error: str, now: datetime) -> bool:
    """Count a hard bounce; True where it disabled the address.

    The second in a row disables it, unless nobody else would be told of some app, or no other admin could be reached:
    then it goes on being written to, and `problems` says so.
    """
    # One at a time: of two addresses that bounce at once each would count on the other.
    session.execute(select(func.pg_advisory_xact_lock(7305811944)))
    statement = insert(MailAddress).values(
        address=address.lower(), bounces=1, last_bounce_at=now, last_error=error[:ERROR_CAP]
    )
    session.execute(
        statement.on_conflict_do_update(
            index_elements=[MailAddress.address],
            set_={
                "bounces": MailAddress.bounces + 1,
                "last_bounce_at": now,
                "last_error": error[:ERROR_CAP],
            },
        )
    )
    row = session.get_one(MailAddress, address.lower(), populate_existing=True)
    if row.bounces < BOUNCES_TO_DISABLE or row.disabled_at is not None or is_last(session, address):
        return False
    row.disabled_at = now
    audit.record(session, actor="policy:bounces", action="mail.disable", subject=f"address:{address.lower()}")
    return True


def accepted(session: Session, address: str) -> None:
    """Forget the bounces of an address that took a mail."""
    row = session.get(MailAddress, address.lower())
    if row is not None and row.disabled_at is None and row.bounces:
        row.bounces = 0


def enable(session: Session, address: str, *, by: str) -> None:
    """Write to an address again.

    Raises:
        NotFoundError: it never bounced.
    """
    row = session.get(MailAddress, address.lower(), with_for_update=True)
    if row is None:
        raise NotFoundError(f"{address!r} never bounced: there is nothing to enable")
    row.bounces, row.disabled_at = 0, None
    audit.record(session, actor=by, action="mail.enable", subject=f"address:{address.lower()}")


def disabled(session: Session, listed: Iterable[str]) -> set[str]:
    """Return which of the addresses are disabled, in lower case."""
    wanted = [address.lower() for address in listed]
    return set(
        session.scalars(
            select(MailAddress.address).where(MailAddress.address.in_(wanted), MailAddress.disabled_at.is_not(None))
        )
    )


def is_last(session: Session, address: str) -> bool:
    """Tell whether without this address nobody would be told of some app, or no admin could be reached."""
    asked = address.lower()
    for notify in session.scalars(select(App.notify).where(App.enabled)):
        listed = {entry.strip().lower() for entry in notify}
        if asked in listed and not listed - {asked} - disabled(session, listed):
            return True
    admins = {
        email.lower()
        for email in session.scalars(select(User.email).where(User.role == Scope.ADMIN, User.disabled_at.is_(None)))
    }
    return asked in admins and not admins - {asked} - disabled(session, admins)


def preferences(session: Session, app_id: int) -> dict[str, MailPreference]:
    """Return who of an app's readers has wishes, by address in lower case."""
    rows = session.scalars(select(MailPreference).where(MailPreference.app_id == app_id))
    return {row.address: row for row in rows}


def prefer(session: Session, app_id: int, address: str, values: Mapping[str, Any], *, by: str, now: datetime) -> None:
    """Set wishes of a reader; what is not named stays as it is."""
    key = {"app_id": app_id, "address": address.lower()}
    session.execute(insert(MailPreference).values(**key).on_conflict_do_nothing())
    row = session.get_one(MailPreference, (app_id, address.lower()), with_for_update=True, populate_existing=True)
    for name, value in values.items():
        setattr(row, name, value)
    row.updated_at = now
    said = {name: str(value) for name, value in values.items()}
    audit.record(session, actor=by, action="mail.prefer", subject=f"address:{address.lower()}", app=app_id, **said)


def mute(session: Session, app_id: int, address: str, kind: str, *, muted: bool, by: str, now: datetime) -> bool:
    """Stop or start one kind of mail for a reader; False where it was so already."""
    row = session.get(MailPreference, (app_id, address.lower()), with_for_update=True)
    before = set(row.muted) if row else set()
    after = before | {kind} if muted else before - {kind}
    if after == before:
        return False
    prefer(session, app_id, address, {"muted": sorted(after)}, by=by, now=now)
    return True


def signing_key(session: Session, name: str) -> bytes:
    """Return the installation's secret of that name; made on first use."""
    session.execute(insert(SigningKey).values(name=name, key=secrets.token_bytes(32)).on_conflict_do_nothing())
    return session.get_one(SigningKey, name).key
