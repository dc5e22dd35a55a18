"""All conjunctions of up to three attributes that carry failing runs: what happened in them, what was expected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from analysis.encoding import Attribute, Codes, Flags, Reals

MIN_FAILING = 3
"""A conjunction with fewer failing runs in the bad window is not looked at."""

DENSE = 1 << 21
"""Up to so many cells a cuboid is counted in a dense array."""

Conjunction = tuple[tuple[int, int], ...]
"""(attribute's place, level) pairs, ascending; empty means all runs."""


@dataclass
class Window:
    """The runs of one window: levels per attribute, outcome and expectation, M runs."""

    codes: list[Codes]
    failed: Flags
    expected: Reals

    def mask(self, conjunction: Conjunction) -> Flags:
        """Return which runs the conjunction holds, shape (M,)."""
        inside = np.ones(len(self.failed), dtype=bool)
        for place, level in conjunction:
            inside &= self.codes[place] == level
        return inside


@dataclass
class Cuboid:
    """The candidate conjunctions over one set of attributes; arrays of one entry per candidate."""

    places: tuple[int, ...]
    sizes: tuple[int, ...]
    cells: Codes
    """Mixed-radix code of each candidate, ascending."""
    bad_failed: Reals
    bad_expected: Reals
    occurring: int = 0
    """How many conjunctions over these attributes have a run in the bad window at all."""

    def conjunction(self, index: int) -> Conjunction:
        """Return the attribute levels of a candidate."""
        cell = int(self.cells[index])
        levels: list[int] = []
        for size in reversed(self.sizes):
            cell, level = divmod(cell, size)
            levels.append(level)
        return tuple(zip(self.places, reversed(levels), strict=True))

    def cell_of(self, codes: Sequence[Codes], rows: Codes | None = None) -> Codes:
        """Return the mixed-radix code of the given rows, or of all."""
        total = codes[self.places[0]] if rows is None else codes[self.places[0]][rows]
        for place, size in zip(self.places[1:], self.sizes[1:], strict=True):
            column = codes[place] if rows is None else codes[place][rows]
            total = total * size + column
        return np.asarray(total)

    def count_occurring(self, codes: Codes) -> int:
        """Count the distinct cells among mixed-radix codes."""
        size = int(np.prod(self.sizes))
        if size > DENSE:
            return len(np.unique(codes))
        seen = np.zeros(size, dtype=bool)
        seen[codes] = True
        return int(seen.sum())

    def sums(self, codes: Codes, weights: Reals | None) -> Reals:
        """Sum weights (or count) per candidate, over rows whose mixed-radix codes are given."""
        size = int(np.prod(self.sizes))
        if size <= DENSE:
            dense = np.bincount(codes, weights=weights, minlength=size)
            return np.asarray(dense[self.cells], dtype=np.float64)
        place = np.searchsorted(self.cells, codes)
        place[place == len(self.cells)] = 0
        hit = self.cells[place] == codes
        chosen = None if weights is None else weights[hit]
        return np.bincount(place[hit], weights=chosen, minlength=len(self.cells)).astype(np.float64)


def scan(attributes: Sequence[Attribute], bad: Window, *, max_order: int) -> list[Cuboid]:
    """Count every conjunction of up to `max_order` attributes that at least three failing runs share.

    Attributes with one level tell nothing and are skipped. Order of the result: by order, then by attribute.
    """
    useful = [place for place, attribute in enumerate(attributes) if attribute.levels > 1]
    bad_rows = np.flatnonzero(bad.failed)
    found: list[Cuboid] = []
    for order in range(1, max_order + 1):
        for places in combinations(useful, order):
            sizes = tuple(attributes[place].levels for place in places)
            empty = np.zeros(0)
            cuboid = Cuboid(places, sizes, np.zeros(0, np.int64), empty, empty)
            failing = cuboid.cell_of(bad.codes, bad_rows)
            known = np.ones(len(failing), dtype=bool)
            for place in places:
                known &= bad.codes[place][bad_rows] > 0
            cells, counts = np.unique(failing[known], return_counts=True)
            enough = counts >= MIN_FAILING
            if not enough.any():
                continue
            cuboid.cells = cells[enough]
            cuboid.bad_failed = counts[enough].astype(np.float64)
            everywhere = cuboid.cell_of(bad.codes)
            cuboid.occurring = cuboid.count_occurring(everywhere)
            cuboid.bad_expected = cuboid.sums(everywhere, bad.expected)
            found.append(cuboid)
    return found


def add_expected(cuboids: Sequence[Cuboid], bad: Window, rows: Codes, change: Reals) -> None:
    """Move the expectations of all candidates by what changed in some runs of the bad window."""
    for cuboid in cuboids:
        cuboid.bad_expected = cuboid.bad_expected + cuboid.sums(cuboid.cell_of(bad.codes, rows), change)


def excess_likelihood(cuboid: Cuboid) -> Reals:
    """Return how much better a rate of its own explains each candidate than the expected one, in nats.

    The Poisson likelihood ratio; 0 where it fails no more than expected.
    """
    now, expected = cuboid.bad_failed, np.maximum(cuboid.bad_expected, 1e-9)
    return np.where(now > expected, now * np.log(now / expected) - (now - expected), 0.0)
