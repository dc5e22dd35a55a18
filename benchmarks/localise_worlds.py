"""Simulated traffic with a known fault: two generators, one noisy-OR, one not, both with a shift of traffic."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import fisher_exact

Kind = Literal["fault", "null", "drift", "two", "new", "latency", "calm"]
"""`calm` is latency where nothing is wrong."""
Generator = Literal["noisy-or", "odds"]

Texts = NDArray[np.str_]


@dataclass
class World:
    """N runs with what really went wrong."""

    attributes: dict[str, list[str | None]]
    outcome: list[Any]
    bad: list[bool]
    times: list[float]
    truths: list[dict[str, str]]
    onset: float | None = None
    detectable: bool = True
    """Whether an oracle that is told the slice(s) finds p < 1e-6 in each."""
    seed: int = 0
    orders: list[int] = field(default_factory=list)


def world(seed: int, kind: Kind, generator: Generator, *, runs: int | None = None, attributes: int = 8) -> World:
    """Make one world. The seed decides everything."""
    rng = np.random.default_rng([seed, sum(map(ord, kind + generator))])
    n = runs or int(np.exp(rng.uniform(np.log(600), np.log(30_000))))
    share = rng.uniform(0.1, 0.5)
    times = np.sort(rng.uniform(0, 1, n))
    bad = times > 1 - share
    columns = _columns(rng, bad, attributes)
    logit = _baseline(rng, columns)
    base = 1 / (1 + np.exp(-logit))
    names = list(columns)
    truths: list[dict[str, str]] = []
    hit_rate = np.zeros(n)
    onset = float(1 - share)
    if kind in ("latency", "calm"):
        return _latency(rng, columns, bad, times, seed, calm=kind == "calm")
    if kind in ("fault", "two", "new"):
        wanted = 2 if kind == "two" else 1
        for _ in range(200):
            if len(truths) == wanted:
                break
            truth = _new_value(rng, columns, bad) if kind == "new" else _slice(rng, columns, names, bad)
            if truth is None or any(set(truth) & set(other) and truth == other for other in truths):
                continue
            inside = _mask(columns, truth)
            if truths:
                other = _mask(columns, truths[0])
                if (inside & other).sum() > 0.3 * min(inside.sum(), other.sum()):
                    continue
            truths.append(truth)
            hit_rate[inside & bad] = 1 - (1 - hit_rate[inside & bad]) * (1 - rng.uniform(0.05, 0.8))
    elif kind == "drift":
        truths = [{}]
        hit_rate[bad] = rng.uniform(0.03, 0.4)
    if generator == "noisy-or":
        p = 1 - (1 - base) * (1 - hit_rate)
    else:  # the fault multiplies the odds, differently for every run
        strength = np.log1p(hit_rate / np.maximum(base, 0.02)) * rng.uniform(0.7, 1.3, n)
        p = 1 / (1 + np.exp(-(logit + np.where(hit_rate > 0, strength + 0.3, 0))))
    failed = rng.random(n) < p
    found = all(
        _p(failed, bad, _mask(columns, truth) & ~_any(columns, [other for other in truths if other is not truth]))
        < 1e-6
        for truth in truths
    )
    return World(
        _with_gaps(rng, columns, truths), failed.tolist(), bad.tolist(), times.tolist(), truths,
        onset=onset, detectable=found, seed=seed, orders=[len(truth) for truth in truths],
    )  # fmt: skip


def _columns(rng: np.random.Generator, bad: NDArray[np.bool_], count: int) -> dict[str, Texts]:
    """Attributes of 2–12 values, some of them depending on another, with other shares in the bad window."""
    columns: dict[str, Texts] = {}
    coded: list[NDArray[np.int64]] = []
    for place in range(count):
        size = int(rng.integers(2, 13))
        before = rng.dirichlet(np.full(size, rng.uniform(0.6, 3)))
        shift = rng.uniform(0, 0.6)
        after = (1 - shift) * before + shift * rng.dirichlet(np.ones(size))
        codes = np.where(bad, rng.choice(size, len(bad), p=after), rng.choice(size, len(bad), p=before))
        if place and rng.random() < 0.35:
            other = coded[int(rng.integers(place))]
            follows = rng.random(len(bad)) < rng.uniform(0.2, 0.7)
            codes = np.where(follows, other * 7 % size, codes)
        coded.append(codes)
        columns[f"a{place}"] = np.array([f"v{value}" for value in range(size)])[codes]
    return columns


def _baseline(rng: np.random.Generator, columns: dict[str, Texts]) -> NDArray[np.float64]:
    n = len(next(iter(columns.values())))
    logit = np.full(n, np.log(rng.uniform(0.005, 0.08)))
    for column in columns.values():
        for value in np.unique(column):
            if rng.random() < 0.3:
                logit[column == value] += rng.normal(0, 0.6)
    names = list(columns)
    for _ in range(3):
        a, b = rng.choice(len(names), 2, replace=False)
        left, right = columns[names[a]], columns[names[b]]
        logit[(left == rng.choice(np.unique(left))) & (right == rng.choice(np.unique(right)))] += rng.normal(0, 0.6)
    return logit


def _slice(
    rng: np.random.Generator, columns: dict[str, Texts], names: list[str], bad: NDArray[np.bool_]
) -> dict[str, str] | None:
    order = int(rng.integers(1, 4))
    row = int(rng.choice(np.flatnonzero(bad)))
    truth = {names[i]: str(columns[names[i]][row]) for i in sorted(rng.choice(len(names), order, replace=False))}
    inside = _mask(columns, truth)
    if (inside & bad).sum() < 5 or (inside & bad).mean() > 0.9 * bad.mean():
        return None
    # a condition that changes (nearly) nothing is none that anybody could name
    for name in truth:
        rest = {key: value for key, value in truth.items() if key != name}
        wider = _mask(columns, rest) & bad
        if (inside & bad).sum() > 0.85 * wider.sum():
            return None
    return truth


def _new_value(rng: np.random.Generator, columns: dict[str, Texts], bad: NDArray[np.bool_]) -> dict[str, str] | None:
    """Deploy a value in the middle of the bad window's start: it takes over a part of the traffic."""
    name = f"a{int(rng.integers(len(columns)))}"
    taken = bad & (rng.random(len(bad)) < rng.uniform(0.1, 0.6))
    if taken.sum() < 5:
        return None
    columns[name] = np.where(taken, "new", columns[name].astype("U8"))
    return {name: "new"}


