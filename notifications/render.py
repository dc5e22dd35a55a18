"""Views to mails: pure functions, each returning subject, text, HTML and headers.

Whatever a template prints goes through `plain` (one line, no control characters, capped) and, in HTML, is escaped;
a missing variable or a None is an error, not a blank.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from core.errors import MetamonError
from core.states import Severity
from notifications import wording
from notifications.views import (
    AlertView,
    DigestView,
    EventView,
    HourlyView,
    ImpactView,
    MetricView,
    Rendered,
    RolloutView,
    Site,
)
from notifications.wording import NBSP, count, duration, figure, percent, plain

Tone = Literal["alarm", "warn", "good", "info"]

SHOWN = 10
"""Items of one section that are listed; the rest are counted."""
TRACES_SHOWN = 3
SUBJECT_CAP = 160
WIDTH = 76

AUTOMATIC = {"Auto-Submitted": "auto-generated", "X-Auto-Response-Suppress": "All"}


class EmptyPrintError(MetamonError):
    """A template printed a value that is not there."""


class Laid(str):
    """Text whose lines we broke ourselves: it is printed as it is."""

    __slots__ = ()


@dataclass(frozen=True)
class Segment:
    """A piece of the scale that shows an observation beside its expected band."""

    width: int
    """Percent of the whole."""
    kind: Literal["gap", "band", "mark"]


def critical(view: EventView) -> Rendered:
    """Return the mail that says something is badly wrong, now."""
    alert = _alert(view)
    heading = f"{alert.metric} is {figure(alert.metric, alert.observed)}"
    band = _band(alert)
    if alert.observed is None:
        heading = alert.title
    elif band:
        heading += f", expected {band}"
    return _render(
        "critical",
        view.site,
        subject=_subject(view.site, f"critical: {_short(alert)}"),
        preheader=alert.reasons[0] if alert.reasons else heading,
        occasion="critical alert",
        view=view,
        heading=heading,
        band=band,
        scale=_scale(alert, band),
        traces=[url for url in alert.trace_urls if view.site.ours(url)][:TRACES_SHOWN],
    )


def resolved(view: EventView, *, base_subject: str | None = None) -> Rendered:
    """Return the mail that says it is over.

    Args:
        base_subject: the firing mail's subject: the thread keeps it.
    """
    alert = _alert(view)
    length = duration((alert.resolved_at or view.now) - alert.since)
    subject = base_subject or _subject(view.site, f"{alert.severity.value}: {_short(alert)}")
    return _render(
        "resolved",
        view.site,
        subject=f"Re: {subject}",
        preheader=f"Resolved after {length}.",
        occasion="resolved",
        view=view,
        heading=f"Resolved: {alert.metric} is back to normal",
        band=_band(alert),
    )


def approval(view: EventView) -> Rendered:
    """Return the mail that asks a person to decide."""
    proposal = _proposal(view)
    return _about_proposal(
        view,
        subject=f"needs your approval: {proposal.title}",
        occasion="approval needed",
        heading=f"Approve? {proposal.title}",
        lead="Validation passed. The change has high impact, so nothing happens until a person has decided.",
        tone="info",
        action=("Review the proposal", f"proposals/{proposal.id}"),
        command=f"metamon proposals approve {proposal.id}",
    )


def blocked(view: EventView) -> Rendered:
    """Return the mail that says validation stopped a proposal."""
    proposal = _proposal(view)
    return _about_proposal(
        view,
        subject=f"blocked by validation: {proposal.title}",
        occasion="proposal blocked",
        heading=f"Blocked: {proposal.title}",
        lead="Validation found that the change would make something worse. It has not reached a single user.",
        tone="warn",
        action=("See what regressed", f"proposals/{proposal.id}"),
        command=f"metamon proposals show {proposal.id}",
    )


def rolled_back(view: EventView) -> Rendered:
    """Return the mail that says the guard, or a person, took a change back."""
    proposal = _proposal(view)
    where = f"rollouts/{view.rollout.id}" if view.rollout else f"proposals/{proposal.id}"
    lead = "The change is withdrawn; everybody gets the baseline again."
    if view.rollout and view.rollout.finished_at:
        lead = f"Withdrawn at {wording.moment(view.rollout.finished_at, view.site.zone)}, " + (
            f"{duration(view.rollout.finished_at - view.rollout.started_at)} after it began. "
            "Everybody gets the baseline again."
        )
    return _about_proposal(
        view,
        subject=f"rolled back: {proposal.title}",
        occasion="rollback",
        heading=f"Rolled back: {proposal.title}",
        lead=lead,
        tone="warn",
        action=("See the evidence", where),
        command=None,
    )


def implemented(view: EventView) -> Rendered:
    """Return the mail that says a change is in place for everybody."""
    proposal = _proposal(view)
    where = f"rollouts/{view.rollout.id}" if view.rollout else f"proposals/{proposal.id}"
    return _about_proposal(
        view,
        subject=f"implemented: {proposal.title}",
        occasion="change implemented",
        heading=f"Implemented: {proposal.title}",
        lead="The change passed every stage of its rollout and now serves all traffic."
        if view.rollout is None or view.rollout.state != "holdback"
        else "The change passed every stage of its rollout and serves all traffic but a small hold-back.",
        tone="good",
        action=("See the rollout", where),
        command=None,
    )


def hourly(view: HourlyView) -> Rendered:
    """Return the roll-up of one slot. The view must not be empty."""
    parts = [
        count(len(items), noun)
        for items, noun in (
            (view.alerts, "high-severity alert"),
            (view.proposals, "proposal"),
            (view.rollouts, "rollout"),
        )
        if items
    ]
    said = ", ".join(parts)
    return _render(
        "hourly",
        view.site,
        subject=_subject(view.site, f"{'roll-up' if view.site.demo else 'hourly'}: {said}"),
        preheader=said,
        occasion="roll-up" if view.site.demo else "hourly roll-up",
        view=view,
        heading=said[0].upper() + said[1:],
        tone="alarm" if any(alert.is_open for alert in view.alerts) else "warn" if view.alerts else "info",
        shown=SHOWN,
        saw=_saw,
        state_of=_state_of(view.site),
    )


def digest(view: DigestView) -> Rendered:
    """Return one app's day: verdict first, then what needs a decision, then the rest."""
    from notifications.verdict import lead, subject_line, verdict

    heading, tone = verdict(view)
    sentence = lead(view)
    return _render(
        "digest",
        view.site,
        subject=_subject(view.site, subject_line(view)),
        preheader=f"{heading}. {sentence}",
        occasion=f"daily health · {wording.long_date(view.day)}",
        headers={"List-Unsubscribe": f"<{view.site.link('settings')}>"},
        view=view,
        heading=heading,
        tone=tone,
        lead=sentence,
        shown=SHOWN,
        saw=_saw,
        state_of=_state_of(view.site),
        stage=_stage,
        next_step=_next_step,
        alert_tone=lambda alert: (
            ("alarm" if alert.severity is Severity.CRITICAL else "warn") if alert.is_open else "ink"
        ),
        metric_tone=_metric_tone,
        against=_against,
        worth=_worth,
        table=_text_table(view),
        method=(
            f"24 h to {wording.clock(view.end, view.site.zone)}, {count(view.runs, 'run')}. Baseline: the "
            f"{duration(view.history)} before. Grey: the 95{NBSP}% interval includes zero. "
            f"{view.checks.ran} of {view.checks.due} checks ran."
        ),
    )


