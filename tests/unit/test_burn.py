"""Error budgets: both windows must burn, and enough must have failed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from analysis.burn import RULES, judge_burn, rate_limit


def history(*, now: tuple[int, int], before: tuple[int, int]) -> Callable[[int], tuple[int, int]]:
    """Return counts of the latest bucket, and of every bucket before it."""

    def counts(buckets: int) -> tuple[int, int]:
        return now[0] + (buckets - 1) * before[0], now[1] + (buckets - 1) * before[1]

    return counts


def test_fast_in_both_windows_is_the_most_urgent() -> None:
    """A fifth fails for an hour where one in a hundred may."""
    burn = judge_burn(history(now=(20, 100), before=(20, 100)), 0.01)
    assert (burn.health, burn.fast, burn.short_rate, burn.failures) == ("bad", 0, 0.2, 20)


def test_a_spike_that_the_hour_does_not_feel_is_no_alert() -> None:
    """All fails for one bucket of a day that is else clean: 1/12 of the hour is 8 %, and 14 % would be needed."""
    assert judge_burn(history(now=(100, 100), before=(0, 100)), 0.01).fast is None


def test_what_is_over_does_not_page_for_what_was() -> None:
    """The hour burnt, the last bucket and the last half hour are clean."""
    counts = {1: (0, 100), 6: (0, 600), 12: (600, 1200), 72: (600, 7200)}
    assert judge_burn(counts.__getitem__, 0.01).health == "good"


def test_a_slow_burn_over_hours_is_the_second_rule() -> None:
    """Seven in a hundred, all day."""
    burn = judge_burn(history(now=(7, 100), before=(7, 100)), 0.01)
    assert (burn.health, burn.fast) == ("bad", 1)


@pytest.mark.parametrize("now", [(2, 3), (2, 100), (3, 9)])
def test_few_runs_page_nobody(now: tuple[int, int]) -> None:
    """Two failures of three at night are two thirds of the runs, and nothing."""
    assert judge_burn(lambda n: now, 0.01).fast is None


def test_no_run_says_nothing() -> None:
    """Unknown, not good."""
    assert judge_burn(lambda n: (0, 0), 0.01).health == "unknown"


@pytest.mark.parametrize("budget", [0.01, 0.05, 0.1, 0.3, 0.9])
def test_a_limit_can_be_reached_and_lies_beyond_the_budget(budget: float) -> None:
    """With a budget of a tenth, fourteen times too fast would be more than everything."""
    assert all(budget < rate_limit(rule, budget) < 1 for rule in RULES)


@pytest.mark.parametrize("budget", [0.0, 1.0, -0.1, float("nan")])
def test_a_budget_that_is_no_share_is_refused(budget: float) -> None:
    """Named, not divided by."""
    with pytest.raises(ValueError, match="budget"):
        judge_burn(lambda n: (1, 2), budget)
