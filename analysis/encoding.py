"""Run attributes as small integers: what the localiser counts over."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int64]
Flags = NDArray[np.bool_]
Reals = NDArray[np.float64]

LEVELS = 400
"""Values of one attribute that are told apart; the rarer ones share level 0 with what is missing."""

MIN_RUNS = 3
"""A value with fewer runs is no level of its own."""


@dataclass(frozen=True)
class Attribute:
    """One attribute of N runs. Level 0 is "missing, or too rare to tell apart" and never part of a cause."""

    name: str
    values: tuple[str, ...]
    """Value of each level; `values[0]` is a placeholder."""
    codes: Codes
    """Level of each run, shape (N,)."""

    @property
    def levels(self) -> int:
        """How many levels there are, level 0 included."""
        return len(self.values)


class _Index(dict[Any, int]):
    """Numbers values in the order in which they are first asked for."""

    def __missing__(self, value: Any) -> int:
        self[value] = number = len(self)
        return number


def encode(name: str, column: Sequence[str | None], weight: Codes | None = None) -> Attribute:
    """Turn a column of strings into levels, the most frequent first.

    Args:
        name: the attribute's name.
        column: N values, None where missing. Values that are no strings are spelled with `str`.
        weight: how much a run counts when levels are handed out, shape (N,); 1 each where None. Failing runs weigh
            more, so that a rare value which fails is never lost among frequent ones which do not.
    """
    items = column.tolist() if isinstance(column, np.ndarray) else column
    index = _Index()
    try:
        raw = np.fromiter(map(index.__getitem__, items), dtype=np.int64, count=len(items))
    except TypeError:  # an unhashable value in an untyped column
        items, index = [None if item is None else str(item) for item in items], _Index()
        raw = np.fromiter(map(index.__getitem__, items), dtype=np.int64, count=len(items))
    distinct = list(index)
    counts = np.bincount(raw, minlength=len(distinct))
    importance = counts if weight is None else np.bincount(raw, weights=weight, minlength=len(distinct))
    missing = np.array([_is_missing(value) for value in distinct], dtype=bool)
    keep = np.flatnonzero((counts >= MIN_RUNS) & ~missing)
    keep = keep[np.argsort(-importance[keep], kind="stable")][: LEVELS - 1]
    level = np.zeros(len(distinct), dtype=np.int64)
    level[keep] = np.arange(1, len(keep) + 1)
    return Attribute(name, ("", *(str(distinct[place]) for place in keep)), level[raw])


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def leaks_outcome(attribute: Attribute, failed: Flags) -> bool:
    """Tell whether an attribute is the outcome under another name (`status`, `error_type`).

    Judged on the baseline, where no fault is at work: nearly all failures sit in levels where nearly every run fails.

    Args:
        attribute: levels of N runs.
        failed: the outcome of the same runs, restricted by the caller to the baseline.
    """
    failures = int(failed.sum())
    if failures < 5 or failures > 0.95 * len(failed):
        return False
    runs = np.bincount(attribute.codes, minlength=attribute.levels)
    fails = np.bincount(attribute.codes[failed], minlength=attribute.levels)
    pure = (runs >= MIN_RUNS) & (fails >= 0.98 * runs)
    return bool(fails[pure].sum() >= 0.95 * failures)
