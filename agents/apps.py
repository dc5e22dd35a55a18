"""What may be said of a monitored app, checked before it is stored. Shared by the command line and the API."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal
from zoneinfo import available_timezones

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from sqlalchemy.orm import Session

from agents import approval
from agents.change import AllowedKey
from core.errors import MetamonError
from core.settings import REFUSED_PROJECTS
from db.repositories import apps
from targets.spec import parse_target

NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
"""It is a file name, a flag key and part of a URL."""

ADDRESS = re.compile(r"[^@\s<>,;]+@[^@\s<>,;]+")
DAY_MS = 86_400_000
CONFIG_KEYS = 500
CONFIG_CHARS = 10_000
OBJECTIVES = 50
CONFIG_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")

LEVELS = {
    "latency_p95": (DAY_MS / 1000, "seconds, such as 2.5"),
    "tokens_per_run": (1e9, "tokens, such as 4000"),
    "cost_per_run": (1e6, "money, such as 0.02"),
}
"""Objectives that are no share: what they must stay below, and how they are said."""

Scalar = str | int | float | bool


class InvalidAppError(MetamonError):
    """An app cannot be like this."""


class AppFields(BaseModel):
    """What can be set of an app; None was not said."""

    model_config = ConfigDict(extra="forbid")

    source: Literal["embedded", "langsmith"] | None = None
    project: str | None = Field(default=None, min_length=1, max_length=250)
    sla_ms: int | None = Field(default=None, gt=0, le=DAY_MS)
    notify: list[str] | None = Field(default=None, max_length=50)
    timezone: str | None = None
    enabled: bool | None = None
    objectives: dict[str, Any] | None = None
    target: dict[str, Any] | None = None
    allowed: dict[str, Any] | None = None
    policy: list[Any] | None = None

    @field_validator("project")
    @classmethod
    def _not_ourselves(cls, project: str | None) -> str | None:
        if project in REFUSED_PROJECTS:
            raise ValueError(f"{project!r} cannot be monitored: the system never monitors itself or its evaluators")
        return project

    @field_validator("notify")
    @classmethod
    def _addresses(cls, notify: list[str] | None) -> list[str] | None:
        for address in notify or ():
            if not ADDRESS.fullmatch(address):
                raise ValueError(f"{address!r} is no mail address, such as ops@example.com")
        return notify

    @field_validator("timezone")
    @classmethod
    def _known(cls, timezone: str | None) -> str | None:
        if timezone is not None and timezone not in available_timezones():
            raise ValueError(f"{timezone!r} is no time zone, such as Europe/Berlin")
        return timezone

    @field_validator("objectives")
    @classmethod
    def _objectives(cls, objectives: dict[str, Any] | None) -> dict[str, Any] | None:
        if len(objectives or {}) > OBJECTIVES:
            raise ValueError(f"{OBJECTIVES} objectives are the limit")
        for metric, stated in (objectives or {}).items():
            if not CONFIG_KEY.fullmatch(metric):
                raise ValueError(f"{metric[:80]!r} is no metric, such as error_rate or a feedback key")
            if stated is None:
                continue  # taken back
            most, right = LEVELS.get(metric, (1.0, "a share between 0 and 1, such as 0.02"))
            good = isinstance(stated, int | float) and not isinstance(stated, bool)
            if not good or not 0 < stated < most:
                raise ValueError(f"{metric} is the worst value that is still fine: {right}; got {str(stated)[:80]}")
        return objectives

    @field_validator("target")
    @classmethod
    def _target(cls, target: dict[str, Any] | None) -> dict[str, Any] | None:
        if target:
            try:
                parse_target(target)
            except MetamonError as error:
                raise ValueError(str(error)) from None
        return target

    @field_validator("allowed")
    @classmethod
    def _allowed(cls, allowed: dict[str, Any] | None) -> dict[str, Any] | None:
        for key, rule in (allowed or {}).items():
            try:
                AllowedKey.model_validate(rule)
            except ValidationError as error:
                first = error.errors(include_url=False, include_input=False)[0]
                where = ".".join([key, *(str(part) for part in first["loc"])])
                raise ValueError(f"{where}: {first['msg']}") from None
        return allowed

    @field_validator("policy")
    @classmethod
    def _policy(cls, policy: list[Any] | None) -> list[Any] | None:
        if not policy:
            return policy
        try:
            return [rule.model_dump(exclude_unset=True) for rule in approval.parse(policy)]
        except approval.InvalidPolicyError as error:
            raise ValueError(str(error)) from None


def add_app(session: Session, name: str, fields: Mapping[str, Any], config: Mapping[str, Any], *, by: str) -> int:
    """Add an app and return its id. The project is the name where none is given.

    Raises:
        InvalidAppError: a field is wrong; the message says which and what would be right.
        DuplicateAppError: the name is taken.
    """
    if not NAME.fullmatch(name):
        raise InvalidAppError(
            f"{name[:80]!r} cannot be an app's name: lower-case letters, digits and hyphens, 63 at most, such as fa-ai"
        )
    checked = check_fields({"project": name, **fields})
    if "sla_ms" not in checked:
        raise InvalidAppError("sla_ms is needed: how many milliseconds an answer may take, such as 2000")
    if "objectives" in checked:
        checked["objectives"] = {metric: worst for metric, worst in checked["objectives"].items() if worst is not None}
    return apps.add(session, name=name, by=by, config=check_config(config), **checked)


def change_app(
    session: Session, name: str, fields: Mapping[str, Any], config: Mapping[str, Any], *, by: str
) -> list[str]:
    """Set fields and configuration keys and return the names of those that changed.

    Args:
        fields: objectives that are not named stay; None takes one back.
        config: values by dotted key; None removes the key.

    Raises:
        InvalidAppError: a field is wrong; nothing is changed then.
        NotFoundError: there is no such app.
    """
    checked, values = check_fields(fields), check_config(config, removable=True)
    if "objectives" in checked:
        stated = {**apps.locked(session, name).objectives, **checked["objectives"]}
        checked["objectives"] = {metric: worst for metric, worst in stated.items() if worst is not None}
    changed = apps.change(session, name, checked, by=by)
    return changed + [f"config.{key}" for key in apps.configure(session, name, values, by=by)]


def check_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that were given, checked.

    Raises:
        InvalidAppError: one is wrong.
    """
    try:
        return AppFields.model_validate(dict(fields)).model_dump(exclude_none=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        known = (
            f"; fields: {', '.join(AppFields.model_fields)}, config.KEY" if first["type"] == "extra_forbidden" else ""
        )
        raise InvalidAppError(f"{where}: {first['msg'].removeprefix('Value error, ')}{known}") from None


def check_config(config: Mapping[str, Any], *, removable: bool = False) -> dict[str, Any]:
    """Return a flat configuration, checked.

    Raises:
        InvalidAppError: a key or a value is not of the kind that flags can serve.
    """
    if len(config) > CONFIG_KEYS:
        raise InvalidAppError(f"the configuration has {len(config)} keys; {CONFIG_KEYS} are the limit")
    for key, value in config.items():
        if not CONFIG_KEY.fullmatch(key):
            raise InvalidAppError(f"config key {key[:80]!r}: letters, digits, dots, hyphens, underscores, 200 at most")
        if value is None and removable:
            continue
        if not isinstance(value, Scalar) or (isinstance(value, float) and not math.isfinite(value)):
            raise InvalidAppError(f"config {key!r} must be a text, a number or a boolean: the configuration is flat")
        if isinstance(value, str) and (len(value) > CONFIG_CHARS or "\x00" in value):
            raise InvalidAppError(f"config {key!r} must be a text of at most {CONFIG_CHARS} characters without NUL")
    return dict(config)


def parse_assignments(assignments: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return fields and configuration keys of `sla_ms=800`, `notify=a@x,b@x`, `config.prompt.a="v13"`.

    `objectives.error_rate=0.05` states one objective; the others stay.

    A value is JSON where it can be read as JSON, else the text as it stands.

    Raises:
        InvalidAppError: an assignment has no `=`.
    """
    fields: dict[str, Any] = {}
    config: dict[str, Any] = {}
    objectives: dict[str, Any] = {}
    for assignment in assignments:
        key, sign, text = assignment.partition("=")
        if not sign or not key:
            raise InvalidAppError(f"{assignment[:80]!r} is no assignment; write KEY=VALUE, such as sla_ms=800")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        if key.startswith("config."):
            config[key.removeprefix("config.")] = value
        elif key.startswith("objectives."):
            objectives[key.removeprefix("objectives.")] = value
        elif key == "notify" and isinstance(value, str):
            fields[key] = [address.strip() for address in value.split(",") if address.strip()]
        else:
            fields[key] = value
    if objectives:
        fields["objectives"] = {**fields.get("objectives", {}), **objectives}
    return fields, config
