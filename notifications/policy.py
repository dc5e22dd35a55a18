"""Who hears what, when, and under which name. Pure: `now` and zones come in."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from core.clock import floor_time
from core.errors import MetamonError

DIGEST_FROM = time(9)
DIGEST_UNTIL = time(15)
"""Six hours of grace: a fleet that comes back at noon still sends; at night it lets the day be."""

_ADDRESS = re.compile(r"[^\s@<>,;:\"\\()\[\]]+@[^\s@<>,;:\"\\()\[\]]+")
ADDRESS_CAP = 254


class BadAddressError(MetamonError):
    """That is no address a mail could be sent to."""


class HeaderInjectionError(MetamonError):
    """A header would have contained a line break: somebody's text was about to become a header of its own."""


@dataclass(frozen=True)
class Cadence:
    """How often the scheduled mails go out."""

    rollup: timedelta = timedelta(hours=1)
    rollup_grace: timedelta = timedelta(minutes=1)
    """How long a slot is left to settle before it is told: a row may commit a moment after its time stamp."""
    digest_after: timedelta | None = None
    """Demo: the digest is due this long after the app began, whatever the hour. None: at nine, local."""


REAL = Cadence()
DEMO = Cadence(rollup=timedelta(seconds=90), rollup_grace=timedelta(seconds=5), digest_after=timedelta(seconds=200))


def cadence(*, demo: bool) -> Cadence:
    """Return the cadence of the demo or the real one."""
    return DEMO if demo else REAL


def zone_of(name: str) -> tzinfo:
    """Return the zone of that name; UTC where this machine does not know it."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


def recipients(listed: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return (addresses to write to, entries that are none), each address once whatever its case."""
    good: dict[str, str] = {}
    bad: list[str] = []
    for entry in listed:
        try:
            address = check_address(entry)
        except BadAddressError:
            bad.append(entry)
        else:
            good.setdefault(address.lower(), address)
    return list(good.values()), bad


def check_address(address: str) -> str:
    """Return the address, trimmed.

    Raises:
        BadAddressError: it cannot be one.
    """
    trimmed = address.strip()
    if len(trimmed) > ADDRESS_CAP or not trimmed.isascii() or not _ADDRESS.fullmatch(trimmed):
        raise BadAddressError(f"{address[:100]!r} is no mail address; it should look like ops@example.com")
    return trimmed


def mail_key(event: str, subject: object, recipient: str) -> str:
    """Return the identity of one mail: deciding twice makes one row."""
    return f"{event}:{subject}:{recipient.lower()}"


def message_id(key: str, *, sender: str, since: datetime) -> str:
    """Return the Message-ID of the mail with this key.

    Deterministic, so that a second sending is recognisable as the same mail.

    Args:
        sender: the address mails come from; its domain is the right-hand side.
        since: when the app was added. Without it two installations, or one after a reset, would both write of
            "alert 1", and a mail program would drop the second as a duplicate.
    """
    digest = hashlib.sha256(f"{key}|{since.astimezone(UTC).isoformat()}".encode()).hexdigest()[:32]
    domain = re.sub(r"[^A-Za-z0-9.-]", "", sender.rpartition("@")[2]) or "localhost"
    return f"<{digest}@metamon.{domain}>"


def content_id(content: bytes) -> str:
    """Return the Content-ID of a picture, without brackets; made of its bytes, so that rendering stays pure."""
    return f"{hashlib.sha256(content).hexdigest()[:24]}@metamon"


def safe_header(value: str) -> str:
    """Return the value where it is one line.

    Raises:
        HeaderInjectionError: it is not.
    """
    if any(char in value for char in "\r\n\0\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"):
        raise HeaderInjectionError(f"a header must be one line, and this is not: {value[:80]!r}")
    return value


def digest_due(now: datetime, zone: tzinfo) -> date | None:
    """Return the local date whose digest is due now, or None outside 09:00–15:00 local time."""
    local = now.astimezone(zone)
    return local.date() if DIGEST_FROM <= local.time() <= DIGEST_UNTIL else None


def demo_digest_due(
    now: datetime, zone: tzinfo, *, began: datetime, after: timedelta, stories_through: bool
) -> date | None:
    """Return the local date whose digest the demo owes: once the stories are told, or after a while anyway."""
    return now.astimezone(zone).date() if stories_through or now - began >= after else None


def rollup_slot(now: datetime, cadence: Cadence) -> tuple[datetime, datetime]:
    """Return [start, end) of the latest slot that is over and settled."""
    end = floor_time(now - cadence.rollup_grace, cadence.rollup)
    return end - cadence.rollup, end


def checks_due(start: datetime, end: datetime, period: timedelta) -> int:
    """Return how many slots of the sweep begin in [start, end)."""
    first = floor_time(start, period)
    if first < start:
        first += period
    return max(0, -(-(end - first) // period))
