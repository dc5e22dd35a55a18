"""Bets that a hypothesis cannot win on average: e-values for two randomised arms, one unit at a time.

A unit is in the candidate arm with the known probability `share` and answers with a score y in [0, 1]. For a null of
the form "the candidate's mean is at least (or at most) `ratio` times the baseline's", the best bet against it for an
alternative (p0, p1) is the likelihood ratio of that alternative to its reverse information projection on the null.
It is affine in y, so its mean under the null is at most 1 whatever the scores' distribution and wherever the base
rate has drifted to: only the two means of the moment count. Spelt out, it is the inverse-propensity contrast with a
control variate: S = 1 + λ·[(1-A)(y-q)/(1-share) - A(y-q)/share] for ratio 1.

Products of such e-values are test supermartingales under any predictable choice of share and alternative; by Ville's
inequality they exceed 1/α with probability at most α, however often one looks.

Sources: Grünwald, de Heide & Koolen (2024), JRSS-B 86, 1091-1128, theorem 1; Turner, Ly & Grünwald (2024), J. Stat.
Plan. Inf. 230, 106116; Waudby-Smith & Ramdas (2024), JRSS-B 86, 1-27.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

LOWEST_FACTOR = 0.05
"""No single unit may take more than this leaves of a stake that was enlarged for low variance."""


def projection(p0: Floats, p1: Floats, share: Floats, ratio: Floats) -> tuple[Floats, Floats]:
    """Return the point (q0, q1 = ratio·q0) of the null's border that is nearest to the alternative in information.

    Args:
        p0, p1: means of baseline and candidate under the alternative, in (0, 1); shape S.
        share: probability of the candidate arm, in (0, 1); shape S.
        ratio: the border's slope, in (0, 1].
    """
    b = (1 - share) * (1 + ratio * p0) + share * (ratio + p1)
    c = (1 - share) * p0 + share * p1
    q0 = 2 * c / (b + np.sqrt(np.maximum(b * b - 4 * ratio * c, 0.0)))
    return q0, ratio * q0


def log_bets(
    y: Floats, candidate: Flags, share: Floats, *, p0: Floats, p1: Floats, ratio: Floats, stake: Floats
) -> Floats:
    """Return the logarithm of each unit's e-value.

    Args:
        y: scores in [0, 1]. All shapes broadcast.
        candidate: whether the unit is in the candidate arm.
        share: its probability of being there, in (0, 1).
        p0, p1: the alternative bet on, known before y was; in (0, 1).
        ratio: slope of the null's border.
        stake: 1 for a success/failure score; more where the score varies less than that (known before y was).
    """
    q0, q1 = projection(p0, p1, share, ratio)
    p, q = np.where(candidate, p1, p0), np.where(candidate, q1, q0)
    bet = (y - q) * (p - q) / (q * (1 - q))
    # The worst that this bet can do to the wealth, over both arms and y in [0, 1].
    worst = np.maximum(
        np.maximum((p0 - q0) / (1 - q0), (q0 - p0) / q0), np.maximum((p1 - q1) / (1 - q1), (q1 - p1) / q1)
    )
    most = np.maximum((1 - LOWEST_FACTOR) / np.maximum(worst, 1e-12), 1.0)
    return np.asarray(np.log1p(np.minimum(stake, most) * bet), dtype=np.float64)


@dataclass
class Baseline:
    """What is known of the baseline arm's mean before each unit: a slowly forgetting average with a weak prior.

    It only steers the bets. A wrong value costs power, never validity.
    """

    n: float = 0.0
    total: float = 0.0
    squares: float = 0.0

    MEMORY = 3000.0
    PRIOR_MEAN = 0.9
    PRIOR_WEIGHT = 10.0
    BOUNDS = (0.02, 0.998)

    def follow(self, y: Floats, in_baseline: Flags) -> tuple[Floats, Floats]:
        """Return (mean, stake) as known before each unit, and take the units in.

        Args:
            y: scores in [0, 1]; shape (n,).
            in_baseline: whose arm counts; shape (n,).
        """
        keep = 1 - 1 / self.MEMORY
        mine = y[in_baseline]
        columns = []
        for name, values in (("n", np.ones_like(mine)), ("total", mine), ("squares", mine * mine)):
            # Not scipy.signal.lfilter: its import costs every worker more than this loop ever will.
            walk = accumulate(values.tolist(), lambda sum_, x: sum_ * keep + x, initial=getattr(self, name))
            path = np.fromiter(walk, dtype=np.float64, count=len(mine) + 1)
            setattr(self, name, float(path[-1]))
            columns.append(path)
        seen: NDArray[np.int64] = np.cumsum(in_baseline) - in_baseline
        n, total, squares = (column[seen] for column in columns)
        mean = (total + self.PRIOR_MEAN * self.PRIOR_WEIGHT) / (n + self.PRIOR_WEIGHT)
        raw = total / np.maximum(n, 1e-9)
        binary = np.maximum(raw * (1 - raw), 1e-9)
        spread = np.clip((squares / np.maximum(n, 1e-9) - raw * raw) / binary, 0.0, 1.0)
        # Believed only as far as it was seen: fifty units of prior that the score is all or nothing.
        spread = np.where(binary > 1e-6, (spread * n + 50) / (n + 50), 1.0)
        return np.clip(mean, *self.BOUNDS), 1 / spread


def paths(before: float, steps: Floats) -> Floats:
    """Return the running sums after each step, added one by one so that cutting a batch in two changes no bit."""
    return np.cumsum(np.concatenate([[before], steps]))[1:]


def log_mean_exp(logs: Floats, weights: Floats) -> NDArray[np.float64]:
    """Return log Σ w·exp(logs) over the last axis, without overflow."""
    top = logs.max(axis=-1, keepdims=True)
    return np.asarray(np.log((weights * np.exp(logs - top)).sum(axis=-1)) + top[..., 0], dtype=np.float64)
