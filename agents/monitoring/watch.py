"""The detectors of one app: taught by buckets that late data no longer changes, asked about those after them.

Both keep what they know of the settled past; what they say of a moment comes from a copy that goes on over the latest
half hour. So a bucket that is restated counts as it stands now, none teaches twice, and whether one check or twelve
looked at an hour makes no difference.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from agents.monitoring.history import ENOUGH_RUNS, History
from agents.monitoring.metrics import COST_PER_RUN, LATENCY_P95, TOKENS_PER_RUN, VOLUME, RateMetric
from analysis.detection import Detection, SeriesDetector
from analysis.histogram import LogHistogram
from analysis.judgement import SETTLED_RUNS, WINDOWS
from analysis.rates import RateDetector
from core.clock import floor_time
from db.repositories.buckets import Counts

SETTLED = WINDOWS
"""Buckets after which one is settled: until then every check looks at it again."""

STEP = timedelta(minutes=5)
"""Steps of the series, at least: a day is made of 288 of them, whatever the width of a bucket."""

SERIES = (LATENCY_P95, TOKENS_PER_RUN, COST_PER_RUN, VOLUME)
DIRECTIONS = (1, 1, 1, -1)
"""More traffic than usual is never bad, nor is an answer that is quick or cheap."""

ENOUGH_FINISHED = 10
"""A mean of fewer runs says little."""


@dataclass(frozen=True)
class Doubt:
    """What the running test says of one rate.

    Attributes:
        alarm: whether the evidence is enough.
        p: how probable as much evidence is in healthy operation, at the best.
        usual: the failure rate that it knows; a fraction.
        failures, runs, since: what it holds against it: all that came since it became suspect.
    """

    alarm: bool
    p: float
    usual: float
    failures: int
    runs: int
    since: datetime


class RateWatch:
    """The running tests of an app's rates: one detector with a column a metric."""

    def __init__(
        self, width: timedelta, settled_until: datetime, columns: Mapping[str, RateDetector], *, settled: int = SETTLED
    ) -> None:
        """Go on from a memory.

        Args:
            settled: buckets after which one is settled; 0 where nothing comes late.
        """
        self.width = width
        self.settled = settled
        self.settled_until = settled_until
        self.columns = dict(columns)

    def look(self, metrics: Sequence[RateMetric], history: History, end: datetime) -> dict[str, Doubt]:
        """Return what is to be said of each rate at the end of the latest complete bucket before `end`.

        A metric is watched from the moment at which so many runs of it are known as teach what is usual.
        """
        latest = floor_time(end, self.width)
        until = max(latest - self.settled * self.width, self.settled_until)
        self._admit(metrics, history)
        watched = [metric for metric in metrics if metric.name in self.columns]
        if not watched:
            self.columns, self.settled_until = {}, until
            return {}
        detector = RateDetector.joined([self.columns[metric.name] for metric in watched])
        parts = [part for part in history.recent if self.settled_until <= part.start and part.runs]
        score, usual = np.zeros(len(watched)), np.full(len(watched), np.nan)
        ahead = None
        for part in parts:
            if part.start + self.width > latest:
                break
            if part.start + self.width > until and ahead is None:
                ahead = copy.deepcopy(detector)
            counted, seen, rate = self._step(ahead or detector, watched, part)
            if part.start >= latest - WINDOWS * self.width:
                score, usual = np.where(counted, seen, score), np.where(counted, rate, usual)
        self.columns = {metric.name: detector.column(place) for place, metric in enumerate(watched)}
        self.settled_until = until
        ahead = ahead or detector
        doubts = {}
        held = ahead.suspicion()
        for place, metric in enumerate(watched):
            if math.isnan(usual[place]):
                continue  # nothing came lately
            steps = int(held.steps[place])
            doubts[metric.name] = Doubt(
                alarm=bool(held.alarmed[place]),
                p=ahead.chance_of(float(score[place])),
                usual=float(usual[place]),
                failures=round(float(held.failures[place])),
                runs=round(float(held.calls[place])),
                since=self._began(metric, history, latest, steps),
            )
        return doubts

    def _admit(self, metrics: Sequence[RateMetric], history: History) -> None:
        for metric in metrics:
            if metric.name not in self.columns:
                groups = [counts for _, counts in history.groups(metric, self.settled_until)]
                if sum(n for _, n in groups) >= ENOUGH_RUNS:
                    self.columns[metric.name] = RateDetector.from_history(
                        [k for k, _ in groups], [n for _, n in groups]
                    )

    def _step(
        self, detector: RateDetector, metrics: Sequence[RateMetric], part: Counts
    ) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]]:
        counts = np.array([metric.counted(part) for metric in metrics], dtype=np.float64)
        seen = detector.update(counts[:, 0], counts[:, 1], part.start + self.width)
        rate = np.full(len(metrics), np.nan) if seen.expected is None else seen.expected
        return counts[:, 1] > 0, seen.score, rate

    def _began(self, metric: RateMetric, history: History, latest: datetime, steps: int) -> datetime:
        """Return the start of the bucket at which it became suspect, so many buckets with runs ago."""
        starts = [part.start for part in history.recent if part.start < latest and metric.counted(part)[1]]
        if steps <= len(starts):
            return starts[-steps] if steps else latest
        return starts[0] - (steps - len(starts)) * self.width


