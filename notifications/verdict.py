"""The digest's verdict: one heading, one sentence why, one subject. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from notifications.views import AlertView, DigestView
from notifications.wording import change, clock, count, expected, figure, label


def verdict(view: DigestView) -> tuple[str, Literal["alarm", "warn", "good", "info"]]:
    """Return the heading and its tone."""
    app = view.site.app
    if view.critical:
        return f"{app} is in trouble: {count(view.critical, 'critical alert')} open", "alarm"
    if view.open_alerts:
        return f"{app} is degraded: {count(len(view.open_alerts) + view.beyond, 'alert')} open", "warn"
    if not view.checks.complete:
        return f"Monitoring had gaps: {view.checks.ran} of {view.checks.due} checks ran", "warn"
    if view.alerts:
        return f"{app} was degraded; it has recovered", "warn"
    if view.decisions:
        waits = "waits" if len(view.decisions) == 1 else "wait"
        return f"{app} is healthy; {count(len(view.decisions), 'proposal')} {waits} for you", "info"
    if view.quiet:
        return f"All quiet, {view.checks.ran} of {view.checks.due} checks ran", "good"
    return f"{app} is healthy", "good"


def lead(view: DigestView) -> str:
    """Return why, in a sentence or three."""
    said: list[str] = []
    alerts = view.open_alerts or view.alerts
    if alerts:
        said.append(_worst(view, alerts[0]))
        others = len(alerts) - 1 + view.beyond
        if others:
            said.append(f"{count(others, 'other alert')} beside it.")
    if view.decisions:
        number = len(view.decisions)
        said.append("One proposal waits for your decision." if number == 1 else f"{number} proposals wait for you.")
    if view.rolled_back:
        number = len(view.rolled_back)
        said.append("One rollout was rolled back." if number == 1 else f"{number} rollouts were rolled back.")
    if view.runs == 0:
        said.append("No run arrived in 24 hours.")
    elif view.quality is not None:
        noise = "" if view.quality.delta is None else f" ({_noise(view, ' against the day before')})"
        said.append(f"Quality {figure('quality', view.quality.value)}{noise} over {count(view.runs, 'run')}.")
    else:
        said.append(f"{count(view.runs, 'run')} were watched.")
    if view.quiet:
        said.append("Nothing needs you.")
    return " ".join(said)


def subject_line(view: DigestView) -> str:
    """Return the subject after the app's name: `1 needs approval · 0 critical · quality 0.86 (−0.01, within noise)`."""
    if view.quiet:
        parts = [f"all quiet · {view.checks.ran} of {view.checks.due} checks ran"]
    else:
        needs = len(view.decisions)
        parts = [f"{needs} {'needs' if needs == 1 else 'need'} approval"] if needs else []
        parts.append(f"{view.critical} critical")
        if not view.checks.complete:
            parts.append(f"{view.checks.ran} of {view.checks.due} checks ran")
    if view.quality is not None:
        noise = "" if view.quality.delta is None else f" ({_noise(view)})"
        parts.append(f"quality {figure('quality', view.quality.value)}{noise}")
    return " · ".join(parts)


def _noise(view: DigestView, against: str = "") -> str:
    assert view.quality is not None
    said = change("quality", view.quality.delta) + against
    return f"{said}, within noise" if view.quality.within_noise else said


def _worst(view: DigestView, alert: AlertView) -> str:
    zone = view.site.zone
    if alert.observed is None:
        what = alert.title.rstrip(".")
    else:
        band = expected(alert.metric, alert.expected, alert.low, alert.high)
        what = f"{label(alert.metric)} {_moved(alert)} {figure(alert.metric, alert.observed)}" + (
            f" (expected {band})" if band else ""
        )
    if alert.resolved_at is not None:
        return f"{what} between {_since(view, alert.since)} and {clock(alert.resolved_at, zone)}."
    return f"{what} since {_since(view, alert.since)} and has not recovered."


def _moved(alert: AlertView) -> str:
    """Return the verb of an alert's value: which way it went from what is usual."""
    assert alert.observed is not None
    if alert.low is not None and alert.observed < alert.low:
        return "fell to"
    if alert.high is not None and alert.observed > alert.high:
        return "rose to"
    return "reached"


def _since(view: DigestView, at: datetime) -> str:
    """Return the time of day, with the weekday where it was not today or last night."""
    local = at.astimezone(view.site.zone)
    return f"{local:%a %H:%M}" if view.end - at > timedelta(hours=20) else f"{local:%H:%M}"
