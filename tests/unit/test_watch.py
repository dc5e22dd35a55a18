"""The detectors of one app on counts alone: what stays quiet, what is accepted, and what the memory is made of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from agents.alert_life import Health
from agents.monitoring.detected import of_course, outweighs
from agents.monitoring.history import History
from agents.monitoring.metrics import ERRORS, LATENCY_P95, TOKENS_PER_RUN, VOLUME
from agents.monitoring.watch import SERIES, Course, RateWatch, SeriesWatch
from analysis.detection import SeriesDetector, chance_of
from analysis.histogram import LogHistogram
from analysis.judgement import UNKNOWN, Judgement
from analysis.rates import RateDetector, RateReference
from db.repositories.buckets import Counts

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
WIDTH = timedelta(minutes=5)
HOUR = timedelta(hours=1)


def counted(start: datetime, runs: int, errors: int = 0, *, tokens: float = 1000.0, p95: float = 1.0) -> Counts:
    """Return a bucket."""
    return Counts(
        start=start, runs=runs, finished=runs, errors=errors, pending=0, sla_met=runs - errors, scores={},
        latency=LogHistogram.of([p95] * (runs - errors)).as_json(), tokens=int(tokens * runs), cost=0.0,
    )  # fmt: skip


def buckets(count: int, *, seed: int, runs: int = 40, tokens: float = 1000.0, start: datetime = NOW) -> list[Counts]:
    """Return so many buckets with a little noise."""
    rng = np.random.default_rng(seed)
    return [
        counted(
            start + n * WIDTH, runs, tokens=tokens * float(rng.lognormal(0, 0.05)), p95=float(rng.lognormal(0, 0.05))
        )
        for n in range(count)
    ]


def course(name: str, watch: SeriesWatch, parts: Sequence[Counts], end: datetime) -> Course:
    """Return what is said of one series."""
    return watch.look(History([], parts, WIDTH), end, watching_since=NOW - HOUR)[name]


def test_weeks_of_small_counts_alarm_nobody_whatever_the_usual_rate_is() -> None:
    """Two weeks at three runs a window for each of four usual rates, seeded from a day of hours: no alarm at all."""
    rng = np.random.default_rng(5)
    for rate in (0.0, 0.02, 0.06, 0.3):
        hours = rng.binomial(36, rate, 24)
        detector = RateDetector.from_history(hours, np.full(24, 36))
        for step in range(2 * 2016):
            seen = detector.update([rng.binomial(3, rate)], [3], NOW + step * WIDTH)
            assert not seen.alarm[0], (rate, step)


def test_a_history_is_worth_more_than_what_is_believed_of_a_metric_that_nobody_saw() -> None:
    """At a usual 6 % a window of 6 % is nothing new to a detector with a history, and news to one without."""
    known, unknown = RateDetector.from_history([72] * 24, [1200] * 24), RateDetector(1)
    scores = [
        float(detector.update([6], [100], NOW + n * WIDTH).score[0]) for detector in (known, unknown) for n in range(6)
    ]
    assert max(scores[:6]) < 0.2
    assert max(scores[6:]) > 2 * max(scores[:6])


def test_a_detector_is_the_sum_of_its_columns() -> None:
    """Joined, stepped and taken apart again, every column is bit by bit what it would have been alone."""
    rng = np.random.default_rng(7)
    alone = [RateDetector.from_history([k] * 12, [50] * 12) for k in (0, 1, 5)]
    joined = RateDetector.joined([RateDetector.from_history([k] * 12, [50] * 12) for k in (0, 1, 5)])
    for step in range(200):
        k = rng.binomial(5, 0.2, 3)
        joined = RateDetector.joined([joined.column(place) for place in range(3)])
        joined.update(k, [5, 5, 5], NOW + step * WIDTH)
        for place, detector in enumerate(alone):
            detector.update([k[place]], [5], NOW + step * WIDTH)
    assert json.dumps(RateDetector.joined(alone).state()) == json.dumps(joined.state())


def test_the_windows_decide_where_they_have_runs_enough() -> None:
    """The running test is heard in doubt and where few runs came; it does not overrule thirty good runs or a trifle."""
    parts = [counted(NOW + n * WIDTH, 3, errors=int(n % 2 == 0)) for n in range(40)]
    watch = RateWatch(WIDTH, NOW, {ERRORS.name: RateDetector.from_history([2] * 24, [200] * 24)})
    doubt = watch.look([ERRORS], History([], parts, WIDTH), NOW + 40 * WIDTH)[ERRORS.name]
    usual = [RateReference(rate=0.01, spread=0.01, weight=1000, runs=1000)]
    assert doubt.alarm
    assert doubt.failures / doubt.runs == pytest.approx(1 / 6)
    assert doubt.since == NOW + 40 * WIDTH - doubt.runs / 3 * WIDTH
    seen = (Judgement("good", runs=29), Judgement("between", runs=30), Judgement("bad", runs=18))
    assert [outweighs(ERRORS, each, doubt, usual, fine_until=0.0) for each in seen] == [True, True, False]
    assert outweighs(ERRORS, UNKNOWN, doubt, usual, fine_until=0.0)
    assert not outweighs(ERRORS, Judgement("good", runs=30), doubt, usual, fine_until=0.0)
    assert not outweighs(ERRORS, UNKNOWN, doubt, usual, fine_until=0.2)
    elsewhere = [*usual, RateReference(rate=0.15, spread=0.01, weight=1000, runs=1000)]
    assert not outweighs(ERRORS, UNKNOWN, doubt, elsewhere, fine_until=0.0)


def test_nothing_lately_is_no_doubt() -> None:
    """A rate of which nothing came for half an hour is not spoken of, alarmed as it may have been."""
    parts = [counted(NOW + n * WIDTH, 3, errors=2) for n in range(40)]
    watch = RateWatch(WIDTH, NOW, {ERRORS.name: RateDetector.from_history([2] * 24, [200] * 24)})
    assert watch.look([ERRORS], History([], parts, WIDTH), NOW + 40 * WIDTH)[ERRORS.name].alarm
    assert watch.look([ERRORS], History([], parts, WIDTH), NOW + 50 * WIDTH) == {}


def test_a_level_that_stays_for_a_day_is_the_usual_one_and_that_is_said() -> None:
    """Tokens a run double and stay: bad for a day, then good, with a note at the step where it was accepted."""
    past = buckets(2 * 288, seed=1)
    after = buckets(320, seed=2, tokens=2000.0, start=NOW + 2 * 288 * WIDTH)
    watch = SeriesWatch.learnt(WIDTH, past[-1].start + WIDTH, past)
    told = []
    for number in range(1, len(after) + 1):
        seen = course(
            TOKENS_PER_RUN, watch, [*past[-60:], *after][: 60 + number][-72:], after[number - 1].start + WIDTH
        )
        told.append(of_course(TOKENS_PER_RUN, seen))
    healths = [finding.reading.health for finding in told]
    assert healths[0] is Health.BAD
    assert healths.index(Health.GOOD) in range(287, 300)
    assert set(healths[300:]) == {Health.GOOD}
    assert [finding.note for finding in told if finding.note] == [
        "its level has stayed for a day and is the usual one from now on"
    ]


def test_how_far_it_is_decides_and_not_that_it_changed() -> None:
    """A change of 20 % alarms the detector and is no alert; up to what the app declares to be fine nothing is."""
    past = buckets(288, seed=1)
    end = past[-1].start + WIDTH
    watch = SeriesWatch.learnt(WIDTH, end, past)
    small, large = (counted(end, 40, tokens=1000.0 * factor) for factor in (1.3, 1.8))
    seen = course(TOKENS_PER_RUN, watch, [*past[-60:], small], end + WIDTH)
    assert seen.away
    assert of_course(TOKENS_PER_RUN, seen).reading.health is not Health.BAD
    seen = course(TOKENS_PER_RUN, watch, [*past[-60:], large], end + WIDTH)
    finding = of_course(TOKENS_PER_RUN, seen)
    assert finding.reading.health is Health.BAD
    assert finding.p is not None
    assert finding.p < 1.6e-4
    assert finding.title.startswith("Tokens per run 1,8")
    assert of_course(TOKENS_PER_RUN, seen, fine_until=2000.0).reading.health is not Health.BAD


def test_more_traffic_and_quick_answers_are_no_news() -> None:
    """Twice the traffic and half the latency alarm nobody; nor does traffic that was never much."""
    past = buckets(288, seed=1)
    end = past[-1].start + WIDTH
    watch = SeriesWatch.learnt(WIDTH, end, past)
    for name, part in ((VOLUME, counted(end, 80)), (LATENCY_P95, counted(end, 40, p95=0.5))):
        assert of_course(name, course(name, watch, [*past[-60:], part], end + WIDTH)).reading.health is Health.GOOD
    few = of_course(VOLUME, course(VOLUME, watch, [*past[-60:], counted(end, 5)], end + WIDTH))
    assert few.reading.health is not Health.BAD


def test_thin_steps_are_no_data() -> None:
    """Means of a few runs and percentiles of a few answers are not told to the detector; nothing is said of them."""
    past = buckets(288, seed=1)
    end = past[-1].start + WIDTH
    watch = SeriesWatch.learnt(WIDTH, end, past)
    said = watch.look(History([], [*past[-60:], counted(end, 9, tokens=9e5)], WIDTH), end + WIDTH, watching_since=NOW)
    assert set(said) == {VOLUME}
    assert of_course(TOKENS_PER_RUN, said.get(TOKENS_PER_RUN)).reading.health is Health.UNKNOWN


def test_narrow_buckets_are_put_together_to_steps() -> None:
    """With buckets of ten seconds a step is five minutes all the same, with the values of a bucket of that."""
    narrow = timedelta(seconds=10)
    rng = np.random.default_rng(3)
    wide_parts, narrow_parts = [], []
    for step in range(60):
        tokens = float(rng.integers(500, 1500))
        wide_parts.append(counted(NOW + step * WIDTH, 60, tokens=tokens))
        narrow_parts += [counted(NOW + step * WIDTH + n * narrow, 2, tokens=tokens) for n in range(30)]
    end = NOW + 60 * WIDTH
    wide = SeriesWatch.learnt(WIDTH, end, wide_parts)
    assert SeriesWatch.learnt(narrow, end, narrow_parts).detector.state() == wide.detector.state()
    assert wide.detector.n_series == len(SERIES)


def test_where_a_series_would_be_is_told_while_it_is_away() -> None:
    """`usual` stays at the level before the alarm, while `expected` follows the value."""
    detector = SeriesDetector(1, direction=1)
    rng = np.random.default_rng(4)
    at = np.datetime64("2026-01-01T00:00:00")
    seen = detector.update([10.0], at)
    for step in range(1, 400):
        level = 10.0 if step < 300 else 20.0
        seen = detector.update([level + rng.normal(0, 0.3)], at + np.timedelta64(300 * step, "s"))
    assert seen.away is not None
    assert seen.usual is not None
    assert seen.expected is not None
    assert seen.away[0]
    assert abs(seen.usual[0] - 10.0) < 1.0
    assert abs(seen.expected[0] - 20.0) < 1.0


def test_evidence_is_on_one_scale() -> None:
    """The chance of a score falls with the score and is that of an alarm at the alarm."""
    chances = [chance_of(score) for score in (0.001, 0.5, 1.0, 2.0, 10.0)]
    assert chances == sorted(chances, reverse=True)
    assert chances[0] == 1.0
    assert 1e-4 < chances[2] < 2e-4
    assert RateDetector.chance_of(1.0) == 1e-5
