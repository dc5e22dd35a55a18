"""What a change was worth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from analysis.impact import Totals, difference_interval, fieller_roi, holdback_contrast, ratio_interval


def test_one_stage_of_single_requests_is_the_plain_difference_of_means() -> None:
    """With one request a unit the clustered error is Welch's, to the small-sample factor."""
    rng = np.random.default_rng(1)
    arm = rng.random(800) < 0.5
    y = rng.normal(np.where(arm, 2.1, 2.0), 0.5)
    found = holdback_contrast(np.arange(800), arm, np.zeros(800), y)
    assert found is not None
    assert found.delta == pytest.approx(y[arm].mean() - y[~arm].mean())
    welch = np.sqrt(y[arm].var(ddof=1) / arm.sum() + y[~arm].var(ddof=1) / (~arm).sum())
    assert found.se == pytest.approx(welch, rel=0.01)
    assert found.relative == pytest.approx(y[arm].mean() / y[~arm].mean() - 1)
    assert found.units == ((~arm).sum(), arm.sum())


def test_a_busy_unit_counts_once() -> None:
    """Every request repeated twenty times leaves estimate and error as they were."""
    rng = np.random.default_rng(2)
    arm = rng.random(300) < 0.5
    y = (rng.random(300) < 0.9).astype(float)
    once = holdback_contrast(np.arange(300), arm, np.zeros(300), y)
    often = holdback_contrast(np.repeat(np.arange(300), 20), np.repeat(arm, 20), np.zeros(6000), np.repeat(y, 20))
    assert once is not None
    assert often is not None
    assert often.delta == pytest.approx(once.delta)
    assert often.se == pytest.approx(once.se)


def test_a_ramp_in_a_bad_hour_is_no_effect() -> None:
    """10 % while all is well and 50 % in the bad hour: the stages are contrasted each by itself."""
    stage = np.repeat([0.1, 0.5], 4000)
    arm = np.zeros(8000, dtype=bool)
    arm[:400] = arm[4000:6000] = True
    y = np.where(stage == 0.1, 1.0, 0.0)
    y[::5] = 1 - y[::5]
    found = holdback_contrast(np.arange(8000), arm, stage, y)
    assert found is not None
    assert found.delta == pytest.approx(0, abs=1e-9)


def test_an_unchanged_app_is_significant_no_more_often_than_promised() -> None:
    """A/A with users of very different luck, a ramp and a trend: 5 % within the error of 600 draws."""
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(600):
        stage = np.repeat([0.1, 0.5, 0.9], 400)
        unit = rng.integers(0, 250, 1200)
        arm = rng.random(250)[unit] < stage
        luck = rng.beta(8, 1, 250)[unit]
        y = (rng.random(1200) < luck * (1 - 0.1 * stage)).astype(float)
        found = holdback_contrast(unit, arm, stage, y)
        assert found is not None
        hits += found.p_value < 0.05
    assert hits / 600 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 600)


def test_without_both_arms_there_is_no_contrast() -> None:
    """A stage with one unit in an arm says nothing; nor does no data at all."""
    assert holdback_contrast([1, 2, 3], [True, False, False], [0, 0, 0], [1.0, 1.0, 0.0]) is None
    assert holdback_contrast([], [], [], []) is None
    assert holdback_contrast([1, 2], [True, False], [0, 0], [np.nan, np.nan]) is None


def test_the_ratio_interval_covers_as_often_as_it_says() -> None:
    """Fieller's interval of a known ratio: 95 % within the error of 4,000 draws."""
    rng = np.random.default_rng(4)
    covered = 0
    for _ in range(4000):
        low, high = ratio_interval(
            rng.normal(3, 0.6), rng.normal(2, 0.3), var_top=0.36, var_bottom=0.09, covariance=0.0, z=1.959964
        )
        covered += low is not None and high is not None and low <= 1.5 <= high
    assert covered / 4000 == pytest.approx(0.95, abs=0.015)


def test_the_return_has_an_interval_and_a_probability() -> None:
    """Benefit 300 ± 50 on a cost of 100 ± 10: twice the cost is left, surely more than nothing."""
    roi = fieller_roi(300, 50, 100, 10)
    assert roi.roi == pytest.approx(2.0)
    assert roi.low is not None
    assert roi.high is not None
    assert roi.low < 2.0 < roi.high
    assert roi.p_positive == pytest.approx(stats.norm.cdf(200 / np.hypot(50, 10)))


def test_a_cost_that_may_be_nothing_bounds_no_return() -> None:
    """The interval is left open rather than invented."""
    roi = fieller_roi(300, 50, 100, 80)
    assert roi.roi == pytest.approx(2.0)
    assert (roi.low, roi.high) == (None, None)
    assert fieller_roi(300, 50, 0, 0).roi is None


def test_shares_are_compared_by_newcombe_and_measurements_by_welch() -> None:
    """Newcombe's own example (56/70 against 48/80) and scipy's Welch interval."""
    interval = difference_interval(Totals.of_share(56, 70), Totals.of_share(48, 80))
    assert interval == pytest.approx((0.0524, 0.3339), abs=5e-5)
    rng = np.random.default_rng(5)
    a, b = rng.normal(3, 1, 40), rng.normal(2, 2, 25)
    found = difference_interval(*(Totals(len(x), float(x.sum()), float((x * x).sum())) for x in (a, b)))
    expected = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    assert found == pytest.approx((expected.low, expected.high))


def test_too_little_has_no_interval() -> None:
    """One run is no distribution."""
    assert difference_interval(Totals.of_share(1, 1), Totals.of_share(48, 80)) is None
