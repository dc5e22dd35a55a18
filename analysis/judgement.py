"""What a metric's latest windows say against its references: bad, good, in between, or nothing.

A judgement looks at the trailing 1..6 buckets, the running one included: an exact count test is valid on part of a
bucket. It is bad only where EVERY reference (the last day; the same hours of earlier days) is surprised, by more than
chance and the metric's own wandering explain, and by more than a least effect: a trifle pages nobody however certain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.special import bdtr

from analysis.histogram import LogHistogram
from analysis.rates import RateReference, excess_p

WINDOWS = 6
"""Trailing buckets that are looked at, alone and together."""

ALPHA = 2e-6
"""Three failures of three, where one in a hundred is usual, are just beyond it; two of three are far from it."""

LEAST_FAILURES = 3

RELATIVE_EFFECT = 0.5
"""Failures must be up by half of what is usual, whatever the absolute least effect says."""

RECOVERY = 0.8
"""The recovery threshold lies this far from usual to the firing threshold: between them the state holds."""

SETTLED_RUNS = 30
"""Runs after which a window's rate says something by itself."""

LEVEL_RATIO = 1.5
"""A latency must exceed the usual by this factor."""
LEVEL_BAND = 4.0
"""… and lie this many robust standard deviations (of the logarithm) outside the usual."""
LEVEL_FLOOR = 0.08
"""Least robust standard deviation of the logarithm: 8 %."""
LEVEL_WINDOWS = 3
"""A slow moment is no slow service: so many buckets together must be slow."""

SILENCE_EXPECTED = 20.0
"""Runs that would have come in the silence, at the lowest of the usual rates."""
COLLAPSE = 0.1
COLLAPSE_EXPECTED = 50.0
"""A trickle is as good as silence where this many runs were due and not a tenth of them came."""
VOLUME_BACK = 0.3
"""Share of the usual volume at which traffic counts as back."""

HealthWord = Literal["bad", "between", "good", "unknown"]


@dataclass(frozen=True)
class Judgement:
    """What was seen and what it means.

    Attributes:
        observed: failure rate, level in seconds, or runs, by the metric's kind.
        expected, low, high: what is usual, and the band around it, in the same unit.
        p: probability of what was seen if all is as usual; None where nothing was tested.
        failures, runs: counts in the window that is reported.
        window: number of buckets in it.
        effect: how far from usual: a difference of rates, or a ratio minus one.
        back: where it counts as well again, in the unit of what was observed.
    """

    health: HealthWord
    observed: float | None = None
    expected: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    failures: int = 0
    runs: int = 0
    window: int = 0
    effect: float = 0.0
    back: float | None = None


UNKNOWN = Judgement("unknown")

References = Callable[[int], Sequence[RateReference]]
"""References for a window of so many buckets: what they were learnt from lies before the window."""


def rate_threshold(usual: float, *, least_effect: float, fine_until: float = 0.0) -> float:
    """Return the failure rate from which on it matters, where so much is usual: see `judge_rate`."""
    return max(usual + max(least_effect, RELATIVE_EFFECT * usual), fine_until)


def judge_rate(
    failures: Sequence[int],
    runs: Sequence[int],
    references: References,
    *,
    least_effect: float,
    fine_until: float = 0.0,
    alpha: float = ALPHA,
) -> Judgement:
    """Judge a rate of failures.

    Args:
        failures, runs: of the latest buckets, oldest first, at most WINDOWS of them; empty buckets are zeros.
        references: by window length; no reference at all is no judgement.
        least_effect: difference of rates that matters, a fraction in (0, 1).
        fine_until: a failure rate that somebody declared to be fine, however unusual it is.
    """

    def threshold(usual: float) -> float:
        return rate_threshold(usual, least_effect=least_effect, fine_until=fine_until)

    def recovered(rate: float, known: Sequence[RateReference]) -> bool:
        """Tell whether the rate is back, measured at the most forgiving reference: the one that decided to fire."""
        return rate < back(known)

    def back(known: Sequence[RateReference]) -> float:
        usual = max(ref.rate for ref in known)
        return usual + RECOVERY * (threshold(usual) - usual)

    k_sums = np.cumsum(list(failures)[::-1])
    n_sums = np.cumsum(list(runs)[::-1])
    if n_sums.size == 0 or n_sums[-1] == 0:
        return UNKNOWN
    worst: Judgement | None = None
    for window in range(1, n_sums.size + 1):
        k, n = int(k_sums[window - 1]), int(n_sums[window - 1])
        if k < LEAST_FAILURES or (window > 1 and n == n_sums[window - 2]):
            continue
        known = references(window)
        if not known or k / n < max(threshold(ref.rate) for ref in known):
            continue
        p, ref = max(((excess_p(k, n, ref), ref) for ref in known), key=lambda pair: pair[0])
        if worst is None or p < (worst.p or 0.0):
            worst = replace(_told("bad", k, n, window=window, ref=ref, p=p), back=back(known))
    if worst is not None and worst.p is not None and worst.p <= alpha:
        bad_rate = min(worst.failures / worst.runs, 1 - 1e-9)
        for window in range(1, worst.window):
            k, n = int(k_sums[window - 1]), int(n_sums[window - 1])
            # The latest runs are well again, and too many for that to be luck: what is bad lies behind us.
            if n and recovered(k / n, references(window)) and bdtr(k, n, bad_rate) <= 0.01:
                return _told("good", k, n, window=window, ref=references(window)[0])
        return worst
    settled = int(np.argmax(n_sums >= SETTLED_RUNS)) + 1 if n_sums[-1] >= SETTLED_RUNS else n_sums.size
    k, n = int(k_sums[settled - 1]), int(n_sums[settled - 1])
    known = references(settled)
    if not known:
        return UNKNOWN
    health: HealthWord = "good" if recovered(k / n, known) else "between"
    return _told(health, k, n, window=settled, ref=known[0])


