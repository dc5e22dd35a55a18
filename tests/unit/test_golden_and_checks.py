"""Golden files, checks and what an answer scores: untrusted input, clear words."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import pytest

from agents.validation.plan import PlannedCase, chunk_size, layout, plan
from core.states import CaseOutcome
from targets.answers import Answer
from targets.evaluators import judge, numbers_in, parse_checks
from targets.golden import InvalidGoldenSetError, coverage, parse_lines
from targets.http import HttpRunner, fill
from targets.json_schema import violation
from targets.spec import HttpTarget, InvalidTargetError, parse_target

GOOD: dict[str, Any] = {
    "key": "a",
    "inputs": {"q": "x"},
    "checks": [{"type": "numeric", "metric": "fact_accuracy", "path": "value", "expected": 3}],
}


def with_check(**check: Any) -> str:
    """A line with one check."""
    return json.dumps({**GOOD, "checks": [check]})


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"key": "a"', "is no JSON"),
        ("[]", "must be an object"),
        ('{"key": "a", "inputs": {}}', "checks: Field required"),
        ('{"inputs": {}, "checks": []}', "key: Field required"),
        (json.dumps({**GOOD, "extra": 1}), "extra: Extra inputs"),
        (json.dumps({**GOOD, "key": ""}), "key: "),
        (json.dumps({**GOOD, "tags": {"a": []}}), "tags.a"),
        (with_check(type="numeric", metric="m"), r"checks\[0\].expected: Field required"),
        (with_check(type="nope", metric="m"), r"checks\[0\]: Input tag 'nope'"),
        (with_check(type="regex", metric="m", pattern="("), r"checks\[0\].pattern: is no regular expression"),
        (with_check(type="contains", metric="m", value=[]), r"checks\[0\].value: must name at least one text"),
        (with_check(type="json_schema", metric="m", schema={"pattern": "x"}), r"checks\[0\].schema: .*not supported"),
        (with_check(type="numeric", metric="m", expected=1, tolerance=-1), r"checks\[0\].tolerance"),
        (
            with_check(type="model", metric="m", criteria="Gives no advice.", labels=[{"answer": "x", "meets": "yes"}]),
            r"checks\[0\].labels\[0\].meets: ",
        ),
        (
            with_check(
                type="model", metric="m", criteria="Gives no advice.", labels=2 * [{"answer": "x", "meets": True}]
            ),
            r"checks\[0\].labels: must name each answer once",
        ),
        ('{"key": "a", "inputs": {"x": NaN}, "checks": []}', "NaN is no number"),
        ("x" * 300_000, "at most 262144 characters"),
        ('{"key":' + "[" * 5000, "is no JSON"),
    ],
)
def test_a_bad_line_is_named_with_its_field(line: str, said: str) -> None:
    """Whoever wrote the file finds the place."""
    with pytest.raises(InvalidGoldenSetError, match=r"^cases.jsonl: line 3: .*" + said):
        parse_lines([json.dumps({**GOOD, "key": "first"}), "", line], source="cases.jsonl: line")


def test_a_key_stands_once() -> None:
    """The second line with a key is refused, the first one named."""
    with pytest.raises(InvalidGoldenSetError, match="line 2: key: 'a' stands in line 1 already"):
        parse_lines([json.dumps(GOOD)] * 2)


def test_an_empty_file_is_no_set() -> None:
    """A validation over nothing would pass everything."""
    with pytest.raises(InvalidGoldenSetError, match="no case"):
        parse_lines(["", "  "])


def test_what_is_exported_can_be_imported() -> None:
    """The stored form is the file's form."""
    cases = parse_lines([json.dumps(GOOD)])
    again = parse_lines([json.dumps(case.as_json()) for case in cases])
    assert again == cases
    assert coverage(cases) == {"fact_accuracy": 1}


def score(output: Any, latency_ms: float = 10, **check: Any) -> float | None:
    """Judge an answer by one check."""
    answer = Answer(CaseOutcome.OK, output, latency_ms)
    return judge(answer, parse_checks([{"metric": "m", **check}]), sla_ms=None).scores.get("m")