def _mask(columns: dict[str, Texts], truth: dict[str, str]) -> NDArray[np.bool_]:
    inside = np.ones(len(next(iter(columns.values()))), dtype=bool)
    for name, value in truth.items():
        inside &= columns[name] == value
    return inside


def _any(columns: dict[str, Texts], truths: list[dict[str, str]]) -> NDArray[np.bool_]:
    inside = np.zeros(len(next(iter(columns.values()))), dtype=bool)
    for truth in truths:
        inside |= _mask(columns, truth)
    return inside


def _p(failed: NDArray[np.bool_], bad: NDArray[np.bool_], inside: NDArray[np.bool_]) -> float:
    now, before = inside & bad, inside & ~bad
    if not before.any():
        before = ~bad
    table = [[failed[now].sum(), (~failed[now]).sum()], [failed[before].sum(), (~failed[before]).sum()]]
    return float(fisher_exact(table, alternative="greater")[1])


def _with_gaps(
    rng: np.random.Generator, columns: dict[str, Texts], truths: list[dict[str, str]]
) -> dict[str, list[str | None]]:
    """Lose some values of attributes that the fault is not about."""
    about = {name for truth in truths for name in truth}
    found: dict[str, list[str | None]] = {}
    for name, column in columns.items():
        values: list[str | None] = column.tolist()
        if name not in about and rng.random() < 0.3:
            gone = rng.random(len(values)) < rng.uniform(0.01, 0.15)
            values = [None if lost else value for lost, value in zip(gone, values, strict=True)]
        found[name] = values
    return found


def _latency(
    rng: np.random.Generator,
    columns: dict[str, Texts],
    bad: NDArray[np.bool_],
    times: NDArray[np.float64],
    seed: int,
    *,
    calm: bool = False,
) -> World:
    """Log-normal or Pareto latencies; in the slice all runs get slower, or some of them much slower."""
    n = len(bad)
    location = np.zeros(n)
    for column in columns.values():
        for value in np.unique(column):
            if rng.random() < 0.3:
                location[column == value] += rng.normal(0, 0.15)
    noise = rng.normal(0, 0.5, n) if rng.random() < 0.5 else np.log(rng.pareto(2.5, n) + 1)
    if calm:
        slow_or_not = (np.exp(location + noise) * 0.4).tolist()
        return World(_with_gaps(rng, columns, []), slow_or_not, bad.tolist(), times.tolist(), [], seed=seed)
    truth = None
    for _ in range(200):
        truth = _slice(rng, columns, list(columns), bad)
        if truth is not None and (_mask(columns, truth) & bad).sum() >= 30:
            break
    assert truth is not None
    inside = _mask(columns, truth) & bad
    log = location + noise
    if rng.random() < 0.5:
        log[inside] += rng.uniform(0.2, 1.2)
    else:
        slow = inside & (rng.random(n) < rng.uniform(0.1, 0.6))
        log[slow] += rng.uniform(0.8, 2.5)
    from scipy.stats import mannwhitneyu

    before = _mask(columns, truth) & ~bad
    rest = log - location
    p = float(mannwhitneyu(rest[inside], rest[before if before.sum() > 20 else ~bad], alternative="greater")[1])
    return World(
        _with_gaps(rng, columns, [truth]), (np.exp(log) * 0.4).tolist(), bad.tolist(), times.tolist(), [truth],
        onset=float(times[bad][0]), detectable=p < 1e-6, seed=seed, orders=[len(truth)],
    )  # fmt: skip