def test(view: EventView) -> Rendered:
    """Return a mail that shows that mail arrives."""
    return _render(
        "test",
        view.site,
        subject=_subject(view.site, "test mail"),
        preheader="Mail from metamon arrives.",
        occasion="test",
        view=view,
        heading="Mail from metamon arrives",
    )


def _about_proposal(
    view: EventView,
    *,
    subject: str,
    occasion: str,
    heading: str,
    lead: str,
    tone: Tone,
    action: tuple[str, str],
    command: str | None,
) -> Rendered:
    return _render(
        "proposal",
        view.site,
        subject=_subject(view.site, subject),
        preheader=lead,
        occasion=occasion,
        view=view,
        heading=heading,
        lead=lead,
        tone=tone,
        action={"label": action[0], "url": view.site.link(action[1])},
        command=command,
        measured=_worth(view.impact) if view.impact else "",
    )


def _render(
    name: str,
    site: Site,
    *,
    subject: str,
    preheader: str,
    occasion: str,
    headers: dict[str, str] | None = None,
    **context: Any,
) -> Rendered:
    common: dict[str, Any] = {
        "subject": subject,
        "preheader": preheader,
        "occasion": occasion,
        "zone_name": str(site.zone),
        **context,
    }
    environment = _environment()
    html = environment.get_template(f"{name}.html").render(common)
    text = environment.get_template(f"{name}.txt").render(common)
    return Rendered(
        subject=subject,
        text=text.strip().replace(NBSP, " ") + "\n",
        html="\n".join(line.strip() for line in html.splitlines() if line.strip()) + "\n",
        headers={
            **AUTOMATIC,
            "List-Id": f"{plain(site.app, 60)} <{_label(site.app)}.metamon>",
            **(headers or {}),
        },
    )


@lru_cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=select_autoescape(["html"], default=False),
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(markup=Markup, words=_words, lay=_lay, point=_point)
    environment.globals.update(
        figure=figure,
        change=wording.change,
        label=wording.label,
        percent=percent,
        moment=wording.moment,
        clock=wording.clock,
        duration=duration,
        count=count,
    )
    return environment


def _finalize(value: object) -> object:
    if value is None:
        raise EmptyPrintError("a template printed a value that is not there")
    if isinstance(value, str) and not isinstance(value, Markup | Laid):
        return plain(value)
    return value


def _words(name: str) -> str:
    return name.replace("_", " ")


