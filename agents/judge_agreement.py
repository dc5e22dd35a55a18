"""How far the model that judges agrees with people, on the answers of a golden set that people labelled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import BaseModel

from analysis.agreement import agreement
from core.completion import Grader, GradingError
from targets.checks import Graded
from targets.evaluators import parse_checks


class LabelledCase(Protocol):
    """A golden case, as it is stored."""

    @property
    def key(self) -> str:
        """Its name."""
        ...

    @property
    def inputs(self) -> dict[str, Any]:
        """The question."""
        ...

    @property
    def checks(self) -> list[dict[str, Any]]:
        """What a right answer looks like."""
        ...


@dataclass(frozen=True)
class Labelled:
    """An answer that a person judged by criteria."""

    key: str
    metric: str
    question: dict[str, Any]
    criteria: str
    reference: str | None
    answer: str
    meets: bool


class MetricAgreement(BaseModel):
    """Judge and people on one metric's answers, or on all."""

    metric: str
    labels: int
    judged: int
    """Of them the judge gave a grade that can be relied on."""
    both_yes: int = 0
    both_no: int = 0
    too_kind: int = 0
    """The judge said yes, people no."""
    too_strict: int = 0
    """The judge said no, people yes."""
    agreement: float | None = None
    agreement_interval: tuple[float, float] | None = None
    kappa: float | None = None
    """None where it is not defined: nothing judged, or both sides always said the same one thing."""
    kappa_interval: tuple[float, float] | None = None


class Disputed(BaseModel):
    """An answer on which judge and people differ."""

    key: str
    metric: str
    answer: str
    people: bool
    judge: bool


class AgreementReport(BaseModel):
    """What a comparison found."""

    judge: str
    """Version: model and prompt."""
    all: MetricAgreement
    metrics: list[MetricAgreement]
    disputed: list[Disputed]
    first_error: str | None = None
    """Why the first answer that has no grade has none."""


def labelled(cases: Sequence[LabelledCase]) -> list[Labelled]:
    """Return what people labelled, in the order of cases."""
    return [
        Labelled(case.key, check.metric, case.inputs, check.criteria, check.reference, label.answer, label.meets)
        for case in cases
        for check in parse_checks(case.checks)
        if isinstance(check, Graded)
        for label in check.labels
    ]


def measure(
    answers: Sequence[Labelled], grader: Grader, *, progress: Callable[[float], None] | None = None
) -> AgreementReport:
    """Let the judge grade what people labelled, and compare. An answer without a grade counts for neither side."""
    grades: list[bool | None] = []
    first_error: str | None = None
    for answer in answers:
        try:
            grade: bool | None = grader.meets(
                answer.criteria, question=answer.question, answer=answer.answer, reference=answer.reference
            )
        except GradingError as error:
            grade, first_error = None, first_error or str(error)
        grades.append(grade)
        if progress is not None:
            progress(len(grades) / len(answers))
    pairs = list(zip(answers, grades, strict=True))
    return AgreementReport(
        judge=grader.version,
        all=_compared("all", pairs),
        metrics=[
            _compared(metric, [(answer, grade) for answer, grade in pairs if answer.metric == metric])
            for metric in sorted({answer.metric for answer in answers})
        ],
        disputed=[
            Disputed(key=answer.key, metric=answer.metric, answer=answer.answer, people=answer.meets, judge=grade)
            for answer, grade in pairs
            if grade is not None and grade is not answer.meets
        ],
        first_error=first_error,
    )


def _compared(metric: str, pairs: Sequence[tuple[Labelled, bool | None]]) -> MetricAgreement:
    both = [(grade, answer.meets) for answer, grade in pairs if grade is not None]
    found = agreement([grade for grade, _ in both], [label for _, label in both])
    made = MetricAgreement(metric=metric, labels=len(pairs), judged=len(both))
    if found is None:
        return made
    return made.model_copy(
        update={
            **{name: getattr(found, name) for name in ("both_yes", "both_no", "too_kind", "too_strict", "kappa")},
            "agreement": found.share,
            "agreement_interval": (found.share_low, found.share_high),
            "kappa_interval": None if found.kappa_low is None else (found.kappa_low, found.kappa_high),
        }
    )
