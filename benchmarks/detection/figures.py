"""Figures that need no outside data: the rate detector in simulated operation, and how long a step takes."""

from __future__ import annotations

import time
from datetime import timedelta

import numpy as np

from analysis.detection import SeriesDetector
from analysis.rates import RateDetector

START = np.datetime64("2024-01-01T00:00:00")
STEPS_A_YEAR = 105_120
CALLS = 3
HEALTHY = 0.01


def _at(step: int) -> np.datetime64:
    return START + np.timedelta64(300 * step, "s")


def false_pages(seed: int, *, series: int = 400, steps: int = 8000) -> dict[str, float]:
    """Return how often healthy series page: beginnings of alarms in a series-year of 5-minute windows."""
    rng = np.random.default_rng([seed, 1])
    detector, before, pages = RateDetector(series), np.zeros(series, bool), 0
    for step in range(steps):
        alarm = detector.update(rng.binomial(CALLS, HEALTHY, series), np.full(series, CALLS), _at(step)).alarm
        pages += int((alarm & ~before).sum())
        before = alarm
    years = series * steps / STEPS_A_YEAR
    return {"false_pages_a_year": round(pages / years, 3), "series_years": round(years, 1)}


def delays(seed: int, *, series: int = 600, history: int = 1500, horizon: int = 400) -> dict[str, float]:
    """Return the median number of windows until a risen rate is found."""
    found = {}
    for rate in (0.05, 0.10, 0.30, 0.60):
        rng = np.random.default_rng([seed, 2, int(100 * rate)])
        detector = RateDetector(series)
        for step in range(history):
            detector.update(rng.binomial(CALLS, HEALTHY, series), np.full(series, CALLS), _at(step))
        first = np.full(series, np.inf)
        for step in range(horizon):
            told = detector.update(rng.binomial(CALLS, rate, series), np.full(series, CALLS), _at(history + step))
            first = np.where(told.alarm & np.isinf(first), step + 1, first)
        found[f"{rate:.0%}"] = float(np.median(first))
    return found


def few(failures: int) -> float:
    """Return the score of so many failures of three, after 300 windows of 200 calls without one: the worst case."""
    detector = RateDetector(1)
    for step in range(300):
        detector.update([0], [200], _at(step))
    return round(float(detector.update([failures], [CALLS], _at(300)).score[0]), 3)


def step_times(series: int, *, steps: int = 60) -> dict[str, float]:
    """Return milliseconds of a step once the detectors are warm."""
    rng = np.random.default_rng(0)
    detector, rates = SeriesDetector(series, step=timedelta(minutes=5)), RateDetector(series)
    values = 100 + rng.normal(size=(steps + 40, series)).cumsum(axis=0)
    taken: list[float] = []
    others: list[float] = []
    for step, row in enumerate(values):
        begun = time.perf_counter()
        detector.update(row, _at(step))
        ended = time.perf_counter()
        rates.update(np.full(series, 1), np.full(series, 50), _at(step))
        if step >= 40:
            taken.append(ended - begun)
            others.append(time.perf_counter() - ended)
    return {
        "series": series,
        "ms_median": round(1e3 * float(np.median(taken)), 2),
        "ms_least": round(1e3 * min(taken), 2),
        "rates_ms_median": round(1e3 * float(np.median(others)), 2),
        "kilobytes_a_series": round(sum(part.nbytes for part in detector.memory().values()) / series / 1024, 1),
    }
