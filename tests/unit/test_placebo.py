"""Before and after, without a hold-back: what may be said, and what may not."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.impact import holdback_contrast
from analysis.placebo import before_after, may_be_called_causal, sentence


def days(n: int, *, seed: int, correlation: float = 0.5, trend: float = 0.0) -> np.ndarray:
    """Return daily values with memory and a trend."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, 0.01, n)
    for day in range(1, n):
        noise[day] += correlation * noise[day - 1]
    return np.asarray(0.9 + noise + trend * np.arange(n))


def test_a_jump_is_seen_and_a_trend_is_not_one() -> None:
    """Three percent more at once is rare among the placebos; a tenth of a percent a month is in all of them."""
    series = days(300, seed=1, trend=3e-5)
    quiet = before_after(series, changed_at=280)
    series[280:] += 0.05
    jumped = before_after(series, changed_at=280)
    assert quiet is not None
    assert jumped is not None
    assert quiet.p_value is not None
    assert jumped.p_value is not None
    assert quiet.p_value > 0.05 > jumped.p_value
    assert jumped.low is not None
    assert jumped.high is not None
    assert jumped.low < 0.05 < jumped.high


def test_what_hits_the_control_too_is_no_difference() -> None:
    """Difference-in-differences: an outage of everything leaves nothing over."""
    series, control = days(300, seed=2), days(300, seed=3)
    for one in (series, control):
        one[280:] -= 0.2
    found = before_after(series, changed_at=280, control=control)
    assert found is not None
    assert abs(found.delta) < 0.05


def test_a_short_history_is_described_and_not_tested() -> None:
    """No p-value, no interval, and the label says why."""
    found = before_after(days(100, seed=4), changed_at=80)
    assert found is not None
    assert (found.method, found.p_value, found.low) == ("description", None, None)
    assert "description only" in found.label


@pytest.mark.parametrize("length", [100, 300])
def test_no_report_calls_it_causal(length: int) -> None:
    """Only a randomised hold-back may: the sentence of any other has no cause in it but to deny it."""
    found = before_after(days(length, seed=5), changed_at=length - 20)
    said = sentence(found, metric="fact_accuracy").replace("not causal", "")
    assert "caus" not in said
    assert not may_be_called_causal(found)
    rng = np.random.default_rng(6)
    arm = rng.random(2000) < 0.5
    contrast = holdback_contrast(
        np.arange(2000), arm, np.zeros(2000), (rng.random(2000) < 0.7 + 0.2 * arm).astype(float)
    )
    assert may_be_called_causal(contrast)
    assert "caused" in sentence(contrast, metric="fact_accuracy")
    assert "nothing can be said" in sentence(None, metric="fact_accuracy")


def test_days_without_values_are_left_out() -> None:
    """NaN is no value; a side without any is no comparison."""
    series = days(300, seed=7)
    series[::5] = np.nan
    found = before_after(series, changed_at=280)
    assert found is not None
    assert np.isfinite(found.delta)
    series[280:] = np.nan
    assert before_after(series, changed_at=280) is None


@pytest.mark.parametrize(
    ("changed_at", "control", "message"),
    [(0, None, "within the series"), (5, [1.0], "same days"), (99, None, "within")],
)
def test_what_does_not_fit_is_refused(changed_at: int, control: list[float] | None, message: str) -> None:
    """A change outside of its series, a control of other days."""
    with pytest.raises(ValueError, match=message):
        before_after([1.0] * 10, changed_at=changed_at, control=control)
