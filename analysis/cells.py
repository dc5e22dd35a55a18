"""Counting over several attributes at once: rows are counted over a few large sets, which are then summed up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import combinations

import numpy as np

from analysis.encoding import Codes, Reals

BLOCK = 1 << 14
"""Rows that are coded and counted at a time: what fits a cache."""

SMALL = 1 << 13
"""Sets of attributes with more cells are counted by themselves."""

LARGEST = 1 << 17
"""Cells of a table that others are summed from."""

Places = tuple[int, ...]


class Cells:
    """The rows of a window under sets of attributes.

    The code of a row over attributes (a, b, c) with (·, B, C) levels is (a·B + b)·C + c.
    """

    def __init__(self, codes: Sequence[Codes], levels: Sequence[int]) -> None:
        self.codes, self.levels = codes, levels
        self.rows = len(codes[0]) if codes else 0

    def size(self, places: Places) -> int:
        """Return how many cells a set of attributes has."""
        size = 1
        for place in places:
            size *= self.levels[place]
        return size

    def of(self, places: Places, rows: slice = slice(None)) -> Codes:
        """Return the codes of the rows over a set of attributes."""
        total = self.codes[places[0]][rows]
        for place in places[1:]:
            total = total * self.levels[place]
            total += self.codes[place][rows]
        return total

    def sums(self, places: Places, weights: Reals | None = None) -> Reals:
        """Return the sum of the weights (or the count) by code, shape (size,)."""
        size = self.size(places)
        step = BLOCK if size <= LARGEST else max(self.rows, 1)
        total = np.zeros(size, dtype=np.float64)
        for start in range(0, self.rows, step):
            rows = slice(start, start + step)
            part = None if weights is None else weights[rows]
            total += np.bincount(self.of(places, rows), weights=part, minlength=size)
        return total

    def tables(self, sets: Iterable[Places], weights: Reals | None = None) -> dict[Places, Reals]:
        """Return `sums` of many sets of attributes; those with more than `SMALL` cells are left out.

        Rows are counted over larger sets that cover several of those asked for, which are then summed out of these
        tables: 20 attributes have 1140 triples, and each row is looked at some 200 times.
        """
        wanted = tuple(sorted({places for places in sets if self.size(places) <= SMALL}))
        limit = min(LARGEST, max(1 << (self.rows // 2).bit_length(), SMALL))
        found: dict[Places, Reals] = {}
        for cover, covered in _plan(tuple(self.levels), wanted, limit):
            table = self.sums(cover, weights).reshape([self.levels[place] for place in cover])
            partial: dict[Places, Reals] = {cover: table}
            for places in covered:
                found[places] = _summed(partial, cover, places).ravel()
        return found


@lru_cache(maxsize=64)
def _plan(levels: Places, sets: tuple[Places, ...], limit: int) -> tuple[tuple[Places, tuple[Places, ...]], ...]:
    """Return larger sets of attributes, each with those of the sets asked for that are summed out of its table."""
    open_ = dict.fromkeys(sorted(sets, key=lambda places: (-len(places), places)))
    plan: list[tuple[Places, tuple[Places, ...]]] = []
    while open_:
        cover = _cover(next(iter(open_)), open_, levels, limit)
        covered = [
            places for order in range(len(cover), 0, -1) for places in combinations(cover, order) if places in open_
        ]
        for places in covered:
            del open_[places]
        plan.append((cover, tuple(covered)))
    return tuple(plan)


def _cover(first: Places, open_: dict[Places, None], levels: Places, limit: int) -> Places:
    """Grow a set of attributes, by what covers most open sets per cell, as long as its table stays small."""
    cover, order = first, len(first)
    size = int(np.prod([levels[place] for place in first]))
    rest = [place for place in range(len(levels)) if place not in first and levels[place] > 1]
    while True:
        best, chosen = 0.0, None
        for place in rest:
            if size * levels[place] > limit:
                continue
            gain = sum(tuple(sorted((*others, place))) in open_ for others in combinations(cover, order - 1))
            value = gain / float(np.log(levels[place] + 1.0))
            if value > best:
                best, chosen = value, place
        if chosen is None:
            return cover
        rest.remove(chosen)
        cover, size = tuple(sorted((*cover, chosen))), size * levels[chosen]


def _summed(partial: dict[Places, Reals], cover: Places, places: Places) -> Reals:
    """Return the table of a part of the cover; what is summed on the way is kept for the others."""
    if places not in partial:
        # one attribute less at a time, in a fixed order, so that ways are shared
        extra = next(place for place in cover if place not in places)
        wider = tuple(place for place in cover if place in places or place == extra)
        partial[places] = _summed(partial, cover, wider).sum(axis=wider.index(extra))
    return partial[places]
