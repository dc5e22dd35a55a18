"""Paired tests hold their size, by enumeration, and agree with what is known."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis.paired import (
    PairedResult,
    compare_binary,
    compare_continuous,
    minimum_detectable_effect,
    smallest_passing,
    tango_interval,
)
from analysis.verdict import Outcome, holm, judge


def arms(both: int, lost: int, won: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the two arms of a two-by-two table."""
    x = np.repeat([1.0, 1.0, 0.0, 0.0], [both, lost, won, neither])
    y = np.repeat([1.0, 0.0, 1.0, 0.0], [both, lost, won, neither])
    return x, y


def tables(n: int) -> list[tuple[int, int]]:
    """Return all (lost, won) of n pairs."""
    return [(b, c) for b in range(n + 1) for c in range(n + 1 - b)]


def probability(n: int, b: int, c: int, p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Trinomial probability of (b, c, rest), written out independently of the code under test."""
    rest = n - b - c
    with np.errstate(divide="ignore"):
        ways = math.factorial(n) // (math.factorial(b) * math.factorial(c) * math.factorial(rest))
        return np.asarray(ways * p**b * q**c * np.maximum(1 - p - q, 0.0) ** rest)


@pytest.mark.parametrize("n", [10, 20, 50])
def test_the_size_of_worse_is_at_most_five_percent(n: int) -> None:
    """Every table of n pairs, every rate of discordance: no A/A comparison is called worse more often than .05."""
    grid = np.linspace(0, 0.5, 2001)
    size = np.zeros_like(grid)
    for b, c in tables(n):
        # The margin is another question, and to answer it takes as long: none is asked about.
        if b > c and compare_binary(*arms(n - b - c, b, c, 0), margin=0).p_worse <= 0.05:
            size += probability(n, b, c, grid, grid)
    assert 0.02 < size.max() <= 0.0500


@pytest.mark.parametrize(("n", "margin"), [(10, 0.05), (20, 0.05), (50, 0.05), (10, 0.2), (20, 0.2)])
def test_the_size_of_an_absolute_margin_is_at_most_five_percent(n: int, margin: float) -> None:
    """At a loss of exactly the margin, non-inferiority is claimed no more often than .05, whatever else flips."""
    won = np.linspace(0, (1 - margin) / 2, 1001)
    size = np.zeros_like(won)
    for b, c in tables(n):
        if b - c > margin * n:
            continue  # beyond the margin as it stands
        if compare_binary(*arms(n - b - c, b, c, 0), margin=margin, relative=False).p_noninferior <= 0.05:
            size += probability(n, b, c, margin + won, won)
    assert size.max() <= 0.0500


@pytest.mark.parametrize(("n", "margin"), [(10, 0.05), (10, 0.2), (20, 0.2)])
def test_the_size_of_a_relative_margin_is_at_most_five_percent(n: int, margin: float) -> None:
    """All four cells vary: right in both arms, lost, won, wrong in both; the candidate keeps 1 − m of the rate."""
    cells = [
        (both, lost, won)
        for both, lost, won in itertools.product(np.linspace(0, 1, 41), np.linspace(0, 1, 41), [0.0])
        if both + lost <= 1
    ]
    points = []
    for both, lost, _ in cells:
        gained = (1 - margin) * (both + lost) - both
        if gained >= 0 and both + lost + gained <= 1 + 1e-12:
            points.append((both, lost, gained))
    p = np.array(points)
    neither = np.maximum(1 - p.sum(axis=1), 0)
    size = np.zeros(len(p))
    decided: dict[tuple[int, int, int], bool] = {}
    for m in range(n + 1):
        for b, c in tables(m):
            passes = compare_binary(*arms(m - b - c, b, c, n - m), margin=margin).p_noninferior <= 0.05
            decided[m, b, c] = passes
            if passes:
                a, d = m - b - c, n - m
                ways = math.factorial(n) // math.prod(math.factorial(k) for k in (a, b, c, d))
                size += ways * p[:, 0] ** a * p[:, 1] ** b * p[:, 2] ** c * neither**d
    assert size.max() <= 0.0500
    # and not for want of ever passing
    assert margin < 0.1 or any(decided.values())


@given(st.integers(0, 40), st.integers(0, 15), st.integers(0, 15), st.integers(0, 20))
@settings(max_examples=40, deadline=None)
def test_the_arms_exchanged_exchange_worse_and_better(both: int, lost: int, won: int, neither: int) -> None:
    """The two questions are mirror images."""
    x, y = arms(both, lost, won, neither)
    if len(x) == 0:
        return
    one, other = compare_binary(x, y), compare_binary(y, x)
    assert one.p_worse == pytest.approx(other.p_better, abs=1e-12)
    assert one.delta == pytest.approx(-other.delta)
    assert one.interval[0] == pytest.approx(-other.interval[1], abs=1e-9)


def test_power_is_what_a_hundred_cases_can_give() -> None:
    """Ten points lost, three percent flips: seen with probability .83 or more."""
    n, lost, won = 100, 0.13, 0.03
    power = 0.0
    for b, c in tables(n):
        likely = float(probability(n, b, c, np.array(lost), np.array(won)))
        if b <= c or likely < 1e-5:
            continue  # to leave a table out only lowers what is claimed
        if compare_binary(*arms(n - b - c, b, c, 0), margin=0).p_worse <= 0.05:
            power += likely
    assert power >= 0.83
    assert minimum_detectable_effect(100, flips=0.03) == pytest.approx(0.0934, abs=5e-4)


@pytest.mark.parametrize("k", [1, 3])
def test_an_a_a_without_a_flip_passes(k: int) -> None:
    """A hundred right answers in both arms, however often repeated, rule out a loss of 5 %."""
    ones = np.ones((100, k)) if k > 1 else np.ones(100)
    result = compare_binary(ones, ones)
    assert (result.delta, result.p_worse, result.p_better) == (0.0, 1.0, 1.0)
    # Asked once, the exact test; asked again, what is left is that one case in twenty fails and none was seen.
    assert result.p_noninferior == pytest.approx(0.0109 if k == 1 else 0.95**100, abs=1e-4)
    assert judge({"fact_accuracy": result}).outcome is Outcome.PASS


def test_fifty_nine_flawless_cases_are_the_fewest_that_pass() -> None:
    """.95⁵⁸ is above .05, .95⁵⁹ below: no test can do with fewer."""
    assert smallest_passing(0.05) == 59
    assert compare_binary(np.ones(58), np.ones(58)).p_noninferior == pytest.approx(0.95**58)
    assert judge({"m": compare_binary(np.ones(58), np.ones(58))}).outcome is Outcome.INCONCLUSIVE
    assert judge({"m": compare_binary(np.ones(59), np.ones(59))}).outcome is Outcome.PASS


def test_tango_limits_are_where_the_score_test_turns() -> None:
    """At each limit the score statistic is the normal quantile; checked against the formula written out."""
    lost, won, n = 7, 2, 60
    for limit, side in zip(tango_interval(lost, won, n), (1, -1), strict=True):
        delta = limit
        a, b = 2 * n, -lost - won + (2 * n - won + lost) * delta * 1.0
        # Tango's equation for p21 with delta = p12 − p21, won = n12 and lost = n21
        c = -lost * delta * (1 - delta)
        b = -won - lost + (2 * n - won + lost) * delta
        p21 = (math.sqrt(b * b - 4 * a * c) - b) / (2 * a)
        z = (won - lost - n * delta) / math.sqrt(n * (2 * p21 + delta * (1 - delta)))
        assert z == pytest.approx(side * 1.959964, abs=1e-5)


def test_tango_covers_without_discordance() -> None:
    """No flip at all still leaves an interval with a width."""
    low, high = tango_interval(0, 0, 44)
    assert low == pytest.approx(-high)
    assert 0.05 < high < 0.12


@pytest.mark.parametrize(
    ("lost", "won", "n"), [(0, 0, 10), (10, 0, 10), (0, 10, 10), (1, 0, 1), (0, 0, 1), (5, 5, 10), (300, 0, 3000)]
)
def test_extreme_tables_have_finite_answers(lost: int, won: int, n: int) -> None:
    """All lost, all won, one case, thousands of cases: numbers within their ranges."""
    result = compare_binary(*arms(n - lost - won, lost, won, 0))
    for p in (result.p_worse, result.p_better, result.p_noninferior):
        assert 0 <= p <= 1
    assert -1 <= result.interval[0] <= result.delta <= result.interval[1] <= 1


def test_repeats_are_averaged_within_a_case() -> None:
    """A hundred cases asked ten times are a hundred units: the same flip in every repeat is one piece of evidence."""
    x, y = arms(94, 5, 1, 0)
    once = compare_binary(x, y)
    tenfold = compare_binary(np.tile(x[:, None], 10), np.tile(y[:, None], 10))
    assert tenfold.cases == once.cases == 100
    assert tenfold.p_worse > 0.05


def test_an_a_a_with_repeats_is_rarely_called_worse() -> None:
    """Simulated: noisy cases, five repeats, no difference; false alarms stay near .05."""
    rng = np.random.default_rng(7)
    rates = np.where(rng.random(60) < 0.8, 0.97, 0.3)

    def asked() -> np.ndarray:
        return (rng.random((60, 5)) < rates[:, None]) * 1.0

    alarms = sum(compare_binary(asked(), asked()).p_worse <= 0.05 for _ in range(300))
    assert alarms <= 27  # P(more | .05) < .001


def test_missing_cases_count_against_a_pass_and_not_for_a_failure() -> None:
    """Ten unanswered cases of a hundred: not worse, for nobody saw it; not passed, for nobody saw that either."""
    x, y = np.ones(100), np.ones(100)
    y[:10] = np.nan
    result = compare_binary(x, y)
    assert (result.cases, result.missing, result.p_worse) == (90, 10, 1.0)
    assert result.p_noninferior <= 0.05
    assert judge({"m": result}).outcome is Outcome.INCONCLUSIVE
    y[:] = np.nan
    assert judge({"m": compare_binary(x, y)}).outcome is Outcome.INCONCLUSIVE


def test_measurements_agree_with_scipy() -> None:
    """The contrast's t test is scipy's one-sample t test."""
    rng = np.random.default_rng(3)
    x, y = rng.gamma(9, 10, 80), rng.gamma(9, 10, 80)
    result = compare_continuous(x, y)
    assert result.p_worse == pytest.approx(stats.ttest_1samp(y - x, 0, alternative="less").pvalue)
    # A margin is lost by few cases that lose much: t's own p-value is the least that may be said.
    plain = stats.ttest_1samp(y - 0.95 * x, 0, alternative="greater").pvalue
    assert plain <= result.p_noninferior <= 1.25 * plain
    interval = stats.ttest_1samp(y - x, 0).confidence_interval()
    assert result.interval == pytest.approx((interval.low, interval.high))


def test_small_slices_flip_signs() -> None:
    """Ten cases: the exact sign-flip distribution, here against scipy's permutation test."""
    rng = np.random.default_rng(5)
    x, y = rng.normal(10, 1, 10), rng.normal(10.5, 1, 10)
    oracle = stats.permutation_test(
        (y - x,), np.mean, permutation_type="samples", alternative="greater", n_resamples=np.inf
    )
    assert compare_continuous(x, y).p_better == pytest.approx(oracle.pvalue)


def test_lower_can_be_better() -> None:
    """For latency, more is worse and the margin lies above."""
    rng = np.random.default_rng(1)
    x = rng.normal(100, 5, 60)
    slow = compare_continuous(x, x * 1.5 + rng.normal(0, 1, 60), margin=0.25, lower_is_better=True)
    same = compare_continuous(x, x + rng.normal(0, 1, 60), margin=0.25, lower_is_better=True)
    assert slow.p_worse < 0.001
    assert slow.p_noninferior > 0.99
    assert slow.loss > 0
    assert same.p_noninferior < 0.001


@pytest.mark.parametrize(
    ("x", "y", "margin"),
    [([1, 0], [1], 0.05), ([0.5, 1], [1, 1], 0.05), ([1, 1], [1, 1], 1.0), ([1, 1], [1, 1], -0.1), (1, 1, 0.05)],
)
def test_what_is_no_paired_binary_data_is_refused(x: object, y: object, margin: float) -> None:
    """Shapes, values and margins are checked, with a sentence."""
    with pytest.raises(ValueError, match=r"arms|binary|margin"):
        compare_binary(x, y, margin=margin)  # type: ignore[arg-type]


def result(p_worse: float = 1.0, p_noninferior: float = 0.001, cases: int = 100) -> PairedResult:
    """A result with these p-values."""
    return PairedResult(-0.02, (-0.06, 0.02), p_worse, 1 - p_worse, p_noninferior, cases, baseline=0.9)


def test_the_verdict_needs_every_metric_to_pass_and_one_to_fail() -> None:
    """Holm for failures, intersection–union for passes."""
    assert judge({"a": result(), "b": result()}).outcome is Outcome.PASS
    assert judge({"a": result(), "b": result(p_noninferior=0.06)}).outcome is Outcome.INCONCLUSIVE
    assert judge({"a": result(), "b": result(p_worse=0.02, p_noninferior=0.9)}).outcome is Outcome.FAIL
    # .03 alone would fail; beside another metric it takes .025
    assert judge({"a": result(), "b": result(p_worse=0.03, p_noninferior=0.9)}).outcome is Outcome.INCONCLUSIVE
    assert judge({}).outcome is Outcome.INCONCLUSIVE


def test_an_open_verdict_says_what_it_would_take() -> None:
    """More cases than there were, in the sentence and as a number."""
    verdict = judge({"a": result(p_noninferior=0.2)})
    assert verdict.needed is not None
    assert verdict.needed >= 150
    assert f"about {verdict.needed} cases" in verdict.reasons[0]


def test_needed_cases_do_settle_it() -> None:
    """Where nothing was lost, exactly the named number passes."""
    verdict = judge({"a": compare_binary(np.ones(20), np.ones(20))})
    assert verdict.needed == 59
    assert judge({"a": compare_binary(np.ones(59), np.ones(59))}).outcome is Outcome.PASS


def test_holm_is_holm() -> None:
    """Against the textbook example."""
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "c": 0.06, "b": 0.06})


@pytest.mark.parametrize(("base", "lost"), [(0.95, True), (1.0, False), (0.99, False)])
def test_a_loss_of_exactly_the_margin_passes_rarely_however_it_is_spread(base: float, lost: bool) -> None:
    """Five repeats: a few cases lost altogether, or every answer a little worse; t alone passes .08 of them."""
    rng = np.random.default_rng(17)
    passes, rounds = 0, 400
    for _ in range(rounds):
        x = (rng.random((100, 5)) < base).astype(float)
        right = base * (rng.random((100, 1)) >= 0.05) if lost else np.full((100, 1), base * 0.95)
        y = (rng.random((100, 5)) < right).astype(float)
        passes += compare_binary(x, y).p_noninferior <= 0.05
    assert passes / rounds <= 0.05 + 2 * (0.05 * 0.95 / rounds) ** 0.5
