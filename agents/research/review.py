"""A proposal as an incident review: what, since when, who is hit, why, what was ruled out, what then. Text and HTML."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import unified_diff
from textwrap import wrap
from typing import Any

from db.queries.proposals import ProposalDetail

LONG = 120
"""Characters from which a value is shown as a text, not as a literal."""


@dataclass(frozen=True)
class Line:
    """One line of a section."""

    text: str
    url: str | None = None
    """Where it can be looked at."""
    deeper: bool = False
    """Whether it belongs to the line before."""


@dataclass(frozen=True)
class Section:
    """A heading with what is to be said under it."""

    heading: str
    lines: Sequence[Line]
    code: bool = False
    """Whether it is a diff."""


def diff(detail: ProposalDetail) -> str:
    """Return the change as a unified diff of the app's configuration, or the recommendation in words."""
    change = detail.change
    if change["type"] == "code":
        return str(change.get("note", ""))
    key = change["key"]
    names = f"{detail.app} configuration", f"{detail.app} configuration, proposal {detail.id}"
    before, after = change["from"], change["to"]
    if isinstance(before, str) and isinstance(after, str) and max(len(before), len(after)) > LONG:
        lines = unified_diff(_lines_of(key, before), _lines_of(key, after), *names, lineterm="")
        return "\n".join(lines)
    return "\n".join(
        [
            f"--- {names[0]}",
            f"+++ {names[1]}",
            f"-{key} = {json.dumps(before, ensure_ascii=False)}",
            f"+{key} = {json.dumps(after, ensure_ascii=False)}",
        ]
    )


def headline(detail: ProposalDetail) -> tuple[str, str]:
    """Return the title and the line under it."""
    decided = f", {detail.reviewed_by} at {_time(detail.reviewed_at)}" if detail.reviewed_by else ""
    status = str(detail.status).replace("_", " ")
    return (
        f"Proposal {detail.id}: {detail.title}",
        f"{status}{decided} · {detail.app} · alert {detail.alert_id} · rank {detail.rank}",
    )


def sections(detail: ProposalDetail) -> Iterator[Section]:
    """Return the review, section by section. Text of traces is in it as it is: whoever shows it escapes it."""
    cause = detail.cause
    happened = [Line(detail.root_cause)]
    if detail.explanation:
        happened.append(Line(f"{detail.explanation}  ({detail.explained_by})"))
    yield Section("What happened", happened)
    yield Section("Since when", [Line(_since(detail))])
    hit = [
        Line(_conditions(cause.get("conditions", {}))),
        Line(
            f"{cause.get('failures', '?')} of {cause.get('runs', '?')} runs, {cause.get('expected', 0):.0f} expected; "
            f"{cause.get('explained', 0):.0%} of all excess; p = {cause.get('p_value', 1):.2g}"
        ),
        *(Line(f"the same runs: {_conditions(alias)}") for alias in cause.get("aliases", [])[:3]),
    ]
    others = [entry for entry in detail.evidence.get("causes", []) if entry.get("id") != cause.get("id")]
    hit += [Line(f"another cause: {_conditions(entry.get('conditions', {}))}") for entry in others]
    yield Section("Who is hit", hit)
    yield Section("Evidence", list(_evidence(detail.evidence)))
    rejected = [idea for idea in detail.hypotheses if idea.get("rejected")]
    if rejected:
        yield Section("Ruled out", [Line(f"{idea['title']}: {idea['rejected']}") for idea in rejected])
    yield Section("Change", [Line(line) for line in diff(detail).splitlines()], code=detail.change["type"] != "code")
    low, high = detail.predicted_interval
    promise = f"{detail.metric} {detail.predicted_pct:+.1f} % over all traffic (90 %: {low:+.1f} … {high:+.1f})"
    yield Section("Prediction", [Line(promise)])
    effort = f"{detail.effort_hours:g} h, 80 % below {detail.effort_hours_p80:g} h ({detail.effort_basis})"
    yield Section("Effort", [Line(effort)])
    yield Section("Risk", [Line(f"{detail.impact} impact. {detail.risk}".strip())])
    if detail.screen is not None:
        metric = f" on {detail.screen.metric}" if detail.screen.skipped is None else ""
        yield Section("Quick screen", [Line(f"{detail.screen.says}{metric}")])
    yield from _aftermath(detail)


def as_html(detail: ProposalDetail) -> str:
    """Return the review as a fragment of HTML without scripts or styles; all that came of traces is escaped."""
    title, under = headline(detail)
    parts = [f"<article><h1>{_escaped(title)}</h1>", f"<p>{_escaped(under)}</p>"]
    for section in sections(detail):
        parts.append(f"<section><h2>{_escaped(section.heading)}</h2>")
        if section.code:
            body = "\n".join(_escaped(line.text) for line in section.lines)
            parts.append(f"<pre>{body}</pre>")
        else:
            parts.append("<ul>" + "".join(f"<li>{_linked(line)}</li>" for line in section.lines) + "</ul>")
        parts.append("</section>")
    return "".join([*parts, "</article>"])


