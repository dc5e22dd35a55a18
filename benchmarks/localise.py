"""How well the localiser names the injected cause: `python -m benchmarks.localise [--full] [--cases N] [--first SEED]`.

Prints one JSON document: the goals with what was measured, then the details: top-1 over all and over detectable faults
(by order), recall with two faults, false causes where nothing is wrong, drift called global, values newly deployed,
latencies, coverage of the onset's interval, seconds. `--full` makes 1,200 worlds in which nothing is wrong and as many
with a fault, more than 500 of them detectable. Two simple methods run on the same worlds for comparison.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from analysis.localise import Cause, localise
from benchmarks.localise_worlds import Generator, Kind, World, world

FULL = 600
"""Worlds of each kind and generator with `--full`."""

GENERATORS: tuple[Generator, ...] = ("noisy-or", "odds")


class Goals:
    """What was measured, over all generators, against what is wanted."""

    def __init__(self) -> None:
        self.seen: dict[str, list[bool]] = defaultdict(list)

    def add(self, name: str, values: Sequence[bool]) -> None:
        """Count cases of a goal."""
        self.seen[name] += values

    def report(self) -> list[dict[str, Any]]:
        """Return a row per goal that was measured, with its distance: positive is better than wanted."""
        rows = []
        for name, (low, high) in WANTED.items():
            if not self.seen.get(name):
                continue
            rate = float(np.mean(self.seen[name]))
            distance = min(rate - low, high - rate)
            rows.append(
                {
                    "goal": name,
                    "wanted": f"≥ {low}" if high == 1 else f"≤ {high}" if low == 0 else f"{low}–{high}",
                    "measured": round(rate, 4),
                    "cases": len(self.seen[name]),
                    "distance": round(distance, 4),
                }
            )
        return rows


WANTED: dict[str, tuple[float, float]] = {
    "top-1, detectable": (0.97, 1),
    "top-1, detectable, order 1": (0.95, 1),
    "top-1, detectable, order 2": (0.95, 1),
    "top-1, detectable, order 3": (0.95, 1),
    "false causes where nothing is wrong": (0, 0.01),
    "drift called global": (0.95, 1),
    "recall with two faults": (0.95, 1),
    "top-1, newly deployed": (0.95, 1),
    "top-1, latency": (0.95, 1),
    "false causes in latency where nothing is wrong": (0, 0.01),
    "onset within its 90 % interval": (0.87, 0.93),
}
"""Bounds of each goal: from, to."""


def share_difference(here: World) -> dict[str, str]:
    """Name the one value whose share among failing runs grew most (what BubbleUp-like views show)."""
    bad, failed = np.array(here.bad), np.array(here.outcome, dtype=bool)
    best, name = -1.0, {}
    for attribute, column in here.attributes.items():
        now = Counter(value for value, b, f in zip(column, bad, failed, strict=True) if b and f and value is not None)
        rest = Counter(
            value for value, b, f in zip(column, bad, failed, strict=True) if b and not f and value is not None
        )
        total, others = max(sum(now.values()), 1), max(sum(rest.values()), 1)
        for value, count in now.items():
            gain = count / total - rest[value] / others
            if gain > best:
                best, name = gain, {attribute: value}
    return name


def adtributor(here: World) -> dict[str, str]:
    """Name the value of the attribute with the largest surprise that explains most (Bhagwan et al. 2014, NSDI)."""
    bad, failed = np.array(here.bad), np.array(here.outcome, dtype=bool)
    scale = bad.sum() / max((~bad).sum(), 1)
    best, name = -1.0, {}
    for attribute, column in here.attributes.items():
        now = Counter(value for value, b, f in zip(column, bad, failed, strict=True) if b and f and value is not None)
        before = Counter(
            value for value, b, f in zip(column, bad, failed, strict=True) if not b and f and value is not None
        )
        total, earlier = max(sum(now.values()), 1), max(sum(before.values()), 1)
        delta = total - earlier * scale
        chosen: list[tuple[float, str, float]] = []
        for value in now:
            p, q = before[value] / earlier, now[value] / total
            mean = (p + q) / 2
            surprise = 0.5 * (p * np.log(p / mean) if p else 0) + 0.5 * (q * np.log(q / mean) if q else 0)
            explained = (now[value] - before[value] * scale) / delta if delta else 0.0
            if explained > 0.1:
                chosen.append((surprise, value, explained))
        for surprise, value, _ in chosen:
            if surprise > best:
                best, name = surprise, {attribute: value}
    return name


def _run(here: World, worse: Any = None) -> tuple[list[Cause], float]:
    started = time.perf_counter()
    causes = localise(here.attributes, here.outcome, here.bad, times=here.times, worse=worse)
    return causes, time.perf_counter() - started


def _top(cases: range, kind: Kind, generator: Generator, goals: Goals, *, compare: bool = False) -> dict[str, Any]:
    """Top-1 on single causes."""
    hits: dict[str, list[bool]] = defaultdict(list)
    misses: list[dict[str, Any]] = []
    covered: list[bool] = []
    seconds: list[float] = []
    for seed in cases:
        here = world(seed, kind, generator)
        causes, took = _run(here, "higher" if kind == "latency" else None)
        seconds.append(took)
        right = bool(causes) and causes[0].conditions == here.truths[0]
        hits["all"].append(right)
        if here.detectable:
            hits["detectable"].append(right)
            hits[f"order {here.orders[0]}"].append(right)
            if not right:
                misses.append({"seed": seed, "truth": here.truths[0], "got": [cause.conditions for cause in causes]})
            elif causes[0].onset_interval is not None and here.onset is not None:
                low, high = causes[0].onset_interval
                covered.append(low <= here.onset <= high)
            if compare:
                hits["share difference, detectable"].append(share_difference(here) == here.truths[0])
                hits["adtributor, detectable"].append(adtributor(here) == here.truths[0])
    if kind == "fault":
        goals.add("top-1, detectable", hits["detectable"])
        for order in (1, 2, 3):
            goals.add(f"top-1, detectable, order {order}", hits[f"order {order}"])
        goals.add("onset within its 90 % interval", covered)
    else:
        goals.add({"new": "top-1, newly deployed", "latency": "top-1, latency"}[kind], hits["detectable"])
    result: dict[str, Any] = {key: _rate(value) for key, value in sorted(hits.items())}
    result["onset covered"] = _rate(covered)
    result["seconds"] = round(float(np.mean(seconds)), 4)
    result["misses"] = misses[:20]
    return result


def _null(cases: range, generator: Generator, goals: Goals, *, kind: Kind = "null") -> dict[str, Any]:
    false = []
    for seed in cases:
        here = world(seed, kind, generator)
        causes, _ = _run(here, "higher" if kind == "calm" else None)
        false.append(bool(causes))
    goals.add(f"false causes {'in latency ' if kind == 'calm' else ''}where nothing is wrong", false)
    return {"false causes": _rate(false)}


def _drift(cases: range, generator: Generator, goals: Goals) -> dict[str, Any]:
    right, misses = [], []
    for seed in cases:
        here = world(seed, "drift", generator)
        if not here.detectable:
            continue
        causes, _ = _run(here)
        right.append(bool(causes) and causes[0].conditions == {})
        if not right[-1]:
            misses.append({"seed": seed, "got": [cause.conditions for cause in causes]})
    goals.add("drift called global", right)
    return {"called global": _rate(right), "misses": misses[:10]}


def _two(cases: range, generator: Generator, goals: Goals) -> dict[str, Any]:
    found, extra = [], []
    misses = []
    for seed in cases:
        here = world(seed, "two", generator)
        if len(here.truths) < 2 or not here.detectable:
            continue
        causes, _ = _run(here)
        named = [cause.conditions for cause in causes]
        found += [truth in named for truth in here.truths]
        extra.append(len([name for name in named if name not in here.truths]))
        if not all(truth in named for truth in here.truths):
            misses.append({"seed": seed, "truths": here.truths, "got": named})
    goals.add("recall with two faults", found)
    return {"recall": _rate(found), "false causes each": round(float(np.mean(extra or [0])), 3), "misses": misses[:10]}


def _speed(runs: int, attributes: int) -> float:
    here = world(7, "fault", "noisy-or", runs=runs, attributes=attributes)
    return round(min(_run(here)[1] for _ in range(3)), 3)


def _rate(values: list[bool]) -> str:
    return f"{np.mean(values):.3f} of {len(values)}" if values else "none"


def main() -> None:
    """Run everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=200, help="worlds of each kind and generator")
    parser.add_argument("--full", action="store_true", help=f"{FULL} worlds of each kind and generator")
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--only", default="", help="fault, null, drift, two, new, latency or speed")
    asked = parser.parse_args()
    cases = range(asked.first, asked.first + (FULL if asked.full else asked.cases))
    goals = Goals()
    report: dict[str, Any] = {}
    for generator in GENERATORS:
        parts: dict[str, Callable[[], dict[str, Any]]] = {
            "fault": partial(_top, cases, "fault", generator, goals, compare=True),
            "null": partial(_null, cases, generator, goals),
            "drift": partial(_drift, cases, generator, goals),
            "two": partial(_two, cases, generator, goals),
            "new": partial(_top, cases, "new", generator, goals),
        }
        for name, part in parts.items():
            if asked.only in ("", name):
                report[f"{name}, {generator}"] = part()
    if asked.only in ("", "latency"):
        report["latency"] = _top(cases, "latency", "noisy-or", goals)
        report["latency, calm"] = _null(cases, "noisy-or", goals, kind="calm")
    if asked.only in ("", "speed"):
        report["seconds, 100,000 × 8"] = _speed(100_000, 8)
        report["seconds, 1,000,000 × 20"] = _speed(1_000_000, 20)
    print(json.dumps({"goals": goals.report(), **report}, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
