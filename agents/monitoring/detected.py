"""From what an app's detectors say to findings: pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from agents.alert_life import Health, Reading
from agents.alerting import Finding
from agents.monitoring import severity
from agents.monitoring.metrics import COST_PER_RUN, LATENCY_P95, TOKENS_PER_RUN, VOLUME, RateMetric
from agents.monitoring.watch import Course, Doubt
from analysis.detection import chance_of
from analysis.judgement import (
    LEAST_FAILURES,
    LEVEL_RATIO,
    RECOVERY,
    SETTLED_RUNS,
    Judgement,
    rate_threshold,
)
from analysis.rates import RateReference
from core.states import AlertKind, Severity

TRAFFIC_RATIO = 0.5
"""Traffic must be down to this share of the usual …"""
TRAFFIC_RUNS = 50.0
"""… of at least so many runs a step: fewer come and go."""


def outweighs(
    metric: RateMetric, seen: Judgement, doubt: Doubt, references: Sequence[RateReference], *, fine_until: float
) -> bool:
    """Tell whether the running test makes bad what the latest windows alone do not.

    It does where it alarms, where all that it holds against the rate exceeds every reference by as much as matters, and
    where the latest windows do not say by themselves, with runs enough, that all is well again.
    """
    if not doubt.alarm or doubt.failures < LEAST_FAILURES or not doubt.runs:
        return False
    if seen.health == "bad" or (seen.health == "good" and seen.runs >= SETTLED_RUNS):
        return False
    rates = [doubt.usual, *(ref.rate for ref in references)]
    return doubt.failures / doubt.runs >= max(
        rate_threshold(rate, least_effect=metric.least_effect, fine_until=fine_until) for rate in rates
    )


def of_doubt(metric: RateMetric, doubt: Doubt, *, fine_until: float, began: datetime | None, end: datetime) -> Finding:
    """Return the finding of a rate that is bad by the running test alone.

    Args:
        began: when the trouble of a waiting alert began.
    """
    threshold = rate_threshold(doubt.usual, least_effect=metric.least_effect, fine_until=fine_until)
    rate = doubt.failures / doubt.runs
    seen = Judgement(
        "bad", rate, doubt.usual, p=doubt.p, failures=doubt.failures, runs=doubt.runs, effect=rate - doubt.usual
    )
    start = doubt.since if began is None else min(doubt.since, began)
    return Finding(
        kind=metric.kind,
        metric=metric.name,
        reading=Reading(Health.BAD, severity.of_rate(metric, seen), seen.effect, end - start),
        title=severity.rate_title(metric, seen),
        observed=metric.value(rate),
        expected=metric.value(doubt.usual),
        back=metric.value(doubt.usual + RECOVERY * (threshold - doubt.usual)),
        p=doubt.p,
        reasons=(doubt_reason(metric, doubt), severity.chance(doubt.p)),
        window_start=start,
        window_end=end,
    )


def doubt_reason(metric: RateMetric, doubt: Doubt) -> str:
    """Return one sentence: what the running test holds against the rate."""
    return (
        f"the running test of small counts alarms: {doubt.failures:,} of {doubt.runs:,} runs {metric.failing} since "
        f"{doubt.since:%H:%M} UTC, {severity.percent(doubt.failures / doubt.runs)} where "
        f"{severity.percent(doubt.usual)} is usual"
    )


def course_reason(course: Course, told: str) -> str:
    """Return one sentence: that the detector of series agrees, and why."""
    if course.score >= 1.0:
        return f"the detector of series alarms: {told} from one step to the next, {course.score:.1f} × what alarms"
    return f"the detector of series agrees: {told} since it alarmed, and not back"


@dataclass(frozen=True)
class _Unit:
    """How a series is told."""

    words: str
    digits: str
    before: str = ""
    after: str = ""

    def say(self, value: float) -> str:
        return f"{self.before}{value:{self.digits}}{self.after}"


_UNITS = {
    LATENCY_P95: _Unit("latency p95", ".2f", after=" s"),
    TOKENS_PER_RUN: _Unit("tokens per run", ",.0f"),
    COST_PER_RUN: _Unit("cost per run", ".2g", before="$"),
    VOLUME: _Unit("traffic", ",.0f", after=" runs"),
}


def of_course(name: str, course: Course | None, *, fine_until: float = 0.0) -> Finding:
    """Return the finding of a series: bad where it left its level by as much as matters and is not back.

    Args:
        course: None where nothing is known.
        fine_until: a value that somebody declared to be fine, however unusual it is.
    """
    if course is None:
        return Finding(kind=AlertKind.ANOMALY, metric=name, reading=Reading(Health.UNKNOWN))
    down = name == VOLUME
    limit = TRAFFIC_RATIO * course.usual if down else max(LEVEL_RATIO * course.usual, fine_until)
    back = course.usual + RECOVERY * (limit - course.usual)
    beyond = course.value <= limit and course.usual >= TRAFFIC_RUNS if down else course.value >= limit
    if not course.away or not beyond:
        between = course.away and (course.value < back if down else course.value > back)
        return Finding(
            kind=AlertKind.ANOMALY,
            metric=name,
            reading=Reading(Health.BETWEEN if between else Health.GOOD),
            observed=course.value,
            note="its level has stayed for a day and is the usual one from now on" if course.accepted else "",
        )
    unit = _UNITS[name]
    words = unit.words[:1].upper() + unit.words[1:]
    effect = abs(course.value / course.usual - 1) if course.usual > 0 else 1.0
    p = chance_of(course.score) if course.score >= 1.0 else None
    span = severity.length(course.end - course.start)
    first = f"{unit.words} {unit.say(course.value)} in {span}, usually {unit.say(course.usual)}"
    if course.score < 1.0:
        first += "; it left that level with an alarm and is not back"
    else:
        first += f"; it alarms beyond {unit.say(course.low if down else course.high)}"
    return Finding(
        kind=AlertKind.ANOMALY,
        metric=name,
        reading=Reading(Health.BAD, _severity(name, effect), effect, course.end - course.start),
        title=f"{words} {unit.say(course.value)} (usually {unit.say(course.usual)})",
        observed=course.value,
        expected=course.usual,
        low=course.low if course.score >= 1.0 else None,
        high=course.high if course.score >= 1.0 else None,
        back=back,
        p=p,
        reasons=(first, *([severity.chance(p)] if p is not None else [])),
        window_start=course.start,
        window_end=course.end,
    )


def _severity(name: str, effect: float) -> Severity:
    """Return how urgent it is: missing traffic is medium, the rest goes by its size. Neither wakes anybody."""
    if name == VOLUME:
        return Severity.MEDIUM
    return severity.of_level(effect)
