"""Root runs and their scores, counted by bucket: pure numpy, whole buckets at a time.

Only root runs count: tags and metadata propagate to children. A feedback key that was given several times in one trace
counts once, with its mean: the trace is the unit. Latency is that of answers, so that a quick failure is no quick
answer. A run that has not ended has no part in the rates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from analysis.histogram import bin_of

SCORE_KEYS_CAP = 64
"""Feedback keys that are counted per bucket, the most frequent first: a key per run must not make a bucket a book."""

TOKENS_CAP = 10**12
COST_CAP = 1e9


@dataclass(frozen=True)
class Roots:
    """Root runs, as columns of one length R.

    Attributes:
        start: seconds since the epoch.
        status: `success`, `error`, `pending`, `abandoned`.
        seconds: length; NaN while it has not ended.
        tokens, cost: of the whole trace; NaN counts as none.
    """

    start: NDArray[np.float64]
    status: NDArray[np.str_]
    seconds: NDArray[np.float64]
    tokens: NDArray[np.float64]
    cost: NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """One score per root and key, as columns of one length.

    Attributes:
        root: index into the roots.
        key: feedback key.
        score: finite.
    """

    root: NDArray[np.int64]
    key: Sequence[str]
    score: NDArray[np.float64]


@dataclass
class Bucket:
    """What happened in one bucket; `index` is its start divided by the width."""

    index: int
    runs: int
    finished: int
    errors: int
    pending: int
    abandoned: int
    sla_met: int
    tokens: int
    cost: float
    latency: dict[str, int] = field(default_factory=dict)
    scores: dict[str, dict[str, float]] = field(default_factory=dict)


def aggregate(roots: Roots, scores: Scores, *, width_s: float, sla_ms: int) -> list[Bucket]:
    """Count the roots by bucket, in the order of time; a bucket without a root is not in it.

    Args:
        width_s: width of a bucket, seconds; buckets are counted from the epoch.
        sla_ms: an answer that took longer does not meet the SLA.
    """
    if roots.start.size == 0:
        return []
    indices, slot = np.unique(np.floor(roots.start / width_s).astype(np.int64), return_inverse=True)
    size = indices.size

    def count(chosen: NDArray[np.bool_]) -> list[int]:
        counts: list[int] = np.bincount(slot[chosen], minlength=size).tolist()
        return counts

    answered = roots.status == "success"
    errors = roots.status == "error"
    within = answered & (roots.seconds * 1000 <= sla_ms)
    tokens = np.bincount(slot, np.clip(np.nan_to_num(roots.tokens, nan=0.0), 0, TOKENS_CAP), size)
    cost = np.bincount(slot, np.clip(np.nan_to_num(roots.cost, nan=0.0), 0, COST_CAP), size)
    columns = zip(
        indices.tolist(), count(np.ones_like(answered)), count(answered | errors), count(errors),
        count(roots.status == "pending"), count(roots.status == "abandoned"), count(within),
        tokens.astype(np.int64).tolist(), cost.tolist(), strict=True,
    )  # fmt: skip
    buckets = [Bucket(*row) for row in columns]
    _add_latency(buckets, slot, roots.seconds, answered & np.isfinite(roots.seconds))
    _add_scores(buckets, slot, scores)
    return buckets


def _add_latency(
    buckets: list[Bucket], slot: NDArray[np.int64], seconds: NDArray[np.float64], chosen: NDArray[np.bool_]
) -> None:
    pairs, counts = np.unique(np.stack([slot[chosen], bin_of(seconds[chosen])]), axis=1, return_counts=True)
    for at, index, count in zip(*pairs.tolist(), counts.tolist(), strict=True):
        buckets[at].latency[str(index)] = count


def _add_scores(buckets: list[Bucket], slot: NDArray[np.int64], scores: Scores) -> None:
    if scores.root.size == 0:
        return
    keys, key = np.unique(np.asarray(scores.key, dtype=object).astype(str), return_inverse=True)
    cell, where = np.unique(slot[scores.root] * keys.size + key, return_inverse=True)
    n = np.bincount(where)
    total = np.bincount(where, scores.score)
    squares = np.bincount(where, scores.score**2)
    for position in np.argsort(-n, kind="stable").tolist():
        at, name = divmod(int(cell[position]), keys.size)
        if len(buckets[at].scores) < SCORE_KEYS_CAP:
            buckets[at].scores[str(keys[name])] = {
                "n": int(n[position]), "sum": float(total[position]), "sumsq": float(squares[position])
            }  # fmt: skip
