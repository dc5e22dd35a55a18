"""A mergeable log-histogram: quantiles of any union of buckets within one per cent, in a few hundred bytes each.

Bin i holds the values in [γⁱ, γⁱ⁺¹) with γ = 1.02; a bin is told by the geometric middle of its edges, so a quantile
is off by at most √γ − 1 ≈ 1 %. Merging is adding counts: exact, in any order, across any number of buckets.

Source: Masson, Rim, Lee (2019), DDSketch: a fast and fully-mergeable quantile sketch with relative-error guarantees.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

GAMMA = 1.02
LOWEST = 1e-6
"""Seconds; anything shorter, or negative by a client's skewed clock, counts as this."""
HIGHEST = 1e6
"""Seconds; anything longer counts as this."""

_LOG_GAMMA = float(np.log(GAMMA))


class LogHistogram:
    """Counts by bin.

    Args:
        counts: bin index to count, counts positive.
    """

    def __init__(self, counts: Mapping[int, int] | None = None) -> None:
        self.counts: dict[int, int] = dict(counts or {})

    @classmethod
    def of(cls, values: ArrayLike) -> LogHistogram:
        """Return the histogram of the values, in seconds; those that are not finite are left out."""
        array = np.asarray(values, dtype=float).ravel()
        bins, counts = np.unique(bin_of(array[np.isfinite(array)]), return_counts=True)
        return cls({int(index): int(count) for index, count in zip(bins, counts, strict=True)})

    @classmethod
    def from_json(cls, content: Mapping[str, int]) -> LogHistogram:
        """Return the histogram of its stored form, `{"<bin>": count}`."""
        return cls({int(index): int(count) for index, count in content.items()})

    @classmethod
    def merged(cls, parts: Iterable[Mapping[str, int]]) -> LogHistogram:
        """Return the union of stored histograms."""
        total: dict[int, int] = {}
        for part in parts:
            for index, count in part.items():
                total[int(index)] = total.get(int(index), 0) + int(count)
        return cls(total)

    def as_json(self) -> dict[str, int]:
        """Return the stored form."""
        return {str(index): count for index, count in sorted(self.counts.items())}

    @property
    def total(self) -> int:
        """Number of values."""
        return sum(self.counts.values())

    def quantile(self, q: float) -> float | None:
        """Return the nearest-rank quantile in seconds, within one per cent; None where the histogram is empty.

        Args:
            q: a fraction in [0, 1].

        Raises:
            ValueError: q is outside [0, 1].
        """
        if not 0 <= q <= 1:
            raise ValueError(f"a quantile is a fraction in [0, 1], not {q}")
        if not self.counts:
            return None
        bins = np.array(sorted(self.counts))
        cumulative = np.cumsum([self.counts[int(index)] for index in bins])
        rank = max(1, int(np.ceil(q * cumulative[-1] - 1e-9)))
        return middle_of(int(bins[np.searchsorted(cumulative, rank)]))

    def above(self, limit: float) -> int:
        """Return how many values lie above the limit, in seconds; the bin that contains it counts as below."""
        edge = int(bin_of(np.array([limit]))[0])
        return sum(count for index, count in self.counts.items() if index > edge)


def bin_of(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the bin of each value in seconds; any shape."""
    return np.floor(np.log(np.clip(values, LOWEST, HIGHEST)) / _LOG_GAMMA).astype(np.int64)


def middle_of(index: int) -> float:
    """Return the geometric middle of a bin, in seconds."""
    return float(GAMMA ** (index + 0.5))
