"""Baseline against candidate over the same golden cases: paired tests that hold their size.

The unit is the case. Repeats of a case are averaged first: they are no independent evidence.

One binary answer per arm and case gives a two-by-two table; with b cases lost (right → wrong) and c won, all tests here
ask of the trinomial (b, c, rest) whether `P(lost) − R·P(won)` exceeds a margin m:

==================  =========  =====  ==========================================================
question            trials     R, m   source
==================  =========  =====  ==========================================================
worse, better       all        1, 0   Suissa & Shuster (1991), Biometrics 47, 361–372
absolute margin δ   all        1, δ   Tango (1998), Statistics in Medicine 17, 891–908
relative margin m   not 0/0    1−m    Nam & Blackwelder (2002), Statistics in Medicine 21, 689–699
==================  =========  =====  ==========================================================

Each is ordered by its score statistic, and its p-value is the largest probability of an outcome at least as extreme
over every value of the one nuisance parameter: the size is at most alpha by construction, not by approximation. For the
relative margin the cases that fail in both arms are conditioned on; they say nothing about the ratio.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Floats = NDArray[np.float64]

EXACT_UP_TO = 2000
"""Cases up to which the nuisance parameter is searched; above, the score statistic is normal to three digits."""

FEW_CASES = 30
"""Below so many informative cases the t distribution is not trusted and signs are flipped instead."""

_ENUMERATED = 12
_FLIPS = 9_999
_TIE = 1e-9
_SKEW_UNSEEN = 1.3
"""How much more skewed than its sample a score is taken to be: a hundred cases show too little of a rare loss."""


@dataclass(frozen=True)
class PairedResult:
    """What one metric says about the candidate.

    Attributes:
        delta: candidate minus baseline, in the metric's own unit; NaN without a complete pair.
        interval: two-sided 95 % interval of delta.
        p_worse: one-sided, against "not worse".
        p_better: one-sided, against "not better".
        p_noninferior: one-sided, against "worse by the margin or more": small means the margin is ruled out.
        cases: complete pairs.
        missing: cases without an answer in one arm or both.
        p_strict: `p_noninferior` with every missing case counted as lost; the only one that may pass a candidate.
        margin: what was tolerated, in the unit of delta.
        baseline: mean of the baseline arm over the complete pairs.
        candidate: mean of the candidate arm over the complete pairs.
        binary: whether the metric is right or wrong per answer.
        lower_is_better: whether a positive delta is a loss.
    """

    delta: float
    interval: tuple[float, float]
    p_worse: float
    p_better: float
    p_noninferior: float
    cases: int
    missing: int = 0
    p_strict: float | None = None
    margin: float = 0.05
    baseline: float = float("nan")
    candidate: float = float("nan")
    binary: bool = True
    lower_is_better: bool = False

    @property
    def loss(self) -> float:
        """How much worse the candidate was, in the metric's unit; negative where it was better."""
        return self.delta if self.lower_is_better else -self.delta


