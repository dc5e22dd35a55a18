"""Scoring against labelled events: recall of events, precision of episodes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

GRACE_S = 600
"""An alarm so long after an event still hits it."""
EPISODE_S = 3600
"""False alarms so close to each other are one episode."""
WEEK_S = 7 * 86_400
QUIET = 0.25
"""False episodes in a series-week that a quiet detector may raise."""
THRESHOLDS = 300
LEAST_QUIET = 0.97
"""Who alarms at more than 3 % of the healthy points has one endless episode, which would count as a single one."""


@dataclass(frozen=True)
class Labelled:
    """Series with labels.

    Attributes:
        values, labels: of each series.
        score_from: index in each series from which on it is scored; what is before is history to learn from.
        step_s: seconds between two points, by series.
    """

    values: list[np.ndarray]
    labels: list[np.ndarray]
    score_from: list[int]
    step_s: list[int]

    @classmethod
    def read(cls, data: Any) -> Labelled:
        """Read an open npz file with values, labels, offsets, score_from and step_s."""
        ends = data["offsets"]
        parts = [slice(int(a), int(b)) for a, b in itertools.pairwise(ends)]
        steps = np.broadcast_to(data["step_s"], (len(parts),))
        return cls(
            [data["values"][part].astype(np.float64) for part in parts],
            [data["labels"][part].astype(bool) for part in parts],
            [int(start) for start in data["score_from"]],
            [int(step) for step in steps],
        )


class Judge:
    """Knows the events of labelled series and scores detectors against them."""

    def __init__(self, data: Labelled) -> None:
        self._events: list[tuple[int, int, int]] = []
        self._free: list[np.ndarray] = []
        self.weeks = 0.0
        for number, (labels, start, step) in enumerate(zip(data.labels, data.score_from, data.step_s, strict=True)):
            bad = labels.copy()
            bad[:start] = False
            edges = np.diff(np.concatenate(([0], bad.view(np.int8), [0])))
            covered = np.zeros(bad.size, dtype=bool)
            covered[:start] = True
            for first, end in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True):
                last = min(int(end) + GRACE_S // step, bad.size)
                covered[first:last] = True
                self._events.append((number, int(first), last))
            self._free.append(np.flatnonzero(~covered))
            self.weeks += (bad.size - start) * step / WEEK_S
        self._apart = EPISODE_S // min(data.step_s)
        self.events = len(self._events)

    def judge(self, scores: Sequence[np.ndarray], threshold: float | None) -> dict[str, float]:
        """Return figures at a threshold, at the best threshold, and the recall of a quiet detector.

        Args:
            scores: one array for each series.
            threshold: the detector's own; None where it has none.
        """
        peaks = np.array([scores[number][first:last].max() for number, first, last in self._events])
        places, values, base = [], [], 0
        for free, score in zip(self._free, scores, strict=True):
            places.append(free + base)
            values.append(score[free])
            base += score.size + self._apart + 1
        where, height = np.concatenate(places), np.concatenate(values)
        candidates = np.unique(
            np.concatenate(
                (
                    np.quantile(peaks, np.linspace(0, 1, THRESHOLDS)),
                    np.quantile(height, 1 - np.geomspace(1e-5, 0.03, THRESHOLDS)),
                )
            )
        )
        lowest = float(np.quantile(height, LEAST_QUIET))
        curve = [self._at(peaks, where, height, limit) for limit in candidates[candidates > max(lowest, 0.0)]]
        best = max(curve or [self._at(peaks, where, height, np.inf)], key=lambda point: point["f1"])
        quiet = [point["recall"] for point in curve if point["false_a_week"] <= QUIET]
        found = {f"{name}_best": value for name, value in best.items()}
        found["recall_quiet"] = max(quiet, default=0.0)
        if threshold is not None:
            found |= self._at(peaks, where, height, threshold)
        return {name: round(value, 4) for name, value in found.items()}

    def _at(self, peaks: np.ndarray, where: np.ndarray, height: np.ndarray, limit: float) -> dict[str, float]:
        hits = int((peaks >= limit).sum())
        alarms = where[height >= limit]
        false = int(alarms.size > 0) + int((np.diff(alarms) > self._apart).sum())
        recall, precision = hits / max(self.events, 1), hits / max(hits + false, 1)
        f1 = 2 * recall * precision / max(recall + precision, 1e-12)
        return {
            "f1": f1, "precision": precision, "recall": recall, "false_a_week": false / self.weeks, "threshold": limit
        }  # fmt: skip