def _told(health: HealthWord, k: int, n: int, *, window: int, ref: RateReference, p: float | None = None) -> Judgement:
    low, high = ref.band(n)
    return Judgement(health, k / n, ref.rate, low, high, p, k, n, window, k / n - ref.rate)


@dataclass(frozen=True)
class LevelReference:
    """What level of a positive quantity to expect; centre and spread are of its natural logarithm."""

    centre: float
    spread: float

    @property
    def usual(self) -> float:
        """The usual level, in the quantity's unit."""
        return float(np.exp(self.centre))

    @property
    def threshold(self) -> float:
        """The level above which it is bad."""
        return max(float(np.exp(self.centre + LEVEL_BAND * self.spread)), LEVEL_RATIO * self.usual)


def level_reference(levels: Sequence[float]) -> LevelReference | None:
    """Learn from the levels of past hours by median and MAD; None where there are fewer than three."""
    logs = np.log(np.asarray([level for level in levels if level > 0], dtype=float))
    if logs.size < 3:
        return None
    centre = float(np.median(logs))
    return LevelReference(centre, max(1.4826 * float(np.median(np.abs(logs - centre))), LEVEL_FLOOR))


def judge_level(
    windows: Sequence[LogHistogram],
    references: Sequence[LevelReference],
    *,
    q: float = 0.95,
    fine_until: float = 0.0,
    alpha: float = ALPHA,
) -> Judgement:
    """Judge a high quantile of latency.

    The quantile must lie outside every reference's band, and the number of runs beyond the usual quantile must be more
    than chance: with few runs a 95th percentile is one run's affair.

    Args:
        windows: histograms of the latest buckets, oldest first.
        fine_until: a level in seconds that somebody declared to be fine, however unusual it is.
    """
    if not references:
        return UNKNOWN
    merged = LogHistogram()
    good: Judgement | None = None
    worst: Judgement | None = None
    usual = max(references, key=lambda ref: ref.threshold)
    threshold = max(usual.threshold, fine_until)
    back = usual.usual + RECOVERY * (threshold - usual.usual)
    for window, part in enumerate(list(windows)[::-1], start=1):
        merged = LogHistogram.merged([merged.as_json(), part.as_json()])
        runs = merged.total
        level = merged.quantile(q)
        if level is None or runs < SETTLED_RUNS:
            continue
        beyond = merged.above(1.25 * usual.usual)
        p = excess_p(beyond, runs, RateReference(rate=1 - q, spread=0.02, weight=1e6, runs=runs))
        told = Judgement(
            "bad", level, usual.usual, usual.usual * float(np.exp(-LEVEL_BAND * usual.spread)), threshold, p,
            beyond, runs, window, level / usual.usual - 1, back,
        )  # fmt: skip
        if good is None:
            good = Judgement(**{**told.__dict__, "health": "good" if level < back else "between"})
        if window >= LEVEL_WINDOWS and level > threshold and p <= alpha and (worst is None or p < (worst.p or 0)):
            worst = told
    if good is None:
        return UNKNOWN
    return good if worst is None or good.health == "good" else worst


def judge_silence(
    *, silent_s: float, least_s: float, latest_runs: int, latest_s: float, usual_per_s: Sequence[float]
) -> Judgement:
    """Judge whether traffic stopped. More traffic than usual is never bad.

    Args:
        silent_s: seconds since the last run began, or since we could have seen one.
        least_s: a shorter silence is never bad.
        latest_runs, latest_s: runs of the latest buckets, and how many seconds they cover.
        usual_per_s: runs per second that are usual, by every reference; the lowest counts.
    """
    if not usual_per_s:
        return UNKNOWN
    usual = min(usual_per_s)
    expected = usual * silent_s
    due = usual * latest_s
    if silent_s >= least_s and expected >= SILENCE_EXPECTED:
        return Judgement(
            "bad", 0.0, expected, None, None, float(np.exp(-min(expected, 700.0))), 0, 0, 0, -1.0, VOLUME_BACK * due
        )
    if latest_s >= least_s and due >= COLLAPSE_EXPECTED and latest_runs <= COLLAPSE * due:
        return Judgement(
            "bad",
            float(latest_runs),
            due,
            None,
            None,
            None,
            0,
            latest_runs,
            0,
            latest_runs / due - 1,
            VOLUME_BACK * due,
        )
    back = latest_runs > 0 and latest_runs >= VOLUME_BACK * due
    ratio = latest_runs / due - 1 if due > 0 else 0.0
    return Judgement("good" if back else "between", float(latest_runs), due, None, None, None, 0, latest_runs, 0, ratio)
