"""The detector of failure rates: quiet on small counts, quick on real trouble."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from analysis.detection import THRESHOLD, DetectorStateError
from analysis.rates import RateDetector


def moment(index: int) -> np.datetime64:
    """Return the time of a 5-minute step."""
    return np.datetime64("2026-03-02T00:00:00") + np.timedelta64(300 * index, "s")


def fed(
    detector: RateDetector, rate: float, steps: int, *, calls: int = 3, start: int = 0, seed: int = 1
) -> np.ndarray:
    """Feed windows of so many calls; return who alarmed, shape (steps, S)."""
    rng = np.random.default_rng([seed, start])
    size = detector.n_series
    return np.array(
        [
            detector.update(rng.binomial(calls, rate, size), np.full(size, calls), moment(start + step)).alarm
            for step in range(steps)
        ]
    )


def test_three_calls_a_window_page_nobody_in_healthy_operation() -> None:
    """One failure of three at night is no incident: at most one false page in a series-year, here in three of them."""
    alarms = fed(RateDetector(400), 0.01, 800)
    pages = (alarms[1:] & ~alarms[:-1]).sum()
    assert pages <= 4


def test_a_rate_that_rises_to_a_third_is_found_within_six_windows() -> None:
    """The median delay from 1 % to 30 % at three calls a window."""
    detector = RateDetector(300)
    fed(detector, 0.01, 300)
    alarms = fed(detector, 0.3, 40, start=300)
    assert alarms.any(axis=0).all()
    assert np.median(alarms.argmax(axis=0) + 1) <= 6


def test_one_of_three_never_alarms() -> None:
    """Neither at the first window nor after months without a failure."""
    fresh = RateDetector(1)
    assert fresh.update([1], [3], moment(0)).score[0] < 0.3
    detector = RateDetector(1)
    fed(detector, 0.0, 300, calls=200)
    assert detector.update([1], [3], moment(300)).score[0] < 0.75


def test_a_rate_that_wanders_is_no_incident() -> None:
    """With thousands of calls chance explains nothing, the rate's own wandering does."""
    rng = np.random.default_rng(7)
    detector = RateDetector(100)
    alarms = 0
    for hour in range(48):
        rate = np.clip(0.02 * rng.lognormal(0, 0.25, 100), 0, 1)
        for step in range(12):
            told = detector.update(rng.binomial(3000, rate), np.full(100, 3000), moment(12 * hour + step))
            alarms += int(told.alarm.sum())
    assert alarms == 0
    assert detector.update(np.full(100, 900), np.full(100, 3000), moment(600)).alarm.mean() > 0.9


def test_an_incident_is_not_learnt_and_its_end_is_seen() -> None:
    """After hours at 40 % the usual rate is what it was, and two hours later it is quiet."""
    detector = RateDetector(50)
    fed(detector, 0.01, 200, calls=20)
    before = detector.update(np.zeros(50), np.full(50, 20), moment(200)).expected
    fed(detector, 0.4, 48, calls=20, start=201)
    after = fed(detector, 0.01, 24, calls=20, start=249)
    told = detector.update(np.zeros(50), np.full(50, 20), moment(280))
    assert before is not None
    assert told.expected is not None
    assert np.allclose(told.expected, before, atol=0.004)
    assert not after[18:].any()


def test_a_rate_that_stays_is_accepted_and_says_so() -> None:
    """After a day the raised rate is the usual one."""
    detector = RateDetector(20)
    fed(detector, 0.02, 100, calls=30)
    accepted = np.zeros(20)
    rng = np.random.default_rng(4)
    for step in range(400):
        told = detector.update(rng.binomial(30, 0.25, 20), np.full(20, 30), moment(100 + step))
        assert told.accepted is not None
        accepted += told.accepted
    assert (accepted == 1).all()
    assert not told.alarm.any()


def test_no_calls_and_impossible_counts_are_no_data() -> None:
    """No traffic says nothing about failures; neither does what cannot be."""
    detector = RateDetector(6)
    fed(detector, 0.01, 5)
    before = detector.state()
    nan = np.nan
    told = detector.update([0, nan, 5, -1, 1, np.inf], [0, 3, 3, 3, nan, np.inf], moment(5))
    assert told.score.tolist() == [0.0] * 6
    after = detector.state()
    assert {name for name in before if before[name] != after[name]} == {"setup"}
    for again in (moment(5), moment(2)):
        assert not detector.update(np.full(6, 3), np.full(6, 3), again).alarm.any()
    assert detector.state() == after
    with pytest.raises(ValueError, match="6 series"):
        detector.update([1], [3], moment(9))
    with pytest.raises(ValueError, match="at least one"):
        RateDetector(0)


def test_a_restart_changes_no_bit() -> None:
    """State by JSON at the tenth step."""
    straight, first = RateDetector(4), RateDetector(4)
    fed(straight, 0.05, 10)
    fed(first, 0.05, 10)
    state: Any = json.loads(json.dumps(first.state()))
    second = RateDetector.from_state(state)
    rng = np.random.default_rng(3)
    for step in range(10, 40):
        counts = rng.binomial(5, 0.2, 4)
        a, b = (one.update(counts, np.full(4, 5), moment(step)) for one in (straight, second))
        assert a.score.tobytes() == b.score.tobytes()
    assert straight.state() == second.state()
    with pytest.raises(DetectorStateError, match="learn anew"):
        RateDetector.from_state({**state, "version": 7})


def test_scores_are_told_at_one_threshold() -> None:
    """The alarm is the score at the threshold, as with every detector."""
    detector = RateDetector(1)
    told = [detector.update([3], [3], moment(step)) for step in range(4)]
    assert [bool(one.alarm[0]) for one in told] == [one.score[0] >= THRESHOLD for one in told]
    assert told[1].alarm[0]
