"""Is this count of failures more than the baseline explains? Exact, and aware that rates wander.

A binomial test against a pooled rate finds everything significant once traffic is large, because real rates differ
from hour to hour by more than chance. So the failure probability itself is a beta variable, whose spread is what the
baseline's hours show beyond chance (with a floor) plus what is unknown about its mean; the count is beta-binomial.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaln, gammaln

from analysis.detection.rate import RateDetector

__all__ = ["RateDetector", "RateReference", "excess_p", "reference", "worst_stretch"]

PRIOR_RUNS = 50.0
PRIOR_RATE = 0.01
"""What is believed of a metric nobody has seen fail: half a failure in fifty runs."""

FLOOR_RELATIVE = 0.15
FLOOR_ABSOLUTE = 0.002
"""Least spread of a rate between hours: 15 % of itself, and two in a thousand."""

TRIM = 0.05
"""Share of the strangest hours that do not teach the spread."""

LARGEST_TEST = 5000
"""Counts of a larger window are scaled down to this: beyond it the spread decides, not the count."""


@dataclass(frozen=True)
class RateReference:
    """What failure rate to expect.

    Attributes:
        rate: the mean, a fraction in (0, 1).
        spread: standard deviation of a single hour's true rate around it, chance excluded.
        weight: effective number of runs behind the mean.
        runs: runs it was taken from.
    """

    rate: float
    spread: float
    weight: float
    runs: int

    @property
    def strength(self) -> float:
        """The beta distribution's α + β; at least 2."""
        variance = self.spread**2 + self.rate * (1 - self.rate) / max(self.weight, 1.0)
        return max(self.rate * (1 - self.rate) / variance - 1.0, 2.0)

    def band(self, runs: int) -> tuple[float, float]:
        """Return where 95 % of windows of so many runs are expected; within [0, 1]."""
        variance = self.spread**2 + self.rate * (1 - self.rate) * (1 / max(self.weight, 1.0) + 1 / max(runs, 1))
        half = 1.96 * float(np.sqrt(variance))
        return max(0.0, self.rate - half), min(1.0, self.rate + half)


def reference(failures: ArrayLike, runs: ArrayLike) -> RateReference | None:
    """Learn what to expect from groups of runs (hours), none of them suspect.

    Args:
        failures: failures in each group; shape (G,), each within 0..runs.
        runs: runs in each group; shape (G,). Groups without runs are ignored.

    Returns: None where there is no run at all.
    """
    k = np.asarray(failures, dtype=float).ravel()
    n = np.asarray(runs, dtype=float).ravel()
    k, n = k[n > 0], n[n > 0]
    if n.size == 0:
        return None
    rho = 0.0
    rate = _pooled(k, n, rho)
    for _ in range(3):  # weights and spread depend on each other; three rounds settle them
        rho = _intraclass(k, n, rate)
        floor = (FLOOR_RELATIVE * rate + FLOOR_ABSOLUTE) ** 2 / (rate * (1 - rate))
        rho = min(max(rho, floor), 0.5)
        rate = _pooled(k, n, rho)
    weight = float(_weights(n, rho).sum()) + PRIOR_RUNS
    return RateReference(rate, float(np.sqrt(rho * rate * (1 - rate))), weight, int(n.sum()))


def _weights(n: NDArray[np.float64], rho: float) -> NDArray[np.float64]:
    """Return each group's effective runs: many runs of one hour say little more than some."""
    return n / (1 + (n - 1) * rho)


def _pooled(k: NDArray[np.float64], n: NDArray[np.float64], rho: float) -> float:
    weights = _weights(n, rho)
    rate = (float((weights * k / n).sum()) + PRIOR_RATE * PRIOR_RUNS) / (float(weights.sum()) + PRIOR_RUNS)
    return min(max(rate, 1e-6), 1 - 1e-6)


def _intraclass(k: NDArray[np.float64], n: NDArray[np.float64], rate: float) -> float:
    """Return the intraclass correlation by moments, the strangest groups left out; 0 where chance explains all."""
    if n.size < 6:
        return 0.0
    pearson = (k - n * rate) ** 2 / (n * rate * (1 - rate))
    keep = np.argsort(pearson)[: max(5, int(np.ceil(n.size * (1 - TRIM))))]
    pairs = float((n[keep] - 1).sum())
    return max(0.0, float(pearson[keep].sum() - keep.size) / pairs) if pairs > 0 else 0.0


def excess_p(failures: int, runs: int, expected: RateReference) -> float:
    """Return P(at least so many failures in so many runs), if all is as expected: the beta-binomial upper tail.

    Args:
        failures: 0..runs.
        runs: at least 1.

    Raises:
        ValueError: a count outside its range.
    """
    if runs < 1 or not 0 <= failures <= runs:
        raise ValueError(f"{failures} failures of {runs} runs is no count")
    if runs > LARGEST_TEST:
        failures, runs = int(failures * LARGEST_TEST / runs), LARGEST_TEST
    if failures == 0:
        return 1.0
    alpha = expected.rate * expected.strength
    beta = (1 - expected.rate) * expected.strength
    j = np.arange(failures, runs + 1, dtype=float)
    log_choose = gammaln(runs + 1) - gammaln(j + 1) - gammaln(runs - j + 1)
    log_terms = log_choose + betaln(j + alpha, runs - j + beta) - betaln(alpha, beta)
    top = float(log_terms.max())
    return float(min(1.0, np.exp(top) * np.exp(log_terms - top).sum()))


def worst_stretch(failures: ArrayLike, runs: ArrayLike, *, usual: float, bad: float) -> tuple[int, int] | None:
    """Return (first, last) index of the consecutive slots that speak most for the bad rate, or None where none does.

    The sum of log-likelihood ratios of bad against usual, at its maximum over all stretches (Kadane's algorithm).

    Args:
        failures, runs: per slot, in time's order; shape (S,).
        usual, bad: failure rates in (0, 1), usual < bad.
    """
    k = np.asarray(failures, dtype=float)
    n = np.asarray(runs, dtype=float)
    usual, bad = max(usual, 1e-6), min(bad, 1 - 1e-6)
    if bad <= usual:
        return None
    gain = k * np.log(bad / usual) + (n - k) * np.log((1 - bad) / (1 - usual))
    best, best_at, total, start = 0.0, None, 0.0, 0
    for index, value in enumerate(gain.tolist()):
        if total <= 0:
            total, start = 0.0, index
        total += value
        if value > 0 and total > best:
            best, best_at = total, (start, index)
    return best_at
