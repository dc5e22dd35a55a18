"""How alerts, rollouts, metrics and impacts are put in a few words."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from notifications import wording
from notifications.typeset import Laid, words
from notifications.views import AlertView, DigestView, ImpactView, MetricView, RolloutView, Site
from notifications.wording import NBSP, duration, figure, percent, plain


def band(alert: AlertView) -> str | None:
    """Return what was expected of the alert's metric, where that is known."""
    return wording.expected(alert.metric, alert.expected, alert.low, alert.high)


def short(alert: AlertView) -> str:
    """Say metric, figure and expectation; the title where there is no figure."""
    if alert.observed is None:
        return alert.title
    usual = band(alert)
    return f"{alert.metric} {figure(alert.metric, alert.observed)}" + (f", expected {usual}" if usual else "")


def state_of(site: Site) -> Callable[[AlertView, datetime], str]:
    """Return the words for an alert's state at a moment, in the reader's zone."""

    def said(alert: AlertView, now: datetime) -> str:
        if alert.resolved_at is not None:
            return (
                f"resolved at {wording.clock(alert.resolved_at, site.zone)} "
                f"after {duration(alert.resolved_at - alert.since)}"
            )
        return f"{words(alert.state)} for {duration(now - alert.since)}, since {wording.clock(alert.since, site.zone)}"

    return said


def stage(rollout: RolloutView) -> str:
    """Return how far a rollout is."""
    if rollout.state == "holdback":
        return f"100{NBSP}% but for a hold-back of {rollout.holdback_percent}{NBSP}%"
    return f"{rollout.percent}{NBSP}%" + (", paused" if rollout.state == "paused" else "")


def next_step(rollout: RolloutView) -> str:
    """Return what comes next for a rollout."""
    if rollout.state == "paused":
        return "waits for somebody to resume it"
    if rollout.state == "holdback":
        return "next: its impact is measured, then the hold-back ends"
    following = 50 if rollout.percent < 50 else 100
    return f"next: {following}{NBSP}% if the guard agrees"


def metric_tone(metric: MetricView) -> str:
    """Return the colour of a difference: grey unless it is known to be one."""
    if not metric.known_change or metric.vs_baseline is None:
        return "soft"
    return "good" if (metric.vs_baseline < 0) == wording.lower_is_better(metric.metric) else "alarm"


def against(metric: MetricView) -> str:
    """Return a difference from the baseline with its interval."""
    said = wording.change(metric.metric, metric.vs_baseline, fine=True)
    if metric.low is None or metric.high is None:
        return said
    ends = [wording.change(metric.metric, end, fine=True, unit=False) for end in (metric.low, metric.high)]
    return f"{said} [{ends[0]}, {ends[1]}]"


def worth(impact: ImpactView) -> str:
    """Return predicted against measured."""
    said = f"{impact.metric}: {percent(impact.predicted_pct)} predicted, "
    if impact.measured_pct is None:
        return said + "not measured yet"
    said += f"{percent(impact.measured_pct)} measured"
    if impact.low is not None and impact.high is not None:
        said += f" [{percent(impact.low)}, {percent(impact.high)}]"
    said += "" if impact.significant else ", within noise"
    if impact.method != "holdback":
        said += ", before against after (no control group)"
    return said + (f", ROI {impact.roi:.1f}" if impact.roi is not None else "")


def text_table(view: DigestView) -> Laid:
    """Return the digest's table for the plain text."""
    rows = [("", "24 h", "vs yesterday", "vs baseline (95 % CI)")] + [
        (
            wording.label(m.metric),
            figure(m.metric, m.value, fine=True),
            wording.change(m.metric, m.vs_yesterday, fine=True),
            against(m),
        )
        for m in view.metrics
    ]
    clean = [tuple(plain(cell, 40) for cell in row) for row in rows]
    widths = [max(len(row[column]) for row in clean) for column in range(4)]
    return Laid(
        "\n".join(
            "  " + row[0].ljust(widths[0]) + "".join("  " + row[i].rjust(widths[i]) for i in (1, 2, 3)) for row in clean
        )
    )
