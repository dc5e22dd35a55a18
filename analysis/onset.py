"""When it began: a change point in the failures of a slice, with a credible interval."""

from __future__ import annotations

import numpy as np

from analysis.encoding import Flags, Reals

MAX_RUNS = 20_000


def onset(
    times: Reals, failed: Flags, expected: Reals, *, mass: float = 0.9
) -> tuple[float, tuple[float, float]] | None:
    """Locate the moment from which a slice fails more than expected.

    Before the moment the runs fail as expected; after it with a rate of their own (fitted). Every moment between the
    first and the last run is equally likely beforehand, so the posterior over the gaps between runs is proportional to
    likelihood × length of the gap.

    Args:
        times: start of each run, any unit, shape (N,).
        failed: outcome, shape (N,).
        expected: expected failure rate of each run, shape (N,).
        mass: probability that the interval holds.

    Returns:
        (posterior median, (low, high)) in the unit of `times`, or None where there are fewer than three runs.
    """
    if len(times) < 3:
        return None
    order = np.argsort(times, kind="stable")[-MAX_RUNS:]
    t, y, mu = times[order], failed[order].astype(np.float64), expected[order]
    null = y * np.log(mu) + (1 - y) * np.log1p(-mu)
    # a change before run i: runs i… follow the new rate, integrated over a grid of it
    after_y = np.cumsum(y[::-1])[::-1]
    after_n = np.arange(len(t), 0, -1)
    after_null = np.cumsum(null[::-1])[::-1]
    grid = np.linspace(0.01, 0.99, 50)
    floor = float(mu.mean())
    grid = grid[grid > floor] if (grid > floor).any() else grid[-1:]
    per_rate = after_y[:, None] * np.log(grid) + (after_n - after_y)[:, None] * np.log1p(-grid)
    top = per_rate.max(axis=1)
    marginal = top + np.log(np.exp(per_rate - top[:, None]).mean(axis=1)) - after_null
    gaps = np.diff(t)
    weight = np.exp(marginal[1:] - marginal[1:].max()) * gaps
    if weight.sum() <= 0:
        at = float(t[1:][int(np.argmax(marginal[1:]))])
        return at, (at, at)
    edges = np.concatenate(([0.0], np.cumsum(weight) / weight.sum()))
    # within a gap the posterior is flat, so quantiles interpolate
    low, middle, high = np.interp([(1 - mass) / 2, 0.5, (1 + mass) / 2], edges, t)
    return float(middle), (float(low), float(high))
