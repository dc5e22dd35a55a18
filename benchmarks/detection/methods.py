"""What is compared: our detector, and three that need no explanation. All stream, none looks ahead."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import numpy as np

from analysis.detection import SeriesDetector

DAYS = 7
SETTLED = 50
START = np.datetime64("2024-01-01T00:00:00")


def ours(series: Sequence[np.ndarray], *, step_s: int, times: np.ndarray | None = None) -> list[np.ndarray]:
    """Return the scores of `SeriesDetector`, all series of one step watched together."""
    longest = max(values.size for values in series)
    rows = np.full((longest, len(series)), np.nan)
    for number, values in enumerate(series):
        rows[: values.size, number] = values
    detector = SeriesDetector(len(series), step=timedelta(seconds=step_s))
    scores = np.zeros_like(rows)
    for index, row in enumerate(rows):
        at = START + np.timedelta64(index * step_s, "s") if times is None else times[index]
        scores[index] = detector.update(row, at).score
    return [scores[: values.size, number] for number, values in enumerate(series)]


def _scaled(residuals: np.ndarray) -> np.ndarray:
    """Return residuals over their running mean size, to which each counts five times that size at most."""
    sizes = np.abs(residuals)
    found, scale = np.zeros(sizes.size), 0.0
    for index, size in enumerate(sizes.tolist()):
        settled = index > SETTLED and scale > 0
        if settled:
            found[index] = size / scale
        capped = min(size, 5 * scale) if settled else size
        scale += max(0.001, 1 / (index + 1)) * (capped - scale)
    return found


def ewma_band(values: np.ndarray) -> np.ndarray:
    """Return how far each value lies from a moving average, in robust spreads."""
    centre, spread = float(values[0]), 0.0
    residuals = np.zeros(values.size)
    for index, value in enumerate(values.tolist()):
        residuals[index] = residual = value - centre
        near = max(-5 * spread, min(5 * spread, residual)) if index > SETTLED and spread > 0 else residual
        spread += max(0.001, 1 / (index + 1)) * (abs(near) - spread)
        centre += 0.1 * near
    return _scaled(residuals)


def same_time(values: np.ndarray, *, step_s: int) -> np.ndarray:
    """Return how far each value lies from the median of the last seven days at its time, in robust spreads."""
    day = max(1, round(86_400 / step_s))
    residuals = np.zeros(values.size)
    for index in range(day, values.size):
        residuals[index] = values[index] - np.median(values[index - day :: -day][:DAYS])
    return _scaled(residuals)


BASELINES = ("ewma_band", "same_time_median", "minimum")


def baselines(values: np.ndarray, *, step_s: int) -> dict[str, np.ndarray]:
    """Return the scores of the three simple methods."""
    band, median = ewma_band(values), same_time(values, step_s=step_s)
    return {"ewma_band": band, "same_time_median": median, "minimum": np.minimum(band, median)}
