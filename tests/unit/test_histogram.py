"""The latency histogram: within two per cent, however it was merged."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.histogram import LogHistogram

latencies = st.lists(st.floats(min_value=1e-5, max_value=1e5), min_size=1, max_size=200)


@given(latencies, st.sampled_from([0.0, 0.5, 0.95, 0.99, 1.0]))
def test_quantiles_are_within_two_per_cent_of_the_nearest_rank(values: list[float], q: float) -> None:
    """The exact quantile of the raw values is the measure."""
    exact = float(np.quantile(values, q, method="inverted_cdf"))
    estimate = LogHistogram.of(values).quantile(q)
    assert estimate is not None
    assert abs(estimate / exact - 1) <= 0.02


@given(latencies, latencies)
def test_merging_equals_counting_everything_at_once(one: list[float], other: list[float]) -> None:
    """A restated bucket or a wider window must not depend on how it was put together."""
    merged = LogHistogram.merged([LogHistogram.of(one).as_json(), LogHistogram.of(other).as_json()])
    assert merged.counts == LogHistogram.of([*one, *other]).counts


def test_no_values_have_no_quantile() -> None:
    """Nothing measured is not zero seconds."""
    assert LogHistogram().quantile(0.95) is None


def test_absurd_values_are_clamped_or_left_out() -> None:
    """A skewed clock gives negative lengths; a broken one gives no number."""
    histogram = LogHistogram.of([-3.0, float("nan"), float("inf"), 1.0])
    assert histogram.total == 2
    assert histogram.above(0.5) == 1


def test_a_quantile_beyond_one_is_refused() -> None:
    """Per cents passed for fractions are a fault to hear of."""
    with pytest.raises(ValueError, match="fraction"):
        LogHistogram.of([1.0]).quantile(95)