@pytest.mark.parametrize(
    ("output", "check", "passed"),
    [
        ({"value": 103}, {"type": "numeric", "path": "value", "expected": 100, "tolerance": 0.03}, True),
        ({"value": 104}, {"type": "numeric", "path": "value", "expected": 100, "tolerance": 0.03}, False),
        (
            {"value": 101},
            {"type": "numeric", "path": "value", "expected": 100, "tolerance": 1, "relative": False},
            True,
        ),
        ({"value": "$1,250.50"}, {"type": "numeric", "path": "value", "expected": 1250.5}, True),
        ({"value": None}, {"type": "numeric", "path": "value", "expected": 0, "tolerance": 9}, False),
        ({"value": True}, {"type": "numeric", "path": "value", "expected": 1}, False),
        ({"value": float("nan")}, {"type": "numeric", "path": "value", "expected": 1}, False),
        ({}, {"type": "numeric", "path": "value", "expected": 1}, False),
        ("Net debt was −12.5 in 2024.", {"type": "numeric", "expected": -12.5}, True),
        ({"text": "Not investment ADVICE."}, {"type": "contains", "value": "investment advice"}, True),
        ({"text": "Not investment ADVICE."}, {"type": "contains", "value": "advice", "case_sensitive": True}, False),
        ({"text": "buy now"}, {"type": "not_contains", "value": ["guaranteed", "buy"]}, False),
        ({"text": "it depends"}, {"type": "not_contains", "value": ["guaranteed", "buy"]}, True),
        ("order 66", {"type": "regex", "pattern": r"\border \d+"}, True),
        ({"a": {"b": [{"c": "x "}]}}, {"type": "exact", "path": "a.b.0.c", "expected": "x"}, True),
        ({"refused": 1}, {"type": "exact", "path": "refused", "expected": True}, False),
        ({"n": 1}, {"type": "json_schema", "schema": {"type": "object", "required": ["n"]}}, True),
        ('{"n": "1"}', {"type": "json_schema", "schema": {"properties": {"n": {"type": "integer"}}}}, False),
        ("x", {"type": "latency", "max_ms": 9}, False),
    ],
)
def test_checks_say_what_they_mean(output: Any, check: dict[str, Any], passed: bool) -> None:
    """Numbers with tolerance, texts, patterns, paths, schemas, time."""
    assert score(output, **check) == float(passed)


def test_an_evil_pattern_is_an_error_of_the_judging() -> None:
    """A pattern that would take for ever is neither passed nor failed, and costs a moment."""
    answer = Answer(CaseOutcome.OK, "a" * 60 + "b", 1.0)
    checks = parse_checks([{"type": "regex", "metric": "m", "pattern": "(a|aa)+$"}])
    started = time.process_time()
    judged = judge(answer, checks, sla_ms=100)
    assert time.process_time() - started < 2
    assert judged.outcome is CaseOutcome.JUDGE_ERROR
    assert judged.scores == {"error_free": 1.0, "sla_met": 1.0}
    assert "took over" in (judged.error or "")


def test_no_answer_is_not_the_right_answer_and_not_run_is_nothing() -> None:
    """A failure scores 0 on every check; what was not run has no score at all."""
    checks = parse_checks([{"type": "contains", "metric": "m", "value": "x"}])
    failed = judge(Answer(CaseOutcome.FAILED, latency_ms=5, error="boom"), checks, sla_ms=100)
    assert failed.scores == {"error_free": 0.0, "sla_met": 1.0, "m": 0.0}
    assert judge(Answer(CaseOutcome.NOT_RUN, error="away"), checks, sla_ms=100).scores == {}


def test_all_checks_of_a_metric_must_pass() -> None:
    """One number right and one wrong is wrong."""
    checks = parse_checks([{"type": "contains", "metric": "m", "value": value} for value in ("a", "b")])
    assert judge(Answer(CaseOutcome.OK, "only a", 1.0), checks, sla_ms=None).scores["m"] == 0.0


def test_numbers_are_found_in_prose() -> None:
    """Thousands, decimals, exponents, signs."""
    assert numbers_in("from 1,200 to -3.5, about 2e3") == [1200, -3.5, 2000]


