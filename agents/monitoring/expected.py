"""What is usual, for those who look at a chart: the very references that alerts are judged by, as a band."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from sqlalchemy.orm import Session

from agents.monitoring.check import load_history
from agents.monitoring.history import LOOK_BACK, History
from agents.monitoring.metrics import ERRORS, LATENCY_P95, SLA, VOLUME, RateMetric, quality, quality_keys
from analysis.histogram import LogHistogram
from analysis.judgement import LevelReference
from analysis.rates import RateReference
from core.clock import floor_time
from db.repositories import alerts, buckets
from db.repositories.buckets import HOUR

Z = 1.96

LIVE_WINDOW = 6
"""Buckets that a live figure is taken from: as many as an alert is judged by."""
BANDS_CAP = 48
"""Moments of a series at which a band is learnt anew; what lies between has the band of the one before."""
LIVE_FEEDBACK_CAP = 6


@dataclass(frozen=True)
class Live:
    """A metric as it is now. Band ends are None where nothing was learnt."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    unit: str


Band = tuple[float | None, float | None]
NO_BAND: Band = (None, None)


def live(session: Session, app_id: int, *, now: datetime, width: timedelta) -> list[Live]:
    """Return the app's metrics over the latest buckets, each with what is usual at this time of day."""
    history = load_history(session, app_id, first_end=now, now=now, width=width)
    start = floor_time(now - timedelta(microseconds=1), width) - (LIVE_WINDOW - 1) * width
    parts = [part for part in history.recent if part.start >= start]
    found = []
    keys = quality_keys([*history.hours, *history.recent])[:LIVE_FEEDBACK_CAP]
    for metric in (ERRORS, SLA, *map(quality, keys)):
        failures, runs = (sum(column) for column in zip(*map(metric.counted, parts), strict=True)) if parts else (0, 0)
        value = metric.value(failures / runs) if runs else None
        low, high = _rate_band(metric, history.rate_references(metric, before=start, at=now), runs)
        found.append(Live(metric.name, value, low, high, "fraction"))
    merged = LogHistogram.merged(part.latency for part in parts)
    low, high = _level_band(history.level_references(LATENCY_P95, before=start, at=now))
    found.append(Live(LATENCY_P95, merged.quantile(0.95), low, high, "s"))
    seconds = (now - start).total_seconds()
    low, high = _volume_band(history.usual_volumes(VOLUME, before=start, at=now), seconds)
    per_minute = 60 / max(seconds, 1.0)
    found.append(
        Live(
            VOLUME,
            sum(part.runs for part in parts) * per_minute,
            None if low is None else low * per_minute,
            None if high is None else high * per_minute,
            "runs/min",
        )
    )
    return found


def bands(
    session: Session, app_id: int, metric: str, points: Sequence[tuple[datetime, int]], *, step: timedelta
) -> list[Band]:
    """Return what was to be expected of each point, learnt from what lies before it.

    Args:
        metric: one that has a band: a rate, a feedback key in [0, 1], `latency_p95`, `volume`.
        points: (start, runs), oldest first.
        step: how much time a point covers.
    """
    if not points:
        return []
    first, last = points[0][0], points[-1][0] + step
    hours = buckets.hours(session, app_id, since=floor_time(first, HOUR) - LOOK_BACK, until=last)
    history = History(hours, [], HOUR, alarms(session, app_id, since=first - LOOK_BACK, now=last))
    every = max(HOUR, (last - first) / BANDS_CAP)
    rate = _rate(metric, history)
    result: list[Band] = []
    until = first
    for at, runs in points:
        if at >= until:
            before = floor_time(at, HOUR)
            until = before + every
            band = _band_at(history, metric, rate, before=before, at=at, seconds=step.total_seconds())
        result.append(band(runs))
    return result


def _band_at(
    history: History, metric: str, rate: RateMetric | None, *, before: datetime, at: datetime, seconds: float
) -> Callable[[int], Band]:
    """Return the band at a moment, given the number of runs it is about."""
    if rate is not None:
        references = history.rate_references(rate, before=before, at=at)
        return lambda runs: _rate_band(rate, references, runs)
    fixed = NO_BAND
    if metric == LATENCY_P95:
        fixed = _level_band(history.level_references(metric, before=before, at=at))
    elif metric == VOLUME:
        fixed = _volume_band(history.usual_volumes(metric, before=before, at=at), seconds)
    return lambda _: fixed


def alarms(
    session: Session, app_id: int, *, since: datetime, now: datetime
) -> dict[str, list[tuple[datetime, datetime]]]:
    """Return by metric the times at which an alert was open: they teach nothing of what is usual."""
    found: dict[str, list[tuple[datetime, datetime]]] = {}
    for metric, start, end in alerts.alarmed_since(session, app_id, since=since):
        found.setdefault(metric, []).append((start, end or now))
    return found


def _rate(metric: str, history: History) -> RateMetric | None:
    known = {ERRORS.name: ERRORS, SLA.name: SLA}
    if metric in known:
        return known[metric]
    return quality(metric) if metric in quality_keys(history.hours) else None


def _rate_band(metric: RateMetric, references: Sequence[RateReference], runs: int) -> Band:
    ends = [reference.band(max(runs, 1)) for reference in references if reference.runs]
    if not ends:
        return NO_BAND
    low, high = metric.value(min(end[0] for end in ends)), metric.value(max(end[1] for end in ends))
    return (high, low) if metric.success else (low, high)


def _level_band(references: Sequence[LevelReference]) -> Band:
    if not references:
        return NO_BAND
    lows = [float(np.exp(reference.centre - Z * reference.spread)) for reference in references]
    return min(lows), max(reference.threshold for reference in references)


def _volume_band(rates: Sequence[float], seconds: float) -> Band:
    """Return how many runs are usual in so many seconds."""
    if not rates:
        return NO_BAND
    low, high = min(rates) * seconds, max(rates) * seconds
    return max(0.0, low - Z * low**0.5), high + Z * high**0.5
