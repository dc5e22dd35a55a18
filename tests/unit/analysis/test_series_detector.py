"""The detector of series: what it finds, what it leaves alone, and that a restart changes nothing."""

from __future__ import annotations

import io
import itertools
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.detection import THRESHOLD, DetectorStateError, SeriesDetector
from analysis.detection.profile import median_of_seven
from analysis.detection.quantile import quantile_step

START = np.datetime64("2026-03-02T00:00:00")
QUARTER = timedelta(minutes=15)
DAY = 96


def moment(index: int, step: timedelta = QUARTER) -> np.datetime64:
    """Return the time of a step."""
    return np.datetime64(START + np.timedelta64(index * int(step.total_seconds()), "s"))


def daily(days: int, seed: int = 1) -> np.ndarray:
    """Return traffic with a daily wave and a little noise."""
    t = np.arange(days * DAY)
    return 100 + 40 * np.sin(2 * np.pi * t / DAY) + np.random.default_rng(seed).normal(0, 1, t.size)


def scores(*series: np.ndarray, **options: Any) -> np.ndarray:
    """Stream series side by side; return their scores, one row each."""
    detector = SeriesDetector(len(series), step=QUARTER, **options)
    rows = np.stack(series, axis=1)
    return np.stack([detector.update(row, moment(index)).score for index, row in enumerate(rows)], axis=1)


STREAM = np.random.default_rng(3).normal(0, 1, (60, 3)).cumsum(axis=0)
STREAM[7, 1] = STREAM[30, 0] = np.nan
STREAM[41, 2] = 80.0


@settings(max_examples=6, deadline=None)
@given(cut=st.integers(0, 59), way=st.sampled_from(["plain", "json", "npz"]))
def test_a_restart_at_any_step_changes_no_bit(cut: int, way: str) -> None:
    """The sweep keeps states in a database: what comes back must go on as if nothing had happened."""
    straight, first = SeriesDetector(3, direction=[0, 1, -1]), SeriesDetector(3, direction=[0, 1, -1])
    step = timedelta(minutes=5)
    for index in range(cut):
        straight.update(STREAM[index], moment(index, step))
        first.update(STREAM[index], moment(index, step))
    state: Any = first.state()
    if way == "json":
        state = json.loads(json.dumps(state))
    elif way == "npz":
        buffer = io.BytesIO()
        np.savez(buffer, **state)
        buffer.seek(0)
        state = dict(np.load(buffer))
    second = SeriesDetector.from_state(state)
    for index in range(cut, 60):
        a, b = straight.update(STREAM[index], moment(index, step)), second.update(STREAM[index], moment(index, step))
        for name in ("score", "alarm", "expected", "low", "high", "away", "accepted"):
            assert getattr(a, name).tobytes() == getattr(b, name).tobytes()
    assert straight.state() == second.state()


def test_what_comes_later_does_not_change_a_score() -> None:
    """No look-ahead: two futures, one past."""
    values = daily(2)
    other = values.copy()
    other[150:] += 50
    one, another = scores(values, other)
    assert np.array_equal(one[:150], another[:150])
    assert not np.array_equal(one, another)


def test_neighbours_do_not_change_a_score() -> None:
    """Series are watched together but judged alone, also where one of them has no data."""
    values = daily(3)
    beside = np.full(values.size, np.nan)
    wild = np.where(np.arange(values.size) % 7 == 0, np.nan, 1e6 * values**2)
    assert np.array_equal(scores(values)[0], scores(beside, values, wild)[1])


def test_a_spike_alarms_and_a_healthy_week_does_not() -> None:
    """Found when it is there; quiet when it is not."""
    calm, hit = daily(9), daily(9)
    hit[8 * DAY + 40] += 25
    quiet, found = scores(calm, hit)
    assert (quiet >= THRESHOLD).sum() <= 1
    assert found[8 * DAY + 40] >= THRESHOLD


def test_a_jump_that_comes_every_day_is_expected() -> None:
    """A nightly job is no incident; the night it does not come is one."""
    values = daily(10)
    for day in range(10):
        values[day * DAY + 30 : day * DAY + 34] += 40
    without = values.copy()
    without[9 * DAY + 30 : 9 * DAY + 34] -= 40
    found, missed = scores(values, without)
    assert (found[8 * DAY :] < THRESHOLD).all()
    assert missed[9 * DAY + 30] >= THRESHOLD


