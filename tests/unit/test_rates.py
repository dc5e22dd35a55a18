"""Counts against a baseline: small ones page nobody, large ones do not page over trifles."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from analysis.rates import RateReference, excess_p, reference, worst_stretch

USUAL = reference(np.full(336, 1), np.full(336, 100))


def usual() -> RateReference:
    """A fortnight of hours at one per cent."""
    assert USUAL is not None
    return USUAL


def test_the_tail_is_the_beta_binomials() -> None:
    """Scipy's own distribution is the oracle."""
    expected = RateReference(rate=0.03, spread=0.01, weight=5000, runs=5000)
    alpha, beta = 0.03 * expected.strength, 0.97 * expected.strength
    for k, n in ((1, 3), (3, 3), (12, 100), (90, 1490)):
        oracle = stats.betabinom.sf(k - 1, n, alpha, beta)
        assert excess_p(k, n, expected) == pytest.approx(oracle, rel=1e-6)


def test_one_of_three_is_nothing_and_three_of_three_is_something() -> None:
    """The measure of a quiet night."""
    assert excess_p(1, 3, usual()) > 0.01
    assert excess_p(3, 3, usual()) < 2e-6


def test_hours_that_differ_teach_a_wider_spread() -> None:
    """A rate that wanders between 1 % and 9 % is no news at 9 %, though a binomial test would swear it is."""
    rng = np.random.default_rng(1)
    n = np.full(336, 500)
    steady = reference(rng.binomial(n, 0.05), n)
    wandering = reference(rng.binomial(n, rng.uniform(0.01, 0.09, 336)), n)
    assert steady is not None
    assert wandering is not None
    assert wandering.spread > 1.5 * steady.spread
    assert wandering.spread == pytest.approx(0.08 / np.sqrt(12), rel=0.25)
    assert excess_p(90, 1000, wandering) > 1e-3
    assert stats.binom.sf(89, 1000, 0.05) < 1e-6


def test_an_hour_of_heavy_traffic_does_not_drown_the_others() -> None:
    """A burst of live traffic after a thin history is one hour among many."""
    k = np.append(np.full(100, 3), 20_000)
    n = np.append(np.full(100, 60), 100_000)
    learnt = reference(k, n)
    assert learnt is not None
    assert learnt.rate == pytest.approx(0.05, abs=0.02)


def test_nothing_teaches_nothing() -> None:
    """No runs, no baseline: the caller must decide what that means."""
    assert reference([0, 0], [0, 0]) is None


def test_impossible_counts_are_refused() -> None:
    """More failures than runs is a fault of ours."""
    with pytest.raises(ValueError, match="no count"):
        excess_p(4, 3, usual())


def test_the_band_of_a_rate_stays_a_rate() -> None:
    """Bands beyond 100 % are what users of other products complain of."""
    low, high = RateReference(rate=0.02, spread=0.05, weight=10, runs=10).band(3)
    assert low >= 0
    assert high <= 1


def test_the_stretch_of_a_burst_is_found() -> None:
    """Slots 10 to 14 are bad; one stray failure before them is not part of it."""
    k = np.zeros(30)
    k[3] = 1
    k[10:15] = 5
    assert worst_stretch(k, np.full(30, 10), usual=0.01, bad=0.4) == (10, 14)


def test_healthy_slots_have_no_bad_stretch() -> None:
    """Without a failure nothing speaks for a bad rate."""
    assert worst_stretch(np.zeros(10), np.full(10, 5), usual=0.01, bad=0.3) is None
