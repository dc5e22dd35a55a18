"""How urgent a finding is, and how it is told to a person."""

from __future__ import annotations

from datetime import timedelta

from agents.monitoring.metrics import RateMetric
from analysis.burn import Burn, Rule
from analysis.judgement import Judgement
from core.states import Severity

SAFETY_METRICS = frozenset({"guardrail_pass"})
"""What fails here may harm somebody: half the effect is as urgent."""

TOTAL = 0.5
"""Where half of everything fails, few runs are enough to be urgent."""
FEW = 5.0
"""Excess failures under which a finding is small, whatever its share."""
SURE = 1e-8
"""Evidence that a critical finding needs, unless everything fails."""


def of_rate(metric: RateMetric, seen: Judgement) -> Severity:
    """Return the severity of a rate: by effect, capped by reach and by evidence.

    Ten points more failures are critical, five are high, three medium.
    """
    effect = seen.effect * (2 if metric.name in SAFETY_METRICS else 1)
    steps = ((0.10, Severity.CRITICAL), (0.05, Severity.HIGH), (0.03, Severity.MEDIUM))
    severity = next((level for least, level in steps if effect >= least), Severity.LOW)
    if seen.observed is not None and seen.observed >= TOTAL:
        return severity
    reach = seen.failures - (seen.expected or 0.0) * seen.runs
    if reach < FEW:
        return min(severity, Severity.MEDIUM, key=lambda level: level.rank)
    if seen.p is not None and seen.p > SURE:
        return min(severity, Severity.HIGH, key=lambda level: level.rank)
    return severity


def of_level(effect: float) -> Severity:
    """Return the severity of a latency, tokens or cost: thrice the usual is high, twice medium.

    Slowness or a bill alone wakes nobody.

    Args:
        effect: ratio to the usual, minus one.
    """
    if effect >= 2.0:
        return Severity.HIGH
    return Severity.MEDIUM if effect >= 1.0 else Severity.LOW


def of_burn(fast: int) -> Severity:
    """Return the severity of a burning budget: the fastest speed is critical, the next high."""
    return Severity.CRITICAL if fast == 0 else Severity.HIGH


def of_silence(seen: Judgement) -> Severity:
    """Return the severity of missing traffic: the more was due, the surer it is an outage."""
    return Severity.CRITICAL if (seen.expected or 0.0) >= 100 else Severity.HIGH


def rate_title(metric: RateMetric, seen: Judgement) -> str:
    """Return a headline: `Error rate 14.2 % (usually 1.3 %)`."""
    words = metric.words[:1].upper() + metric.words[1:]
    return f"{words} {percent(metric.value(seen.observed))} (usually {percent(metric.value(seen.expected))})"


def burn_title(metric: RateMetric, burn: Burn, budget: float) -> str:
    """Return a headline: `Error rate 21 % (objective 2 %)`."""
    words = metric.words[:1].upper() + metric.words[1:]
    return f"{words} {percent(metric.value(burn.short_rate))} (objective {percent(metric.value(budget))})"


def burn_reason(burn: Burn, rule: Rule, budget: float, *, width: timedelta) -> str:
    """Return one sentence: how fast the budget burns in both windows."""
    return (
        f"the error budget of {percent(budget)} burns {burn.short_rate / budget:.1f} × too fast over "
        f"{length(rule.short * width)} and {burn.long_rate / budget:.1f} × over {length(rule.long * width)}; "
        f"{burn.failures:,} of {burn.runs:,} runs in the short window"
    )


def rate_reasons(metric: RateMetric, seen: Judgement, *, span: timedelta) -> list[str]:
    """Return sentences: what was seen against what was expected, in how many runs, and how likely that is chance."""
    ends = sorted(value for value in (metric.value(seen.low), metric.value(seen.high)) if value is not None)
    expected = "–".join(percent(end, unit="") for end in ends) + " %"
    first = (
        f"{metric.words} {percent(metric.value(seen.observed))}, expected {expected}; "
        f"{seen.failures:,} of {seen.runs:,} runs {metric.failing} in {length(span)}"
    )
    return [first, chance(seen.p)]


def level_reasons(seen: Judgement, *, span: timedelta) -> list[str]:
    """Return sentences about a latency."""
    first = (
        f"latency p95 {seconds(seen.observed)}, expected {seconds(seen.low)} to {seconds(seen.high)}; "
        f"{seen.failures:,} of {seen.runs:,} answers took longer than 1.25 × the usual p95 in {length(span)}"
    )
    return [first, chance(seen.p)]


def silence_reasons(seen: Judgement, *, silent: timedelta) -> list[str]:
    """Return sentences about missing traffic."""
    return [
        f"{int(seen.observed or 0):,} runs where about {seen.expected or 0:,.0f} were due; "
        f"the last run began {length(silent)} ago",
        "no data says nothing about errors or quality: those alerts neither fire nor resolve meanwhile",
    ]


def chance(p: float | None) -> str:
    """Return how likely chance alone would show this."""
    if p is None:
        return "no test was made"
    if p < 1e-12:
        return "chance alone: less than once in 10¹² such windows"
    return f"chance alone: about once in {1 / p:,.0f} such windows"


def percent(fraction: float | None, *, unit: str = " %") -> str:
    """Return a fraction as per cent, one decimal where it is small enough to matter."""
    if fraction is None:
        return "unknown"
    return f"{fraction * 100:.1f}".removesuffix(".0") + unit


def seconds(value: float | None) -> str:
    """Return seconds in the unit a person would use."""
    if value is None:
        return "unknown"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"


def length(span: timedelta) -> str:
    """Return a length of time in words."""
    total = span.total_seconds()
    if total < 120:
        return f"{total:.0f} s"
    if total < 7200:
        return f"{total / 60:.0f} min"
    return f"{total / 3600:.1f} h"