def test_two_hours_are_enough_for_what_nobody_could_miss() -> None:
    """A new app is not blind for two weeks, nor does it cry at noise."""
    rng = np.random.default_rng(5)
    detector = SeriesDetector(200)
    step = timedelta(minutes=5)
    quiet = [detector.update(rng.normal(50, 1, 200), moment(i, step)).alarm.sum() for i in range(40)]
    assert sum(quiet) <= 8
    assert detector.update(rng.normal(500, 1, 200), moment(40, step)).alarm.mean() > 0.9


def test_only_the_bad_direction_alarms() -> None:
    """An error rate that falls is no incident."""
    up, down = daily(9), daily(9)
    up[8 * DAY + 40 :] += 30
    down[8 * DAY + 40 :] -= 30
    found = scores(up, down, up, down, up, down, direction=[1, 1, -1, -1, 0, 0])[:, 8 * DAY + 40 :]
    assert (found >= THRESHOLD).any(axis=1).tolist() == [True, False, False, True, True, True]


def test_a_band_stays_within_its_bounds_and_around_what_comes() -> None:
    """No band of 103 %."""
    rng = np.random.default_rng(2)
    detector = SeriesDetector(1, step=QUARTER, bounds=(0.0, 1.0))
    inside = 0
    for index in range(3 * DAY):
        value = min(1.0, rng.normal(0.99, 0.01))
        told = detector.update([value], moment(index))
        assert told.low is not None
        assert told.high is not None
        if index >= 24:
            assert 0.0 <= told.low[0] <= told.high[0] <= 1.0
            inside += bool(told.low[0] <= value <= told.high[0])
    assert inside > 0.95 * (3 * DAY - 24)
    assert detector.update([1.7], moment(3 * DAY)).score[0] == 0.0


def test_a_level_that_stays_is_accepted_and_says_so() -> None:
    """For ever away is nowhere; the step at which a new level became usual is told."""
    values = daily(13)
    values[9 * DAY + 40 :] += 60
    detector = SeriesDetector(1, step=QUARTER)
    told = [detector.update([value], moment(index)) for index, value in enumerate(values)]
    away = np.array([bool(one.away is not None and one.away[0]) for one in told])
    accepted = [index for index, one in enumerate(told) if one.accepted is not None and one.accepted[0]]
    start = 9 * DAY + 40
    assert told[start].alarm[0]
    assert away[start : start + DAY].all()
    assert accepted == [start + DAY]
    assert not away[start + DAY + 1 :].any()
    assert not any(one.alarm[0] for one in told[11 * DAY + 41 :])


def test_what_comes_back_is_at_home_again() -> None:
    """An hour of trouble leaves nothing behind: the profile did not learn from it."""
    values = daily(10)
    trouble = values.copy()
    trouble[8 * DAY + 40 : 8 * DAY + 44] += 60
    calm, found = scores(values, trouble)
    assert found[8 * DAY + 40] >= THRESHOLD
    assert (found[9 * DAY :] < THRESHOLD).all()
    assert np.abs(found[9 * DAY :] - calm[9 * DAY :]).max() < 0.2


def test_bad_input_is_no_data() -> None:
    """NaN, infinities, the same moment again, time running backwards: nothing is learnt, nobody is alarmed."""
    values = daily(2)
    detector = SeriesDetector(2, step=QUARTER)
    for index, value in enumerate(values):
        detector.update([value, np.nan], moment(index))
    before = detector.state()
    for moment_again in (moment(values.size - 1), moment(3)):
        told = detector.update([1e9, 1.0], moment_again)
        assert not told.alarm.any()
        assert detector.state() == before
    told = detector.update([np.inf, -np.inf], moment(values.size))
    assert told.score.tolist() == [0.0, 0.0]
    told = detector.update([1e308, -1e308], moment(values.size + 1))
    assert np.isfinite(told.score).all()
    told = detector.update([-1e308, 1e308], datetime(2026, 3, 9, tzinfo=UTC))
    assert np.isfinite(told.score).all()


