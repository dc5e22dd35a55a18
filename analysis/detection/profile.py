"""What usually happens at this time of day: the changes of the last seven days, and a slow average of the level."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analysis.detection.result import Flags, Reals

DAYS = 7
LEVEL_RATE = 0.25

Row = NDArray[np.float32]

# Sorts seven numbers by sixteen comparisons (Knuth, The Art of Computer Programming 3, 5.3.4).
_NETWORK = (
    (0, 6), (2, 3), (4, 5), (0, 2), (1, 4), (3, 6), (0, 1), (2, 5),
    (3, 4), (1, 2), (4, 6), (2, 3), (4, 5), (1, 2), (3, 4), (5, 6),
)  # fmt: skip


def median_of_seven(block: Row) -> Reals:
    """Return the median of each column of seven numbers, NaN left out; 0 where there is none.

    Args:
        block: shape (7, S).
    """
    missing = np.isnan(block)
    rows = list(np.where(missing, np.float32(np.inf), block))
    for low, high in _NETWORK:
        rows[low], rows[high] = np.minimum(rows[low], rows[high]), np.maximum(rows[low], rows[high])
    if not missing.any():
        return np.asarray(rows[DAYS // 2], np.float64)
    ordered = np.stack(rows)
    known = DAYS - missing.sum(axis=0)
    columns = np.arange(block.shape[1])
    upper = ordered[known // 2, columns].astype(np.float64)
    lower = ordered[np.maximum(known - 1, 0) // 2, columns].astype(np.float64)
    return np.where(known > 0, 0.5 * (lower + upper), 0.0)


class Profile:
    """Memory of S series by time of day.

    Attributes:
        changes: change since the value before, by slot and day, shape (slots, 7, S); NaN where nothing was seen.
        levels: slow average of the value, by slot, shape (slots, S); NaN where nothing was seen.
    """

    def __init__(self, slots: int, n_series: int) -> None:
        self.changes = np.full((slots, DAYS, n_series), np.nan, np.float32)
        self.levels = np.full((slots, n_series), np.nan, np.float32)

    def usual_change(self, slot: int) -> Reals:
        """Return the median change at this time of the last seven days; 0 where nothing is known. Shape (S,)."""
        return median_of_seven(self.changes[slot])

    def above_level(self, slot: int, values: Reals) -> Reals:
        """Return how far values lie above their usual level at this time; 0 where nothing is known. Shape (S,)."""
        usual = self.levels[slot]
        return np.where(np.isnan(usual), 0.0, values - usual)

    def known_level(self, slot: int) -> Flags:
        """Return which series have a usual level at this time. Shape (S,)."""
        return np.asarray(~np.isnan(self.levels[slot]))

    def learn_change(self, slot: int, day: int, change: Reals, where: Flags) -> None:
        """Remember a change in place of that of seven days ago."""
        np.copyto(self.changes[slot, day % DAYS], change, where=where, casting="same_kind")

    def learn_level(self, slot: int, values: Reals, where: Flags) -> None:
        """Move the usual level towards the value."""
        usual = self.levels[slot]
        moved = np.where(np.isnan(usual), values, usual + LEVEL_RATE * (values - usual))
        np.copyto(usual, moved, where=where, casting="same_kind")
