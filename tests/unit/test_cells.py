"""Counting over sets of attributes: summed from larger tables, it is what counting each by itself gives."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from analysis.cells import LARGEST, SMALL, Cells
from analysis.localise import localise


def rows(levels: list[int], n: int = 3000, seed: int = 0) -> Cells:
    """Return random rows."""
    rng = np.random.default_rng(seed)
    return Cells([rng.integers(0, size, n) for size in levels], levels)


@pytest.mark.parametrize("levels", [[2, 3, 4, 5, 6, 7, 2, 3], [1, 4, 1, 5, 9], [30, 30, 2, 40], [3]])
def test_tables_are_what_counting_each_set_gives(levels: list[int]) -> None:
    """All sets of up to three attributes, counted and weighed; those that are too large are left to the caller."""
    cells = rows(levels)
    weights = np.random.default_rng(1).random(cells.rows)
    sets = [places for order in (1, 2, 3) for places in combinations(range(len(levels)), order)]
    counts, sums = cells.tables(sets), cells.tables(sets, weights)
    assert set(counts) == {places for places in sets if cells.size(places) <= SMALL}
    for places in counts:
        np.testing.assert_array_equal(counts[places], cells.sums(places))
        np.testing.assert_allclose(sums[places], cells.sums(places, weights), rtol=1e-12, atol=1e-12)
        np.testing.assert_array_equal(counts[places], np.bincount(cells.of(places), minlength=cells.size(places)))


def test_no_rows_are_nothing_to_count() -> None:
    """An empty window has empty cells."""
    assert rows([3, 4], n=0).tables([(0,), (0, 1)])[0, 1].tolist() == [0.0] * 12


def test_attributes_of_hundreds_of_values_are_searched_without_dense_tables() -> None:
    """Three of them have more cells than any array; the cause among them is found all the same."""
    rng = np.random.default_rng(0)
    n = 12_000
    columns: dict[str, list[str | None]] = {
        name: [f"{name}{value}" for value in rng.integers(0, 300, n)] for name in ("a", "b", "c")
    }
    columns["d"] = rng.choice(["x", "y", "z"], n).tolist()
    assert LARGEST < 300**3
    bad = np.arange(n) >= n // 2
    columns["a"] = ["a7" if flag else value for flag, value in zip(rng.random(n) < 0.1, columns["a"], strict=True)]
    hit = bad & (np.array(columns["a"]) == "a7") & (np.array(columns["d"]) == "x")
    outcome = rng.random(n) < np.where(hit, 0.6, 0.02)
    [cause] = localise(columns, outcome.tolist(), bad.tolist())
    assert cause.conditions == {"a": "a7", "d": "x"}
