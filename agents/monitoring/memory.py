"""What an app's detectors remember between two checks: loaded, or learnt anew from what is stored."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from agents.monitoring.watch import SERIES, SETTLED, RateWatch, SeriesWatch, step_of
from analysis.detection import DetectorStateError, SeriesDetector
from analysis.rates import RateDetector
from core.clock import floor_time
from db.models.metrics import DetectorState
from db.repositories import buckets, detectors

RATES_NAME = "rates"
SERIES_NAME = "series"

TEACHING_BUCKETS = 2016
"""Stored buckets that a new detector learns from: a week of five minutes."""


@dataclass
class Memory:
    """The detectors of one app during a check.

    Attributes:
        since: by name, when its memory began.
        notes: by name, why an earlier memory was given up; empty where none was.
    """

    rates: RateWatch
    series: SeriesWatch
    since: dict[str, datetime]
    notes: dict[str, str]
    _was: dict[str, datetime]

    def store(self, session: Session, app_id: int, *, now: datetime) -> None:
        """Keep what was learnt in the transaction of the check; nothing is written where nothing settled."""
        rates, series = self.rates, self.series
        if self._was.get(RATES_NAME) != rates.settled_until:
            joined = RateDetector.joined(list(rates.columns.values())) if rates.columns else None
            detectors.store(
                session, app_id, RATES_NAME, settled_until=rates.settled_until, step=rates.width,
                metrics=list(rates.columns), state=joined.state() if joined else {},
                learning_since=self.since[RATES_NAME], note=self.notes[RATES_NAME], now=now,
            )  # fmt: skip
        if self._was.get(SERIES_NAME) != series.settled_until:
            detectors.store(
                session, app_id, SERIES_NAME, settled_until=series.settled_until, step=series.step, metrics=SERIES,
                state=series.detector.state(), learning_since=self.since[SERIES_NAME], note=self.notes[SERIES_NAME],
                now=now,
            )  # fmt: skip


def recall(session: Session, app_id: int, *, first_end: datetime, width: timedelta, now: datetime) -> Memory:
    """Return the detectors as the last check left them.

    Rates that are not remembered are learnt from the stored hours when they are first judged; series from the latest
    week of stored buckets, here.

    Args:
        first_end: the earliest moment that is going to be judged.
    """
    rows = detectors.stored(session, app_id)
    since, notes, was = {}, {}, {}
    for name in (RATES_NAME, SERIES_NAME):
        row = rows.get(name)
        since[name], notes[name] = (now, "") if row is None else (row.learning_since, row.note)
        if row is not None:
            was[name] = row.settled_until

    rates, series = None, None
    try:
        rates = _rates(rows.get(RATES_NAME), width, now)
    except DetectorStateError as error:
        since[RATES_NAME], notes[RATES_NAME] = now, str(error)
    try:
        series = _series(rows.get(SERIES_NAME), width, now)
    except DetectorStateError as error:
        since[SERIES_NAME], notes[SERIES_NAME] = now, str(error)
    if rates is None:
        rates = RateWatch(width, floor_time(first_end, width) - SETTLED * width, {})
        was.pop(RATES_NAME, None)
    if series is None:
        step = step_of(width)
        until = floor_time(first_end, step) - SETTLED * step
        series = SeriesWatch.learnt(width, until, buckets.latest(session, app_id, until=until, limit=TEACHING_BUCKETS))
        was.pop(SERIES_NAME, None)
    return Memory(rates, series, since, notes, was)


def _rates(row: DetectorState | None, width: timedelta, now: datetime) -> RateWatch | None:
    if row is None:
        return None
    _settled_in_the_past(row, now)
    if row.step_s != width.total_seconds():
        raise DetectorStateError(f"buckets of {row.step_s} s taught it; they are {width.total_seconds():.0f} s now")
    if not row.metrics:
        return RateWatch(width, row.settled_until, {})
    detector = RateDetector.from_state(row.state)
    if detector.n_series != len(row.metrics):
        raise DetectorStateError(f"this state is damaged: {detector.n_series} series for {len(row.metrics)} metrics")
    columns = {metric: detector.column(place) for place, metric in enumerate(row.metrics)}
    return RateWatch(width, row.settled_until, columns)


def _settled_in_the_past(row: DetectorState, now: datetime) -> None:
    """Refuse what was learnt when a clock was ahead: hours without a run, and nothing more until they have come."""
    if row.settled_until > now:
        raise DetectorStateError(f"a clock that was ahead taught it until {row.settled_until:%Y-%m-%d %H:%M} UTC")


def _series(row: DetectorState | None, width: timedelta, now: datetime) -> SeriesWatch | None:
    if row is None:
        return None
    _settled_in_the_past(row, now)
    if row.metrics != list(SERIES) or row.step_s != step_of(width).total_seconds():
        raise DetectorStateError("it was taught other series, or in other steps")
    return SeriesWatch(width, row.settled_until, SeriesDetector.from_state(row.state))
