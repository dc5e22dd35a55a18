"""The scoring of the Numenta Anomaly Benchmark 1.1, from its definition (Lavin and Ahmad, 2015, ICMLA, section II).

Every labelled window is worth one detection, the first in it, more the earlier it comes; every detection outside costs,
less right behind a window; a missed window costs. Weights are the profile's. The first 15 % of a file (750 points at
most) are not scored. 0 is a detector that says nothing, 100 the perfect one. No threshold is fitted here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

PROFILES = {
    "standard": (1.0, 0.11, 1.0),
    "low_fp": (1.0, 0.22, 1.0),
    "low_fn": (1.0, 0.11, 2.0),
}
"""Weights of a hit, of a false detection, and of a missed window."""
PROBATION, PROBATION_CAP = 0.15, 750
FAR = 3.0


@dataclass(frozen=True)
class File:
    """One file of the corpus: times, values, and (first, last) index of every window."""

    name: str
    times: np.ndarray
    values: np.ndarray
    windows: list[tuple[int, int]]

    @property
    def step_s(self) -> int:
        """The usual time between two points."""
        return int(np.median(np.diff(self.times).astype(np.int64)))


def read(data: Any) -> list[File]:
    """Read an open npz file with NAME|t, NAME|x and NAME|windows for every file."""
    files = []
    for name in sorted({key.split("|")[0] for key in data.files}):
        times = data[f"{name}|t"].astype("datetime64[s]")
        windows = [
            (int(np.searchsorted(times, first)), int(np.searchsorted(times, last, side="right")) - 1)
            for first, last in data[f"{name}|windows"].astype("datetime64[s]")
        ]
        files.append(File(name, times, data[f"{name}|x"].astype(np.float64), windows))
    return files


def sigmoid(position: np.ndarray) -> np.ndarray:
    """Return the worth of a detection by its place: −1 is a window's left end, 0 its right end; in (−1, 1)."""
    return np.where(position > FAR, -1.0, 2.0 / (1.0 + np.exp(5.0 * np.minimum(position, FAR))) - 1.0)


def worth(file: File) -> tuple[np.ndarray, np.ndarray]:
    """Return each point's worth for a detection, and the number of its window (−1: none)."""
    size = file.values.size
    value, inside = np.full(size, -1.0), np.full(size, -1)
    highest = float(sigmoid(np.array(-1.0)))
    for number, (first, last) in enumerate(file.windows):
        following = file.windows[number + 1][0] if number + 1 < len(file.windows) else size
        width = last - first + 1
        within, behind = np.arange(first, last + 1), np.arange(last + 1, following)
        value[within] = sigmoid(-(last - within + 1) / width) / highest
        inside[within] = number
        value[behind] = sigmoid((behind - last) / max(width - 1, 1))
    return value, inside


def score(files: Sequence[File], alarms: Sequence[np.ndarray]) -> dict[str, float]:
    """Return the normalised score by profile."""
    windows = sum(len(file.windows) for file in files)
    if not windows:
        return dict.fromkeys(PROFILES, 0.0)
    found = {}
    for profile, (hit, false, missed) in PROFILES.items():
        raw = 0.0
        for file, alarm in zip(files, alarms, strict=True):
            value, inside = worth(file)
            where = np.flatnonzero(alarm)
            where = where[where >= int(min(PROBATION * file.values.size, PROBATION_CAP))]
            raw += false * float(value[where[inside[where] < 0]].sum())
            for number in range(len(file.windows)):
                within = where[inside[where] == number]
                raw += hit * float(value[within].max()) if within.size else -missed
        silent = -missed * windows
        found[profile] = round(100 * (raw - silent) / (hit * windows - silent), 2)
    return found
