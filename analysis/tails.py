"""Upper tails of the beta-binomial, accurate where they are tiny."""

from __future__ import annotations

import math

from scipy.special import betaln, gammaln


def upper_tail(at_least: int, runs: int, a: float, b: float) -> float:
    """Return P(Y ≥ `at_least`) for Y beta-binomial(runs, a, b), or a close upper bound of it.

    Far above the mean the terms fall at least geometrically, which bounds the sum from its first term: no cancellation,
    so that 1e-200 is 1e-200. (1 − cdf loses everything below about 1e-10.)

    Args:
        at_least: number of failures, 0…runs.
        runs: number of runs.
        a, b: shape of the rate's law, both positive.
    """
    if at_least <= 0:
        return 1.0
    if at_least > runs:
        return 0.0
    below = [_log_pmf(k, runs, a, b) for k in range(min(at_least, 4))]
    if at_least <= 4:
        exact = 1.0 - sum(map(math.exp, below))
        if exact > 1e-9:
            return exact
    total, k = 0.0, at_least
    first = _log_pmf(k, runs, a, b)
    term = 1.0
    for _ in range(5000):
        total += term
        if k == runs:
            break
        ratio = (runs - k) * (k + a) / ((k + 1) * max(runs - k - 1 + b, 1e-300))
        term *= ratio
        k += 1
        if ratio < 1 and term < 1e-6 * total * (1 - ratio):
            break
    else:
        return 1.0  # the terms do not fall: it is no tail
    return min(1.0, math.exp(min(first + math.log(total), 0.0)))


def _log_pmf(k: int, runs: int, a: float, b: float) -> float:
    choose = gammaln(runs + 1) - gammaln(k + 1) - gammaln(runs - k + 1)
    return float(choose + betaln(k + a, runs - k + b) - betaln(a, b))
