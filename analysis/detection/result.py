"""What a detector says of one step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]
Flags = NDArray[np.bool_]

THRESHOLD = 1.0
"""A score at or above it is an alarm; the same for every series and every detector."""


@dataclass(frozen=True)
class Detection:
    """One step of S series.

    Attributes:
        score: how surprising the step is, shape (S,), ≥ 0; 0 where there was no data. It is a ratio to what it takes
            to alarm, comparable between series.
        alarm: `score >= THRESHOLD`, shape (S,).
        expected, low, high: what was expected of the value, and the band outside of which it alarms, shape (S,), in the
            value's unit, within its bounds; NaN where nothing is known yet. None from a detector without bands.
        away: the series left its level with an alarm and has not come back, shape (S,).
        accepted: at this very step a level that stayed became the usual one, shape (S,).
    """

    score: Reals
    alarm: Flags
    expected: Reals | None = None
    low: Reals | None = None
    high: Reals | None = None
    away: Flags | None = None
    accepted: Flags | None = None