def clean(text: str) -> str:
    """Return text of traces and models without the signs that would steer a terminal."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


def _linked(line: Line) -> str:
    text = _escaped(line.text)
    # an address with another scheme would run when it is clicked
    if line.url is None or not line.url.startswith(("http://", "https://")):
        return text
    return f'<a href="{html.escape(line.url)}" rel="noreferrer">{text}</a>'


def _escaped(text: str) -> str:
    return html.escape(clean(text))


def _since(detail: ProposalDetail) -> str:
    cause = detail.cause
    if not cause.get("onset"):
        return f"first bad window {_time(detail.evidence.get('bad_from'))}"
    span = ""
    if cause.get("onset_low") and cause.get("onset_high"):
        span = f", between {_time(cause['onset_low'])} and {_time(cause['onset_high'])} with 90 % probability"
    return f"{_time(cause['onset'])}{span}"


def _evidence(evidence: dict[str, Any]) -> Iterator[Line]:
    yield Line(
        f"{evidence.get('bad_failures', 0)} bad of {evidence.get('bad_runs', 0)} runs since "
        f"{_time(evidence.get('bad_from'))}, {evidence.get('baseline_failures', 0)} of "
        f"{evidence.get('baseline_runs', 0)} before"
    )
    for entry in evidence.get("changes", [])[:5]:
        yield Line(f"{_time(entry['at'])} {entry['actor']} set {entry['key']}: {entry['before']} → {entry['after']}")
    for entry in evidence.get("new_values", [])[:5]:
        yield Line(f"{_time(entry['first_seen'])} first run with {entry['attribute']} = {entry['value']}")
    for entry in evidence.get("errors", [])[:3]:
        yield Line(f"{entry['bad']} × {entry['kind'] or 'error'}: {entry['template'][:120]}")
    for entry in evidence.get("incidents", [])[:3]:
        measured = "" if entry["measured_pct"] is None else f", {entry['measured_pct']:+.1f} % measured"
        like = "the same cause" if entry["same_cause"] else "the same metric"
        yield Line(
            f"{_time(entry['at'])} for {like}: proposal {entry['proposal_id']}, {entry['title']}: "
            f"{entry['outcome'].replace('_', ' ')}{measured}"
        )
    for entry in evidence.get("exemplars", []):
        name = "bad run " if entry["kind"] == "bad" else "good run"
        yield Line(f"{name} {entry['url'] or entry['run_id']}", url=entry["url"])


def _aftermath(detail: ProposalDetail) -> Iterator[Section]:
    if detail.validations:
        lines: list[Line] = []
        for entry in detail.validations:
            verdict = str(entry.verdict or entry.state)
            lines.append(Line(f"validation {entry.id}: {verdict}, {entry.regressions} regressed cases"))
            lines += [Line(reason, deeper=True) for reason in entry.reasons[:5]]
        yield Section("Validation", lines)
    if detail.rollout is not None:
        reason = f": {detail.rollout.reason}" if detail.rollout.reason else ""
        state = str(detail.rollout.state).replace("_", " ")
        yield Section("Rollout", [Line(f"rollout {detail.rollout.id}: {state} at {detail.rollout.percent} %{reason}")])
    if detail.measured is not None and detail.measured.measured_pct is not None:
        low, high = detail.measured.measured_interval
        span = f" ({low:+.1f} … {high:+.1f})" if low is not None and high is not None else ""
        worth = [Line(f"{detail.measured.measured_pct:+.1f} %{span} by {detail.measured.method}")]
        if detail.measured.explanation:
            worth.append(Line(f"{detail.measured.explanation}  ({detail.measured.explained_by})"))
        yield Section("Measured", worth)
    if detail.alternatives:
        yield Section("Other proposals of this alert", [Line(", ".join(map(str, detail.alternatives)))])
    if detail.also_alerts:
        yield Section("Alerts with the same cause", [Line(", ".join(map(str, detail.also_alerts)))])


def _lines_of(key: str, text: str) -> list[str]:
    """Return a long value line by line, long lines broken at spaces, so that a diff shows what changed."""
    return [f"{key}:", *(part for line in text.splitlines() for part in (wrap(line, 100) or [""]))]


def _conditions(conditions: dict[str, str]) -> str:
    return " and ".join(f"{key} = {value}" for key, value in conditions.items()) or "all runs"


def _time(moment: datetime | str | None) -> str:
    if moment is None:
        return "unknown"
    at = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
