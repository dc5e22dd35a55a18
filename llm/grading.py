"""A model as a judge of answers: asked twice with the order swapped, believed only where it agrees with itself."""

from __future__ import annotations

import hashlib
from typing import Any

from pydantic import BaseModel, Field

from core.completion import GradingError
from core.settings import Settings
from llm.budget import Budget
from llm.client import Model, ModelError, configured
from llm.library import find, hub

PROMPT = "meta_validation_evaluator"
CALLS = 2_000
"""Calls of one chunk: twice for each check, with room for retries."""
TOKENS = 4_000_000
ANSWER_CAP = 8_000


class Grades(BaseModel):
    """What the model says of the texts. A reason first makes the grade a conclusion of it."""

    reason: str = Field(max_length=600)
    first_meets: bool
    second_meets: bool | None = None


class ModelGrader:
    """Implements `core.completion.Grader`."""

    def __init__(self, model: Model, source: str) -> None:
        self._model = model
        self._source = source

    @property
    def version(self) -> str:
        """The model's name and the prompt's commit or digest."""
        return f"{self._model.name} {self._source}"

    def meets(self, criteria: str, *, question: Any, answer: str, reference: str | None) -> bool:
        """Tell whether the answer meets the criteria, asking once with it first and once with it second."""
        answer = answer[:ANSWER_CAP]
        first = self._ask({"question": question, "criteria": criteria, "first": answer, "second": reference})
        second = self._ask({"question": question, "criteria": criteria, "first": reference or answer, "second": answer})
        grades = (first.first_meets, second.second_meets if reference is not None else second.first_meets)
        if reference is not None and not (first.second_meets and second.first_meets):
            raise GradingError(f"{self._model.name} fails the reference answer itself: the criteria do not fit it")
        if grades[0] is not grades[1]:
            raise GradingError(f"{self._model.name} contradicts itself when the order is swapped")
        return bool(grades[0])

    def _ask(self, data: dict[str, Any]) -> Grades:
        try:
            return self._model.ask(PROMPT, {name: value for name, value in data.items() if value is not None}, Grades)
        except ModelError as error:
            raise GradingError(str(error)) from None


def grader(settings: Settings) -> ModelGrader | None:
    """Return the judge of the configured model, or None where none is configured."""
    model = configured(settings)
    if model is None:
        return None
    model.budget = Budget(calls=CALLS, tokens=TOKENS)
    prompt = find(PROMPT, hub(settings), settings.prompt_commits)
    digest = hashlib.sha256(prompt.text.encode()).hexdigest()[:12]
    return ModelGrader(model, prompt.source if prompt.source != "local" else f"local:{digest}")