def test_schema_violations_name_the_place() -> None:
    """The first miss, by path."""
    schema = {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "number", "minimum": 0}}}}
    assert violation({"a": [1, -1]}, schema) == "answer.a[1] is below 0"
    assert violation({"a": [1]}, schema) is None
    assert violation({"b": 1}, {"additionalProperties": False}) == "answer.b must not be there"


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ({}, "no target"),
        ({"kind": "ftp"}, "kind"),
        ({"kind": "python"}, "callable: Field required"),
        ({"kind": "python", "callable": "no function"}, "callable"),
        ({"kind": "http", "url": "file:///etc/passwd"}, "url"),
        ({"kind": "python", "callable": "a:b", "tiemout": 3}, "tiemout"),
    ],
)
def test_a_target_that_cannot_be_used_says_why(target: dict[str, Any], said: str) -> None:
    """The field is named."""
    with pytest.raises(InvalidTargetError, match=said):
        parse_target(target)


def test_a_body_is_filled_without_being_evaluated() -> None:
    """Whole values keep their type, texts are texts, and a placeholder inside an input stays one."""
    body = {"q": "{inputs.question}", "all": "{config}", "text": "k={config.retrieval.k} {inputs.none}!"}
    filled = fill(body, inputs={"question": "{config}"}, config={"retrieval.k": 4})
    assert filled == {"q": "{config}", "all": {"retrieval.k": 4}, "text": "k=4 !"}


@pytest.mark.parametrize(
    ("response", "outcome"),
    [
        (httpx.Response(200, json={"value": 1}), CaseOutcome.OK),
        (httpx.Response(200, text="plain"), CaseOutcome.OK),
        (httpx.Response(500, text="boom"), CaseOutcome.FAILED),
        (httpx.Response(404), CaseOutcome.FAILED),
        (httpx.Response(503), CaseOutcome.NOT_RUN),
        (httpx.Response(429), CaseOutcome.NOT_RUN),
        (httpx.Response(200, content=b"x" * 1_000_000), CaseOutcome.FAILED),
        (httpx.ConnectError("refused"), CaseOutcome.NOT_RUN),
        (httpx.ReadTimeout("slow"), CaseOutcome.FAILED),
        (httpx.RemoteProtocolError("cut"), CaseOutcome.FAILED),
    ],
)
def test_an_outage_is_told_from_a_failure(response: httpx.Response | Exception, outcome: CaseOutcome) -> None:
    """What the target did is its own; that it was not there says nothing about the candidate."""

    def handle(request: httpx.Request) -> httpx.Response:
        if isinstance(response, Exception):
            raise response
        return response

    runner = HttpRunner(HttpTarget(kind="http", url="http://app.test/"), transport=httpx.MockTransport(handle))
    assert runner.ask({"q": 1}, {}).outcome is outcome
    runner.close()


def cases(count: int) -> list[PlannedCase]:
    """Cases in four regions."""
    return [PlannedCase(n, {"region": n % 4}, frozenset({"m"})) for n in range(count)]


def test_chunks_hold_each_case_once_in_the_seeds_order() -> None:
    """The same seed cuts the same way, another one otherwise."""
    chunks = layout(cases(103), seed=1, size=25)
    assert sorted(case for chunk in chunks for case in chunk) == list(range(103))
    assert chunks == layout(cases(103), seed=1, size=25) != layout(cases(103), seed=2, size=25)
    assert max(map(len, chunks)) == 25


def test_a_smoke_sample_is_stratified_and_not_repeated() -> None:
    """Every region has its share of the first look."""
    first, *rest = layout(cases(100), seed=3, size=25, smoke=20)
    assert sorted(case % 4 for case in first) == [0] * 5 + [1] * 5 + [2] * 5 + [3] * 5
    assert not set(first) & {case for chunk in rest for case in chunk}


def test_slow_targets_get_smaller_chunks() -> None:
    """A chunk in which every case times out still fits a task's limit."""
    assert [chunk_size(t, k) for t, k in ((5, 1), (30, 1), (30, 5), (300, 9))] == [25, 8, 1, 1]


def test_the_plan_warns_of_metrics_that_cannot_pass() -> None:
    """Forty cases say so before anything runs."""
    told = plan(cases(40), repeats=1, latency_ms=100, chunks=2)
    assert (told.executions, told.passing_cases) == (80, 59)
    assert any(warning.startswith("m has 40 cases") for warning in told.warnings)
    assert plan(cases(100), repeats=1, latency_ms=100, chunks=4).warnings == []
