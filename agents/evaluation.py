"""The day's score of an app, against the day before and the seven days before that one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import reduce
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from analysis.histogram import LogHistogram
from analysis.impact import Totals, difference_interval
from core.errors import NotFoundError
from db.models.apps import App
from db.queries import days
from db.queries.days import DayTotals
from db.repositories import evaluations

LOOK_BACK = 14
"""Days that are scored where they have none yet."""
BASELINE_DAYS = 7
WEIGHTS = {"fact_accuracy": 0.4, "guardrail_pass": 0.3, "sla_compliance": 0.2, "error_free": 0.1}
"""What a day's score is made of; shares of what the app does not measure go to the rest."""


@dataclass(frozen=True)
class Due:
    """A day of an app that has to be scored, or scored again because late data restated it."""

    app_id: int
    day: date


def due(session: Session, *, now: datetime) -> list[Due]:
    """Return what is to be scored: days that have ended, with data, without a score that knows all of it."""
    found = []
    for app in session.scalars(select(App).where(App.enabled).order_by(App.id)):
        today = now.astimezone(ZoneInfo(app.timezone)).date()
        first = today - timedelta(days=LOOK_BACK)
        low, high = bounds(first, app.timezone)[0], bounds(today, app.timezone)[0]
        known = days.evaluated(session, app.id, first)
        found += [
            Due(app.id, day)
            for day, revision in sorted(days.revisions(session, app.id, low, high, app.timezone).items())
            if revision > known.get(day, -1)
        ]
    return found


def bounds(day: date, zone: str) -> tuple[datetime, datetime]:
    """Return the first moment of a local day and of the next: 23, 24 or 25 hours apart."""
    midnight = [datetime.combine(day + timedelta(days=k), time(), ZoneInfo(zone)) for k in (0, 1)]
    return midnight[0], midnight[1]


def app_named(session: Session, name: str) -> App:
    """Return the app.

    Raises:
        NotFoundError: there is none of that name.
    """
    app = session.scalars(select(App).where(App.name == name)).one_or_none()
    if app is None:
        names = ", ".join(session.scalars(select(App.name).order_by(App.name))) or "none yet"
        raise NotFoundError(f"there is no app {name!r}; there are: {names}")
    return app


def score_day(session: Session, app_id: int, day: date) -> dict[str, Any]:
    """Return the columns of one day's `meta_evaluation_runs`. Reads alone."""
    app = session.get_one(App, app_id)
    low, high = bounds(day, app.timezone)
    today = days.totals(session, app_id, low, high)
    before = days.totals(session, app_id, *bounds(day - timedelta(days=1), app.timezone))
    week = days.totals(session, app_id, bounds(day - timedelta(days=BASELINE_DAYS), app.timezone)[0], low)
    measured, yesterday, usual = measures(today), measures(before), measures(week)
    p95 = LogHistogram.from_json(today.latency).quantile(0.95)
    score = quality_score(measured)
    against_day = compare(measured, yesterday)
    against_week = compare(measured, usual)
    return {
        "app_id": app_id,
        "day": day,
        "window_start": low,
        "window_end": high,
        "runs": today.runs,
        "quality_score": score,
        "fact_accuracy": _mean(measured, "fact_accuracy"),
        "guardrail_pass_rate": _mean(measured, "guardrail_pass"),
        "sla_compliance": _mean(measured, "sla_compliance"),
        "error_rate": _one_minus(_mean(measured, "error_free")),
        "latency_p95_s": p95,
        "cost": today.cost,
        "metrics": {
            "revision": today.revision,
            "finished": today.finished,
            "tokens": today.tokens,
            "score_previous_day": quality_score(yesterday),
            "score_baseline": quality_score(usual),
            "latency_p95_s_previous_day": LogHistogram.from_json(before.latency).quantile(0.95),
            "latency_p95_s_baseline": LogHistogram.from_json(week.latency).quantile(0.95),
            **{name: {"n": value.n, "mean": value.mean} for name, value in measured.items()},
        },
        "vs_previous_day": against_day,
        "vs_baseline": against_week,
        "summary": summary(score, quality_score(usual), against_week),
    }


def write_day(session: Session, fields: Mapping[str, Any]) -> None:
    """Write one scored day."""
    evaluations.put_day(session, **fields)


def measures(of: DayTotals) -> dict[str, Totals]:
    """Return the success metrics of a window by name; an app's own feedback keys beside the built-in ones."""
    found = {key: Totals(*numbers) for key, numbers in of.scores.items()}
    if of.finished:
        found["error_free"] = Totals.of_share(of.finished - of.errors, of.finished)
        found["sla_compliance"] = Totals.of_share(of.sla_met, of.finished)
    return found


def quality_score(measured: Mapping[str, Totals]) -> float | None:
    """Return the weighted mean of what is measured, in [0, 1], or None of nothing."""
    parts = [(weight, measured[name].mean) for name, weight in WEIGHTS.items() if name in measured]
    known = [(weight, min(max(mean, 0.0), 1.0)) for weight, mean in parts if mean is not None]
    total = reduce(lambda sum_, part: sum_ + part[0], known, 0.0)
    return sum(weight * mean for weight, mean in known) / total if total else None


def compare(now: Mapping[str, Totals], then: Mapping[str, Totals]) -> dict[str, Any]:
    """Return by metric {"value", "delta", "interval": [low, high], "significant"}; `value` is what it was then."""
    found = {}
    for name in sorted(now.keys() & then.keys()):
        if now[name].mean is None or then[name].mean is None:
            continue
        interval = difference_interval(now[name], then[name])
        found[name] = {
            "value": then[name].mean,
            "delta": now[name].mean - then[name].mean,  # type: ignore[operator]  # both are known here
            "interval": list(interval) if interval else None,
            "significant": bool(interval and (interval[0] > 0 or interval[1] < 0)),
        }
    return found


def summary(score: float | None, usual: float | None, against_week: Mapping[str, Any]) -> str:
    """Return the day in a sentence or two."""
    if score is None:
        return "No finished run on this day."
    parts = [f"Quality {score:.3f}" + (f" against {usual:.3f} in the seven days before." if usual is not None else ".")]
    moved = [
        f"{name} {entry['delta']:+.3f}"
        for name, entry in sorted(against_week.items(), key=lambda item: -abs(item[1]["delta"]))
        if entry["significant"]
    ]
    parts.append(f"Beyond chance: {', '.join(moved[:5])}." if moved else "Nothing moved beyond chance.")
    return " ".join(parts)


def _mean(measured: Mapping[str, Totals], name: str) -> float | None:
    return measured[name].mean if name in measured else None


def _one_minus(value: float | None) -> float | None:
    return None if value is None else 1 - value
