"""Several candidates on a small batch of cases: which cases, what they say, and who is to be tried first.

A screen sorts, it decides nothing: it has one question (does the metric that fell get better?), few cases, and no power
to drop anybody. What is proven is proven by the full validation, on all cases and on answers of its own.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.paired import PairedResult, compare_binary, compare_continuous

CLEAR = 0.05
"""One-sided p-value from which a difference between two candidates moves one of them."""

OTHERS = 0.25
"""Share of the batch that is kept for cases outside of the causes: a change may do harm where nothing was wrong."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """A candidate beside the baseline on the cases that both answered.

    Attributes:
        cases: complete pairs.
        better, worse: cases whose score rose or fell.
        difference: mean of candidate minus baseline, in the metric's unit; 0 without a case.
        p_better, p_worse: one-sided.
    """

    cases: int
    better: int
    worse: int
    difference: float
    p_better: float
    p_worse: float

    @property
    def harms(self) -> bool:
        """Whether the metric that it is to mend clearly falls."""
        return self.p_worse <= CLEAR


@dataclass(frozen=True)
class Candidate:
    """A candidate in its present order.

    Attributes:
        id: whatever the caller knows it by.
        cause: candidates for one cause are rivals; those for different causes mend different things.
        scores: by case, NaN where there is no answer; None where it was not screened at all.
    """

    id: Hashable
    cause: Hashable
    scores: Floats | None


def batch(
    cases: Sequence[tuple[int, Mapping[str, Any]]], causes: Sequence[Mapping[str, str]], *, size: int
) -> tuple[list[int], int]:
    """Choose the cases of a screen: always the same ones for the same set.

    Three quarters are cases that match a cause, the causes taking turns; the rest, and what the causes cannot fill, is
    spread evenly over the other cases. Cases and others alternate, so that a screen that ends early saw both.

    Args:
        cases: id and tags of each case that can show the metric.
        causes: conditions; one without conditions is matched by every case.
        size: most cases.

    Returns: ids in the order in which they are to be asked, and how many of them match a cause.
    """
    ordered = sorted(cases, key=lambda case: (sorted((k, str(v)) for k, v in case[1].items()), case[0]))
    pools: list[list[int]] = [[] for _ in causes]
    others: list[int] = []
    for case_id, tags in ordered:
        fitting = [
            n for n, conditions in enumerate(causes) if all(str(tags.get(k)) == v for k, v in conditions.items())
        ]
        if fitting:
            pools[min(fitting, key=lambda n: len(pools[n]))].append(case_id)
        else:
            others.append(case_id)
    matching = sum(map(len, pools))
    size = min(size, len(cases))
    wanted_others = min(len(others), max(round(OTHERS * size), size - matching))
    chosen = _in_turns([_spread(pool, size - wanted_others) for pool in pools])[: size - wanted_others]
    rest = _spread(others, wanted_others)
    places = sorted([(i / max(len(chosen), 1), 0, c) for i, c in enumerate(chosen)]
                    + [(i / max(len(rest), 1), 1, c) for i, c in enumerate(rest)])  # fmt: skip
    return [case_id for _, _, case_id in places], len(chosen)


def compare(baseline: Floats, candidate: Floats, *, lower_is_better: bool = False) -> Comparison:
    """Compare one answer per case and arm; a case without an answer in one of them says nothing.

    Args:
        baseline, candidate: scores by case, shape (cases,).
    """
    both = np.isfinite(baseline) & np.isfinite(candidate)
    gain = (candidate - baseline)[both] * (-1 if lower_is_better else 1)
    result = _paired(baseline[both], candidate[both], lower_is_better=lower_is_better)
    return Comparison(
        cases=int(both.sum()),
        better=int((gain > 0).sum()),
        worse=int((gain < 0).sum()),
        difference=float((candidate - baseline)[both].mean()) if both.any() else 0.0,
        p_better=result.p_better,
        p_worse=result.p_worse,
    )


def order(candidates: Sequence[Candidate], baseline: Floats | None, *, lower_is_better: bool = False) -> list[Hashable]:
    """Return the ids in the order in which the candidates should be tried.

    The present order is what the prediction says, and it stands unless the batch clearly says otherwise: a candidate
    that does no harm goes before one that does, and of two for the same cause the one that is clearly better on the
    same cases goes first. Whoever was not screened keeps its place, and nobody is dropped.

    Args:
        candidates: in their present order.
        baseline: scores by case; None where there are none.
    """
    screened = [entry for entry in candidates if entry.scores is not None and baseline is not None]
    sorted_: list[Candidate] = []
    for entry in screened:
        place = len(sorted_)
        while place > 0 and _goes_before(entry, sorted_[place - 1], baseline, lower_is_better):
            place -= 1
        sorted_.insert(place, entry)
    among = iter(sorted_)
    ids = {entry.id for entry in screened}
    return [next(among).id if entry.id in ids else entry.id for entry in candidates]


def _goes_before(one: Candidate, other: Candidate, baseline: Floats | None, lower_is_better: bool) -> bool:
    assert one.scores is not None
    assert other.scores is not None
    assert baseline is not None
    harms = compare(baseline, one.scores, lower_is_better=lower_is_better).harms
    if harms or compare(baseline, other.scores, lower_is_better=lower_is_better).harms:
        return not harms
    return one.cause == other.cause and (
        compare(other.scores, one.scores, lower_is_better=lower_is_better).p_better <= CLEAR
    )


def _paired(x: Floats, y: Floats, *, lower_is_better: bool) -> PairedResult:
    if np.isin(x, (0.0, 1.0)).all() and np.isin(y, (0.0, 1.0)).all() and not lower_is_better:
        return compare_binary(x, y)
    return compare_continuous(x, y, lower_is_better=lower_is_better)


def _spread(pool: Sequence[int], count: int) -> list[int]:
    """Return so many entries at equal distances: every stretch of the tags' order is seen."""
    count = min(count, len(pool))
    return [pool[int((i + 0.5) * len(pool) / count)] for i in range(count)]


def _in_turns(pools: Sequence[Sequence[int]]) -> list[int]:
    longest = max(map(len, pools), default=0)
    return [pool[i] for i in range(longest) for pool in pools if i < len(pool)]
