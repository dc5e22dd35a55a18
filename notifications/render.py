"""Views to mails: pure functions, each returning subject, text, HTML and headers."""

from __future__ import annotations

from typing import Literal

from core.states import Severity
from notifications import phrases, scale, wording
from notifications.typeset import EmptyPrintError, subject_of, typeset
from notifications.views import (
    AlertView,
    DigestView,
    EventView,
    HourlyView,
    ProposalView,
    Rendered,
)
from notifications.wording import NBSP, count, duration, figure

Tone = Literal["alarm", "warn", "good", "info"]

SHOWN = 10
"""Items of one section that are listed; the rest are counted."""
TRACES_SHOWN = 3


def critical(view: EventView) -> Rendered:
    """Return the mail that says something is badly wrong, now."""
    alert = _alert(view)
    heading = f"{alert.metric} is {figure(alert.metric, alert.observed)}"
    band = phrases.band(alert)
    if alert.observed is None:
        heading = alert.title
    elif band:
        heading += f", expected {band}"
    return typeset(
        "critical",
        view.site,
        subject=subject_of(view.site, f"critical: {phrases.short(alert)}"),
        preheader=alert.reasons[0] if alert.reasons else heading,
        occasion="critical alert",
        view=view,
        heading=heading,
        band=band,
        scale=scale.scale(alert, band),
        traces=[url for url in alert.trace_urls if view.site.ours(url)][:TRACES_SHOWN],
    )


def resolved(view: EventView, *, base_subject: str | None = None) -> Rendered:
    """Return the mail that says it is over.

    Args:
        base_subject: the firing mail's subject: the thread keeps it.
    """
    alert = _alert(view)
    length = duration((alert.resolved_at or view.now) - alert.since)
    subject = base_subject or subject_of(view.site, f"{alert.severity.value}: {phrases.short(alert)}")
    return typeset(
        "resolved",
        view.site,
        subject=f"Re: {subject}",
        preheader=f"Resolved after {length}.",
        occasion="resolved",
        view=view,
        heading=f"Resolved: {alert.metric} is back to normal",
        band=phrases.band(alert),
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
    return typeset(
        "hourly",
        view.site,
        subject=subject_of(view.site, f"{'roll-up' if view.site.demo else 'hourly'}: {said}"),
        preheader=said,
        occasion="roll-up" if view.site.demo else "hourly roll-up",
        view=view,
        heading=said[0].upper() + said[1:],
        tone="alarm" if any(alert.is_open for alert in view.alerts) else "warn" if view.alerts else "info",
        shown=SHOWN,
        saw=phrases.short,
        state_of=phrases.state_of(view.site),
    )


def digest(view: DigestView) -> Rendered:
    """Return one app's day: verdict first, then what needs a decision, then the rest."""
    from notifications.verdict import lead, subject_line, verdict

    heading, tone = verdict(view)
    sentence = lead(view)
    return typeset(
        "digest",
        view.site,
        subject=subject_of(view.site, subject_line(view)),
        preheader=f"{heading}. {sentence}",
        occasion=f"daily health · {wording.long_date(view.day)}",
        headers={"List-Unsubscribe": f"<{view.site.link('settings')}>"},
        view=view,
        heading=heading,
        tone=tone,
        lead=sentence,
        shown=SHOWN,
        saw=phrases.short,
        state_of=phrases.state_of(view.site),
        stage=phrases.stage,
        next_step=phrases.next_step,
        alert_tone=lambda alert: (
            ("alarm" if alert.severity is Severity.CRITICAL else "warn") if alert.is_open else "ink"
        ),
        metric_tone=phrases.metric_tone,
        against=phrases.against,
        worth=phrases.worth,
        table=phrases.text_table(view),
        method=(
            f"24 h to {wording.clock(view.end, view.site.zone)}, {count(view.runs, 'run')}. Baseline: the "
            f"{duration(view.history)} before. Grey: the 95{NBSP}% interval includes zero. "
            f"{view.checks.ran} of {view.checks.due} checks ran."
        ),
    )


def test(view: EventView) -> Rendered:
    """Return a mail that shows that mail arrives."""
    return typeset(
        "test",
        view.site,
        subject=subject_of(view.site, "test mail"),
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
    return typeset(
        "proposal",
        view.site,
        subject=subject_of(view.site, subject),
        preheader=lead,
        occasion=occasion,
        view=view,
        heading=heading,
        lead=lead,
        tone=tone,
        action={"label": action[0], "url": view.site.link(action[1])},
        command=command,
        measured=phrases.worth(view.impact) if view.impact else "",
    )


def _alert(view: EventView) -> AlertView:
    if view.alert is None:
        raise EmptyPrintError("a mail about an alert needs the alert")
    return view.alert


def _proposal(view: EventView) -> ProposalView:
    if view.proposal is None:
        raise EmptyPrintError("a mail about a proposal needs the proposal")
    return view.proposal