def compare_binary(
    baseline: ArrayLike, candidate: ArrayLike, *, margin: float = 0.05, relative: bool = True
) -> PairedResult:
    """Compare right-or-wrong answers, where right is 1.

    One answer per case: exact unconditional tests and Tango's interval. Several: the case means are compared as
    measurements are, except where there are too few of them for that; there the exact tests decide on a margin.

    Args:
        baseline: 0, 1 or NaN (no answer); shape (cases,) or (cases, repeats).
        candidate: as above, for the same cases in the same order.
        margin: loss that is tolerated, in [0, 1): a share of the baseline's rate, or points where not `relative`.
        relative: what `margin` is a share of.

    Raises:
        ValueError: shapes that do not match, a value beside 0, 1 and NaN, a margin outside [0, 1).
    """
    x, y = _arms(baseline, candidate, margin)
    for arm in (x, y):
        if not np.isin(arm[~np.isnan(arm)], (0.0, 1.0)).all():
            raise ValueError("a binary metric takes 0, 1 and NaN alone; use compare_continuous for measurements")
    repeated = x.shape[1] > 1 or y.shape[1] > 1
    x_case, y_case, missing = _complete(x, y)
    cases = len(x_case)
    if cases == 0:
        return PairedResult(float("nan"), (-1.0, 1.0), 1.0, 1.0, 1.0, 0, missing, 1.0, margin)
    lost = float(np.maximum(x_case - y_case, 0).sum())
    won = float(np.maximum(y_case - x_case, 0).sum())
    neither = int(np.sum((x_case == 0) & (y_case == 0)))
    # Of a case that was lost in some repeats, the whole is counted as lost and nothing as won: never too favourable.
    b, c = int(np.ceil(lost - _TIE)), int(np.floor(won + _TIE))
    rate = float(x_case.mean())
    delta = float(y_case.mean()) - rate
    p_noninferior = _p_margin(cases, neither, b, c, margin, relative=relative)
    p_strict = _p_margin(cases + missing, neither, b + missing, c, margin, relative=relative)
    if not repeated:
        p_worse = _p_exceeds(cases, c, b, 0.0, 1.0)
        p_better = _p_exceeds(cases, b, c, 0.0, 1.0)
        interval = tango_interval(b, c, cases)
    else:
        difference = y_case - x_case
        informative = int(np.count_nonzero(difference))
        p_worse, p_better = _p_shift(-difference), _p_shift(difference)
        interval = tango_interval(b, c, cases) if informative < 2 else _t_interval(difference, (-1.0, 1.0))
        if cases >= FEW_CASES:
            p_noninferior = _p_repeated(x_case, y_case, margin, relative=relative)
            p_strict = p_noninferior
            if missing:
                x_all = np.concatenate([x_case, np.ones(missing)])
                y_all = np.concatenate([y_case, np.zeros(missing)])
                p_strict = _p_repeated(x_all, y_all, margin, relative=relative)
    return PairedResult(
        delta=delta,
        interval=interval,
        p_worse=p_worse,
        p_better=p_better,
        p_noninferior=p_noninferior,
        cases=cases,
        missing=missing,
        p_strict=p_strict,
        margin=margin * rate if relative else margin,
        baseline=rate,
        candidate=rate + delta,
    )


def compare_continuous(
    baseline: ArrayLike,
    candidate: ArrayLike,
    *,
    margin: float = 0.05,
    relative: bool = True,
    lower_is_better: bool = False,
) -> PairedResult:
    """Compare measurements. The test of a margin is a test of the contrast `y − x + m·|x|` per case.

    Args:
        baseline: numbers or NaN (no answer); shape (cases,) or (cases, repeats).
        candidate: as above, for the same cases in the same order.
        margin: loss that is tolerated: a share of each case's baseline, or in the metric's unit where not `relative`.
        relative: what `margin` is a share of.
        lower_is_better: for latency and cost. `p_worse` is about more, and the margin lies above.

    Raises:
        ValueError: shapes that do not match, an infinite value, a negative margin.
    """
    x, y = _arms(baseline, candidate, margin, bounded=relative)
    if np.isinf(x).any() or np.isinf(y).any():
        raise ValueError("an infinite measurement cannot be compared; NaN means no answer")
    x_case, y_case, missing = _complete(x, y)
    cases = len(x_case)
    if cases == 0:
        unknown = (float("-inf"), float("inf"))
        return PairedResult(
            float("nan"), unknown, 1.0, 1.0, 1.0, 0, missing, 1.0, margin, binary=False, lower_is_better=lower_is_better
        )
    gain = x_case - y_case if lower_is_better else y_case - x_case
    room = margin * np.abs(x_case) if relative else np.full(cases, margin)
    p_noninferior = _p_skewed(gain + room)
    return PairedResult(
        delta=float(np.mean(y_case - x_case)),
        interval=_t_interval(y_case - x_case, (float("-inf"), float("inf"))),
        p_worse=_p_shift(-gain),
        p_better=_p_shift(gain),
        p_noninferior=p_noninferior,
        cases=cases,
        missing=missing,
        # The worst that a missing measurement could have been has no bound.
        p_strict=1.0 if missing else p_noninferior,
        margin=float(room.mean()),
        baseline=float(x_case.mean()),
        candidate=float(y_case.mean()),
        binary=False,
        lower_is_better=lower_is_better,
    )


