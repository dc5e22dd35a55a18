"""How much values differ in how often they fail when nothing is wrong: the prior of every expectation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from analysis.cells import Cells
from analysis.encoding import Attribute, Flags, Reals

MIN_EXPECTED = 0.5
"""Cells with fewer expected failures say nothing about a spread."""

MAX_CELLS = 4096
"""Pairs of attributes with more cells are not modelled."""

VALUES = (0.2, 0.1, 1.0)
PAIRS = (0.08, 0.03, 0.4)
"""Relative variance: what is believed beforehand, and bounds. No data set is so small that values are alike."""

BELIEF = 12.0
"""Cells that the belief beforehand counts for."""


@dataclass(frozen=True)
class Spread:
    """Relative variances of failure rates."""

    values: float
    """Between the values of one attribute."""
    pairs: float
    """Of pairs of values, beyond what each value does."""


def spread(attributes: Sequence[Attribute], failed: Flags, baseline: Flags) -> Spread:
    """Estimate the spread from the baseline, by moments over its cells, shrunk to a belief.

    The mean of (y − e)² − e(1 − p) over the mean of e², where e is expected from the overall rate (values), or from the
    rates of a pair's two values (pairs).
    """
    rows = np.flatnonzero(baseline)
    y = failed[rows]
    rate = float(y.mean()) if len(rows) else 0.0
    if rate in (0.0, 1.0):
        return Spread(VALUES[0], PAIRS[0])
    codes = [attribute.codes[rows] for attribute in attributes]
    levels = [attribute.levels for attribute in attributes]
    everywhere, failing = Cells(codes, levels), Cells([column[y] for column in codes], levels)
    runs = [everywhere.sums((place,)) for place in range(len(levels))]
    fails = [failing.sums((place,)) for place in range(len(levels))]
    singles = [_moments(f, n * rate, rate) for f, n in zip(fails, runs, strict=True)]
    lift = [(f + 4.0) / (n * rate + 4.0) for f, n in zip(fails, runs, strict=True)]
    known = [pair for pair in combinations(range(len(levels)), 2) if everywhere.size(pair) <= MAX_CELLS]
    counts, failures = everywhere.tables(known), failing.tables(known)
    pairs = [
        _moments(failures[pair], counts[pair] * rate * np.outer(lift[pair[0]], lift[pair[1]]).ravel(), rate)
        for pair in known
    ]
    return Spread(_ratio(singles, VALUES), _ratio(pairs, PAIRS))


def _moments(observed: Reals, expected: Reals, rate: float) -> tuple[float, float]:
    seen = expected >= MIN_EXPECTED
    o, e = observed[seen], expected[seen]
    # each cell weighs by what it can tell, so that one huge cell does not decide alone
    weight = 1 / (e * (1 - rate) + 0.3 * e * e)
    return float((weight * ((o - e) ** 2 - e * (1 - rate))).sum()), float((weight * e * e).sum())


def _ratio(parts: list[tuple[float, float]], belief: tuple[float, float, float]) -> float:
    excess, squares = sum(part[0] for part in parts), sum(part[1] for part in parts)
    middle, low, high = belief
    return float(np.clip((excess + middle * BELIEF) / (squares + BELIEF), low, high))
