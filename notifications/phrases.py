"""How alerts, rollouts, metrics and impacts are put in a few words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from notifications import wording
from notifications.typeset import Laid, words
from notifications.views import AlertView, DigestView, ImpactView, MetricView, ProposalView, RolloutView, Site
from notifications.wording import MINUS, NBSP, duration, figure, percent, plain


def band(alert: AlertView) -> str | None:
    """Return what was expected of the alert's metric, where that is known."""
    return wording.expected(alert.metric, alert.expected, alert.low, alert.high)


def short(alert: AlertView) -> str:
    """Say metric, figure and expectation; the title where there is no figure."""
    if alert.observed is None:
        return alert.title
    usual = band(alert)
    return f"{alert.metric} {figure(alert.metric, alert.observed)}" + (f", expected {usual}" if usual else "")


def saw(alert: AlertView) -> str:
    """Say the same with the metric's name as people read it."""
    if alert.observed is None:
        return alert.title
    usual = band(alert)
    said = f"{wording.label(alert.metric)} {figure(alert.metric, alert.observed)}"
    return said + (f", expected {usual}" if usual else "")


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


def progress(rollout: RolloutView) -> list[dict[str, object]]:
    """Return the bar of a rollout: who has the change, and who has not."""
    share = min(rollout.percent, 100 - rollout.holdback_percent) if rollout.percent > 50 else rollout.percent
    return [{"kind": "done", "width": share}, {"kind": "gap", "width": 100 - share}]


def next_step(rollout: RolloutView) -> str:
    """Return what comes next for a rollout."""
    if rollout.state == "paused":
        return "waits for somebody to resume it"
    if rollout.state == "holdback":
        return "next: its impact is measured, then the hold-back ends"
    following = 50 if rollout.percent < 50 else 100
    return f"next: {following}{NBSP}% if the guard agrees"


def margins(rollout: RolloutView) -> str:
    """Return what the guard sees: `fact accuracy −0.4 % (limit −5 %), error free +0.1 %`."""
    said = []
    for number, margin in enumerate(rollout.margins[:3]):
        limit = f" (taken back at {percent(-100 * margin.limit)})" if number == 0 else ""
        said.append(f"{wording.label(margin.metric)} {percent(-100 * margin.drop)}{limit}")
    return ", ".join(said)


def because(proposal: ProposalView) -> str:
    """Return the cause as a sentence: its first; when it began and with which errors stands behind the link."""
    cause = plain(proposal.root_cause).partition(". ")[0].rstrip(".")
    return f"{cause[:1].upper()}{cause[1:]}." if cause else "The cause is not known."


def promise(proposal: ProposalView) -> str:
    """Return what is predicted, and what validation said of it."""
    low, high = sorted((proposal.predicted_low, proposal.predicted_high), key=abs)
    parts = [
        f"{wording.label(proposal.metric)} {percent(proposal.predicted_pct)} predicted "
        f"[{percent(low)} to {percent(high)}]",
        proposal.checked,
        f"{proposal.impact} impact",
    ]
    return " · ".join(part for part in parts if part)


@dataclass(frozen=True)
class Proof:
    """Whether a prediction came true."""

    word: str
    tone: str


def proven(impact: ImpactView) -> Proof:
    """Return whether the change was worth it, as far as it is known."""
    if impact.measured_pct is None or not impact.significant:
        return Proof("Not proven", "soft")
    better = (impact.measured_pct < 0) == wording.lower_is_better(impact.metric)
    return Proof("Proven", "good") if better else Proof("Disproven", "alarm")


@dataclass(frozen=True)
class Undone:
    """A change that did not stay, or never came to be."""

    title: str
    why: str
    url: str


def undone(view: DigestView) -> list[Undone]:
    """Return what was rolled back, then what was blocked, each with its reason."""
    back = [
        Undone(
            f"Rolled back: {rollout.title}",
            rollout.reason or "no reason was recorded",
            view.site.link(f"rollouts/{rollout.id}"),
        )
        for rollout in view.rolled_back
    ]
    return back + [
        Undone(
            f"Blocked: {proposal.title}",
            f"Validation found a regression ({proposal.checked}). It never reached a user."
            if proposal.checked
            else "Validation found a regression. It never reached a user.",
            view.site.link(f"proposals/{proposal.id}"),
        )
        for proposal in view.blocked
    ]


def method(view: DigestView) -> str:
    """Return the line on how the figures came to be, and what asking models cost."""
    said = (
        f"24 h to {wording.clock(view.end, view.site.zone)}, {wording.count(view.runs, 'run')}; "
        f"{view.checks.ran} of {view.checks.due} checks ran. Baseline: the {duration(view.history)} before. "
        f"Grey: the 95{NBSP}% interval includes zero."
    )
    if view.spend is None:
        return f"{said} No language model was asked."
    return (
        f"{said} Language models: {view.spend.tokens:,} of at most {view.spend.cap:,} tokens "
        f"in {wording.count(view.spend.pieces, 'task')}."
    )


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
    said = f"{wording.label(impact.metric)} {percent(impact.predicted_pct)} predicted, "
    if impact.measured_pct is None:
        return said + "not measured yet"
    said += f"{percent(impact.measured_pct)} measured"
    if impact.low is not None and impact.high is not None:
        said += f" [{percent(impact.low)}, {percent(impact.high)}]"
    said += "" if impact.significant else ", within noise"
    if impact.method != "holdback":
        said += ", before against after (no control group)"
    return said + (f", ROI {_roi(impact.roi)}" if impact.roi is not None else "")


def _roi(value: float) -> str:
    return (f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}").replace("-", MINUS)


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