def _lay(text: str, indent: int = 0) -> Laid:
    margin = " " * indent
    return Laid(textwrap.fill(plain(text), WIDTH, initial_indent=margin, subsequent_indent=margin))


def _point(text: str) -> Laid:
    return Laid(textwrap.fill(plain(text), WIDTH, initial_indent="  - ", subsequent_indent="    "))


def _subject(site: Site, said: str) -> str:
    return plain(f"[{plain(site.app, 40)}] {said}", SUBJECT_CAP).replace(NBSP, " ")


def _label(app: str) -> str:
    kept = "".join(char if char.isascii() and char.isalnum() else "-" for char in app.lower()).strip("-")
    return kept[:60] or "app"


def _alert(view: EventView) -> AlertView:
    if view.alert is None:
        raise EmptyPrintError("a mail about an alert needs the alert")
    return view.alert


def _proposal(view: EventView) -> Any:
    if view.proposal is None:
        raise EmptyPrintError("a mail about a proposal needs the proposal")
    return view.proposal


def _band(alert: AlertView) -> str | None:
    return wording.expected(alert.metric, alert.expected, alert.low, alert.high)


def _short(alert: AlertView) -> str:
    """Say metric, figure and expectation; the title where there is no figure."""
    if alert.observed is None:
        return alert.title
    band = _band(alert)
    return f"{alert.metric} {figure(alert.metric, alert.observed)}" + (f", expected {band}" if band else "")


def _saw(alert: AlertView) -> str:
    return _short(alert)


def _state_of(site: Site) -> Any:
    def said(alert: AlertView, now: Any) -> str:
        if alert.resolved_at is not None:
            return (
                f"resolved at {wording.clock(alert.resolved_at, site.zone)} "
                f"after {duration(alert.resolved_at - alert.since)}"
            )
        return f"{_words(alert.state)} for {duration(now - alert.since)}, since {wording.clock(alert.since, site.zone)}"

    return said


def _scale(alert: AlertView, band: str | None) -> dict[str, Any] | None:
    """Return the bar under a critical alert's verdict: the expected band and where the observation lies."""
    if alert.observed is None or alert.low is None or alert.high is None or alert.high < alert.low:
        return None
    below = alert.observed < (alert.low + alert.high) / 2
    seen = {"text": f"now {figure(alert.metric, alert.observed)}", "tone": "alarm"}
    usual = {"text": f"expected {band}", "tone": "good"}
    return {
        "cells": segments(alert.observed, alert.low, alert.high),
        "left": seen if below else usual,
        "right": usual if below else seen,
    }


def segments(observed: float, low: float, high: float) -> list[Segment]:
    """Return the scale's pieces from left to right; their widths add up to 100 percent."""
    least, most = min(observed, low), max(observed, high)
    room = (most - least) * 0.12 or 1.0
    start, width = least - room, most - least + 2 * room

    def place(value: float) -> int:
        return round((value - start) / width * 100)

    mark = min(max(place(observed), 1), 99)
    kinds: list[Literal["gap", "band", "mark"]] = ["gap"] * 100
    first, last = place(low), max(place(high), place(low) + 2)
    for at in range(max(first, 0), min(last, 100)):
        kinds[at] = "band"
    kinds[mark - 1] = kinds[mark] = "mark"
    pieces: list[Segment] = []
    for kind in kinds:
        if pieces and pieces[-1].kind == kind:
            pieces[-1] = Segment(pieces[-1].width + 1, kind)
        else:
            pieces.append(Segment(1, kind))
    return pieces


def _stage(rollout: RolloutView) -> str:
    if rollout.state == "holdback":
        return f"100{NBSP}% but for a hold-back of {rollout.holdback_percent}{NBSP}%"
    return f"{rollout.percent}{NBSP}%" + (", paused" if rollout.state == "paused" else "")


def _next_step(rollout: RolloutView) -> str:
    if rollout.state == "paused":
        return "waits for somebody to resume it"
    if rollout.state == "holdback":
        return "next: its impact is measured, then the hold-back ends"
    following = 50 if rollout.percent < 50 else 100
    return f"next: {following}{NBSP}% if the guard agrees"


def _metric_tone(metric: MetricView) -> str:
    if not metric.known_change or metric.vs_baseline is None:
        return "soft"
    return "good" if (metric.vs_baseline < 0) == wording.lower_is_better(metric.metric) else "alarm"


def _against(metric: MetricView) -> str:
    said = wording.change(metric.metric, metric.vs_baseline, fine=True)
    if metric.low is None or metric.high is None:
        return said
    ends = [wording.change(metric.metric, end, fine=True, unit=False) for end in (metric.low, metric.high)]
    return f"{said} [{ends[0]}, {ends[1]}]"


def _worth(impact: ImpactView) -> str:
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


def _text_table(view: DigestView) -> Laid:
    rows = [("", "24 h", "vs yesterday", "vs baseline (95 % CI)")] + [
        (
            wording.label(m.metric),
            figure(m.metric, m.value, fine=True),
            wording.change(m.metric, m.vs_yesterday, fine=True),
            _against(m),
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
