"""How fast an error budget burns: a promise such as `99 % within the SLA` leaves 1 % for failures.

Two windows must agree: the long one says that it matters, the short one that it still goes on. Source: Google's Site
Reliability Workbook, chapter 5, "multiwindow, multi-burn-rate alerts".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

LEAST_FAILURES = 3
"""Fewer failures in the short window page nobody, whatever their share."""
LEAST_RUNS = 10
"""Nor does a short window with fewer runs: at night one failure is a large share."""
CALM = 0.8
"""It is over where the short window burns slower than this share of what fires."""


@dataclass(frozen=True)
class Rule:
    """One speed at which somebody must know.

    Attributes:
        factor: how many times faster than the budget allows.
        short, long: the windows, in buckets.
    """

    factor: float
    short: int
    long: int


RULES = (Rule(14.0, 1, 12), Rule(6.0, 6, 72))
"""With buckets of five minutes: 14 × over five minutes and an hour; 6 × over half an hour and six hours."""


@dataclass(frozen=True)
class Burn:
    """What the windows say. `fast` is the index of the rule that fires, 0 being the most urgent; None where none does.

    Attributes:
        short_rate, long_rate: failure rates in the windows of that rule, or of the first.
    """

    health: Literal["bad", "between", "good", "unknown"]
    fast: int | None
    short_rate: float
    long_rate: float
    failures: int
    runs: int


def judge_burn(counts: Callable[[int], tuple[int, int]], budget: float) -> Burn:
    """Judge how fast a budget burns.

    Args:
        counts: (failures, runs) of the latest so many buckets.
        budget: the share of runs that may fail, in (0, 1).

    Raises:
        ValueError: the budget is no share.
    """
    if not 0 < budget < 1:
        raise ValueError(f"a budget of {budget} is no share between 0 and 1")
    told: Burn | None = None
    calm = True
    for index, rule in enumerate(RULES):
        (k, n), (k_long, n_long) = counts(rule.short), counts(rule.long)
        if n == 0 or n_long == 0:
            continue
        limit = rate_limit(rule, budget)
        short_rate, long_rate = k / n, k_long / n_long
        enough = k >= LEAST_FAILURES and n >= LEAST_RUNS
        if enough and short_rate >= limit and long_rate >= limit:
            return Burn("bad", index, short_rate, long_rate, k, n)
        calm = calm and short_rate < CALM * limit
        told = told or Burn("good", None, short_rate, long_rate, k, n)
    if told is None:
        return Burn("unknown", None, 0.0, 0.0, 0, 0)
    return told if calm else Burn("between", None, told.short_rate, told.long_rate, told.failures, told.runs)


def rate_limit(rule: Rule, budget: float) -> float:
    """Return the failure rate at which a rule fires; half way to everything where the factor leads beyond that."""
    return min(rule.factor * budget, (1 + budget) / 2)
