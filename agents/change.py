"""The typed change that a proposal carries: what it is, whether the app allows it, what it does to a configuration."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from core.errors import PermanentError

ConfigValue = str | int | float | bool
Config = Mapping[str, Any]


class RefusedChangeError(PermanentError):
    """The change touches what the app does not allow to be changed."""


class Change(BaseModel):
    """One key of the app's configuration from one value to another; for `code`, a recommendation in words."""

    model_config = ConfigDict(frozen=True, populate_by_name=True, extra="forbid")

    type: Literal["prompt", "parameter", "routing", "code"]
    key: str = Field(default="", max_length=200)
    from_: ConfigValue | None = Field(default=None, alias="from")
    to: ConfigValue | None = None
    note: str = Field(default="", max_length=2000)

    def as_json(self) -> dict[str, Any]:
        """Return the stored form, with the key `from`."""
        return self.model_dump(by_alias=True)

    @property
    def hash(self) -> str:
        """Return what an approval is bound to: SHA-256 over the canonical JSON."""
        return hashlib.sha256(json.dumps(self.as_json(), sort_keys=True).encode()).hexdigest()

    @property
    def applies_itself(self) -> bool:
        """Whether the system can roll it out. A code change is for people."""
        return self.type != "code"


class AllowedKey(BaseModel):
    """What an app allows a proposal to do to one configuration key, and what the key has to do with its runs."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["prompt", "parameter", "routing"]
    values: list[ConfigValue] | None = None
    """The only values that may be set."""
    minimum: float | None = None
    maximum: float | None = None
    when: dict[str, str] = Field(default_factory=dict)
    """Run attributes this key governs: {"region": "emea"} for the index of that region."""
    attribute: str | None = None
    """Run attribute that carries the key's value: `prompt_version`."""
    bounds: str | None = None
    """Exception that is raised when this value is hit: `ProviderTimeout` for a time-out's length."""
    impact: Literal["low", "high"] = "high"
    """`low`: policy may approve it once validation passed."""


def check_allowed(change: Change, allowed: Mapping[str, Any]) -> None:
    """Accept the change or say why not.

    Args:
        allowed: the app's `allowed` column: `AllowedKey` as JSON by configuration key.

    Raises:
        RefusedChangeError: the key is not listed, the type is another, or the value is out of what is listed.
    """
    if not change.applies_itself:
        return
    if change.key not in allowed:
        raise RefusedChangeError(f"{change.key!r} is not a key that proposals may change; allowed: {sorted(allowed)}")
    rule = AllowedKey.model_validate(allowed[change.key])
    if rule.type != change.type:
        raise RefusedChangeError(f"{change.key!r} takes a {rule.type} change, not a {change.type} change")
    if rule.values is not None and change.to not in rule.values:
        raise RefusedChangeError(f"{change.key!r} may be one of {rule.values}, not {change.to!r}")
    for limit, broken in ((rule.minimum, "below"), (rule.maximum, "above")):
        if limit is None:
            continue
        if isinstance(change.to, bool) or not isinstance(change.to, int | float):
            raise RefusedChangeError(f"{change.key!r} takes a number, not {change.to!r}")
        if (change.to < limit) if broken == "below" else (change.to > limit):
            raise RefusedChangeError(f"{change.key!r} must not be {broken} {limit}, and {change.to!r} is")


def apply(config: Config, change: Change) -> dict[str, Any]:
    """Return the configuration with the change made. The input is left as it was."""
    return {**config, change.key: change.to} if change.applies_itself else dict(config)
