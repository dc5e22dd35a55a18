"""Deterministic ideas of what would help. Each is pure: evidence and the app's rules in, hypotheses out.

All of them keep what they rejected, with the reason. No change is made of text from a trace: keys and values come from
the app's own configuration and its log, and every change passes `check_allowed`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from agents.change import AllowedKey, Change, ConfigValue, RefusedChangeError, check_allowed
from agents.research.evidence import CauseRecord, ConfigChange, ErrorPattern, Evidence, Hypothesis, ValueHealth

ONSET_SLACK = timedelta(minutes=2)
"""A deployment is read from the log some time before the first run shows it."""

DOMINATES = 0.5
"""Share of the failing runs from which an exception is what the failure is about."""

MIN_RUNS = 20
"""Runs that an alternative needs before the data can call it healthy."""


@dataclass(frozen=True)
class Situation:
    """What a generator is given."""

    evidence: Evidence
    cause: CauseRecord
    config: Mapping[str, Any]
    allowed: Mapping[str, Any]
    """`AllowedKey` as JSON by configuration key."""
    sla_ms: int
    tried: Mapping[str, str] = field(default_factory=dict)
    """Changes that fell recently, by hash: how."""

    def rules(self) -> list[tuple[str, AllowedKey]]:
        """Return the allowed keys with their rules, by name."""
        return [(key, AllowedKey.model_validate(rule)) for key, rule in sorted(self.allowed.items())]

    def governs(self, key: str, rule: AllowedKey) -> bool:
        """Tell whether a key has to do with the failing runs: by what it governs, or by the value it sets."""
        for conditions in (self.cause.conditions, *self.cause.aliases):
            if rule.when and rule.when.items() <= conditions.items():
                return True
            if rule.attribute and conditions.get(rule.attribute) == str(self.config.get(key)):
                return True
        return not rule.when and rule.attribute is None and not self.cause.conditions

    def health(self, attribute: str, value: str) -> ValueHealth | None:
        """Return how one value of an attribute fared, or None where it was never seen."""
        for entry in self.evidence.health:
            if (entry.attribute, entry.value) == (attribute, value):
                return entry
        return None


Generator = Callable[[Situation], list[Hypothesis]]


def revert(situation: Situation) -> list[Hypothesis]:
    """Go back to the last good value of a key that changed at the onset and governs the failing runs."""
    found: list[Hypothesis] = []
    rules = dict(situation.rules())
    for change in sorted(situation.evidence.changes, key=lambda entry: entry.at, reverse=True):
        title = f"Revert {change.key} to {change.before}"
        cites = [situation.cause.id, change.id]

        def reject(reason: str, title: str = title, cites: list[str] = cites) -> None:
            found.append(Hypothesis(kind="revert", title=title, change=None, cites=cites, rejected=reason))

        rule = rules.get(change.key)
        if rule is None:
            reject(f"{change.key} is not among the keys that a proposal may change")
        elif not situation.governs(change.key, rule):
            reject(f"{change.key} governs {_words(rule)}, and the failing runs are {situation.cause.words}")
        elif situation.config.get(change.key) != change.after:
            reject(f"{change.key} has moved on: it is {situation.config.get(change.key)!r} now, not {change.after!r}")
        elif change.before is None or change.before == change.after:
            reject(f"{change.key} had no earlier value to go back to")
        elif not _near_onset(change, situation.cause):
            reject(
                f"{change.key} changed at {change.at:%Y-%m-%d %H:%M:%S} UTC, "
                f"and the failures began at {situation.cause.onset:%Y-%m-%d %H:%M:%S} UTC"
            )
        elif any(other.change is not None and other.change.key == change.key for other in found):
            reject(f"a later change of {change.key} is nearer to the onset")
        else:
            found.append(
                Hypothesis(
                    kind="revert",
                    title=title,
                    change=Change(type=rule.type, key=change.key, from_=change.after, to=change.before),
                    cites=cites,
                    impact=rule.impact,
                    risk=f"Whatever else {change.after} brought goes with it.",
                )
            )
    return found + _revert_new_value(situation, {item.change.key for item in found if item.change})


def _revert_new_value(situation: Situation, done: set[str]) -> list[Hypothesis]:
    """Where the log is silent, the data may still show a value that is new, and the one it replaced."""
    found: list[Hypothesis] = []
    for key, rule in situation.rules():
        value = situation.config.get(key)
        if key in done or rule.attribute is None or situation.cause.conditions.get(rule.attribute) != str(value):
            continue
        own = situation.health(rule.attribute, str(value))
        if own is None or own.baseline_runs:
            continue
        former = [
            entry
            for entry in situation.evidence.health
            if entry.attribute == rule.attribute and entry.value != str(value) and entry.baseline_runs >= MIN_RUNS
        ]
        if not former:
            continue
        last = max(former, key=lambda entry: entry.baseline_runs)
        to = _typed(last.value, value, rule)
        title = f"Revert {key} to {to}"
        known: list[ConfigValue | None] = [entry.before for entry in situation.evidence.changes if entry.key == key]
        if to not in (rule.values or known):
            # whoever can send a trace can make up a value
            reason = f"{to} is known from traces alone: list it among the values of {key} to make it possible"
            found.append(
                Hypothesis(kind="revert", title=title, change=None, cites=[situation.cause.id], rejected=reason)
            )
            continue
        found.append(
            Hypothesis(
                kind="revert",
                title=title,
                change=Change(type=rule.type, key=key, from_=value, to=to),
                cites=[situation.cause.id],
                impact=rule.impact,
                risk=f"Whatever else {value} brought goes with it.",
            )
        )
    return found


def raise_bound(situation: Situation) -> list[Hypothesis]:
    """Raise a bound whose exception dominates the failing runs.

    Runs that hit the bound say only that it is too low, not by how much. Where 30 % or more of the cause's runs hit
    it, twice the bound would leave many still hitting it, so the step is ×4, else ×2; never beyond the app's maximum.
    """
    found: list[Hypothesis] = []
    for key, rule in situation.rules():
        patterns = [entry for entry in situation.evidence.errors if entry.kind == rule.bounds]
        if rule.bounds is None or not patterns:
            continue
        value = situation.config.get(key)
        share = sum(entry.share for entry in patterns)
        cites = [situation.cause.id, *(entry.id for entry in patterns)]
        reason, to = None, None
        if share < DOMINATES:
            reason = f"only {share:.0%} of the failing runs end in {rule.bounds}"
        elif rule.when and not situation.governs(key, rule):
            reason = f"{key} governs {_words(rule)}, and the failing runs are {situation.cause.words}"
        elif isinstance(value, bool) or not isinstance(value, int | float):
            reason = f"{key} is {value!r}, not a number"
        else:
            to = _raised(value, rule, share * (situation.cause.rate_since or situation.cause.precision))
            reason = f"{key} is at its maximum of {value} already" if to is None else None
        if reason is not None or to is None:
            title = f"Raise {key}"
            found.append(Hypothesis(kind="raise_bound", title=title, change=None, cites=cites, rejected=reason))
            continue
        beyond_sla = key.endswith("_ms") and to > situation.sla_ms
        found.append(
            Hypothesis(
                kind="raise_bound",
                title=f"Raise {key} from {value} to {to}",
                change=Change(type=rule.type, key=key, from_=value, to=to),
                cites=cites,
                impact=rule.impact,
                risk=f"Answers may come later than the SLA of {situation.sla_ms} ms."
                if beyond_sla
                else "Runs that hit the bound now take longer.",
            )
        )
    return found


def route_around(situation: Situation) -> list[Hypothesis]:
    """Send the failing runs to another value of a routing key that is healthy in the data."""
    found: list[Hypothesis] = []
    for key, rule in situation.rules():
        value = situation.config.get(key)
        if rule.type != "routing" or not situation.governs(key, rule):
            continue
        attribute = rule.attribute or _attribute_of(rule, value)
        for other in rule.values or []:
            if other == value:
                continue
            title = f"Route {key.removeprefix('route.')} to {other}"
            entry = situation.health(attribute, str(other)) if attribute else None
            reason = _unhealthy(entry, str(other), situation.evidence)
            cites = [situation.cause.id]
            if reason is not None:
                found.append(Hypothesis(kind="route_around", title=title, change=None, cites=cites, rejected=reason))
                continue
            found.append(
                Hypothesis(
                    kind="route_around",
                    title=title,
                    change=Change(type="routing", key=key, from_=value, to=other),
                    cites=cites,
                    impact=rule.impact,
                    risk=f"{other} takes the traffic of {value}: capacity, price and tone may differ.",
                )
            )
    return found


def recommend(situation: Situation) -> list[Hypothesis]:
    """Write down for people what no change of configuration can do."""
    cause, evidence = situation.cause, situation.evidence
    lines = [
        f"{cause.failures} of {cause.runs} runs with {cause.words} failed; about {cause.expected:.0f} would be usual."
    ]
    if evidence.errors:
        top = evidence.errors[0]
        where = f" in {top.frames[-1]}" if top.frames else ""
        lines.append(f"Most frequent error: {top.kind or top.template}{where} ({top.bad} runs).")
    if cause.onset:
        lines.append(f"It began at {cause.onset:%Y-%m-%d %H:%M:%S} UTC: look at what was deployed then.")
    return [
        Hypothesis(
            kind="recommend",
            title=f"Look into {cause.words}",
            change=Change(type="code", note=" ".join(lines)[:2000]),
            cites=[cause.id, *(entry.id for entry in evidence.errors[:1])],
        )
    ]


GENERATORS: tuple[Generator, ...] = (revert, raise_bound, route_around)
"""In order of rank: undo what broke it, give way where a bound is hit, avoid what fails."""


def hypotheses(situation: Situation) -> list[Hypothesis]:
    """Return all ideas for a cause, the viable ones in the order in which they should be tried, then the rejected.

    A written recommendation is made where no change of configuration is viable.
    """
    ideas = [_checked(idea, situation) for generator in GENERATORS for idea in generator(situation)]
    viable = [idea for idea in ideas if idea.rejected is None]
    rejected = [idea for idea in ideas if idea.rejected is not None]
    return (viable or recommend(situation)) + rejected


def _checked(idea: Hypothesis, situation: Situation) -> Hypothesis:
    if idea.change is None or idea.rejected is not None:
        return idea
    try:
        check_allowed(idea.change, situation.allowed)
    except RefusedChangeError as refusal:
        return idea.model_copy(update={"rejected": str(refusal)})
    if fell := situation.tried.get(idea.change.hash):
        return idea.model_copy(update={"rejected": fell})
    return idea


def _near_onset(change: ConfigChange, cause: CauseRecord) -> bool:
    """Tell whether a change can have started it: not after the onset, and not long before."""
    if cause.onset is None or cause.onset_low is None or cause.onset_high is None:
        return True
    width = cause.onset_high - cause.onset_low
    return cause.onset_low - ONSET_SLACK - width <= change.at <= cause.onset_high + ONSET_SLACK


def _words(rule: AllowedKey) -> str:
    if rule.when:
        return " and ".join(f"{key} = {value}" for key, value in rule.when.items())
    return f"the runs' {rule.attribute}" if rule.attribute else "all runs"


def _attribute_of(rule: AllowedKey, value: Any) -> str | None:
    named = [attribute for attribute, governed in rule.when.items() if governed == str(value)]
    return named[0] if named else next(iter(rule.when), None)


def _unhealthy(entry: ValueHealth | None, value: str, evidence: Evidence) -> str | None:
    if entry is None or entry.bad_runs < MIN_RUNS:
        return f"{value} served {entry.bad_runs if entry else 0} runs of the bad window, too few to call it healthy"
    usual = evidence.baseline_failures / max(evidence.baseline_runs, 1)
    now = evidence.bad_failures / max(evidence.bad_runs, 1)
    # healthier than the app as a whole is now, by at least half of what went wrong
    if entry.bad_rate > usual + 0.5 * max(now - usual, 0.0) + 0.01:
        return f"{value} fails too: {entry.bad_failures} of {entry.bad_runs} runs in the bad window"
    return None


def _raised(value: float, rule: AllowedKey, hit: float) -> float | None:
    if rule.values is not None:
        numbers: list[float] = [item for item in rule.values if not isinstance(item, str | bool)]
        larger = sorted(item for item in numbers if item > value)
        return larger[0] if larger else None
    to = value * (4 if hit >= 0.3 else 2)
    if rule.maximum is not None:
        to = min(to, rule.maximum)
    if to <= value:
        return None
    return int(to) if isinstance(value, int) and float(to).is_integer() else to


def _typed(text: str, like: Any, rule: AllowedKey) -> ConfigValue:
    for value in rule.values or []:
        if str(value) == text:
            return value
    if isinstance(like, bool):
        return text.lower() == "true"
    try:
        return type(like)(text) if isinstance(like, int | float) else text
    except ValueError:
        return text


__all__ = [
    "GENERATORS",
    "ErrorPattern",
    "Situation",
    "hypotheses",
    "raise_bound",
    "recommend",
    "revert",
    "route_around",
]
