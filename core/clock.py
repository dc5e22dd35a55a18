"""The one place where the time is read. Everything below the edge takes `now` as an argument."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

CLOCK_SLACK = timedelta(minutes=2)
"""How far the clocks of two hosts may be apart. What claims to have happened later than that from now has not."""


def utc_now() -> datetime:
    """Return the present moment, timezone-aware, in UTC."""
    return datetime.now(UTC)


def floor_time(at: datetime, step: timedelta) -> datetime:
    """Return the start of the step-wide slot that contains `at`, counted from the Unix epoch.

    Two processes that ask within one slot get the same answer, which is what makes a tick's key unique.
    """
    width = step.total_seconds()
    return datetime.fromtimestamp(at.timestamp() // width * width, UTC)