def minimum_detectable_effect(
    cases: int, *, flips: float = 0.03, repeats: int = 1, alpha: float = 0.05, power: float = 0.8
) -> float:
    """Return the loss, as a share of the cases, that a binary metric would show as "worse" with the given power.

    With one answer per case it is computed from the exact test. With repeats it is the normal approximation with the
    flips as noise that averages out within a case and the loss as a trait of the case, which does not.

    Args:
        cases: golden cases, at least 1.
        flips: share of the cases that go from wrong to right by chance alone, in [0, 0.5).
        repeats: answers per case and arm.
        alpha: one-sided size.
        power: probability of seeing it, in (0, 1).

    Returns: a share in (0, 1]; 1.0 where not even the loss of every case would show.
    """
    if cases < 1 or repeats < 1 or not 0 <= flips < 0.5 or not 0 < power < 1 or not 0 < alpha < 1:
        raise ValueError("cases and repeats start at 1, flips lie in [0, 0.5), alpha and power in (0, 1)")
    ceiling = 1 - 2 * flips
    if repeats > 1 or cases > EXACT_UP_TO:
        z = special.ndtri(1 - alpha) + special.ndtri(power)

        def short(loss: float) -> float:
            return float(loss - z * np.sqrt((2 * flips / repeats + loss - loss**2) / cases))
    else:
        critical = _critical_score(cases, alpha)
        bmax = _largest_loss(cases, critical, 0.0, 1.0)

        def short(loss: float) -> float:
            # "Worse" is "better" with the arms exchanged: lost and won change places.
            return float(_mass(cases, bmax, np.array([flips]), np.array([flips + loss]))[0]) - power

    if short(ceiling) < 0:
        return 1.0
    return _root(short, 1e-9, ceiling, precision=1e-6)


def smallest_passing(margin: float, *, alpha: float = 0.05) -> int:
    """Return the fewest cases that could rule out a relative margin, were not one of them lost.

    No fewer than `log α / log(1 − m)`: a baseline that is always right meets a candidate that loses a share m.
    """
    cases = int(np.ceil(np.log(alpha) / np.log1p(-margin)))
    while _p_exceeds(cases, 0, 0, margin, 1 - margin) > alpha:
        cases += 1
    return cases


