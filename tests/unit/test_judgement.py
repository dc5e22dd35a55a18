"""Judging windows: what fires, what does not, and when it counts as over."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from analysis.histogram import LogHistogram
from analysis.judgement import (
    ALPHA,
    Judgement,
    judge_level,
    judge_rate,
    judge_silence,
    level_reference,
)
from analysis.rates import RateReference, reference

ONE_PERCENT = reference(np.full(336, 1), np.full(336, 100))
FIVE_PERCENT = reference(np.full(336, 5), np.full(336, 100))


def rate(failures: Sequence[int], runs: Sequence[int], *known: RateReference | None, least: float = 0.02) -> Judgement:
    """Judge against the references."""
    learnt = [ref for ref in known if ref is not None]
    return judge_rate(failures, runs, lambda _: learnt, least_effect=least)


def test_one_error_of_three_calls_pages_nobody() -> None:
    """A third of the calls failed, and it means nothing."""
    assert rate([1], [3], ONE_PERCENT).health != "bad"


def test_three_of_three_is_bad() -> None:
    """Small, and beyond chance."""
    seen = rate([0, 0, 0, 0, 0, 3], [3, 2, 4, 3, 2, 3], ONE_PERCENT)
    assert seen.health == "bad"
    assert seen.p is not None
    assert seen.p <= ALPHA


def test_small_windows_add_up() -> None:
    """Two of five in each of six windows: none is anything alone, together they are."""
    assert rate([2], [5], ONE_PERCENT).health != "bad"
    assert rate([2] * 6, [5] * 6, ONE_PERCENT).health == "bad"


def test_a_certain_trifle_is_not_bad() -> None:
    """Between 1 % and 2 % of 60,000 runs there is no doubt, and no reason to wake anybody."""
    assert rate([200] * 6, [10_000] * 6, ONE_PERCENT).health != "bad"


def test_part_of_a_bucket_is_enough() -> None:
    """The running bucket has 75 runs so far and 30 % of them failed."""
    seen = rate([25, 24, 26, 25, 25, 23], [500, 500, 500, 500, 500, 75], FIVE_PERCENT)
    assert seen.health == "bad"
    assert seen.window == 1


def test_every_reference_must_be_surprised() -> None:
    """What is usual at this hour of other days is no news, though the last day saw nothing like it."""
    usual_now = reference(np.full(42, 30), np.full(42, 100))
    assert rate([120], [400], ONE_PERCENT).health == "bad"
    assert rate([120], [400], ONE_PERCENT, usual_now).health != "bad"


def test_a_burst_that_is_over_is_good_though_the_long_window_still_holds_it() -> None:
    """The latest runs are well, and too many for that to be luck."""
    seen = rate([25, 400, 400, 25, 24, 25], [500] * 6, FIVE_PERCENT)
    assert seen.health == "good"


def test_a_few_good_runs_are_no_recovery() -> None:
    """Three good runs after a burst may be luck at 30 % failures."""
    assert rate([25, 25, 150, 150, 150, 0], [500, 500, 500, 500, 500, 3], FIVE_PERCENT).health == "bad"


def test_between_the_thresholds_is_neither() -> None:
    """At 7.3 % of few runs: above the recovery threshold of 7 %, no evidence of being bad."""
    seen = rate([11], [150], FIVE_PERCENT)
    assert seen.health == "between"


def test_nothing_seen_and_nothing_learnt_are_unknown() -> None:
    """No data is no verdict, in either direction."""
    assert rate([0] * 6, [0] * 6, ONE_PERCENT).health == "unknown"
    assert rate([5], [10]).health == "unknown"


def test_healthy_traffic_of_any_volume_is_quiet() -> None:
    """30,000 windows with rates that wander a little from hour to hour, from 3 to 500 runs: no alarm."""
    rng = np.random.default_rng(7)
    for volume in (3, 20, 100, 500):
        rates = np.clip(rng.normal(0.05, 0.008, 1250), 0.001, 1)
        failures = rng.binomial(volume, np.repeat(rates, 6)).reshape(-1, 6)
        alarms = sum(rate(row.tolist(), [volume] * 6, FIVE_PERCENT).health == "bad" for row in failures)
        assert alarms == 0


def latencies(rng: np.random.Generator, factor: float, size: int = 200) -> LogHistogram:
    """Return a bucket of answers around 80 ms."""
    return LogHistogram.of(rng.lognormal(np.log(0.08 * factor), 0.3, size))


def test_a_doubled_latency_is_bad_once_it_lasts() -> None:
    """One slow bucket is a moment, three are a slow service."""
    rng = np.random.default_rng(3)
    learnt = level_reference([latencies(rng, 1, 60).quantile(0.95) or 0 for _ in range(24)])
    assert learnt is not None
    usual = [latencies(rng, 1) for _ in range(5)]
    assert judge_level([*usual, latencies(rng, 2)], [learnt]).health != "bad"
    seen = judge_level([*usual[:2], *(latencies(rng, 2) for _ in range(4))], [learnt])
    assert seen.health == "bad"
    assert seen.effect == pytest.approx(1.0, abs=0.3)
    assert judge_level(usual, [learnt]).health == "good"


def test_latency_without_reference_or_answers_is_unknown() -> None:
    """Nothing to compare, nothing to say."""
    assert judge_level([LogHistogram.of([0.1] * 50)], []).health == "unknown"
    learnt = level_reference([0.1] * 5)
    assert learnt is not None
    assert judge_level([LogHistogram()] * 6, [learnt]).health == "unknown"


def silence(silent_s: float, usual: list[float], latest: int = 0) -> Judgement:
    """Judge a silence."""
    return judge_silence(silent_s=silent_s, least_s=600, latest_runs=latest, latest_s=1800, usual_per_s=usual)


def test_a_silence_is_bad_where_every_reference_missed_many_runs() -> None:
    """At one run a second ten quiet minutes are an outage; at one a minute, or at night, they are nothing."""
    assert silence(700, [1.0, 0.8]).health == "bad"
    assert silence(700, [1 / 60]).health != "bad"
    assert silence(700, [1.0, 0.0]).health != "bad"
    assert silence(700, []).health == "unknown"


def test_a_trickle_is_as_good_as_silence() -> None:
    """A run now and then does not hide that nine in ten are missing."""
    assert silence(30, [1.0], latest=90).health == "bad"


def test_more_traffic_than_usual_is_good() -> None:
    """A rise is no alert."""
    assert silence(0.1, [1 / 60], latest=90_000).health == "good"