def test_a_gap_is_no_jump() -> None:
    """After an outage of ours the metric is elsewhere, rightly so."""
    values = daily(9)
    detector = SeriesDetector(1, step=QUARTER)
    for index in itertools.chain(range(8 * DAY), range(8 * DAY + 50, 9 * DAY)):
        told = detector.update([values[index]], moment(index))
        if index >= 8 * DAY:
            assert not told.alarm[0]


def test_constant_series_and_tiny_numbers_raise_no_alarm() -> None:
    """No division by nothing."""
    assert (scores(*(np.full(DAY, level) for level in (0.0, 7.0, 1e-12, 1e12))) < THRESHOLD).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_series": 0}, "at least one series"),
        ({"n_series": 1, "step": timedelta(milliseconds=5)}, "at least one second"),
        ({"n_series": 1, "direction": 2}, "a direction is"),
        ({"n_series": 2, "bounds": [(0.0, 1.0)]}, "do not fit"),
        ({"n_series": 1, "bounds": (1.0, 0.0)}, "lower bound"),
    ],
)
def test_impossible_arguments_are_refused(options: dict[str, Any], message: str) -> None:
    """A mistake is named where it is made."""
    with pytest.raises(ValueError, match=message):
        SeriesDetector(**options)


def test_values_of_another_shape_and_no_moment_are_refused() -> None:
    """A mistake is named where it is made."""
    detector = SeriesDetector(2)
    with pytest.raises(ValueError, match="2 series"):
        detector.update([1.0], START)
    with pytest.raises(ValueError, match="NaT"):
        detector.update([1.0, 2.0], np.datetime64("NaT", "s"))


def test_a_state_of_another_version_or_damaged_is_refused_with_words() -> None:
    """The sweep learns anew instead of judging by what it misreads."""
    state = SeriesDetector(2).state()
    with pytest.raises(DetectorStateError, match=r"version 0.*learn anew"):
        SeriesDetector.from_state({**state, "version": 0})
    with pytest.raises(DetectorStateError, match="'rate'"):
        SeriesDetector.from_state({**state, "kind": "rate"})
    with pytest.raises(DetectorStateError, match="kind and version"):
        SeriesDetector.from_state({})
    with pytest.raises(DetectorStateError, match="scale is missing"):
        SeriesDetector.from_state({name: value for name, value in state.items() if name != "scale"})
    with pytest.raises(DetectorStateError, match="scale is missing or cannot be read"):
        SeriesDetector.from_state({**state, "scale": "AAAA"})
    with pytest.raises(DetectorStateError, match="seen is"):
        SeriesDetector.from_state({**state, "seen": SeriesDetector(3).state()["seen"]})


def test_memory_does_not_grow() -> None:
    """As much after two days as after an hour."""
    detector = SeriesDetector(2, step=QUARTER)
    detector.update([1.0, 2.0], moment(0))
    size = len(json.dumps(detector.state()))
    for index in range(1, 2 * DAY):
        detector.update([float(index % 7), 2.0], moment(index))
    assert abs(len(json.dumps(detector.state())) - size) < 50


def test_the_median_of_seven_leaves_out_what_is_missing() -> None:
    """The sorting network agrees with numpy on every pattern of missing days."""
    rng = np.random.default_rng(0)
    block = rng.normal(size=(7, 128)).astype(np.float32)
    whole = median_of_seven(block)
    assert np.allclose(whole, np.median(block, axis=0))
    for pattern in range(127):
        block[[day for day in range(7) if pattern >> day & 1], pattern] = np.nan
    block[:, 127] = np.nan
    found = median_of_seven(block)
    assert np.allclose(found[:127], np.nanmedian(block[:, :127], axis=0), atol=1e-6)
    assert found[127] == 0.0


def test_the_running_quantile_finds_the_quantile() -> None:
    """Of three laws, within a fifth."""
    rng = np.random.default_rng(1)
    draws = np.abs(np.stack([rng.normal(size=6000), rng.exponential(size=6000), rng.standard_t(3, size=6000)], axis=1))
    tracked = np.zeros(3)
    for index, row in enumerate(draws):
        tracked = quantile_step(tracked, row, np.full(3, float(index)), 0.975)
    assert np.allclose(tracked, np.quantile(draws, 0.975, axis=0), rtol=0.2)
