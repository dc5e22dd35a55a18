"""Views to mails: pure functions, each returning subject, text, HTML and headers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Literal

from core.states import ProposalStatus, Severity
from notifications import chart, phrases, scale, verdict, wording
from notifications.typeset import EmptyPrintError, subject_of, typeset
from notifications.views import (
    AlertView,
    DigestView,
    EventView,
    HourlyView,
    ProposalView,
    Rendered,
    SilenceView,
    StormView,
)
from notifications.wording import count, duration, figure

Tone = Literal["alarm", "warn", "good", "info"]

SHOWN = 10
STORM_SHOWN = 50
"""Items of one section that are listed; the rest are counted."""
TRACES_SHOWN = 3


def critical(view: EventView) -> Rendered:
    """Return the mail that says something is badly wrong, now."""
    alert = _alert(view)
    heading = f"{wording.label(alert.metric)} is {figure(alert.metric, alert.observed)}"
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
        since=f"Since {wording.moment(alert.since, view.site.zone)}, seen for {duration(alert.until - alert.since)}.",
        scale=scale.scale(alert, band),
        traces=[url for url in alert.trace_urls if view.site.ours(url)][:TRACES_SHOWN],
    )


def updated(view: EventView, *, base_subject: str) -> Rendered:
    """Return the mail that says in the thread that it got much worse, or that it goes on.

    Args:
        base_subject: the firing mail's subject: the thread keeps it.
    """
    alert = _alert(view)
    band = phrases.band(alert)
    value = figure(alert.metric, alert.observed)
    length = duration(view.now - alert.since)
    worse = alert.observed is not None and view.before is not None and alert.observed != view.before
    heading = f"{wording.label(alert.metric)} is now {value}" if worse else f"Still firing after {length}"
    said = f"You were told {figure(alert.metric, view.before)} before. " if worse else ""
    return typeset(
        "critical",
        view.site,
        subject=f"Re: {base_subject}",
        preheader=f"{heading}. {said}",
        occasion="critical alert, update",
        view=view,
        heading=heading,
        band=band,
        since=f"{said}It began {wording.moment(alert.since, view.site.zone)}, {length} ago, and goes on.",
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
        heading=(
            f"Resolved: all {view.others + 1} are back to normal"
            if view.others
            else f"Resolved: {wording.label(alert.metric)} is back to normal"
        ),
        lasted=(
            f"It lasted {length}, from {wording.moment(alert.since, view.site.zone)} "
            f"to {wording.clock(alert.resolved_at or view.now, view.site.zone)}."
        ),
        band=phrases.band(alert),
    )


def approval(view: EventView) -> Rendered:
    """Return the mail that asks a person to decide."""
    proposal = _proposal(view)
    found = "Validation passed."
    if view.validation is not None and view.validation.verdict != "pass":
        found = "Validation could not tell whether the change does harm."
    why = "The change has high impact" if proposal.impact == "high" else "The app's policy asks about such a change"
    return _about_proposal(
        view,
        subject=f"needs your approval: {proposal.title}",
        occasion="approval needed",
        heading=f"Approve? {proposal.title}",
        lead=f"{found} {why}, so nothing happens until a person has decided.",
        tone="info",
        action=("Review the proposal", f"proposals/{proposal.id}"),
        command=f"metamon proposals approve {proposal.id}",
    )


def blocked(view: EventView) -> Rendered:
    """Return the mail that says validation stopped a proposal, or that an approved one may not be rolled out."""
    proposal = _proposal(view)
    if proposal.status == ProposalStatus.REJECTED:
        return _about_proposal(
            view,
            subject=f"not rolled out: {proposal.title}",
            occasion="proposal blocked",
            heading=f"Not rolled out: {proposal.title}",
            lead=f"{proposal.decision}. It has not reached a single user.",
            tone="warn",
            action=("See the proposal", f"proposals/{proposal.id}"),
            command=f"metamon proposals show {proposal.id}",
        )
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
        saw=phrases.saw,
        state_of=phrases.state_of(view.site),
    )


def storm(view: StormView) -> Rendered:
    """Return the one mail that stands for several critical alerts, or for a storm of them. The view is not empty."""
    number = count(len(view.alerts), "critical alert")
    metrics = sorted({wording.label(alert.metric) for alert in view.alerts})
    said = ", ".join(metrics[:4]) + (f" and {len(metrics) - 4} more" if len(metrics) > 4 else "")
    length = duration(max(view.end - view.start, timedelta(minutes=1)))
    heading = f"{number} in {length}" if view.storm else f"{number} together"
    return typeset(
        "storm",
        view.site,
        subject=subject_of(view.site, f"storm: {heading}" if view.storm else f"critical: {heading}: {said}"),
        preheader=f"{number}: {said}",
        occasion="alert storm" if view.storm else "critical alerts",
        view=view,
        heading=heading,
        lead=f"So many at once usually have one cause. Concerned: {said}. One mail stands for all of them.",
        next_up="Each alert is being investigated by itself. "
        + (
            "Further ones are folded in until it is calmer; the roll-up lists them. You hear again when all are over."
            if view.storm
            else "You hear again when a decision is needed, when it gets much worse, and when all are over."
        ),
        shown=STORM_SHOWN,
        saw=phrases.saw,
        state_of=phrases.state_of(view.site),
    )


def dead_man(view: SilenceView) -> Rendered:
    """Return the mail that says that nobody is looking: monitoring fell silent."""
    if view.last_sweep is None:
        heading, said = "Monitoring has never run", "No sweep was ever done."
    else:
        length = duration(timedelta(minutes=(view.now - view.last_sweep) // timedelta(minutes=1)))
        heading = f"Monitoring has been silent for {length}"
        said = f"The last sweep was done {wording.moment(view.last_sweep, view.site.zone)}."
    return typeset(
        "dead_man",
        view.site,
        subject=subject_of(view.site, heading[0].lower() + heading[1:]),
        preheader=said,
        occasion="dead man’s switch",
        view=view,
        heading=heading,
        lead=f"{said} It may be silent for {duration(view.limit)}. Until it runs again, nothing would be noticed, "
        "and no other mail would come. The API sends this one itself, past the fleet.",
        look_at=(
            "Is beat alive, and the worker of the queue monitoring?",
            "Does Redis answer? Does the relay run?",
            "Is a job of monitoring.sweep dead, or has one been running for long?",
        ),
    )


def digest(view: DigestView, *, unsubscribe: str | None = None) -> Rendered:
    """Return one app's day: verdict first, then what needs a decision, then the rest."""
    return digest_for(view)(unsubscribe)


