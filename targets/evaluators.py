"""How an answer is judged by the checks of its case: a score of 0 or 1 per metric, or an error of the judging."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import regex  # type: ignore[import-untyped]
from pydantic import TypeAdapter

from core.completion import Grader, GradingError
from core.states import CaseOutcome
from targets.answers import Answer
from targets.checks import Check, Contains, Exact, Graded, JsonSchema, Latency, Numeric, Regex
from targets.json_schema import violation

REGEX_TIMEOUT_S = 0.25
MAX_SEARCHED = 20_000
"""Characters of an answer that a pattern is searched in."""
ANSWER_FIELDS = ("text", "answer", "output", "content")
"""Where an answer's words are, where it is an object and a check names no path."""

_CHECKS: TypeAdapter[list[Check]] = TypeAdapter(list[Check])
_NUMBER = re.compile(r"[-−+]?\d[\d,]*(?:\.\d+)?(?:[eE][-+]?\d+)?")


class JudgingError(Exception):
    """A check could not be applied to an answer: neither passed nor failed."""


@dataclass(frozen=True)
class Judged:
    """Scores by metric, and what stood in the way of the missing ones."""

    outcome: CaseOutcome
    scores: dict[str, float]
    error: str | None = None


def parse_checks(checks: Any) -> list[Check]:
    """Return typed checks. Raises pydantic's ValidationError."""
    return _CHECKS.validate_python(checks)


def metrics_of(checks: Sequence[Check]) -> set[str]:
    """Return the metrics that a case's checks speak of."""
    return {check.metric for check in checks}


def judge(
    answer: Answer,
    checks: Sequence[Check],
    *,
    sla_ms: float | None,
    grader: Grader | None = None,
    question: Any = None,
) -> Judged:
    """Score one answer.

    Args:
        grader: the model that judges by criteria; without one such checks are not judged.
        question: the case's inputs, for the grader.

    `error_free` says whether there was an answer, `sla_met` whether the call took no longer than agreed, whatever came
    of it. Where several checks share a metric, all must pass. A target that failed did not give the right answer: it
    scores 0 on every check. A case that was not run, or a metric that could not be judged, has no score at all.
    """
    if answer.outcome is CaseOutcome.NOT_RUN:
        return Judged(answer.outcome, {}, answer.error)
    scores: dict[str, float] = {"error_free": float(answer.outcome is CaseOutcome.OK)}
    if answer.latency_ms is not None and sla_ms is not None:
        scores["sla_met"] = float(answer.latency_ms <= sla_ms)
    unjudged: dict[str, str] = {}
    for check in checks:
        try:
            passed = _graded(check, answer, grader, question) if isinstance(check, Graded) else passes(check, answer)
        except JudgingError as error:
            unjudged[check.metric] = str(error)
            continue
        scores[check.metric] = min(scores.get(check.metric, 1.0), float(passed))
    for metric in unjudged:
        scores.pop(metric, None)
    if unjudged:
        told = "; ".join(f"{metric}: {reason}" for metric, reason in unjudged.items())
        return Judged(CaseOutcome.JUDGE_ERROR, scores, told[:2000])
    return Judged(answer.outcome, scores, answer.error)


def _graded(check: Graded, answer: Answer, grader: Grader | None, question: Any) -> bool:
    if answer.outcome is not CaseOutcome.OK:
        return False
    found, value = at_path(answer.output, check.path)
    if not found:
        return False
    if grader is None:
        raise JudgingError("no model is configured that could judge: set OPENAI_API_KEY or OPENAI_BASE_URL")
    try:
        return grader.meets(
            check.criteria, question=question, answer=words(value)[:MAX_SEARCHED], reference=check.reference
        )
    except GradingError as error:
        raise JudgingError(str(error)) from None


def passes(check: Check, answer: Answer) -> bool:
    """Tell whether the answer passes one check, other than a model's.

    Raises:
        JudgingError: the pattern took too long.
    """
    if isinstance(check, Latency):
        return answer.latency_ms is not None and answer.latency_ms <= check.max_ms
    if answer.outcome is not CaseOutcome.OK:
        return False
    found, value = at_path(answer.output, check.path)
    if not found:
        return isinstance(check, Contains) and check.type == "not_contains"
    if isinstance(check, Numeric):
        room = check.tolerance * abs(check.expected) if check.relative else check.tolerance
        numbers = [number_of(value)] if check.path else numbers_in(words(value))
        # A hair beyond the tolerance is the arithmetic's, not the answer's.
        return any(n is not None and abs(n - check.expected) <= room * (1 + 1e-9) + 1e-12 for n in numbers)
    if isinstance(check, Contains):
        return _contains(check, words(value))
    if isinstance(check, Regex):
        try:
            return regex.search(check.pattern, words(value)[:MAX_SEARCHED], timeout=REGEX_TIMEOUT_S) is not None
        except TimeoutError:
            raise JudgingError(f"the pattern {check.pattern[:60]!r} took over {REGEX_TIMEOUT_S} s") from None
    if isinstance(check, Exact):
        return _same(value, check.expected)
    assert isinstance(check, JsonSchema)
    return violation(_json_of(value), check.schema_) is None


def at_path(output: Any, path: str | None) -> tuple[bool, Any]:
    """Return whether something is at a dotted path of the answer (`citations.0.source`), and what."""
    if not path:
        return True, output
    value = output
    if isinstance(value, Mapping) and path in value:
        return True, value[path]
    for part in path.split("."):
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return False, None
    return True, value


def words(value: Any) -> str:
    """Return the text of an answer: itself, its text field, or its JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        for name in ANSWER_FIELDS:
            if isinstance(value.get(name), str):
                return str(value[name])
    return json.dumps(value, ensure_ascii=False, default=str)


def number_of(value: Any) -> float | None:
    """Return the number that a value is, or that its text begins with; None without one."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return float(value) if math.isfinite(value) else None
    numbers = numbers_in(value) if isinstance(value, str) else []
    return numbers[0] if numbers else None


def numbers_in(text: str) -> list[float]:
    """Return the numbers in a text, with thousands separated by commas and either minus sign."""
    return [float(match.replace(",", "").replace("−", "-")) for match in _NUMBER.findall(text[:MAX_SEARCHED])]


def _contains(check: Contains, text: str) -> bool:
    wanted = [check.value] if isinstance(check.value, str) else check.value
    if not check.case_sensitive:
        text, wanted = text.casefold(), [one.casefold() for one in wanted]
    if check.type == "contains":
        return all(one in text for one in wanted)
    return not any(one in text for one in wanted)


def _same(value: Any, expected: Any) -> bool:
    if isinstance(value, str) and isinstance(expected, str):
        return value.strip() == expected.strip()
    if isinstance(value, bool) or isinstance(expected, bool):
        return value is expected
    return bool(value == expected)


def _json_of(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value