@dataclass(frozen=True)
class Course:
    """What the detector of series says of one of them, at its latest complete step.

    Attributes:
        value, usual: now, and where it would be had nothing happened; in the metric's own unit.
        low, high: the band outside of which it alarms.
        score: 1 and more alarms.
        away: it alarmed and has not come back.
        accepted: it stayed away for so long that its level is the usual one from now on.
        start, end: of the step.
    """

    value: float
    usual: float
    low: float
    high: float
    score: float
    away: bool
    accepted: bool
    start: datetime
    end: datetime


class SeriesWatch:
    """The detector of an app's series: latency, tokens and cost a run, volume."""

    def __init__(
        self, width: timedelta, settled_until: datetime, detector: SeriesDetector, *, settled: int = SETTLED
    ) -> None:
        """Go on from a memory.

        Args:
            settled: steps after which one is settled; 0 where nothing comes late.
        """
        self.width = width
        self.step = step_of(width)
        self.settled = settled
        self.settled_until = settled_until
        self.detector = detector
        self._latest: tuple[datetime, NDArray[np.float64], Detection] | None = None

    @classmethod
    def learnt(
        cls, width: timedelta, settled_until: datetime, buckets: Sequence[Counts], *, settled: int = SETTLED
    ) -> SeriesWatch:
        """Return one that knows what stored buckets tell, oldest first; nothing where there are none."""
        step = step_of(width)
        detector = SeriesDetector(len(SERIES), step=step, direction=DIRECTIONS, bounds=(0.0, None))
        watch = cls(width, settled_until, detector, settled=settled)
        if buckets:
            watch.settled_until = min(floor_time(buckets[0].start + step, step), settled_until)
            watch._teach(buckets, settled_until, watching_since=watch.settled_until)
        return watch

    def look(self, history: History, end: datetime, *, watching_since: datetime) -> dict[str, Course]:
        """Return what is to be said of each series that is known by now.

        Args:
            watching_since: a silence before it may be our own.
        """
        latest = floor_time(end, self.step)
        self._teach(history.recent, latest - self.settled * self.step, watching_since=watching_since)
        told = self._latest
        if self.settled_until < latest:
            ahead = copy.deepcopy(self.detector)
            for start, step in self._steps(history.recent, self.settled_until, latest, watching_since):
                told = (start + self.step, step, ahead.update(step, start + self.step))
        if told is None or told[0] != latest:
            return {}
        _, values, seen = told
        if seen.low is None or seen.high is None or seen.usual is None or seen.away is None or seen.accepted is None:
            return {}
        return {
            name: Course(
                value=float(values[place]),
                usual=float(seen.usual[place]),
                low=float(seen.low[place]),
                high=float(seen.high[place]),
                score=float(seen.score[place]),
                away=bool(seen.away[place]),
                accepted=bool(seen.accepted[place]),
                start=latest - self.step,
                end=latest,
            )
            for place, name in enumerate(SERIES)
            if math.isfinite(values[place]) and math.isfinite(seen.usual[place])
        }

    def _teach(self, buckets: Sequence[Counts], until: datetime, *, watching_since: datetime) -> None:
        for start, values in self._steps(buckets, self.settled_until, until, watching_since):
            self._latest = (start + self.step, values, self.detector.update(values, start + self.step))
        self.settled_until = max(self.settled_until, until)

    def _steps(
        self, buckets: Sequence[Counts], since: datetime, until: datetime, watching_since: datetime
    ) -> Iterator[tuple[datetime, NDArray[np.float64]]]:
        """Yield (start, values) of every complete step in [since, until) that the buckets reach back to."""
        by_step: dict[datetime, list[Counts]] = {}
        for part in buckets:
            if since <= part.start < until:
                by_step.setdefault(floor_time(part.start, self.step), []).append(part)
        start = floor_time(max(since, buckets[0].start), self.step) if buckets else until
        while start + self.step <= until:
            yield start, self._values(by_step.get(start, []), watched=start >= watching_since)
            start += self.step

    @staticmethod
    def _values(parts: Sequence[Counts], *, watched: bool) -> NDArray[np.float64]:
        """Return the values of SERIES, shape (4,); NaN where too little came to tell."""
        latency = LogHistogram.merged([part.latency for part in parts])
        finished = sum(part.finished for part in parts)
        tokens, cost = sum(part.tokens for part in parts), sum(part.cost for part in parts)
        counted = finished >= ENOUGH_FINISHED
        p95 = latency.quantile(0.95) if latency.total >= SETTLED_RUNS else None
        return np.array(
            [
                math.nan if p95 is None else p95,
                tokens / finished if counted and tokens else math.nan,
                cost / finished if counted and cost else math.nan,
                float(sum(part.runs for part in parts)) if watched else math.nan,
            ]
        )


def step_of(width: timedelta) -> timedelta:
    """Return the step of the series where buckets are so wide."""
    return width * math.ceil(STEP / width)
