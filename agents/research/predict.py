"""What a change promises, and what it costs: frozen when proposed, scored when its impact is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, ndtri

from agents.research.sample import Sample

EFFICACY: dict[str, tuple[float, float]] = {
    "revert": (9.0, 1.0),
    "route_around": (7.0, 2.0),
    "raise_bound": (3.0, 3.0),
    "rewrite": (2.0, 3.0),
    "recommend": (2.0, 2.0),
}
"""Beta prior of the share of the ceiling that a kind of fix delivers."""

EFFORT_HOURS: dict[str, tuple[float, float]] = {
    "revert": (0.5, 1.0),
    "raise_bound": (1.0, 2.0),
    "route_around": (2.0, 4.0),
    "rewrite": (2.0, 5.0),
    "recommend": (8.0, 20.0),
}
"""P50 and P80 of a person's hours (review, watching the rollout, follow-up) by kind: uncalibrated reference classes."""

MIN_RUNS = 10
"""Runs of the cause that a mean stands on; with fewer, a wider set is taken."""

_QUANTILES = (np.arange(60) + 0.5) / 60


@dataclass(frozen=True)
class Prediction:
    """Relative improvement of the success metric over all traffic, in percent, with a 90 % interval."""

    pct: float
    low: float
    high: float
    ceiling: float = 0.0
    """What a perfect fix would be worth."""


def predict(
    sample: Sample,
    conditions: Mapping[str, str],
    kind: str,
    *,
    began: tuple[datetime, datetime, datetime] | None = None,
    efficacy: tuple[float, float] | None = None,
) -> Prediction:
    """Predict what a fix of this kind for this cause is worth.

    The unit is 100 · (after − before) / before of the success metric over ALL traffic of the app, `before` being its
    mean since the onset: `error_free` or `sla_met` (share of runs), a feedback key (mean score). For `latency_ms`,
    where lower is better, it is 100 · (before − after) / before. Impact is measured in the same unit.

    ceiling = what the metric would gain if the runs of the cause fared as they did in the baseline (or, for a value
    that the baseline never saw, as the average run did); prediction = ceiling × efficacy of the kind of fix. The
    interval multiplies the uncertainty of the ceiling (sampling, and when it began) with the Beta of the efficacy.

    Args:
        sample: the runs.
        conditions: the cause; empty means all runs.
        kind: kind of hypothesis, a key of `EFFICACY`.
        began: the onset and its interval, (middle, low, high): runs of the bad window before it were still healthy,
            and a window that is seconds old may hold more of them than of the others. None counts the whole window.
        efficacy: (a, b) of the Beta, where history has moved it.
    """
    ceilings = [_ceiling(sample, conditions, moment) for moment in began or (None,)]
    known = [entry for entry in ceilings if entry is not None]
    if ceilings[0] is None:
        return Prediction(0.0, 0.0, 0.0)
    a, b = efficacy or EFFICACY[kind]
    # the middle of the onset counts as much as both of its ends together
    weighted = [ceilings[0], *known] if len(known) > 1 else known
    values = np.concatenate([middle + max(error, 1e-9) * ndtri(_QUANTILES) for middle, error in weighted])
    shares = betaincinv(a, b, _QUANTILES)
    low, high = np.quantile(np.outer(values, shares), [0.05, 0.95])
    best = ceilings[0][0]
    return Prediction(round(best * a / (a + b), 2), round(float(low), 2), round(float(high), 2), round(best, 2))


def _ceiling(sample: Sample, conditions: Mapping[str, str], since: datetime | None) -> tuple[float, float] | None:
    """Return what could be gained at most, in percent, with its standard error; None where that cannot be said."""
    known = np.isfinite(sample.success)
    inside = sample.mask(conditions)
    bad = sample.bad & known
    if since is not None:
        after = bad & (sample.started >= since.timestamp())
        if (after & inside).sum() >= MIN_RUNS:
            bad = after
    now = sample.success[bad & inside]
    usual = sample.success[~sample.bad & known & inside]
    if len(usual) < MIN_RUNS:
        usual = sample.success[~sample.bad & known]
    before = float(sample.success[bad].mean()) if bad.any() else 0.0
    if len(now) == 0 or len(usual) == 0 or before == 0:
        return None
    share = len(now) / int(bad.sum())
    scale = 100 * share / abs(before)
    middle = scale * (float(usual.mean()) - float(now.mean()))
    return middle, scale * float(np.sqrt(_variance(usual) + _variance(now)))


def _variance(values: NDArray[np.float64]) -> float:
    """Variance of a mean, with one pseudo-observation of spread so that ten equal scores are no certainty."""
    n = len(values)
    return float((values.var() * n + 0.25 * max(values.std(), 0.1)) / (n * (n + 1)))
