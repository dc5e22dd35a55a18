"""Who hears of an app, and how each of them wants to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo

import structlog
from sqlalchemy.orm import Session

from core.states import Severity
from db.models.apps import App
from db.models.mail import MailPreference
from db.repositories import addresses
from notifications.policy import recipients, zone_of

log = structlog.get_logger(__name__)

THREAD = frozenset({"critical", "update", "resolved", "storm"})
"""Mails about critical alerts: one wish for all of them."""
URGENT = THREAD | {"dead_man", "test"}
"""What quiet hours do not hold back."""
MUTABLE = ("critical", "hourly", "digest", "approval", "blocked", "rollback", "implemented", "dead_man")
"""Kinds that a reader may do without."""


@dataclass(frozen=True)
class Listener:
    """One reader of an app's mails."""

    address: str
    zone: tzinfo = UTC
    muted: frozenset[str] = frozenset()
    min_severity: Severity = Severity.LOW
    quiet_from: time | None = None
    quiet_until: time | None = None

    def hears(self, kind: str, severity: Severity | None = None) -> bool:
        """Tell whether the reader wants this kind of mail, about an alert of this severity where it is about one."""
        wish = "critical" if kind in THREAD else kind
        return wish not in self.muted and (severity is None or severity.rank >= self.min_severity.rank)

    def not_before(self, kind: str, now: datetime) -> datetime | None:
        """Return the end of the reader's quiet hours where a mail of this kind must wait for it."""
        start, end = self.quiet_from, self.quiet_until
        if kind in URGENT or start is None or end is None or start == end:
            return None
        local = now.astimezone(self.zone)
        at = local.time()
        over_midnight = start > end
        quiet = (at >= start or at < end) if over_midnight else start <= at < end
        if not quiet:
            return None
        day = local.date() + timedelta(days=1) if over_midnight and at >= start else local.date()
        return datetime.combine(day, end, self.zone).astimezone(UTC)


def listeners(session: Session, app: App, *, kind: str, what: str, severity: Severity | None = None) -> list[Listener]:
    """Return who is written to: listed, not bouncing, and willing.

    Nobody is no error, and is said aloud; so is an entry that is no address.
    """
    good, bad = recipients(app.notify)
    for entry in bad:
        log.warning("mail.bad_address", app=app.name, address=entry[:100], what=what)
    away = addresses.disabled(session, good)
    if away:
        log.warning("mail.disabled_address", app=app.name, count=len(away), what=what)
    wishes = addresses.preferences(session, app.id)
    reached = [listener(app, address, wishes) for address in good if address.lower() not in away]
    if not reached:
        log.warning(
            "mail.no_recipient", app=app.name, what=what, mend=f"metamon apps set {app.name} notify=you@example.com"
        )
    return [reader for reader in reached if reader.hears(kind, severity)]


def listener(app: App, address: str, wishes: Mapping[str, MailPreference]) -> Listener:
    """Return one reader with their wishes."""
    wish = wishes.get(address.lower())
    if wish is None:
        return Listener(address, zone_of(app.timezone))
    return Listener(
        address,
        zone_of(wish.timezone or app.timezone),
        muted=frozenset(wish.muted),
        min_severity=wish.min_severity,
        quiet_from=wish.quiet_from,
        quiet_until=wish.quiet_until,
    )
