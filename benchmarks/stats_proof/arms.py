"""Traffic of a rollout, many rollouts at once, and the rules that look at it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.accounts import Accounts
from analysis.eprocess import projection
from analysis.sequential import stage_of

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
LOOKS = 288
"""Looks in a day, one in five minutes, for the rules that look now and then. Ours looks after every row."""


@dataclass(frozen=True)
class Traffic:
    """Scores (rows, rollouts), arms (rows, rollouts), the candidate's share (rows,)."""

    y: Floats
    arm: Flags
    share: Floats


def constant(rows: int, share: float) -> Floats:
    """A share that stays."""
    return np.full(rows, share)


def ramp(rows: int) -> Floats:
    """10, 50 and 90 %."""
    return np.repeat([0.1, 0.5, 0.9], [rows // 3, rows // 3, rows - 2 * (rows // 3)])


def cycle(rows: int) -> Floats:
    """A base rate with a bad evening: 0.95 falling to 0.65 while the share grows."""
    return 0.8 + 0.15 * np.cos(2 * np.pi * np.arange(rows) / rows)


def binary(rng: np.random.Generator, share: Floats, base: Floats | float, drop: float, rollouts: int) -> Traffic:
    """Successes and failures; the candidate loses `drop` of the base rate."""
    rows = len(share)
    arm = rng.random((rows, rollouts)) < share[:, None]
    rate = np.broadcast_to(np.asarray(base), (rows,))[:, None] * (1 - drop * arm)
    return Traffic((rng.random((rows, rollouts)) < rate).astype(float), arm, share)


def latency(rng: np.random.Generator, share: Floats, rollouts: int) -> Traffic:
    """A bounded latency score: 1 at once, 0.5 at the limit; log-normal times with a heavy tail, alike in both arms."""
    arm = rng.random((len(share), rollouts)) < share[:, None]
    times = rng.lognormal(-1.0, 0.9, (len(share), rollouts))
    return Traffic(1 / (1 + times), arm, share)


def first(called: Flags) -> Floats:
    """Return the number of the first row that calls, by rollout; infinite where none does."""
    return np.where(called.any(axis=0), called.argmax(axis=0) + 1.0, np.inf)


def estimated_drop(of: Traffic, *, by_stage: bool = True) -> Floats:
    """Return the relative drop after each row, stratified by stage or pooled."""
    tops, bottoms, weights = np.zeros_like(of.y), np.zeros_like(of.y), np.zeros_like(of.y)
    stages = stage_of(of.share) if by_stage else np.zeros(len(of.share))
    for stage in np.unique(stages):
        here = (stages == stage)[:, None]
        n1, n0 = np.cumsum(of.arm & here, axis=0), np.cumsum(~of.arm & here, axis=0)
        s1, s0 = np.cumsum(of.y * (of.arm & here), axis=0), np.cumsum(of.y * (~of.arm & here), axis=0)
        weight = n0 * n1 / np.maximum(n0 + n1, 1)
        tops += weight * s1 / np.maximum(n1, 1)
        bottoms += weight * s0 / np.maximum(n0, 1)
        weights += weight
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where((weights > 0) & (bottoms > 0), 1 - tops / bottoms, -np.inf)


def guard(of: Traffic, *, metrics: int = 1, tolerance: float = 0.05) -> Floats:
    """The row at which our rule rolls back one metric of so many."""
    target = metrics / 0.05
    wealth = Accounts(tolerance, target, games=of.y.shape[1]).play(of.y, of.arm, of.share)
    enough = wealth >= np.log(target)
    found = np.full(of.y.shape[1], np.inf)
    some = enough.any(axis=0)
    if some.any():
        drop = estimated_drop(Traffic(of.y[:, some], of.arm[:, some], of.share))
        found[some] = first(enough[:, some] & (drop >= tolerance))
    return found


def likelihood_ratio(of: Traffic, base: float, drop: float, *, baseline_known: bool) -> Floats:
    """The row at which a likelihood ratio that knows both rates reaches 20.

    Against the nearest point of "alike" (what a test that does not know the base rate can at best be), or, with the
    baseline known, against the baseline's rate, which only a test with historical control could use.
    """
    p0, p1 = base, base * (1 - drop)
    ratio = np.array(1.0)
    q = p0 if baseline_known else float(projection(np.array(p0), np.array(p1), np.array(of.share[0]), ratio)[0])
    right = np.where(of.arm, np.log(p1 / q), np.log(p0 / q))
    wrong = np.where(of.arm, np.log((1 - p1) / (1 - q)), np.log((1 - p0) / (1 - q)))
    return first(np.cumsum(np.where(of.y > 0, right, wrong), axis=0) >= np.log(20))


def _looks(rows: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(rows / LOOKS, rows, LOOKS).astype(int) - 1)


def peeked_z(of: Traffic) -> Flags:
    """The two-sample z test of a fixed horizon, at 5 %, looked at all day long."""
    looks = _looks(len(of.share))
    n1, n0 = (np.cumsum(mask, axis=0)[looks] for mask in (of.arm, ~of.arm))
    s1, s0 = (np.cumsum(of.y * mask, axis=0)[looks] for mask in (of.arm, ~of.arm))
    with np.errstate(invalid="ignore", divide="ignore"):
        pooled = (s1 + s0) / (n1 + n0)
        z = (s0 / n0 - s1 / n1) / np.sqrt(pooled * (1 - pooled) * (1 / n1 + 1 / n0))
    return np.asarray(((z >= 1.645) & (n1 >= 10)).any(axis=0))


def raw_threshold(of: Traffic) -> Flags:
    """The estimate is below by more than 5 %, once 100 candidates were seen."""
    looks = _looks(len(of.share))
    enough = np.cumsum(of.arm, axis=0)[looks] >= 100
    return np.asarray(((estimated_drop(of, by_stage=False)[looks] > 0.05) & enough).any(axis=0))


def windowed_threshold(of: Traffic) -> Flags:
    """Each five minutes by themselves, as canary analysis with a threshold does."""
    edges = np.concatenate([[0], _looks(len(of.share)) + 1])
    n1, s1, n0, s0 = (
        np.diff(np.concatenate([np.zeros((1, of.y.shape[1])), np.cumsum(column, axis=0)])[edges], axis=0)
        for column in (of.arm, of.y * of.arm, ~of.arm, of.y * ~of.arm)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((1 - (s1 / n1) / (s0 / n0) > 0.05).any(axis=0))


def pooled_sequential(of: Traffic) -> Flags:
    """A sequential test that is valid at one share (a normal mixture), pooled over the stages of a ramp."""
    n1, n0 = np.cumsum(of.arm, axis=0), np.cumsum(~of.arm, axis=0)
    s1, s0 = np.cumsum(of.y * of.arm, axis=0), np.cumsum(of.y * ~of.arm, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        pooled = (s1 + s0) / (n1 + n0)
        size = n0 * n1 / (n0 + n1) * 0.01  # planned for effects of a tenth of a standard deviation
        z = (s0 / n0 - s1 / n1) / np.sqrt(pooled * (1 - pooled) * (1 / n1 + 1 / n0))
        bound = np.sqrt((1 + 1 / size) * np.log((1 + size) / 0.05**2))
    return np.asarray(((z >= bound) & (n1 >= 30)).any(axis=0))


RULES: dict[str, Callable[[Traffic], Flags]] = {
    "z test, peeked": peeked_z,
    "estimate > 5 %": raw_threshold,
    "5-minute windows": windowed_threshold,
    "sequential, pooled": pooled_sequential,
    "metamon": lambda of: np.isfinite(guard(of)),
}
