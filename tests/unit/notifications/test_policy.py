"""Who hears what and when: pure, so a year takes a second."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from agents.evaluation import WEIGHTS
from notifications import policy
from notifications.policy import BadAddressError, HeaderInjectionError
from notifications.table import QUALITY_WEIGHTS

YEAR = 2026
CHECK = timedelta(minutes=5)
ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/St_Johns",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",  # half an hour of summer time
    "Pacific/Kiritimati",  # UTC+14
    "Pacific/Pago_Pago",  # UTC−11
    "Africa/Casablanca",  # summer time that stops for Ramadan
]


def days_of_a_year(
    zone: str, *, start: datetime, end: datetime, down: tuple[datetime, datetime] | None = None
) -> list[date]:
    """Return the local dates whose digest regular checks send, each once, as the unique key makes it."""
    sent: list[date] = []
    at = start
    while at < end:
        if down is None or not down[0] <= at < down[1]:
            day = policy.digest_due(at, ZoneInfo(zone))
            if day is not None and day not in sent[-2:]:
                sent.append(day)
        at += CHECK
    return sent


@pytest.mark.parametrize("zone", ZONES)
def test_a_year_has_one_digest_for_each_local_date(zone: str) -> None:
    """Through every change of summer time, half an hour in Lord Howe, in every zone: 365 dates, 365 digests."""
    start = datetime(YEAR, 1, 1, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    end = datetime(YEAR + 1, 1, 1, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    sent = days_of_a_year(zone, start=start, end=end)
    assert sent == [date(YEAR, 1, 1) + timedelta(days=number) for number in range(365)]


def test_a_date_that_a_zone_skipped_has_no_digest() -> None:
    """Samoa went from the 29th to the 31st of December 2011: nobody there missed a Friday's mail."""
    zone = ZoneInfo("Pacific/Apia")
    sent = days_of_a_year(
        "Pacific/Apia",
        start=datetime(2011, 12, 28, tzinfo=zone).astimezone(UTC),
        end=datetime(2012, 1, 2, tzinfo=zone).astimezone(UTC),
    )
    assert date(2011, 12, 30) not in sent
    assert Counter(sent) == Counter([date(2011, 12, day) for day in (28, 29, 31)] + [date(2012, 1, 1)])


@pytest.mark.parametrize(("hours_down", "told"), [((6, 14), True), ((8, 14), True), ((8, 16), False), ((10, 20), True)])
def test_a_fleet_that_was_down_at_nine_catches_up_by_three(hours_down: tuple[int, int], told: bool) -> None:
    """Six hours of grace; after that the day is over and the next digest carries it."""
    zone = ZoneInfo("Europe/Berlin")
    day = datetime(2026, 5, 6, tzinfo=zone)
    down = (day + timedelta(hours=hours_down[0]), day + timedelta(hours=hours_down[1], minutes=1))
    sent = days_of_a_year("Europe/Berlin", start=day, end=day + timedelta(days=1), down=down)
    assert (day.date() in sent) is told


def test_the_demo_owes_its_digest_once_the_stories_are_told() -> None:
    """Whatever the hour; after 200 seconds also where one story is stuck."""
    began = datetime(2026, 11, 26, 3, tzinfo=UTC)

    def due(seconds: int, *, through: bool) -> date | None:
        return policy.demo_digest_due(
            began + timedelta(seconds=seconds), UTC, began=began, after=timedelta(seconds=200), stories_through=through
        )

    assert due(60, through=False) is None
    assert due(60, through=True) == date(2026, 11, 26)
    assert due(200, through=False) == date(2026, 11, 26)


def test_a_slot_is_told_when_it_has_settled() -> None:
    """Two checks within an hour speak of the same slot, so its key makes one mail."""
    at = datetime(2026, 11, 26, 9, 0, 30, tzinfo=UTC)
    assert policy.rollup_slot(at, policy.REAL)[1] == at.replace(hour=8, second=0)
    for minutes in (1, 30, 59):
        start, end = policy.rollup_slot(at.replace(minute=minutes), policy.REAL)
        assert (start, end) == (at.replace(hour=8, second=0), at.replace(second=0))


@pytest.mark.parametrize(
    ("start", "end", "period", "due"),
    [
        (0, 86400, 300, 288),
        (7, 86407, 300, 288),
        (0, 300, 300, 1),
        (1, 299, 300, 0),
        (0, 301, 300, 2),
        (10, 10, 300, 0),
    ],
)
def test_due_checks_are_the_slots_that_begin_in_the_window(start: int, end: int, period: int, due: int) -> None:
    """The figure that a quiet day's mail compares with what ran."""
    epoch = datetime.fromtimestamp(0, UTC)
    at = [epoch + timedelta(seconds=second) for second in (start, end)]
    assert policy.checks_due(at[0], at[1], timedelta(seconds=period)) == due


def test_each_address_is_written_to_once_and_a_typo_is_named() -> None:
    """Case does not make a second person; a line break makes none at all."""
    good, bad = policy.recipients(
        [
            " ada@example.com",
            "Ada@Example.com",
            "bob",
            "eve@example.com\nBcc: x@example.com",
            "a@b@c",
            "é@example.com",
            "",
        ]
    )
    assert good == ["ada@example.com"]
    assert bad == ["bob", "eve@example.com\nBcc: x@example.com", "a@b@c", "é@example.com", ""]
    with pytest.raises(BadAddressError, match=r"ops@example\.com"):
        policy.check_address("bob")


def test_a_message_id_is_the_same_for_the_same_mail_alone() -> None:
    """Deterministic, different for every key and installation, and fit for the header whatever the sender's address."""
    since = datetime(2026, 1, 1, tzinfo=UTC)
    one = policy.message_id("digest:1:2026-11-26:ada@example.com", sender="metamon@example.com", since=since)
    assert one == policy.message_id("digest:1:2026-11-26:ada@example.com", sender="metamon@example.com", since=since)
    assert one != policy.message_id("digest:1:2026-11-27:ada@example.com", sender="metamon@example.com", since=since)
    assert one != policy.message_id(
        "digest:1:2026-11-26:ada@example.com", sender="metamon@example.com", since=since + timedelta(microseconds=1)
    )
    assert policy.message_id("k", sender="Ops <ops@exa mple.com>", since=since).endswith("@metamon.example.com>")


@pytest.mark.parametrize("value", ["a\rb", "a\nb", "a\r\nBcc: x", "a\x00b", "a\u2028b", "a\x85b"])
def test_a_header_is_one_line(value: str) -> None:
    """Anything that some mail program reads as a line break raises."""
    with pytest.raises(HeaderInjectionError):
        policy.safe_header(value)


def test_an_unknown_zone_is_utc() -> None:
    """A machine without zone data still sends its digest."""
    assert policy.zone_of("Mars/Olympus_Mons") is UTC
    assert policy.zone_of("../../etc/passwd") is UTC


def test_the_digest_scores_a_day_as_the_evaluation_does() -> None:
    """One system must not show two quality scores."""
    assert QUALITY_WEIGHTS == WEIGHTS
