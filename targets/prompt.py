"""A prompt as a target: its text filled from the case, asked of a model, priced by what it used."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from typing import Any

from core.completion import ModelAwayError, Models
from core.states import CaseOutcome
from targets.answers import MAX_OUTPUT, Answer
from targets.spec import PROMPT_NAME, PromptTarget

_NAME = re.compile(r"\{(\w+)\}")


class PromptRunner:
    """Fills the prompt with the inputs of a case and asks the model.

    A model that cannot be reached is `not_run`: it says nothing about the candidate. One that answers too late, or
    refuses, is the candidate's own failure.
    """

    def __init__(self, spec: PromptTarget, models: Models | None) -> None:
        self.spec = spec
        self.models = models
        self._texts: dict[str, str] = {}

    def ask(self, inputs: Mapping[str, Any], config: Mapping[str, Any]) -> Answer:
        """Ask one question."""
        if self.models is None:
            return Answer(CaseOutcome.NOT_RUN, error="no model is configured: set OPENAI_API_KEY or OPENAI_BASE_URL")
        spec = self.spec
        started = time.perf_counter()
        try:
            system = fill(self._text(config, self.models), inputs)
            said = self.models.complete(
                system,
                question_of(inputs),
                model=str(_override(config, spec.model_key) or spec.model),
                temperature=spec.temperature,
                max_tokens=spec.max_tokens,
                timeout_s=spec.timeout_s,
            )
        except ModelAwayError as error:
            return Answer(CaseOutcome.NOT_RUN, error=str(error)[:2000])
        except (TimeoutError, ValueError) as error:
            elapsed = (time.perf_counter() - started) * 1000
            return Answer(CaseOutcome.FAILED, latency_ms=elapsed, error=str(error)[:2000])
        price = said.tokens_in * spec.usd_per_million_in + said.tokens_out * spec.usd_per_million_out
        return Answer(
            CaseOutcome.OK,
            said.text[:MAX_OUTPUT],
            (time.perf_counter() - started) * 1000,
            cost=price / 1e6,
            tokens=said.tokens_in + said.tokens_out,
        )

    def close(self) -> None:
        """Nothing is held open."""

    def _text(self, config: Mapping[str, Any], models: Models) -> str:
        override = _override(config, self.spec.prompt_key)
        if override is None and self.spec.template is not None:
            return self.spec.template
        name = str(override or self.spec.prompt)
        if not re.fullmatch(PROMPT_NAME, name):
            return name  # the key holds the text itself
        if name not in self._texts:
            self._texts[name] = models.prompt(name)
        return self._texts[name]


def fill(template: str, inputs: Mapping[str, Any]) -> str:
    """Return the template with `{name}` replaced by the input of that name; unknown names stay as they are.

    What is filled in is never looked at again: an input that holds `{secret}` stays these letters.
    """

    def value_of(match: re.Match[str]) -> str:
        if match[1] not in inputs:
            return match[0]
        value = inputs[match[1]]
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)

    return _NAME.sub(value_of, template)


def question_of(inputs: Mapping[str, Any]) -> str:
    """Return what the human says: the input `question`, or all inputs as JSON."""
    asked = inputs.get("question")
    return asked if isinstance(asked, str) else json.dumps(dict(inputs), ensure_ascii=False, default=str)


def _override(config: Mapping[str, Any], key: str | None) -> Any:
    return config.get(key) if key else None
