"""How sure an expectation is: what the baseline knows of a slice, and how far its mix has moved."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from analysis.cells import Cells
from analysis.encoding import Attribute, Flags, Reals
from analysis.slices import Conjunction, Window
from analysis.spread import MAX_CELLS, Spread

DEPLOYED = 14.0
"""A value is deployed, not rare, where the baseline would have held so many runs of it had it been there before."""

WHOLE = 1 / 50
"""Relative variance of the failure rate of all traffic between two windows."""


class Doubt:
    """What the baseline leaves open about the failures that one expects of a slice."""

    def __init__(self, attributes: Sequence[Attribute], bad: Window, base: Window, spread: Spread) -> None:
        self.bad, self.base, self.spread = bad, base, spread
        self.levels = [attribute.levels for attribute in attributes]
        self.cells = Cells(base.codes, self.levels)
        self.support: dict[tuple[int, ...], Reals] = {
            (place,): np.bincount(codes, weights=base.expected, minlength=size).astype(np.float64)
            for place, (codes, size) in enumerate(zip(base.codes, self.levels, strict=True))
        }
        """Expected failures of the baseline by level, by attribute or pair of attributes."""
        self.deployed = [
            (np.bincount(old, minlength=size) == 0)
            & (np.bincount(new, minlength=size) * len(base.failed) > DEPLOYED * len(bad.failed))
            for old, new, size in zip(base.codes, bad.codes, self.levels, strict=True)
        ]
        """Levels that the baseline never saw, and would have seen had they been there."""
        self.pairs = [
            pair
            for pair in combinations(range(len(attributes)), 2)
            if self.levels[pair[0]] * self.levels[pair[1]] <= MAX_CELLS
        ]

    def of_slice(self, conjunction: Conjunction, failures: float, expected: float) -> tuple[float, float]:
        """Return by how much a slice's expectation is to be corrected, and the failures that it is as sure as.

        Values and pairs are in the model already; what it leaves open about them is the ridge's posterior variance. A
        triple is not: its own baseline corrects it, shrunk by what its values and pairs leave open.

        Args:
            conjunction: the slice.
            failures, expected: its baseline's failures, and what the model says of it.
        """
        if not conjunction:
            seen = failures + 1 / WHOLE
            return seen / (expected + 1 / WHOLE), seen
        # That a newly deployed value is worse by nature excuses nothing: deploying it was the cause.
        given = [self.deployed[place][level] for place, level in conjunction]
        if any(given):
            conjunction = tuple(entry for entry, new in zip(conjunction, given, strict=True) if not new)
            return 1.0, 1 / (WHOLE + sum(self._posterior((place,), (level,)) for place, level in conjunction))
        open_ = sum(self._posterior((place,), (level,)) for place, level in conjunction)
        for (a, i), (b, j) in combinations(conjunction, 2):
            open_ += self._posterior((a, b), (i, j)) if (a, b) in self.pairs else self.spread.pairs
        if len(conjunction) < 3 and all(pair in self.pairs for pair in combinations([p for p, _ in conjunction], 2)):
            return 1.0, 1 / open_
        prior = 1 / (open_ + self.spread.pairs / 2)
        return (failures + prior) / (expected + prior), failures + prior

    def _posterior(self, places: tuple[int, ...], levels: tuple[int, ...]) -> float:
        if places not in self.support:
            a, b = places
            self.support[places] = self.cells.sums((a, b), self.base.expected)
        cell = levels[0] if len(places) == 1 else levels[0] * self.levels[places[1]] + levels[1]
        variance = self.spread.values if len(places) == 1 else self.spread.pairs
        return 1 / (1 / variance + float(self.support[places][cell]))

    def of_mix(self, conjunction: Conjunction, now: Flags, before: Flags) -> float:
        """Return the relative variance that comes of another mix inside the slice.

        Where the mix is as it was, the slice's own baseline tells how wrong the model is about it. What moved towards
        values (and pairs of them) that the baseline hardly knows is a guess, and as uncertain as they are.

        Args:
            conjunction: the slice; the values that it fixes are `of_slice`'s matter.
            now: the slice in the bad window, shape (M,).
            before: the slice in the baseline, shape (B,).
        """
        if not before.any():  # an unseen slice is measured against the whole baseline
            before = np.ones(len(before), dtype=bool)
        expected, usual = self.bad.expected[now], self.base.expected[before]
        total = expected.sum()
        if total <= 0:
            return 0.0
        self._all_pairs()
        fixed = {place for place, _ in conjunction}
        free: list[tuple[int, ...]] = [(place,) for place in range(len(self.levels)) if place not in fixed]
        free += [pair for pair in self.pairs if not fixed.intersection(pair)]
        current = Cells([codes[now] for codes in self.bad.codes], self.levels).tables(free, expected / total)
        former = Cells([codes[before] for codes in self.base.codes], self.levels).tables(free, usual / usual.sum())
        doubt = 0.0
        for places in free:
            variance = self.spread.values if len(places) == 1 else self.spread.pairs
            shift = current[places] - former[places]
            doubt += float((shift * shift / (1 / variance + self.support[places])).sum())
        return doubt

    def _all_pairs(self) -> None:
        missing = [pair for pair in self.pairs if pair not in self.support]
        self.support.update(self.cells.tables(missing, self.base.expected))
