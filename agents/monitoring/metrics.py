"""The metrics of an app: what fails in each, in which kind of alert, and how much of it matters."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from core.states import AlertKind
from db.repositories.buckets import Counts

ERROR_RATE = "error_rate"
SLA_COMPLIANCE = "sla_compliance"
LATENCY_P95 = "latency_p95"
VOLUME = "volume"
TOKENS_PER_RUN = "tokens_per_run"
COST_PER_RUN = "cost_per_run"

QUALITY_METRICS_CAP = 20
"""Feedback keys that are judged per app, the most frequent first."""


@dataclass(frozen=True)
class RateMetric:
    """A metric that counts failures among runs."""

    name: str
    kind: AlertKind
    words: str
    """What a person calls it, in a sentence."""
    failing: str
    """What its failures are called."""
    least_effect: float
    """A smaller rise of the failure rate matters to nobody; a fraction."""
    counted: Callable[[Counts], tuple[int, int]]
    """(failures, runs) of a bucket or hour."""
    success: bool = True
    """Whether the metric's value is the share that did NOT fail."""
    default_limit: float | None = None
    """Failure rate to judge by as long as nothing has been learnt; None: wait."""
    budget: float | None = None
    """Share of the runs that may fail by the app's own objective; None where it states none."""

    def value(self, failure_rate: float | None) -> float | None:
        """Return the metric's own value at a failure rate."""
        if failure_rate is None:
            return None
        return 1.0 - failure_rate if self.success else failure_rate


# A run that has not ended is no failure yet, but it belongs into the denominator: else the quick failures of the
# running bucket would be judged before the slow successes beside them.
ERRORS = RateMetric(
    ERROR_RATE,
    AlertKind.ERROR_SPIKE,
    words="error rate",
    failing="failed",
    least_effect=0.02,
    counted=lambda counts: (counts.errors, counts.finished + counts.pending),
    success=False,
    default_limit=0.05,
)
SLA = RateMetric(
    SLA_COMPLIANCE,
    AlertKind.SLA_VIOLATION,
    words="SLA compliance",
    failing="missed the SLA",
    least_effect=0.03,
    counted=lambda counts: (counts.finished - counts.sla_met, counts.finished + counts.pending),
    default_limit=0.10,
)


def quality(key: str) -> RateMetric:
    """Return the metric of a feedback key with scores in [0, 1], higher being better.

    Fractions count by their sum, rounded down: for an exact test that errs on the quiet side, because no score in
    [0, 1] spreads more than a 0/1 score of the same mean.
    """

    def counted(counts: Counts) -> tuple[int, int]:
        score = counts.scores.get(key)
        if score is None:
            return 0, 0
        n = int(score["n"])
        return min(n, max(0, math.floor(n - score["sum"] + 1e-6))), n

    return RateMetric(
        key,
        AlertKind.QUALITY_DEGRADATION,
        words=key.replace("_", " "),
        failing="scored badly",
        least_effect=0.02,
        counted=counted,
    )


def with_objective(metric: RateMetric, objectives: Mapping[str, Any]) -> RateMetric:
    """Return the metric judged by the app's own objective, where it states one.

    Up to the objective nothing is an alert, however unusual. Beyond it the usual rules hold, and a budget that burns
    fast is an alert however usual. As long as nothing has been learnt the objective is the limit.

    Args:
        objectives: `{"error_rate": 0.02, "fact_accuracy": 0.9}`: the worst value that is still fine.
    """
    stated = _number(objectives.get(metric.name))
    if stated is None or not 0 < stated < 1:
        return metric
    budget = 1 - stated if metric.success else stated
    return replace(metric, default_limit=budget, budget=budget)


def fine_level(objectives: Mapping[str, Any], metric: str) -> float:
    """Return the latency, tokens or cost that the app declares to be fine, in its unit; 0 where it declares none."""
    return max(_number(objectives.get(metric)) or 0.0, 0.0)


def _number(stated: object) -> float | None:
    return float(stated) if isinstance(stated, int | float) and not isinstance(stated, bool) else None


def quality_keys(counts: Iterable[Counts]) -> list[str]:
    """Return the feedback keys that are judged: scores in [0, 1], the most frequent first, at most a cap's number."""
    return bounded_keys(counts)[:QUALITY_METRICS_CAP]


def bounded_keys(counts: Iterable[Counts]) -> list[str]:
    """Return all feedback keys whose scores all lie in [0, 1], the most frequent first.

    Σx² ≤ Σx is what sums can tell of that: it fails as soon as scores above one (or below zero) carry weight.
    """
    totals: dict[str, int] = {}
    unbounded: set[str] = set()
    for part in counts:
        for key, score in part.scores.items():
            totals[key] = totals.get(key, 0) + int(score["n"])
            if score["sumsq"] > score["sum"] + 1e-6 * max(1.0, abs(score["sum"])):
                unbounded.add(key)
    bounded = [key for key in totals if key not in unbounded]
    return sorted(bounded, key=lambda key: (-totals[key], key))
