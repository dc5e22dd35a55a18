"""What targets and checks ask of a model, without knowing any provider. Implemented in `llm`, handed in by `agents`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Completion:
    """What a model said, and what it used."""

    text: str
    tokens_in: int
    tokens_out: int


class ModelAwayError(Exception):
    """The model could not be asked: not configured, unreachable, told to slow down. It says nothing about anybody."""


class Models(Protocol):
    """Asks models, and finds prompts."""

    def complete(
        self, system: str, question: str, *, model: str, temperature: float, max_tokens: int, timeout_s: float
    ) -> Completion:
        """Return what the model says.

        Raises:
            ModelAwayError: it could not be asked.
            TimeoutError: it did not answer in time.
            ValueError: it refused the question, or answered nothing that can be used.
        """
        ...

    def prompt(self, name: str) -> str:
        """Return the text of a prompt at a commit (`name:commit`).

        Raises:
            ModelAwayError: it could not be fetched.
        """
        ...


class GradingError(Exception):
    """A model could not grade an answer, or contradicted itself: neither passed nor failed."""


class Grader(Protocol):
    """Tells by a model whether an answer meets criteria."""

    @property
    def version(self) -> str:
        """Model and prompt, so that two validations can be told apart."""
        ...

    def meets(self, criteria: str, *, question: Any, answer: str, reference: str | None) -> bool:
        """Tell whether the answer meets the criteria.

        Raises:
            GradingError: no grade that can be relied on.
        """
        ...