@lru_cache(maxsize=1024)
def tango_interval(lost: int, won: int, cases: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Tango's score interval for `(won − lost) / cases`.

    Args:
        lost: cases right in the baseline and wrong in the candidate.
        won: the other way round.
        cases: all pairs, at least 1.
        confidence: two-sided coverage, a fraction in (0, 1).

    Source: Tango (1998), Statistics in Medicine 17, 891–908.
    """
    z = float(special.ndtri((1 + confidence) / 2))
    estimate = (won - lost) / cases

    def score(delta: float) -> float:
        return float(_score(np.array(lost), np.array(won), cases, -delta, 1.0))

    edge = 1 - 1e-12
    low = -1.0 if score(-edge) < z else _root(lambda delta: z - score(delta), -edge, estimate)
    high = 1.0 if score(edge) > -z else _root(lambda delta: -z - score(delta), estimate, edge)
    return low, high


def _root(rising: Callable[[float], float], low: float, high: float, *, precision: float = 1e-10) -> float:
    """Bisect for the zero of a rising function: importing scipy's root finders would cost every worker a second."""
    while high - low > precision:
        middle = (low + high) / 2
        low, high = (low, middle) if rising(middle) > 0 else (middle, high)
    return (low + high) / 2


def _arms(baseline: ArrayLike, candidate: ArrayLike, margin: float, *, bounded: bool = True) -> tuple[Floats, Floats]:
    x, y = np.asarray(baseline, dtype=np.float64), np.asarray(candidate, dtype=np.float64)
    if x.ndim not in (1, 2) or y.ndim not in (1, 2) or len(x) != len(y):
        raise ValueError(f"both arms need shape (cases,) or (cases, repeats), not {x.shape} and {y.shape}")
    if not margin >= 0 or (bounded and margin >= 1):
        raise ValueError(f"the margin lies in [0, 1), not at {margin}")
    return x.reshape(len(x), -1), y.reshape(len(y), -1)


def _complete(x: Floats, y: Floats) -> tuple[Floats, Floats, int]:
    """Return the case means of both arms where both have one, and how many cases have not."""

    def means(values: Floats) -> Floats:
        answered = ~np.isnan(values)
        count = answered.sum(axis=1)
        total = np.where(answered, values, 0.0).sum(axis=1)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    x_case, y_case = means(x), means(y)
    both = ~(np.isnan(x_case) | np.isnan(y_case))
    return x_case[both], y_case[both], int((~both).sum())


def _contrast(x: Floats, y: Floats, margin: float, *, relative: bool) -> Floats:
    return y - (1 - margin) * x if relative else y - x + margin


# -- the exact tests -----------------------------------------------------------------------------------------------


def _p_margin(cases: int, neither: int, lost: int, won: int, margin: float, *, relative: bool) -> float:
    if relative:
        return _p_exceeds(cases - neither, lost, won, margin, 1 - margin)
    return _p_exceeds(cases, lost, won, margin, 1.0)


def _score(lost: NDArray[np.int64], won: NDArray[np.int64], trials: int, m: float, ratio: float) -> Floats:
    """Return the score statistic of `P(lost) − R·P(won) = m`; large where fewer are lost than that.

    The variance is taken at the maximum of the likelihood under the null: a quadratic in P(won).
    """
    rest = trials - lost - won
    a = trials * ratio * (1 + ratio)
    b = -(lost * ratio * (1 - m) + won * (ratio * (1 - m) - m * (1 + ratio)) - rest * (1 + ratio) * m)
    c = -won * m * (1 - m)
    q = (np.sqrt(np.maximum(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    variance = trials * (m * (1 - m) + ratio * (1 + ratio) * q)
    distance = m * trials - lost + ratio * won
    with np.errstate(divide="ignore", invalid="ignore"):
        z = distance / np.sqrt(variance)
        certain = np.where(np.abs(distance) < _TIE, 0.0, distance / 0.0)
    return np.where(variance > 1e-12 * trials, z, certain)


def _largest_loss(trials: int, at_least: float, m: float, ratio: float) -> NDArray[np.int64]:
    """Return, for each number won, the largest number lost whose score still reaches `at_least`; −1 for none."""
    won = np.arange(trials + 1)
    low, high = np.full(trials + 1, -1), trials - won  # the score falls with every case lost
    while (low < high).any():
        middle = (low + high + 1) // 2
        reached = _score(np.maximum(middle, 0), won, trials, m, ratio) >= at_least - _TIE
        low, high = np.where(reached, middle, low), np.where(reached, high, middle - 1)
    return low


def _mass(trials: int, largest: NDArray[np.int64], p_lost: Floats, p_won: Floats) -> Floats:
    """Return the probability of `lost ≤ largest[won]` for each pair of cell probabilities; shape of `p_won`."""
    won = np.arange(trials + 1)
    coefficient = special.gammaln(trials + 1) - special.gammaln(won + 1) - special.gammaln(trials - won + 1)
    p, q = p_lost[:, None], p_won[:, None]
    weight = np.exp(coefficient + special.xlogy(won, q) + special.xlog1py(trials - won, -q))
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.clip(np.where(q < 1, p / (1 - q), 0.0), 0.0, 1.0)
    matters = (weight > 1e-16) & (largest >= 0)
    row, column = np.nonzero(matters)
    left = trials - column
    # scipy's bdtr is undefined at n = 0 for some builds; k = n is the whole mass anyway
    whole = largest[column] >= left
    below = np.ones(len(row))
    below[~whole] = special.bdtr(largest[column[~whole]].astype(float), left[~whole], share[row[~whole], 0])
    total = np.zeros(len(p_won))
    np.add.at(total, row, weight[row, column] * below)
    return total


@lru_cache(maxsize=16_384)
def _p_exceeds(trials: int, lost: int, won: int, m: float, ratio: float) -> float:
    """Return the p-value against `P(lost) − R·P(won) ≥ m`: the supremum over P(won) on the boundary.

    The boundary suffices: turning a lost case into any other raises the score, so that every null distribution inside
    is dominated by one on the boundary.
    """
    lost, won = min(lost, trials), min(won, max(trials - lost, 0))
    if trials == 0:
        return 1.0
    observed = float(_score(np.array(lost), np.array(won), trials, m, ratio))
    if m == 0 and observed <= 0:
        return 1.0  # without discordance the score is zero, and discordance may be as rare as one likes
    if trials > EXACT_UP_TO:
        return float(special.ndtr(-observed))
    return _supremum(trials, observed, m, ratio)


def _supremum(trials: int, observed: float, m: float, ratio: float) -> float:
    largest = _largest_loss(trials, observed, m, ratio)
    ceiling = (1 - m) / (1 + ratio)

    def mass(angle: Floats) -> Floats:
        q = ceiling * np.sin(angle) ** 2
        return _mass(trials, largest, np.minimum(m + ratio * q, 1.0), q)

    # On the arcsine scale the mass varies over 1/√n everywhere: an even grid, then closer looks at its peaks.
    points = max(129, int(24 * np.sqrt(trials)) | 1)
    angles = np.linspace(0, np.pi / 2, points)
    values = np.concatenate([mass(block) for block in np.array_split(angles, 1 + points * trials // 400_000)])
    best = float(values.max())
    padded = np.pad(values, 1, constant_values=-1.0)
    peaks = np.flatnonzero((values >= padded[:-2]) & (values >= padded[2:]) & (values > 0.995 * best))
    step = angles[1]
    for peak in peaks[np.argsort(-values[peaks])][:4]:
        centre, width = angles[peak], step
        for _ in range(4):
            near = np.clip(np.linspace(centre - width, centre + width, 33), 0, np.pi / 2)
            found = mass(near)
            centre, width = near[int(found.argmax())], width / 12
            best = max(best, float(found.max()))
    return min(best, 1.0)


@lru_cache(maxsize=256)
def _critical_score(trials: int, alpha: float) -> float:
    """Return the smallest score that the exact McNemar test rejects at; infinite where it never does."""
    lost = np.arange(trials + 1)
    table = _score(lost[:, None], lost[None, :], trials, 0.0, 1.0)
    scores = np.unique(np.round(table[(lost[:, None] + lost[None, :] <= trials) & (table > 0)], 9))
    low, high = 0, len(scores)
    while low < high:
        middle = (low + high) // 2
        if _supremum(trials, float(scores[middle]), 0.0, 1.0) <= alpha:
            high = middle
        else:
            low = middle + 1
    return float(scores[low]) if low < len(scores) else float("inf")


# -- measurements --------------------------------------------------------------------------------------------------


def _p_shift(values: Floats) -> float:
    """Return the one-sided p-value against a mean of zero or less: t, or sign flips where few values inform."""
    n = len(values)
    informative = values[np.abs(values) > 1e-12]
    if len(informative) == 0:
        return 1.0
    if len(informative) < FEW_CASES:
        return _p_flips(informative, n)
    spread = float(values.std(ddof=1))
    if spread < 1e-12:
        return 0.0 if values.mean() > 0 else 1.0
    return float(special.stdtr(n - 1, -values.mean() / (spread / np.sqrt(n))))


def _p_skewed(values: Floats) -> float:
    """Return the larger of t's p-value and that of t corrected for the skewness that was seen.

    A margin is lost by few cases that lose much: such a sample looks better than it is, and t alone passes too often.

    Source: Hall (1992), JRSS-B 54, 221–228, the monotone transformation.
    """
    p = _p_shift(values)
    n = len(values)
    spread = float(values.std())
    if n < FEW_CASES or spread < 1e-12:
        return p
    skew = _SKEW_UNSEEN * float(np.mean((values - values.mean()) ** 3)) / spread**3
    t = float(values.mean() / (values.std(ddof=1) / np.sqrt(n)))
    bent = t + skew * t * t / (3 * np.sqrt(n)) + skew**2 * t**3 / (27 * n) + skew / (6 * np.sqrt(n))
    return max(p, float(special.stdtr(n - 1, -bent)))


def _p_repeated(x: Floats, y: Floats, margin: float, *, relative: bool) -> float:
    """Return the p-value of a margin over case means.

    However they look, a candidate that fails a share of the cases outright, and shows none of them, looks no worse:
    its chance is the least that can be said.
    """
    unseen = (1 - margin * (float(x.mean()) if relative else 1.0)) ** len(x)
    return max(_p_skewed(_contrast(x, y, margin, relative=relative)), unseen)


def _p_flips(values: Floats, cases: int) -> float:
    """Studentised sign-flip test of a symmetric centre at zero; zeros among the `cases` change no sign.

    Every sign pattern where there are few, else a fixed sample of them.
    """
    count = len(values)
    if count <= _ENUMERATED:
        patterns = (np.arange(2**count)[:, None] >> np.arange(count)) & 1
        signs = 1.0 - 2.0 * patterns
    else:
        signs = np.random.default_rng(20_260_101).choice([-1.0, 1.0], size=(_FLIPS + 1, count))
        signs[0] = 1.0
    means = signs @ values / cases
    # The sum of squares does not change with the signs, so that t is a rising function of the mean.
    observed = values.sum() / cases
    return float(np.mean(means >= observed - _TIE * max(1.0, abs(observed))))


def _t_interval(values: Floats, unknown: tuple[float, float]) -> tuple[float, float]:
    n = len(values)
    if n < 2:
        return unknown
    half = float(special.stdtrit(n - 1, 0.975) * values.std(ddof=1) / np.sqrt(n))
    centre = float(values.mean())
    return max(unknown[0], centre - half), min(unknown[1], centre + half)
