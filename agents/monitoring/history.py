"""What the judgements compare with: the last day, and the same hours of earlier days, alarmed times left out."""

from __future__ import annotations

import statistics
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import accumulate
from operator import itemgetter

from agents.monitoring.metrics import RateMetric
from analysis.judgement import LevelReference, level_reference
from analysis.rates import RateReference, reference
from core.clock import floor_time
from db.repositories.buckets import HOUR, Counts

LOOK_BACK = timedelta(days=14)
DAY = timedelta(days=1)

ENOUGH_RUNS = 100
"""A reference of fewer runs is not asked where there is another."""
FEW_RUNS = 30
"""With fewer runs than this nothing was learnt."""
ENOUGH_ANSWERS = 20
"""An hour with fewer answers says nothing of its 95th percentile."""

LIMIT_WEIGHT = 200.0
"""Runs that a default limit is worth while nothing has been learnt."""

Interval = tuple[datetime, datetime]


@dataclass(frozen=True)
class _Running:
    """Counts of buckets in their order, summed up, so that the sums of hours up to any bucket cost no loop."""

    starts: list[datetime]
    failures: list[int]
    runs: list[int]
    """Sums over all buckets before; one more than there are buckets."""
    first: dict[datetime, int]
    """By hour, its first bucket."""

    @classmethod
    def of(cls, parts: Sequence[tuple[datetime, tuple[int, int]]]) -> _Running:
        first: dict[datetime, int] = {}
        for place, (start, _) in enumerate(parts):
            first.setdefault(floor_time(start, HOUR), place)
        return cls(
            [start for start, _ in parts],
            list(accumulate((k for _, (k, _) in parts), initial=0)),
            list(accumulate((n for _, (_, n) in parts), initial=0)),
            first,
        )

    def hours(self, latest: datetime) -> list[tuple[datetime, tuple[int, int]]]:
        """Return (start, counts) of every hour that has begun, from the buckets that start until `latest`."""
        end = bisect_right(self.starts, latest)
        edges = [*self.first.values(), len(self.starts)]
        return [
            (hour, (self.failures[high] - self.failures[low], self.runs[high] - self.runs[low]))
            for hour, low, next_low in zip(self.first, edges, edges[1:], strict=False)
            if low < end
            for high in (min(next_low, end),)
        ]


@dataclass
class History:
    """The past of one app.

    Attributes:
        hours: complete hours before `recent_since`, oldest first.
        recent: buckets from `recent_since` (the start of an hour) on, oldest first.
        width: of a bucket.
        alarmed: by metric, the times at which an alert was open: they must not teach what is usual.
    """

    hours: Sequence[Counts]
    recent: Sequence[Counts]
    width: timedelta
    alarmed: Mapping[str, Sequence[Interval]] = field(default_factory=dict)
    _counted: dict[str, list[tuple[datetime, tuple[int, int]]]] = field(default_factory=dict, init=False)
    _latest: dict[str, _Running] = field(default_factory=dict, init=False)
    _seasonal: dict[tuple[str, datetime], RateReference | None] = field(default_factory=dict, init=False)

    def rate_references(self, metric: RateMetric, *, before: datetime, at: datetime) -> list[RateReference]:
        """Return what failure rate to expect at `at`, learnt from what lies before `before`."""
        groups = self.groups(metric, before)
        trailing = _learn([part for start, part in groups if start >= before - DAY])
        key = (metric.name, floor_time(at, HOUR))
        if key not in self._seasonal:
            self._seasonal[key] = _learn([part for start, part in groups if _same_hour(start, at)])
        known = [ref for ref in (trailing, self._seasonal[key]) if ref is not None and ref.runs >= ENOUGH_RUNS]
        if known:
            return known
        everything = _learn([part for _, part in groups])
        if everything is not None and everything.runs >= FEW_RUNS:
            return [everything]
        if metric.default_limit is None:
            return []
        return [RateReference(rate=metric.default_limit, spread=0.0, weight=LIMIT_WEIGHT, runs=0)]

    def level_references(self, metric: str, *, before: datetime, at: datetime) -> list[LevelReference]:
        """Return what 95th percentile of latency to expect at `at`."""
        told = [
            hour
            for hour in self.hours
            if hour.answered >= ENOUGH_ANSWERS and not self._alarmed(metric, hour.start, HOUR)
        ]
        trailing = [hour for hour in told if before - DAY <= hour.start < before]
        seasonal = [hour for hour in told if _same_hour(hour.start, at)]
        learnt = (level_reference([hour.latency_p95 or 0.0 for hour in group]) for group in (trailing, seasonal))
        return [ref for ref in learnt if ref is not None]

    def usual_volumes(self, metric: str, *, before: datetime, at: datetime) -> list[float]:
        """Return the runs per second that are usual at `at` by each reference; nothing in an app's first day.

        The last day's mean; this hour and the last on the median day; and the same hours a week and two weeks ago,
        so that a weekend is no outage.
        """
        if not self.hours or self.hours[0].start > at - DAY:
            return []
        first = self.hours[0].start
        by_hour = {hour.start: hour.runs for hour in self.hours if not self._alarmed(metric, hour.start, HOUR)}
        since = max(first, before - DAY)
        runs = sum(n for start, n in by_hour.items() if start >= since)
        runs += sum(part.runs for part in self.recent if since <= part.start < before)
        rates = [runs / max((before - since).total_seconds(), 1.0)]
        for hour in (floor_time(at, HOUR), floor_time(at - HOUR, HOUR)):
            days = [hour - n * DAY for n in range(1, LOOK_BACK.days + 1) if hour - n * DAY >= first]
            counts = [by_hour.get(day, 0) for day in days if not self._alarmed(metric, day, HOUR)]
            if counts:
                rates.append(statistics.median(counts) / HOUR.total_seconds())
            weeks = [day for day in (hour - 7 * DAY, hour - 14 * DAY) if day in days]
            rates += [by_hour.get(day, 0) / HOUR.total_seconds() for day in weeks]
        return rates

    def groups(self, metric: RateMetric, before: datetime) -> list[tuple[datetime, tuple[int, int]]]:
        """Return (start, counts) of every hour before the moment; the hours that are under way by what they have."""
        if metric.name not in self._counted:
            self._counted[metric.name] = [
                (hour.start, metric.counted(hour))
                for hour in self.hours
                if not self._alarmed(metric.name, hour.start, HOUR)
            ]
        groups = self._counted[metric.name]
        groups = groups[: bisect_right(groups, before - HOUR, key=itemgetter(0))]
        if metric.name not in self._latest:
            parts = [part for part in self.recent if not self._alarmed(metric.name, part.start, self.width)]
            self._latest[metric.name] = _Running.of([(part.start, metric.counted(part)) for part in parts])
        return groups + self._latest[metric.name].hours(before - self.width)

    def _alarmed(self, metric: str, start: datetime, length: timedelta) -> bool:
        return any(low < start + length and start < high for low, high in self.alarmed.get(metric, ()))


def _same_hour(start: datetime, at: datetime) -> bool:
    """Tell whether an hour lies on an earlier day, at most an hour from this time of day."""
    if start > at - DAY + 2 * HOUR:
        return False
    distance = (floor_time(at, HOUR) - start) % DAY
    return min(distance, DAY - distance) <= HOUR


def _learn(groups: Sequence[tuple[int, int]]) -> RateReference | None:
    return reference([k for k, _ in groups], [n for _, n in groups])
