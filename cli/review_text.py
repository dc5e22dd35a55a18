"""A proposal as an incident review in plain text: what, since when, who is hit, why, what then."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from difflib import unified_diff
from textwrap import wrap
from typing import Any

from cli.hints import command
from core.states import ProposalStatus
from db.queries.proposals import ProposalDetail

LONG = 120
"""Characters from which a value is shown as a text, not as a literal."""


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


def _lines_of(key: str, text: str) -> list[str]:
    """Return a long value line by line, long lines broken at spaces, so that a diff shows what changed."""
    return [f"{key}:", *(part for line in text.splitlines() for part in (wrap(line, 100) or [""]))]


def review(detail: ProposalDetail) -> str:
    """Return the whole review."""
    return "\n".join(_lines(detail)) + "\n"


def next_command(detail: ProposalDetail) -> str | None:
    """Return what to type next, or None where nothing is to do."""
    status = detail.status
    if status is ProposalStatus.AWAITING_APPROVAL:
        return command("proposals", "approve", str(detail.id))
    if status in (ProposalStatus.ROLLING_OUT, ProposalStatus.APPROVED):
        return command("rollouts", "status", "--watch")
    if status is ProposalStatus.IMPLEMENTED:
        return command("impact", "list")
    if status in (ProposalStatus.BLOCKED, ProposalStatus.INCONCLUSIVE, ProposalStatus.VALIDATING):
        if detail.validations:
            return command("validate", "show", str(detail.validations[-1].id))
        return command("validate", "list")
    if status is ProposalStatus.PROPOSED and detail.change["type"] != "code":
        return command("validate", "run", "--proposal", str(detail.id), "--watch")
    return None


def _lines(detail: ProposalDetail) -> Iterator[str]:
    evidence, cause = detail.evidence, detail.cause
    yield f"Proposal {detail.id}: {detail.title}"
    decided = f", {detail.reviewed_by} at {_time(detail.reviewed_at)}" if detail.reviewed_by else ""
    status = str(detail.status).replace("_", " ")
    yield f"{status}{decided} · {detail.app} · alert {detail.alert_id} · rank {detail.rank}"
    yield from ("", "What happened", _indent(detail.root_cause))
    if detail.explanation:
        yield _indent(f"{detail.explanation}  ({detail.explained_by})")
    yield from ("", "Since when")
    if cause.get("onset"):
        span = ""
        if cause.get("onset_low") and cause.get("onset_high"):
            span = f", between {_time(cause['onset_low'])} and {_time(cause['onset_high'])} with 90 % probability"
        yield _indent(f"{_time(cause['onset'])}{span}")
    else:
        yield _indent(f"first bad window {_time(evidence.get('bad_from'))}")
    yield from ("", "Who is hit", _indent(_conditions(cause.get("conditions", {}))))
    yield _indent(
        f"{cause.get('failures', '?')} of {cause.get('runs', '?')} runs, {cause.get('expected', 0):.0f} expected; "
        f"{cause.get('explained', 0):.0%} of all excess; p = {cause.get('p_value', 1):.2g}"
    )
    for alias in cause.get("aliases", [])[:3]:
        yield _indent(f"the same runs: {_conditions(alias)}")
    yield from _evidence(evidence)
    rejected = [idea for idea in detail.hypotheses if idea.get("rejected")]
    if rejected:
        yield from ("", "Ruled out")
        for idea in rejected:
            yield _indent(f"{idea['title']}: {idea['rejected']}")
    yield from ("", "Change", *(_indent(line) for line in diff(detail).splitlines()))
    low, high = detail.predicted_interval
    yield from ("", "Prediction")
    yield _indent(f"{detail.metric} {detail.predicted_pct:+.1f} % over all traffic (90 %: {low:+.1f} … {high:+.1f})")
    yield from (
        "",
        "Effort",
        _indent(f"{detail.effort_hours:g} h, 80 % below {detail.effort_hours_p80:g} h ({detail.effort_basis})"),
    )
    yield from ("", "Risk", _indent(f"{detail.impact} impact. {detail.risk}".strip()))
    yield from _aftermath(detail)
    following = next_command(detail)
    if following:
        yield from ("", f"Next: {following}")


def _evidence(evidence: dict[str, Any]) -> Iterator[str]:
    yield from ("", "Evidence")
    yield _indent(
        f"{evidence.get('bad_failures', 0)} bad of {evidence.get('bad_runs', 0)} runs since "
        f"{_time(evidence.get('bad_from'))}, {evidence.get('baseline_failures', 0)} of "
        f"{evidence.get('baseline_runs', 0)} before"
    )
    for entry in evidence.get("changes", [])[:5]:
        yield _indent(f"{_time(entry['at'])} {entry['actor']} set {entry['key']}: {entry['before']} → {entry['after']}")
    for entry in evidence.get("errors", [])[:3]:
        yield _indent(f"{entry['bad']} × {entry['kind'] or 'error'}: {entry['template'][:120]}")
    for entry in evidence.get("exemplars", []):
        name = "bad run " if entry["kind"] == "bad" else "good run"
        yield _indent(f"{name} {entry['url'] or entry['run_id']}")


def _aftermath(detail: ProposalDetail) -> Iterator[str]:
    if detail.validations:
        yield from ("", "Validation")
        for entry in detail.validations:
            verdict = str(entry.verdict or entry.state)
            yield _indent(f"validation {entry.id}: {verdict}, {entry.regressions} regressed cases")
            yield from (_indent(reason, 4) for reason in entry.reasons[:5])
    if detail.rollout is not None:
        reason = f": {detail.rollout.reason}" if detail.rollout.reason else ""
        yield from ("", "Rollout")
        yield _indent(
            f"rollout {detail.rollout.id}: {str(detail.rollout.state).replace('_', ' ')} "
            f"at {detail.rollout.percent} %{reason}"
        )
    if detail.measured is not None and detail.measured.measured_pct is not None:
        low, high = detail.measured.measured_interval
        span = f" ({low:+.1f} … {high:+.1f})" if low is not None and high is not None else ""
        yield from ("", "Measured", _indent(f"{detail.measured.measured_pct:+.1f} %{span} by {detail.measured.method}"))
    if detail.alternatives:
        yield from ("", "Other proposals of this alert", _indent(", ".join(map(str, detail.alternatives))))
    if detail.also_alerts:
        yield from ("", "Alerts with the same cause", _indent(", ".join(map(str, detail.also_alerts))))


def _conditions(conditions: dict[str, str]) -> str:
    return " and ".join(f"{key} = {value}" for key, value in conditions.items()) or "all runs"


def _time(moment: datetime | str | None) -> str:
    if moment is None:
        return "unknown"
    at = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S}"


def clean(text: str) -> str:
    """Return text of traces and models without the signs that would steer a terminal."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


def _indent(text: str, by: int = 2) -> str:
    return " " * by + clean(text)
