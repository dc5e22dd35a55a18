"""What a deployed change was worth: a randomised contrast, and what it returns on its cost.

The contrast is between the arms of a rollout, stratified by stage so that a changing share under a changing base rate
is no confounder, with standard errors clustered by randomisation unit so that a busy user counts once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Contrast:
    """Candidate against baseline.

    `before` and `after` are the stage-stratified means of the two arms, `delta` is their difference with the standard
    error `se` for intervals; `p_value` is that of the random assignment under no effect. `relative` is
    after/before - 1 with the interval [low, high] (None where the baseline's mean cannot be told from zero). `units`
    are (baseline, candidate).
    """

    before: float
    after: float
    delta: float
    se: float
    p_value: float
    relative: float | None
    relative_low: float | None
    relative_high: float | None
    units: tuple[int, int]


def holdback_contrast(
    units: ArrayLike, candidate: ArrayLike, stage: ArrayLike, outcomes: ArrayLike, *, confidence: float = 0.95
) -> Contrast | None:
    """Contrast the arms of a rollout, request by request, clustered by unit.

    Args:
        units: randomisation unit of each request, integers or strings; shape (n,).
        candidate: whether it was served the candidate.
        stage: stratum within which the share was constant.
        outcomes: finite numbers; NaN is left out.
        confidence: two-sided coverage, a fraction in (0, 1).

    Returns:
        None where no stage has two units in each arm.

    Source: linearisation of a stratified ratio mean with clusters, Särndal, Swensson & Wretman (1992), ch. 5, with
    the jackknife's weights of clusters, Bell & McCaffrey (2002), Survey Methodology 28, 169-181.
    """
    y = np.asarray(outcomes, dtype=np.float64)
    known = np.isfinite(y)
    y = y[known]
    arm = np.asarray(candidate, dtype=np.bool_)[known]
    _, strata = np.unique(np.asarray(stage)[known], return_inverse=True)
    _, clusters = np.unique(np.asarray(units)[known], return_inverse=True)
    size = int(strata.max()) + 1 if len(y) else 0
    people = np.zeros((size, 2))
    for s in range(size):
        for a in (0, 1):
            people[s, a] = len(np.unique(clusters[(strata == s) & (arm == bool(a))]))
    usable: NDArray[np.bool_] = np.asarray((people >= 2).all(axis=1))
    if not usable.any():
        return None
    weights = np.where(usable, people[:, 0] * people[:, 1] / np.maximum(people.sum(axis=1), 1), 0.0)
    weights /= weights.sum()
    means = np.zeros(2)
    influence = np.zeros((2, int(clusters.max()) + 1))
    requests = np.zeros_like(influence)
    for a in (0, 1):
        for s in np.flatnonzero(usable).tolist():
            rows = (strata == s) & (arm == bool(a))
            mean, of = y[rows].mean(), clusters[rows]
            means[a] += weights[s] * mean
            own = np.bincount(of, minlength=influence.shape[1])
            # By how much the mean moves where the unit is left out: a busy unit pulls the mean towards itself, and its
            # plain residual looks too small for that.
            left = np.bincount(of, weights=y[rows] - mean, minlength=len(own)) / np.maximum(rows.sum() - own, 1)
            influence[a] += weights[s] * left
            requests[a] += own
    counts = (
        len(np.unique(clusters[~arm & usable[strata]])),
        len(np.unique(clusters[arm & usable[strata]])),
    )
    covariance = influence @ influence.T * ((min(counts) - 1) / min(counts))
    # Units that are busier than others are worth fewer of them.
    worth = requests.sum(axis=1) ** 2 / (requests**2).sum(axis=1)
    freedom = max(float(worth.min()) - 1, 1.0)
    delta = float(means[1] - means[0])
    se = float(np.sqrt(max(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1], 0.0)))
    z = _quantile(confidence, freedom)
    low, high = ratio_interval(
        float(means[1]),
        float(means[0]),
        var_top=float(covariance[1, 1]),
        var_bottom=float(covariance[0, 0]),
        covariance=float(covariance[0, 1]),
        z=z,
    )
    return Contrast(
        before=float(means[0]),
        after=float(means[1]),
        delta=delta,
        se=se,
        p_value=_two_sided(delta, _chance(y, arm, strata, clusters, weights), math.inf),
        relative=float(means[1] / means[0] - 1) if means[0] else None,
        relative_low=None if low is None else low - 1,
        relative_high=None if high is None else high - 1,
        units=counts,
    )


def _chance(
    y: Floats, arm: NDArray[np.bool_], strata: NDArray[np.intp], clusters: NDArray[np.intp], weights: Floats
) -> float:
    """Return the contrast's standard deviation over the random assignment alone, were there no effect.

    A unit has one place u in [0, 1) for the whole rollout, and the candidate in the stages whose share is above it.
    What is known of all units goes into it, while the arms' own errors rest on the few units that were held back.
    """
    size = int(clusters.max()) + 1
    stages = np.flatnonzero(weights > 0)
    residuals = np.zeros((size, len(stages)))
    shares, counts = np.zeros(len(stages)), np.zeros((len(stages), 2))
    for place, s in enumerate(stages.tolist()):
        rows = strata == s
        counts[place] = (rows & ~arm).sum(), (rows & arm).sum()
        shares[place] = counts[place, 1] / rows.sum()
        residuals[:, place] = np.bincount(clusters[rows], weights=y[rows] - y[rows].mean(), minlength=size)
    edges = np.concatenate([[0.0], np.unique(shares), [1.0]])
    variance = 0.0
    for low, high in pairwise(edges.tolist()):
        served = (low + high) / 2 < shares
        gain = weights[stages] * np.where(served, 1 / counts[:, 1], -1 / counts[:, 0])
        variance += (high - low) * float(np.sum((residuals @ gain) ** 2))
    return math.sqrt(variance)


@dataclass(frozen=True)
class Roi:
    """Return on a cost: `roi` = benefit/cost - 1 with its interval, and the probability that it is above zero."""

    benefit: float
    cost: float
    roi: float | None
    low: float | None
    high: float | None
    p_positive: float | None


def fieller_roi(benefit: float, benefit_se: float, cost: float, cost_se: float, *, confidence: float = 0.95) -> Roi:
    """Return benefit/cost - 1 with Fieller's interval; the two are independent.

    `roi` is None where there is no cost; the interval is None where the cost cannot be told from zero.

    Source: Fieller (1954), JRSS-B 16, 175-185.
    """
    if cost <= 0:
        return Roi(benefit, cost, None, None, None, None)
    low, high = ratio_interval(
        benefit,
        cost,
        var_top=benefit_se**2,
        var_bottom=cost_se**2,
        covariance=0.0,
        z=_quantile(confidence, math.inf),
    )
    spread = math.hypot(benefit_se, cost_se)
    p_positive = 0.5 * math.erfc(-(benefit - cost) / spread / math.sqrt(2)) if spread > 0 else float(benefit > cost)
    return Roi(
        benefit=benefit,
        cost=cost,
        roi=benefit / cost - 1,
        low=None if low is None else low - 1,
        high=None if high is None else high - 1,
        p_positive=p_positive,
    )


def ratio_interval(
    top: float, bottom: float, *, var_top: float, var_bottom: float, covariance: float, z: float
) -> tuple[float | None, float | None]:
    """Return Fieller's interval of top/bottom, or (None, None) where it is not bounded."""
    a = bottom**2 - z**2 * var_bottom
    if a <= 0:
        return None, None
    b = top * bottom - z**2 * covariance
    c = top**2 - z**2 * var_top
    root = math.sqrt(max(b * b - a * c, 0.0))
    return (b - root) / a, (b + root) / a


@dataclass(frozen=True)
class Totals:
    """Sufficient statistics of a score: how many, their sum, the sum of their squares."""

    n: float
    total: float
    squares: float

    @classmethod
    def of_share(cls, k: float, n: float) -> Totals:
        """Return those of k successes in n."""
        return cls(n, k, k)

    def __add__(self, other: Totals) -> Totals:
        return Totals(self.n + other.n, self.total + other.total, self.squares + other.squares)

    @property
    def mean(self) -> float | None:
        """The mean, or None of nothing."""
        return self.total / self.n if self.n else None

    @property
    def is_binary(self) -> bool:
        """Whether every score was 0 or 1."""
        return abs(self.squares - self.total) <= 1e-9 * max(self.n, 1) and -1e-9 <= self.total <= self.n + 1e-9


def difference_interval(now: Totals, then: Totals, *, confidence: float = 0.95) -> tuple[float, float] | None:
    """Return the interval of mean(now) - mean(then), or None where either has fewer than two.

    Newcombe's for successes, Welch's for measurements.

    Source: Newcombe (1998), Statistics in Medicine 17, 873-890, method 10; Welch (1947), Biometrika 34, 28-35.
    """
    if now.n < 2 or then.n < 2:
        return None
    p1, p0 = now.total / now.n, then.total / then.n
    delta = p1 - p0
    if now.is_binary and then.is_binary:
        z = _quantile(confidence, math.inf)
        (l1, u1), (l0, u0) = _wilson(p1, now.n, z), _wilson(p0, then.n, z)
        return delta - math.hypot(p1 - l1, u0 - p0), delta + math.hypot(u1 - p1, p0 - l0)
    v1, v0 = (max(t.squares / t.n - (t.total / t.n) ** 2, 0.0) / (t.n - 1) for t in (now, then))
    if v1 + v0 == 0:
        return delta, delta
    freedom = (v1 + v0) ** 2 / (v1**2 / (now.n - 1) + v0**2 / (then.n - 1))
    half = _quantile(confidence, freedom) * math.sqrt(v1 + v0)
    return delta - half, delta + half


def _wilson(p: float, n: float, z: float) -> tuple[float, float]:
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return centre - half, centre + half


def _quantile(confidence: float, freedom: float) -> float:
    from scipy.special import ndtri, stdtrit

    upper = (1 + confidence) / 2
    return float(ndtri(upper) if math.isinf(freedom) else stdtrit(max(freedom, 1.0), upper))


def _two_sided(delta: float, se: float, freedom: float) -> float:
    from scipy.special import stdtr

    if se == 0:
        return 1.0 if delta == 0 else 0.0
    return float(2 * stdtr(max(freedom, 1.0), -abs(delta) / se))
