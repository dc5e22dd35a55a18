"""What a change promises, and what it costs: frozen when proposed, scored when its impact is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, norm

from agents.research.sample import Sample

EFFICACY: dict[str, tuple[float, float]] = {
    "revert": (9.0, 1.0),
    "route_around": (7.0, 2.0),
    "raise_bound": (3.0, 3.0),
    "recommend": (2.0, 2.0),
}
"""Beta prior of the share of the ceiling that a kind of fix delivers."""

EFFORT_HOURS: dict[str, tuple[float, float]] = {
    "revert": (0.5, 1.0),
    "raise_bound": (1.0, 2.0),
    "route_around": (2.0, 4.0),
    "recommend": (8.0, 20.0),
}
"""P50 and P80 of a person's hours (review, watching the rollout, follow-up) by kind: uncalibrated reference classes."""

_QUANTILES = (np.arange(60) + 0.5) / 60


@dataclass(frozen=True)
class Prediction:
    """Relative improvement of the success metric over all traffic, in percent, with a 90 % interval."""

    pct: float
    low: float
    high: float


def predict(
    sample: Sample, conditions: Mapping[str, str], kind: str, *, efficacy: tuple[float, float] | None = None
) -> Prediction:
    """Predict what a fix of this kind for this cause is worth.

    The unit is 100 · (after − before) / before of the success metric over ALL traffic of the app, `before` being its
    mean over the bad window: `error_free` or `sla_met` (share of runs), a feedback key (mean score). For `latency_ms`,
    where lower is better, it is 100 · (before − after) / before. Impact is measured in the same unit.

    ceiling = what the metric would gain if the runs of the cause fared as they did in the baseline (or, for a value
    that the baseline never saw, as the average run did); prediction = ceiling × efficacy of the kind of fix. The
    interval multiplies the sampling uncertainty of the ceiling with the Beta of the efficacy.

    Args:
        sample: the runs.
        conditions: the cause; empty means all runs.
        kind: kind of hypothesis, a key of `EFFICACY`.
        efficacy: (a, b) of the Beta, where history has moved it.
    """
    known = np.isfinite(sample.success)
    inside = sample.mask(conditions)
    before = float(sample.success[sample.bad & known].mean()) if (sample.bad & known).any() else 0.0
    now = sample.success[sample.bad & known & inside]
    usual = sample.success[~sample.bad & known & inside]
    if len(usual) < 10:
        usual = sample.success[~sample.bad & known]
    if len(now) == 0 or len(usual) == 0 or before == 0:
        return Prediction(0.0, 0.0, 0.0)
    share = len(now) / int((sample.bad & known).sum())
    scale = 100 * share / abs(before)
    middle = scale * (float(usual.mean()) - float(now.mean()))
    error = scale * float(np.sqrt(_variance(usual) + _variance(now)))
    a, b = efficacy or EFFICACY[kind]
    ceilings = norm.ppf(_QUANTILES, middle, max(error, 1e-9))
    shares = beta.ppf(_QUANTILES, a, b)
    low, high = np.quantile(np.outer(ceilings, shares), [0.05, 0.95])
    return Prediction(round(middle * a / (a + b), 2), round(float(low), 2), round(float(high), 2))


def _variance(values: NDArray[np.float64]) -> float:
    """Variance of a mean, with one pseudo-observation of spread so that ten equal scores are no certainty."""
    n = len(values)
    return float((values.var() * n + 0.25 * max(values.std(), 0.1)) / (n * (n + 1)))
