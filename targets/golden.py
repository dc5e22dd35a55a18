"""Golden sets as files: one JSON object a line, and an error that names the line and the field."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.errors import MetamonError
from targets.checks import Check

MAX_CASES = 50_000
MAX_LINE = 256 * 1024
MAX_CHECKS = 50


class InvalidGoldenSetError(MetamonError):
    """A line of a golden file is wrong. The message names line and field."""


class GoldenCaseIn(BaseModel):
    """One case: `{"key", "inputs": {}, "checks": [{"type", "metric", …}], "tags": {}}`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    key: str = Field(min_length=1, max_length=200)
    inputs: dict[str, Any]
    checks: list[Check] = Field(min_length=1, max_length=MAX_CHECKS)
    tags: dict[str, str | int | float | bool] = Field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the stored form, without what is default anyway."""
        return {
            "key": self.key,
            "inputs": self.inputs,
            "checks": [check.model_dump(by_alias=True, exclude_unset=True) for check in self.checks],
            "tags": self.tags,
        }


def parse_lines(lines: Iterable[str], *, source: str = "line") -> list[GoldenCaseIn]:
    """Return the cases of a JSONL file; empty lines are skipped.

    Args:
        lines: the file, or its lines.
        source: what stands before the number in an error ("golden.jsonl:").

    Raises:
        InvalidGoldenSetError: a line that is no case, a key twice, no case at all, or too many.
    """
    cases: list[GoldenCaseIn] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{source} {number}"
        case = _parse(line, where)
        if case.key in seen:
            raise InvalidGoldenSetError(f"{where}: key: {case.key!r} stands in line {seen[case.key]} already")
        seen[case.key] = number
        cases.append(case)
        if len(cases) > MAX_CASES:
            raise InvalidGoldenSetError(f"{where}: a golden set has at most {MAX_CASES} cases")
    if not cases:
        raise InvalidGoldenSetError("the file has no case; each line is one JSON object")
    return cases


def coverage(cases: Sequence[GoldenCaseIn]) -> dict[str, int]:
    """Return how many cases speak of each metric."""
    return dict(Counter(metric for case in cases for metric in {check.metric for check in case.checks}))


def _parse(line: str, where: str) -> GoldenCaseIn:
    if len(line) > MAX_LINE:
        raise InvalidGoldenSetError(f"{where}: a case has at most {MAX_LINE} characters, this one has {len(line)}")
    try:
        document = json.loads(line, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise InvalidGoldenSetError(f"{where}: is no JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidGoldenSetError(f"{where}: must be an object with key, inputs and checks")
    try:
        return GoldenCaseIn.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise InvalidGoldenSetError(
            f"{where}: {_field(first['loc'], document)}: {first['msg'].removeprefix('Value error, ')}"
        ) from None


def _field(location: tuple[int | str, ...], document: dict[str, Any]) -> str:
    """Return `checks[0].expected` for pydantic's ("checks", 0, "numeric", "expected")."""
    text = ""
    value: Any = document
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
            value = value[part] if isinstance(value, list) and part < len(value) else None
        elif isinstance(value, dict) and value.get("type") == part and part not in value:
            continue  # the union's tag is no field of the file
        else:
            text += f".{part}" if text else part
            value = value.get(part) if isinstance(value, dict) else None
    return text or "the case"


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no number in JSON")
