"""What a comparison of the judge with people counts, and what it leaves out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agents.judge_agreement import labelled, measure
from core.completion import GradingError
from targets.golden import GoldenCaseIn, parse_lines


class Kind:
    """A judge that wants a digit, and contradicts itself where there is a question mark."""

    version = "kind 1"

    def meets(self, criteria: str, *, question: Any, answer: str, reference: str | None) -> bool:
        """Tell whether there is a digit."""
        if "?" in answer:
            raise GradingError("contradicts itself")
        return any(character.isdigit() for character in answer)


def case(key: str, metric: str, labels: dict[str, bool]) -> GoldenCaseIn:
    """A case with labelled answers, as a file has it."""
    check = {
        "type": "model",
        "metric": metric,
        "criteria": "It gives a number.",
        "labels": [{"answer": answer, "meets": meets} for answer, meets in labels.items()],
    }
    exact = {"type": "exact", "metric": "fact_accuracy", "expected": 7}
    return parse_lines([json.dumps({"key": key, "inputs": {"q": key}, "checks": [exact, check]})])[0]


class Stored:
    """The same as it is read from the database."""

    def __init__(self, parsed: GoldenCaseIn) -> None:
        self.key, self.inputs = parsed.key, parsed.inputs
        self.checks: list[dict[str, Any]] = parsed.as_json()["checks"]


CASES = [
    Stored(case("a", "number", {"7": True, "seven": False, "about seven": True, "8?": True})),
    Stored(case("b", "number", {"9": True, "no idea": False})),
    Stored(case("c", "tone", {"buy 7 now": False})),
]


def test_judge_and_people_are_compared_by_metric_and_in_all() -> None:
    """Every answer with a grade counts once; what the judge could not grade is said and counts for neither side."""
    done: list[float] = []
    report = measure(labelled(CASES), Kind(), progress=done.append)
    number, tone = report.metrics
    assert (number.metric, number.labels, number.judged) == ("number", 6, 5)
    assert (number.both_yes, number.both_no, number.too_kind, number.too_strict) == (2, 2, 0, 1)
    assert number.agreement == pytest.approx(0.8)
    assert number.kappa == pytest.approx(0.6154, abs=1e-4)
    assert (tone.too_kind, tone.agreement, tone.kappa) == (1, 0.0, 0.0)
    assert (report.all.labels, report.all.judged, report.judge) == (7, 6, "kind 1")
    assert report.first_error == "contradicts itself"
    assert [(each.key, each.answer, each.people, each.judge) for each in report.disputed] == [
        ("a", "about seven", True, False),
        ("c", "buy 7 now", False, True),
    ]
    assert done == [pytest.approx(n / 7) for n in range(1, 8)]


def test_a_judge_that_is_down_agrees_with_nobody() -> None:
    """No grade, no figure: neither agreement nor its absence."""
    report = measure(labelled([Stored(case("a", "number", {"8?": True, "9?": False}))]), Kind())
    assert (report.all.judged, report.all.agreement, report.all.kappa) == (0, None, None)


def test_cases_without_labels_have_none() -> None:
    """The usual case is judged by a model and labelled by nobody."""
    assert labelled([Stored(case("a", "number", {}))]) == []
