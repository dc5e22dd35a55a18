"""How somebody wants to hear of an app: checked, then stored."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, time
from typing import Any
from zoneinfo import available_timezones

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import MetamonError, NotFoundError
from core.states import Severity
from db.models.apps import App
from db.models.mail import MailPreference
from db.repositories import addresses
from notifications import unsubscribe
from notifications.listeners import MUTABLE


class BadWishError(MetamonError):
    """Nobody can hear like this."""


def change(
    session: Session,
    app_name: str,
    address: str,
    *,
    by: str,
    now: datetime,
    timezone: str | None = None,
    mute: Sequence[str] = (),
    unmute: Sequence[str] = (),
    min_severity: Severity | None = None,
    quiet: str | None = None,
) -> None:
    """Set what is given of a reader's wishes; the rest stays.

    Args:
        timezone: a zone's name; "app" goes back to the app's.
        quiet: local hours such as "22:00-07:00"; "none" ends them.

    Raises:
        NotFoundError: there is no such app, or the address is not on its list.
        BadWishError: a kind, a zone or an hour that is none.
    """
    app = session.scalars(select(App).where(App.name == app_name)).one_or_none()
    if app is None:
        raise NotFoundError(f"there is no app {app_name!r}; `metamon apps list` shows what there is")
    if address.lower() not in {entry.lower() for entry in app.notify}:
        listed = ", ".join(app.notify) or "nobody"
        raise NotFoundError(f"{address!r} is not on {app_name}'s notify list; on it: {listed}")
    values: dict[str, Any] = {}
    if timezone is not None:
        if timezone != "app" and timezone not in available_timezones():
            raise BadWishError(f"{timezone!r} is no time zone, such as Europe/Berlin; `app` is the app's own")
        values["timezone"] = None if timezone == "app" else timezone
    if mute or unmute:
        for kind in (*mute, *unmute):
            if kind not in MUTABLE:
                raise BadWishError(f"{kind!r} is no kind of mail; these are: {', '.join(MUTABLE)}")
        before = session.get(MailPreference, (app.id, address.lower()))
        values["muted"] = sorted((set(before.muted if before else ()) | set(mute)) - set(unmute))
    if min_severity is not None:
        values["min_severity"] = min_severity
    if quiet is not None:
        values["quiet_from"], values["quiet_until"] = _hours(quiet)
    if values:
        addresses.prefer(session, app.id, address, values, by=by, now=now)


def _hours(quiet: str) -> tuple[time | None, time | None]:
    if quiet == "none":
        return None, None
    try:
        start, end = (time.fromisoformat(part.strip()) for part in quiet.split("-"))
    except ValueError:
        raise BadWishError(f"{quiet!r} are no hours; write 22:00-07:00, or none") from None
    return start, end


def describe(session: Session, token: str) -> tuple[unsubscribe.Wish, str, bool]:
    """Return what an unsubscribe link is about: the wish, the app's name, whether it is muted already.

    Raises:
        BadTokenError: the link is none of ours, or its app is gone.
    """
    wish = unsubscribe.read(token, addresses.signing_key(session, unsubscribe.KEY_NAME))
    app = session.get(App, wish.app_id)
    if app is None:
        raise unsubscribe.BadTokenError("the app that this link is about is gone, and its mails with it")
    row = session.get(MailPreference, (wish.app_id, wish.address))
    return wish, app.name, row is not None and wish.kind in row.muted


def follow(session: Session, token: str, *, muted: bool, now: datetime) -> tuple[unsubscribe.Wish, str]:
    """Do what an unsubscribe link says, or take it back. Doing it twice changes nothing.

    Raises:
        BadTokenError: the link is none of ours.
    """
    wish, app, _ = describe(session, token)
    addresses.mute(session, wish.app_id, wish.address, wish.kind, muted=muted, by=f"mail:{wish.address}", now=now)
    return wish, app
