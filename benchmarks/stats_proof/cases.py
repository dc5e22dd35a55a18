"""Gates 1 to 3: golden cases. The first two by enumeration of every table, the third by simulation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from analysis.paired import compare_binary
from analysis.verdict import Outcome, judge
from benchmarks.stats_proof.gate import Gate, at_least, at_most, nominal

Floats = NDArray[np.float64]
METRICS, CASES, REPEATS = 6, 100, 5


def _arms(trials: int, lost: int, won: int) -> tuple[Floats, Floats]:
    both = trials - lost - won
    return np.repeat([1.0, 1.0, 0.0], [both, lost, won]), np.repeat([1.0, 0.0, 1.0], [both, lost, won])


def _first(asked: Callable[[int], bool], low: int, high: int) -> int:
    """Return the smallest number in [low, high] that is asked for, or high + 1; every larger one is too."""
    high += 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if asked(middle) else (middle + 1, high)
    return low


def _mass(trials: int, regions: list[tuple[int, int]], p_lost: Floats, p_won: Floats) -> Floats:
    """Return the probability of low ≤ lost ≤ high, where regions[won] = (low, high); shape of the probabilities."""
    total = np.zeros(len(p_won))
    for won, (low, high) in enumerate(regions):
        if high < low:
            continue
        left = trials - won
        share = np.clip(p_lost / np.maximum(1 - p_won, 1e-300), 0, 1)
        inside = stats.binom.cdf(high, left, share) - (stats.binom.cdf(low - 1, left, share) if low else 0.0)
        total += stats.binom.pmf(won, trials, p_won) * inside
    return total


def _is_worse(n: int, won: int, lost: int) -> bool:
    return compare_binary(*_arms(n, lost, won)).p_worse <= 0.05


def _is_open(n: int, won: int, relative: bool, lost: int) -> bool:
    return compare_binary(*_arms(n, lost, won), margin=0.05, relative=relative).p_noninferior > 0.05


def worse(seed: int) -> list[Gate]:
    """Gate 1: the exact test of "worse". Enumeration needs no seed."""
    size: dict[str, float] = {}
    regions: list[tuple[int, int]] = []
    for n in (10, 20, 50, 100):
        regions = []
        for won in range(n + 1):
            first = _first(partial(_is_worse, n, won), 0, n - won)
            regions.append((first, n - won))
        flips = np.linspace(0, 0.5, 2001)
        size[f"n={n}"] = float(_mass(n, regions, flips, flips).max())
    power = float(_mass(100, regions, np.array([0.13]), np.array([0.03]))[0])
    return [
        at_most("1", "size of the paired binary test, every table enumerated", size, 0.05),
        at_least("1", "its power, 100 cases, a loss of 10 points, 3 % flips", {"power": power}, 0.83),
    ]


def noninferior(seed: int) -> list[Gate]:
    """Gate 2: the exact tests of a margin. Enumeration needs no seed."""
    size: dict[str, float] = {}
    for relative in (False, True):
        # Cases that fail in both arms are conditioned on: for the relative margin n is the number of the others.
        for n in (10, 20, 50, 100):
            regions = []
            for won in range(n + 1):
                beyond = _first(partial(_is_open, n, won, relative), 0, n - won)
                regions.append((0, beyond - 1))
            ratio = 0.95 if relative else 1.0
            won_rate = 0.95 / (1 + ratio) * np.sin(np.linspace(0, np.pi / 2, 2001)) ** 2
            size[f"{'relative' if relative else 'absolute'} n={n}"] = float(
                _mass(n, regions, 0.05 + ratio * won_rate, won_rate).max()
            )
    return [at_most("2", "size of non-inferiority at 5 %, every table enumerated", size, 0.05)]


def verdicts(seed: int, rounds: int = 800) -> list[Gate]:
    """Gate 3: the whole verdict over six metrics, 100 cases, five repeats."""
    rng = np.random.default_rng([seed, 3])

    def answers(right: Floats) -> Floats:
        return (rng.random((CASES, REPEATS)) < right[:, None]).astype(float)

    def verdict(flips: float, loss: str = "") -> Outcome:
        results = {}
        for metric in range(METRICS):
            right = np.full(CASES, 1 - flips)
            after = right
            if metric == 0 and loss == "cases lost":
                after = right * (rng.random(CASES) >= 0.05)
            elif metric == 0 and loss == "every answer worse":
                after = right * 0.95
            results[f"m{metric}"] = compare_binary(answers(right), answers(after))
        return judge(results).outcome

    same = {flips: [verdict(flips) for _ in range(rounds)] for flips in (0.01, 0.05)}
    lost = {how: [verdict(0.01, how) for _ in range(rounds)] for how in ("cases lost", "every answer worse")}
    false_fail = {f"flips {flips}": np.mean([o is Outcome.FAIL for o in found]) for flips, found in same.items()}
    false_pass = {how: np.mean([o is Outcome.PASS for o in found]) for how, found in lost.items()}
    passes = {"flips 0.01": float(np.mean([o is Outcome.PASS for o in same[0.01]]))}
    return [
        at_most(
            "3",
            "false FAIL of the verdict, A/A (0.05 and two standard errors of the simulation)",
            {k: float(v) for k, v in false_fail.items()},
            nominal(rounds),
        ),
        at_most("3", "false PASS with one metric at the margin", {k: float(v) for k, v in false_pass.items()}, 0.05),
        at_least("3", "PASS, A/A, five repeats", passes, 0.90),
    ]