def digest_for(view: DigestView) -> Callable[[str | None], Rendered]:
    """Return a renderer of one day for readers who differ in their unsubscribe link alone; the chart is drawn once."""
    heading, tone = verdict.verdict(view)
    sentence = verdict.lead(view)
    picture = chart.draw(view.chart) if view.chart else None

    def write(unsubscribe: str | None) -> Rendered:
        return typeset(
            "digest",
            view.site,
            subject=subject_of(view.site, verdict.subject_line(view)),
            preheader=f"{heading}. {sentence}",
            occasion=f"daily health · {wording.long_date(view.day)}",
            headers=_list_headers(unsubscribe or view.site.link("settings"), one_click=unsubscribe is not None),
            chart=picture,
            caption=chart.caption(view.chart) if view.chart else "",
            unsubscribe=unsubscribe or "",
            view=view,
            heading=heading,
            tone=tone,
            lead=sentence,
            undone=phrases.undone(view),
            shown=SHOWN,
            saw=phrases.saw,
            state_of=phrases.state_of(view.site),
            stage=phrases.stage,
            progress=phrases.progress,
            next_step=phrases.next_step,
            margins=phrases.margins,
            because=phrases.because,
            promise=phrases.promise,
            alert_tone=lambda alert: (
                ("alarm" if alert.severity is Severity.CRITICAL else "warn") if alert.is_open else "ink"
            ),
            metric_tone=phrases.metric_tone,
            against=phrases.against,
            worth=phrases.worth,
            proven=phrases.proven,
            table=phrases.text_table(view),
            method=phrases.method(view),
        )

    return write


def _list_headers(url: str, *, one_click: bool) -> dict[str, str]:
    """Return the headers of RFC 2369, and of RFC 8058 where its condition holds: the link is https."""
    headers = {"List-Unsubscribe": f"<{url}>"}
    if one_click and url.startswith("https://"):
        headers["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    return headers


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
        what="a test",
        lead="If you can read it, alerts will reach you here too.",
    )


def drill(view: EventView) -> Rendered:
    """Return a mail that goes the way of a critical alert, and says that nothing is wrong."""
    return typeset(
        "test",
        view.site,
        subject=subject_of(view.site, "drill: a critical alert would reach you like this"),
        preheader="Nothing is wrong.",
        occasion="drill",
        view=view,
        heading="A critical alert would have reached you",
        what="a drill",
        lead=f"Nothing is wrong with {view.site.app}. A real alert says what was seen, what is usual, and since when.",
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
        reason_title="Why it was rolled back" if occasion == "rollback" else "Why",
        action={"label": action[0], "url": view.site.link(action[1])},
        command=command,
        measured=phrases.worth(view.impact) if view.impact else "",
        traces=[url for url in _proposal(view).bad_runs if view.site.ours(url)][:TRACES_SHOWN],
    )


def _alert(view: EventView) -> AlertView:
    if view.alert is None:
        raise EmptyPrintError("a mail about an alert needs the alert")
    return view.alert


def _proposal(view: EventView) -> ProposalView:
    if view.proposal is None:
        raise EmptyPrintError("a mail about a proposal needs the proposal")
    return view.proposal
