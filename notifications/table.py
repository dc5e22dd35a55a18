"""The digest's table: a day against the day before and against the baseline, from hourly counts. Pure.

The interval comes from how much the hours differ among themselves, not from the number of runs: rates wander from hour
to hour by more than chance, and an interval that ignores it calls every large app's every day a change.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from analysis.histogram import LogHistogram
from notifications.views import MetricView

Z95 = 1.959964
KEYS_SHOWN = 6
"""Feedback keys in the table, the most frequent first."""
FEWEST_HOURS = 3
"""Hours below which nothing is said about how they differ."""


QUALITY_WEIGHTS = {"fact_accuracy": 0.4, "guardrail_pass": 0.3, "sla_compliance": 0.2, "error_free": 0.1}
"""What the score is made of, as in the daily evaluation; shares of what the app does not measure go to the rest."""


@dataclass(frozen=True)
class Hour:
    """What one hour, or the part of one, counted."""

    runs: int
    finished: int
    errors: int
    sla_met: int
    cost: float
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    latency: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Ratio:
    """A sum over a count, and the variance of the ratio as the hours show it."""

    value: float
    variance: float | None


def ratio(parts: Sequence[tuple[float, float]]) -> Ratio | None:
    """Return Σ amount / Σ units over hours, with the linearised variance of a ratio of cluster totals.

    Args:
        parts: (amount, units) by hour.

    Returns: None where there are no units; no variance where fewer than three hours have any.

    Source: Cochran (1977), Sampling Techniques, 3rd ed., section 6.3.
    """
    hours = [(amount, units) for amount, units in parts if units > 0]
    units = sum(n for _, n in hours)
    if units <= 0:
        return None
    value = sum(amount for amount, _ in hours) / units
    groups = len(hours)
    if groups < FEWEST_HOURS:
        return Ratio(value, None)
    scatter = sum((amount - value * n) ** 2 for amount, n in hours)
    return Ratio(value, groups / (groups - 1) * scatter / units**2)


def contrast(now: Ratio | None, then: Ratio | None) -> tuple[float | None, float | None, float | None]:
    """Return (difference, low, high): the difference of two ratios with its 95 % interval, as far as it is known."""
    if now is None or then is None:
        return None, None, None
    delta = now.value - then.value
    if now.variance is None or then.variance is None:
        return delta, None, None
    half = Z95 * math.sqrt(now.variance + then.variance)
    return delta, delta - half, delta + half


def metric_table(day: Sequence[Hour], yesterday: Sequence[Hour], baseline: Sequence[Hour]) -> tuple[MetricView, ...]:
    """Return the table's lines; a metric without a single unit today is left out."""
    lines = []
    score = quality(day)
    if score is not None:
        delta, low, high = contrast(score, quality(baseline))
        lines.append(MetricView("quality", score.value, contrast(score, quality(yesterday))[0], delta, low, high))
    lines += [_line(key, *(scores(hours, key) for hours in (day, yesterday, baseline))) for key in score_keys(day)]
    for metric, parts in (
        ("error_rate", [[(h.errors, h.finished) for h in hours] for hours in (day, yesterday, baseline)]),
        ("sla_compliance", [[(h.sla_met, h.finished) for h in hours] for hours in (day, yesterday, baseline)]),
    ):
        lines.append(_line(metric, *parts))
    p95 = [LogHistogram.merged(h.latency for h in hours).quantile(0.95) for hours in (day, yesterday, baseline)]
    if p95[0] is not None:
        lines.append(MetricView("latency_p95", p95[0], _minus(p95[0], p95[1]), _minus(p95[0], p95[2]), None, None))
    if any(h.cost for h in day):
        lines.append(
            _line(
                "cost_per_1k",
                *([(1000 * h.cost, h.runs) for h in hours] for hours in (day, yesterday, baseline)),
            )
        )
    return tuple(line for line in lines if line.value is not None)


def score_keys(day: Sequence[Hour]) -> list[str]:
    """Return the feedback keys of the day, the most frequent first, capped."""
    counts: dict[str, float] = {}
    for hour in day:
        for key, score in hour.scores.items():
            counts[key] = counts.get(key, 0) + score.get("n", 0)
    return sorted(counts, key=lambda key: (-counts[key], key))[:KEYS_SHOWN]


def quality(hours: Sequence[Hour]) -> Ratio | None:
    """Return the score of a window: the weighted mean of what of `QUALITY_WEIGHTS` is measured, in [0, 1]."""
    parts = {
        "sla_compliance": ratio([(h.sla_met, h.finished) for h in hours]),
        "error_free": ratio([(h.finished - h.errors, h.finished) for h in hours]),
        **{key: ratio(scores(hours, key)) for key in ("fact_accuracy", "guardrail_pass")},
    }
    known = [(QUALITY_WEIGHTS[name], part) for name, part in parts.items() if part is not None]
    weight = sum(share for share, _ in known)
    if not known:
        return None
    variances = [(share / weight) ** 2 * part.variance for share, part in known if part.variance is not None]
    return Ratio(
        sum(share * part.value for share, part in known) / weight,
        sum(variances) if len(variances) == len(known) else None,
    )


def _line(
    metric: str,
    day: Sequence[tuple[float, float]],
    yesterday: Sequence[tuple[float, float]],
    baseline: Sequence[tuple[float, float]],
) -> MetricView:
    now = ratio(day)
    delta, low, high = contrast(now, ratio(baseline))
    return MetricView(metric, now.value if now else None, contrast(now, ratio(yesterday))[0], delta, low, high)


def scores(hours: Sequence[Hour], key: str) -> list[tuple[float, float]]:
    """Return (sum, count) of a feedback key by hour."""
    return [(h.scores[key].get("sum", 0.0), h.scores[key].get("n", 0)) for h in hours if key in h.scores]


def _minus(now: float | None, then: float | None) -> float | None:
    return None if now is None or then is None else now - then
