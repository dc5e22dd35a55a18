"""Has this series ever done that before? Statistics vote by how far they exceed their own record.

Made for series that nothing predicts (bursts, heavy tails): there a multiple of the usual says little, but more than
ever before does.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from analysis.detection.result import Flags, Reals

SCALE = 0.3
"""A vote of one: 35 % above the record."""
MOST_GROWTH = 1.3
"""A record grows by so much in one step at most: one monster does not blind us to the next."""
DECAY = 0.99995
"""A record fades by half in 48 days of 5-minute steps."""
KEPT = 0.8
"""Share of the votes that is carried on to the next step."""
GROWN_UP = 4000.0
"""Steps until records are believed in full; before, by the square root of the share."""
SETTLING = 10
"""In its first steps a record is what was seen."""


def experience(seen: Reals) -> Reals:
    """Return how far records of a series that was seen so often are believed; in [0, 1]."""
    return np.sqrt(np.minimum(1.0, seen / GROWN_UP))


class Ballot(NamedTuple):
    """Records, shape (K, S), and votes, shape (S,), after a step."""

    best: Reals
    votes: Reals


class Records:
    """Records of K statistics of S series, and the votes of the latest steps.

    Attributes:
        best: the records, shape (K, S).
        votes: what is carried on, shape (S,).
    """

    def __init__(self, n_statistics: int, n_series: int, *, most: float) -> None:
        self.best: Reals = np.zeros((n_statistics, n_series))
        self.votes: Reals = np.zeros(n_series)
        self.most = most

    def update(self, statistics: Reals, seen: Reals, *, warm: float) -> Ballot:
        """Return what one more step comes to; the memory itself is left as it is.

        Args:
            statistics: shape (K, S), ≥ 0.
            seen: points seen before this one, shape (S,).
            warm: nobody votes before so many points.
        """
        best = self.best
        broken = statistics > best
        grown = np.minimum(statistics, MOST_GROWTH * best)
        settling = (seen < SETTLING) | (best == 0.0)
        after = np.maximum(DECAY * best, np.where(settling, statistics, grown))
        cast: Reals = np.zeros(self.votes.shape)
        which, where = np.nonzero(broken & (best > 0.0) & (seen >= warm))
        if which.size:
            votes = np.minimum(np.log(statistics[which, where] / best[which, where]) / SCALE, self.most)
            # bincount, not add.at: its order of summation is fixed
            cast = np.asarray(np.bincount(where, weights=votes, minlength=cast.size), np.float64)
        return Ballot(after, cast * experience(seen) + KEPT * self.votes)

    def learn(self, ballot: Ballot, where: Flags) -> None:
        """Remember the outcome of a step for some of the series."""
        np.copyto(self.best, ballot.best, where=where)
        np.copyto(self.votes, ballot.votes, where=where)
