"""Moments as whole seconds, and where in the day and the week they lie."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

DAY = 86_400


def seconds(at: np.datetime64 | datetime) -> int:
    """Return seconds since 1970 in UTC.

    Raises:
        ValueError: no moment at all (NaT).
    """
    if isinstance(at, datetime):
        at = np.datetime64(at.astimezone(UTC).replace(tzinfo=None) if at.tzinfo else at)
    if np.isnat(at):
        raise ValueError("the moment of an update must be known, not NaT")
    return int(at.astype("datetime64[s]").astype(np.int64))


def slots_of(step: timedelta) -> int:
    """Return into how many slots the day is divided.

    Raises:
        ValueError: a step below one second.
    """
    width = int(step.total_seconds())
    if width < 1:
        raise ValueError(f"a step is at least one second, not {step}")
    return max(1, -(-DAY // width))


def slot_of(moment: int, slots: int) -> int:
    """Return the slot of a moment."""
    return moment % DAY * slots // DAY
