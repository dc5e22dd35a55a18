"""Who decides about a change that was validated: a policy of the app, as data, or a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from agents.change import Change
from core.errors import MetamonError
from core.states import Verdict

RULES = 50
TAKEN = frozenset({"allowed-keys", "auto-approve", "bounces", "budget", "default", "rollout", "validation"})
"""Names under which other policies stand in the audit log."""


class InvalidPolicyError(MetamonError):
    """A policy cannot be read. The message names the rule and what would be right."""


class Action(StrEnum):
    """What a rule does."""

    APPROVE = "approve"
    ASK = "ask"
    """A person decides."""


class Rule(BaseModel):
    """One rule: it applies where all that it names holds; what it does not name does not matter."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,58}[a-z0-9])?$")
    """Stands in the audit log as `policy:<name>`."""
    change: list[Literal["prompt", "parameter", "routing"]] | None = Field(default=None, min_length=1)
    impact: Literal["low", "high"] | None = None
    max_characters: int | None = Field(default=None, ge=0, strict=True)
    """Largest difference of the values: see `characters_changed`."""
    verdict: Literal["pass", "inconclusive"] = "pass"
    """What validation said. What it refused, or could not run, no rule lets through."""
    then: Literal["approve", "ask"]

    @model_validator(mode="after")
    def _sound(self) -> Rule:
        if self.name in TAKEN:
            raise ValueError(f"name: {self.name!r} is the system's own; take another")
        if self.verdict != "pass" and self.then == "approve":
            raise ValueError(
                "then: only what passed can be approved by a rule; an inconclusive change can be asked for"
            )
        return self


DEFAULT: tuple[Rule, ...] = (Rule(name="low-impact", impact="low", then="approve"),)
"""In force where an app has no policy of its own."""


@dataclass(frozen=True)
class Decision:
    """What happens to the proposal, and the name of the rule that says so."""

    action: Action
    rule: str


def parse(policy: Any) -> tuple[Rule, ...]:
    """Return the rules of a stored or a given policy; the default for an empty one.

    Raises:
        InvalidPolicyError: it is no list of rules.
    """
    if not isinstance(policy, list):
        raise InvalidPolicyError(
            f'is a list of rules, such as [{{"name": "small", "then": "ask"}}], no {_kind(policy)}'
        )
    if len(policy) > RULES:
        raise InvalidPolicyError(f"has {len(policy)} rules; {RULES} are the limit")
    rules: list[Rule] = []
    for number, given in enumerate(policy, 1):
        where = f"rule {number}"
        if not isinstance(given, dict):
            raise InvalidPolicyError(f"{where} is an object, no {_kind(given)}")
        try:
            rule = Rule.model_validate(given)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            field = ".".join(str(part) for part in first["loc"])
            known = f"; a rule has: {', '.join(Rule.model_fields)}" if first["type"] == "extra_forbidden" else ""
            told = first["msg"].removeprefix("Value error, ")
            raise InvalidPolicyError(": ".join(filter(None, [where, field, told])) + known) from None
        if rule.name in {earlier.name for earlier in rules}:
            raise InvalidPolicyError(f"{where}: name: {rule.name!r} is the name of an earlier rule")
        rules.append(rule)
    return tuple(rules) or DEFAULT


def decide(
    rules: Sequence[Rule], *, change: Change, impact: str, verdict: Verdict, auto_approve: bool = False
) -> Decision | None:
    """Return what the first rule that applies says of a validated change.

    Args:
        auto_approve: approve what passed where no rule applies, instead of asking. A rule that asks stands.

    Returns:
        None where nobody is to be asked: validation said no, or could not tell and no rule speaks of that.
    """
    for rule in rules:
        if applies(rule, change=change, impact=impact, verdict=verdict):
            return Decision(Action(rule.then), rule.name)
    if verdict is not Verdict.PASS:
        return None
    return Decision(Action.APPROVE, "auto-approve") if auto_approve else Decision(Action.ASK, "default")


def applies(rule: Rule, *, change: Change, impact: str, verdict: Verdict) -> bool:
    """Tell whether all that a rule names holds."""
    return (
        verdict.value == rule.verdict
        and (rule.change is None or change.type in rule.change)
        and (rule.impact is None or impact == rule.impact)
        and (rule.max_characters is None or characters_changed(change) <= rule.max_characters)
    )


def characters_changed(change: Change) -> int:
    """Return the size of a change: the longer of what is taken out and what is put in.

    What lies between the first and the last difference counts whole: two edits far apart are a large change. A number
    counts as it is written.
    """
    old, new = _text(change.from_), _text(change.to)
    shorter = min(len(old), len(new))
    start = next((i for i in range(shorter) if old[i] != new[i]), shorter)
    end = next((i for i in range(shorter - start) if old[-1 - i] != new[-1 - i]), shorter - start)
    return max(len(old), len(new)) - start - end


def words(rule: Rule) -> str:
    """Return a rule in a line: `low-impact: low impact, pass → approve`."""
    told = ["/".join(rule.change) if rule.change else None, f"{rule.impact} impact" if rule.impact else None]
    told += [None if rule.max_characters is None else f"at most {rule.max_characters} characters", rule.verdict]
    return f"{rule.name}: {', '.join(filter(None, told))} → {rule.then}"


def _text(value: str | int | float | bool | None) -> str:
    return "" if value is None else str(value)


def _kind(value: Any) -> str:
    return {"dict": "object", "str": "text", "NoneType": "null"}.get(type(value).__name__, type(value).__name__)
