"""All conjunctions of up to three attributes that carry failing runs: what happened in them, what was expected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from analysis.cells import Cells
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

    def sums(self, rows: Cells, weights: Reals) -> Reals:
        """Sum the weights of rows per candidate."""
        if int(np.prod(self.sizes)) <= DENSE:
            return rows.sums(self.places, weights)[self.cells]
        return self.sparse(rows.of(self.places), weights)

    def sparse(self, codes: Codes, weights: Reals) -> Reals:
        """Sum the weights of rows with these codes per candidate, where a dense array would be too large."""
        place = np.searchsorted(self.cells, codes)
        place[place == len(self.cells)] = 0
        hit = self.cells[place] == codes
        return np.bincount(place[hit], weights=weights[hit], minlength=len(self.cells)).astype(np.float64)


def scan(attributes: Sequence[Attribute], bad: Window, *, max_order: int) -> list[Cuboid]:
    """Count every conjunction of up to `max_order` attributes that at least three failing runs share.

    Attributes with one level tell nothing and are skipped. Order of the result: by order, then by attribute.
    """
    levels = [attribute.levels for attribute in attributes]
    useful = [place for place, size in enumerate(levels) if size > 1]
    sets = [places for order in range(1, max_order + 1) for places in combinations(useful, order)]
    everywhere = Cells(bad.codes, levels)
    failing = Cells([codes[bad.failed] for codes in bad.codes], levels)
    counts = failing.tables(sets)
    candidates = [cuboid for places in sets if len((cuboid := _candidates(places, failing, counts)).cells)]
    totals = everywhere.tables([cuboid.places for cuboid in candidates], bad.expected)
    for cuboid in candidates:
        total = totals.get(cuboid.places)
        if total is None and everywhere.size(cuboid.places) <= DENSE:
            total = everywhere.sums(cuboid.places, bad.expected)
        if total is not None:
            # every expected rate is above zero, so that a cell has runs where its sum is
            cuboid.occurring = int(np.count_nonzero(total))
            cuboid.bad_expected = total[cuboid.cells]
        else:
            codes = everywhere.of(cuboid.places)
            cuboid.occurring = len(np.unique(codes))
            cuboid.bad_expected = cuboid.sparse(codes, bad.expected)
    return candidates


def _candidates(places: tuple[int, ...], failing: Cells, tables: dict[tuple[int, ...], Reals]) -> Cuboid:
    """Return the conjunctions over some attributes with enough failing runs; their expectation is still missing."""
    sizes = tuple(failing.levels[place] for place in places)
    counts = tables.get(places)
    if counts is None and failing.size(places) <= DENSE:
        counts = failing.sums(places)
    if counts is not None:
        cells = np.flatnonzero(counts >= MIN_FAILING)
        counts = counts[cells]
    else:
        cells, per_cell = np.unique(failing.of(places), return_counts=True)
        enough = per_cell >= MIN_FAILING
        cells, counts = cells[enough], per_cell[enough].astype(np.float64)
    known, rest = np.ones(len(cells), dtype=bool), cells
    for size in reversed(sizes):
        rest, level = np.divmod(rest, size)
        known &= level > 0
    return Cuboid(places, sizes, cells[known], counts[known], np.zeros(0))


def add_expected(cuboids: Sequence[Cuboid], bad: Window, rows: Codes, change: Reals, levels: Sequence[int]) -> None:
    """Move the expectations of all candidates by what changed in some runs of the bad window."""
    moved = Cells([codes[rows] for codes in bad.codes], levels)
    tables = moved.tables([cuboid.places for cuboid in cuboids], change)
    for cuboid in cuboids:
        table = tables.get(cuboid.places)
        more = cuboid.sums(moved, change) if table is None else table[cuboid.cells]
        cuboid.bad_expected = cuboid.bad_expected + more


def excess_likelihood(cuboids: Sequence[Cuboid]) -> Reals:
    """Return how much better a rate of its own explains each candidate of all cuboids than the expected one, in nats.

    The Poisson likelihood ratio; 0 where it fails no more than expected.
    """
    if not cuboids:
        return np.zeros(0)
    now = np.concatenate([cuboid.bad_failed for cuboid in cuboids])
    expected = np.maximum(np.concatenate([cuboid.bad_expected for cuboid in cuboids]), 1e-9)
    return np.where(now > expected, now * np.log(now / expected) - (now - expected), 0.0)
