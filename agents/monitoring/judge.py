"""From buckets to findings: every metric of an app, judged at one moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from agents.alert_life import Health, Reading
from agents.alerting import Finding
from agents.monitoring import detected, severity
from agents.monitoring.history import History
from agents.monitoring.metrics import (
    COST_PER_RUN,
    ERRORS,
    LATENCY_P95,
    QUALITY_METRICS_CAP,
    SLA,
    TOKENS_PER_RUN,
    VOLUME,
    RateMetric,
    bounded_keys,
    fine_level,
    quality,
    with_objective,
)
from agents.monitoring.watch import Course, Doubt, RateWatch, SeriesWatch
from analysis.burn import CALM, RULES, Burn, judge_burn, rate_limit
from analysis.histogram import LogHistogram
from analysis.judgement import (
    UNKNOWN,
    WINDOWS,
    Judgement,
    LevelReference,
    judge_level,
    judge_rate,
    judge_silence,
)
from analysis.rates import RateReference
from core.clock import floor_time
from core.states import AlertKind
from db.repositories.buckets import Counts

EMPTY = Counts(start=datetime.min, runs=0, finished=0, errors=0, pending=0, sla_met=0, scores={}, latency={})  # noqa: DTZ901  # never compared

EVER = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Stretch:
    """When the bad runs came: from the first to the end of the last slot of the worst stretch."""

    start: datetime
    end: datetime


StretchOf = Callable[[str, datetime, datetime, Judgement], Stretch | None]
"""(metric, window start, window end, judgement) → the worst stretch in it, to a fraction of a bucket."""


@dataclass
class Bench:
    """Everything one app's metrics are judged by during one check.

    Attributes:
        objectives: the app's own, by metric.
        first_end: end of the first window that is judged: what lies before it may teach.
        stretch: looks the runs up; asked only where the answer matters.
        pending_since: when the trouble of a waiting alert began, by fingerprint.
        rates, series: the app's detectors; None where nothing but the windows themselves is to judge.
        watching_since: a silence before it may be our own.
    """

    history: History
    first_end: datetime
    width: timedelta
    stretch: StretchOf
    needs_stretch: Callable[[str], bool]
    pending_since: Callable[[str], datetime | None]
    objectives: Mapping[str, Any] = field(default_factory=dict)
    rates: RateWatch | None = None
    series: SeriesWatch | None = None
    watching_since: datetime = EVER
    _by_start: dict[datetime, Counts] = field(default_factory=dict, init=False)
    _rate_refs: dict[tuple[str, int], list[RateReference]] = field(default_factory=dict, init=False)
    _level_refs: list[LevelReference] | None = field(default=None, init=False)
    _keys: list[str] | None = field(default=None, init=False)
    _doubts: tuple[datetime, dict[str, Doubt]] | None = field(default=None, init=False)
    _courses: tuple[datetime, dict[str, Course]] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._by_start = {part.start: part for part in self.history.recent}

    def metrics(self) -> list[RateMetric]:
        """Return the rates that this app has."""
        judged = self._scored()[:QUALITY_METRICS_CAP]
        return [with_objective(metric, self.objectives) for metric in (ERRORS, SLA, *map(quality, judged))]

    def unjudged(self) -> int:
        """Return how many feedback keys are left out: an app that makes up a key a run must not make a metric a run."""
        return max(len(self._scored()) - QUALITY_METRICS_CAP, 0)

    def _scored(self) -> list[str]:
        if self._keys is None:
            self._keys = bounded_keys([*self.history.hours, *self.history.recent])
        return self._keys

    def latest(self, end: datetime) -> list[Counts]:
        """Return the WINDOWS buckets that end with the one that contains the moment before `end`, oldest first."""
        last = floor_time(end - timedelta(microseconds=1), self.width)
        starts = [last - n * self.width for n in reversed(range(WINDOWS))]
        return [self._by_start.get(start, EMPTY) for start in starts]

    def rates_at(self, end: datetime) -> list[Finding]:
        """Judge every rate at the moment `end`. Moments come in their order: detectors go on from one to the next."""
        return [self._rate(metric, end, self._doubts_at(end).get(metric.name)) for metric in self.metrics()]

    def _doubts_at(self, end: datetime) -> dict[str, Doubt]:
        if self.rates is None:
            return {}
        if self._doubts is None or self._doubts[0] != end:
            self._doubts = (end, self.rates.look(self.metrics(), self.history, end))
        return self._doubts[1]

    def _courses_at(self, end: datetime) -> dict[str, Course]:
        if self.series is None:
            return {}
        if self._courses is None or self._courses[0] != end:
            self._courses = (end, self.series.look(self.history, end, watching_since=self.watching_since))
        return self._courses[1]

    def usage(self, end: datetime) -> list[Finding]:
        """Judge what a run costs, in tokens and in money, at the moment `end`."""
        courses = self._courses_at(end)
        return [
            detected.of_course(name, courses.get(name), fine_until=fine_level(self.objectives, name))
            for name in (TOKENS_PER_RUN, COST_PER_RUN)
        ]

    def traffic(self, now: datetime, *, silent: bool) -> Finding:
        """Judge whether a part of the traffic went away.

        Args:
            silent: whether all of it did: that is another alert.
        """
        return detected.of_course(VOLUME, None if silent else self._courses_at(now).get(VOLUME))

    def _rate(self, metric: RateMetric, end: datetime, doubt: Doubt | None) -> Finding:
        counted = [metric.counted(part) for part in self.latest(end)]

        def references(window: int) -> Sequence[RateReference]:
            key = (metric.name, window)
            if key not in self._rate_refs:
                self._rate_refs[key] = self.history.rate_references(
                    metric, before=self._start(self.first_end, window), at=self.first_end
                )
            return self._rate_refs[key]

        seen = judge_rate(
            [k for k, _ in counted],
            [n for _, n in counted],
            references,
            least_effect=metric.least_effect,
            fine_until=metric.budget or 0.0,
        )
        burn = judge_burn(lambda n: self._counted(metric, end, n), metric.budget) if metric.budget else None
        finding = Finding(kind=metric.kind, metric=metric.name, reading=Reading(Health(seen.health)))
        if seen.health != "bad":
            if burn is not None and burn.fast is not None:
                return self._burning(metric, burn, burn.fast, end)
            fine = metric.budget or 0.0
            if doubt is not None and detected.outweighs(metric, seen, doubt, references(WINDOWS), fine_until=fine):
                began = self.pending_since(finding.fingerprint)
                return detected.of_doubt(metric, doubt, fine_until=fine, began=began, end=end)
            worse = burn is not None and burn.health == "between" and seen.health == "good"
            finding = replace(finding, reading=Reading(Health.BETWEEN)) if worse else finding
            return replace(finding, observed=metric.value(seen.observed))
        start, span, bad_for = self._onset(finding, seen, end)
        low, high = metric.value(seen.low), metric.value(seen.high)
        reasons = severity.rate_reasons(metric, seen, span=span)
        if doubt is not None and doubt.alarm:
            reasons.append(detected.doubt_reason(metric, doubt))
        level = severity.of_rate(metric, seen)
        if burn is not None and burn.fast is not None and metric.budget is not None:
            reasons.append(severity.burn_reason(burn, RULES[burn.fast], metric.budget, width=self.width))
            level = max(level, severity.of_burn(burn.fast), key=lambda each: each.rank)
        return Finding(
            kind=metric.kind,
            metric=metric.name,
            reading=Reading(Health.BAD, level, seen.effect, bad_for),
            title=severity.rate_title(metric, seen),
            observed=metric.value(seen.observed),
            expected=metric.value(seen.expected),
            low=high if metric.success else low,
            high=low if metric.success else high,
            back=metric.value(seen.back),
            p=seen.p,
            reasons=tuple(reasons),
            window_start=start,
            window_end=end,
        )

    def _burning(self, metric: RateMetric, burn: Burn, fast: int, end: datetime) -> Finding:
        """Return the finding of a budget that burns although the rate is nothing unusual."""
        rule, budget = RULES[fast], metric.budget or 0.0
        start = self._start(end, rule.short)
        before = self.pending_since(f"{metric.kind.value}:{metric.name}")
        began = start if before is None else min(start, before)
        return Finding(
            kind=metric.kind,
            metric=metric.name,
            reading=Reading(Health.BAD, severity.of_burn(fast), burn.short_rate / budget, end - began),
            title=severity.burn_title(metric, burn, budget),
            observed=metric.value(burn.short_rate),
            expected=metric.value(budget),
            back=metric.value(CALM * rate_limit(rule, budget)),
            reasons=(severity.burn_reason(burn, rule, budget, width=self.width),),
            window_start=start,
            window_end=end,
        )

    def _counted(self, metric: RateMetric, end: datetime, buckets: int) -> tuple[int, int]:
        """Return (failures, runs) of the latest so many buckets; what is rolled up counts by the hour."""
        since = self._start(end, buckets)
        parts = [part for part in self.history.recent if since <= part.start < end]
        parts += [hour for hour in self.history.hours if since <= hour.start]
        counts = [metric.counted(part) for part in parts]
        return sum(k for k, _ in counts), sum(n for _, n in counts)

    def latency(self, end: datetime) -> Finding:
        """Judge the 95th percentile of latency at the moment `end`."""
        if self._level_refs is None:
            before = self._start(self.first_end, WINDOWS)
            self._level_refs = self.history.level_references(LATENCY_P95, before=before, at=self.first_end)
        seen = judge_level(
            [LogHistogram.from_json(part.latency) for part in self.latest(end)],
            self._level_refs,
            fine_until=fine_level(self.objectives, LATENCY_P95),
        )
        course = self._courses_at(end).get(LATENCY_P95)
        if seen == UNKNOWN and course is not None:  # nothing to compare with but the last hours
            return detected.of_course(LATENCY_P95, course, fine_until=fine_level(self.objectives, LATENCY_P95))
        finding = Finding(kind=AlertKind.ANOMALY, metric=LATENCY_P95, reading=Reading(Health(seen.health)))
        if seen.health != "bad":
            return replace(finding, observed=seen.observed)
        start, span, bad_for = self._onset(finding, seen, end)
        reasons = severity.level_reasons(seen, span=span)
        if course is not None and course.away:
            reasons.append(detected.course_reason(course, "latency p95 rose"))
        return Finding(
            kind=AlertKind.ANOMALY,
            metric=LATENCY_P95,
            reading=Reading(Health.BAD, severity.of_level(seen.effect), seen.effect, bad_for),
            title=f"Latency p95 {severity.seconds(seen.observed)} (usually {severity.seconds(seen.expected)})",
            observed=seen.observed,
            expected=seen.expected,
            low=seen.low,
            high=seen.high,
            back=seen.back,
            p=seen.p,
            reasons=tuple(reasons),
            window_start=start,
            window_end=end,
        )

    def volume(
        self, now: datetime, *, last_run: datetime | None, watching_since: datetime, least: timedelta
    ) -> Finding:
        """Judge whether traffic stopped.

        Args:
            last_run: when the last run began; None: no run ever came.
            watching_since: a silence before it may be our own.
        """
        finding = Finding(kind=AlertKind.NO_DATA, metric=VOLUME, reading=Reading(Health.UNKNOWN))
        if last_run is None:
            return finding
        silent_since = max(last_run, watching_since)
        silent = max(now - silent_since, timedelta())
        start = max(self._start(now, WINDOWS), floor_time(watching_since, self.width))
        seen = judge_silence(
            silent_s=silent.total_seconds(),
            least_s=least.total_seconds(),
            latest_runs=sum(part.runs for part in self.latest(now) if part.runs and part.start >= start),
            latest_s=(now - start).total_seconds(),
            usual_per_s=self.history.usual_volumes(VOLUME, before=min(start, silent_since), at=now),
        )
        if seen == UNKNOWN or seen.health != "bad":
            return replace(finding, reading=Reading(Health(seen.health)), observed=seen.observed)
        bad_since = min(silent_since, start) if seen.runs else silent_since
        return Finding(
            kind=AlertKind.NO_DATA,
            metric=VOLUME,
            reading=Reading(Health.BAD, severity.of_silence(seen), 1.0, now - bad_since),
            title="Traffic stopped" if not seen.runs else "Traffic collapsed",
            observed=seen.observed,
            expected=seen.expected,
            back=seen.back,
            p=seen.p,
            reasons=tuple(severity.silence_reasons(seen, silent=silent)),
            window_start=bad_since,
            window_end=now,
        )

    def _start(self, end: datetime, window: int) -> datetime:
        last = floor_time(end - timedelta(microseconds=1), self.width)
        return last - (window - 1) * self.width

    def _onset(self, finding: Finding, seen: Judgement, end: datetime) -> tuple[datetime, timedelta, timedelta]:
        """Return (onset, length of the window that is told, how long it has been bad)."""
        start = self._start(end, seen.window)
        span = end - start
        if not self.needs_stretch(finding.fingerprint):
            return start, span, span
        earliest = self._start(end, WINDOWS)
        found = self.stretch(finding.metric, earliest, end, seen)
        if found is None:
            return start, span, timedelta()
        began, before = found.start, self.pending_since(finding.fingerprint)
        # Narrow buckets show less of the past than an alert may wait for: a stretch that begins where the view begins
        # goes on from where the alert saw it begin.
        if before is not None and before < began <= earliest + self.width / 5:
            began = before
        return began, span, min(found.end, end) - began
