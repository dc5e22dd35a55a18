"""What a detector says of one step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]
Flags = NDArray[np.bool_]

THRESHOLD = 1.0
"""A score at or above it is an alarm; the same for every series and every detector."""


CHANCE, TAIL = 1.5e-4, 2.0


def chance_of(score: float) -> float:
    """Return how probable it is that a healthy series scores as much in one step, by its direction that is bad.

    One scale with the tests of counts, measured on the development halves of two sets of service metrics: alarms come
    in 0.7 to 1.8 of 10,000 healthy steps, and scores beyond the alarm fall off no slower than the square. Below the
    alarm the figure is a bound.
    """
    return float(min(1.0, CHANCE * max(score, 1e-9) ** -TAIL))


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
        usual: where the value would be, had the series not left its level, shape (S,); NaN where nothing is known yet.
        accepted: at this very step a level that stayed became the usual one, shape (S,).
    """

    score: Reals
    alarm: Flags
    expected: Reals | None = None
    low: Reals | None = None
    high: Reals | None = None
    away: Flags | None = None
    accepted: Flags | None = None
    usual: Reals | None = None
