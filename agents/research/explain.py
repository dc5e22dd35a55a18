"""What a language model adds in words: prose about evidence that is already decided, and labels for its errors."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import structlog
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from agents.research.evidence import Evidence, Hypothesis
from llm.client import Model, ModelError
from llm.redaction import redact, redact_all

log = structlog.get_logger(__name__)

TEXT_CAP = 1500

WHOLE_FROM = 10_000
"""From here on a figure is told as a whole number."""

_FORBIDDEN = re.compile(
    r"://|www\.|[`$<>{}\\]|\b(?:sudo|curl|wget|rm -|chmod|eval|exec)\b|ignore (?:all|any|the|your|previous)"
    r"|\bapprov|\bpassword|\bpermission|\bcredential|\bdisable\b",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")


@dataclass(frozen=True)
class Explanation:
    """A model's prose, kept to its packet."""

    text: str
    by: str
    """Name of the model."""


class Explained(BaseModel):
    """What the model may answer."""

    model_config = ConfigDict(extra="forbid")

    explanation: Annotated[str, StringConstraints(min_length=20, max_length=TEXT_CAP)]
    cites: list[str] = Field(min_length=1, max_length=12)
    confidence: Literal["low", "medium", "high"]


class Label(BaseModel):
    """What kind of failure one error pattern is."""

    model_config = ConfigDict(extra="forbid")

    id: Annotated[str, StringConstraints(max_length=20)]
    """Of the packet's errors."""
    kind: Literal[
        "slow dependency",
        "dependency down",
        "limit reached",
        "malformed model output",
        "own fault",
        "bad input",
        "unclear",
    ]


class Labelled(BaseModel):
    """What the model may answer about error patterns."""

    model_config = ConfigDict(extra="forbid")

    labels: list[Label] = Field(min_length=1, max_length=10)


class Worded(BaseModel):
    """What the model may answer where all that is asked for is words."""

    model_config = ConfigDict(extra="forbid")

    explanation: Annotated[str, StringConstraints(min_length=20, max_length=TEXT_CAP)]


def in_words(prompt: str, packet: dict[str, Any], model: Model) -> Explanation | None:
    """Return a model's words about a packet of figures, or None where no usable answer came.

    Args:
        prompt: one of `llm.library.NAMES`.
        packet: all that it may speak about; its figures are rounded as they are shown to readers.
    """
    shown = rounded(packet)
    known = json.dumps(redact_all(shown), ensure_ascii=False)
    try:
        answer = model.ask(prompt, shown, Worded, check=lambda answer: keep_to(known, answer.explanation))
    except ModelError as error:
        log.warning("model.no_words", prompt=prompt, reason=str(error))
        return None
    return Explanation(" ".join(answer.explanation.split()), f"{model.name}, prompt {model.prompts[prompt]}")


def rounded(value: Any) -> Any:
    """Return data with four digits a figure, as readers are shown: one is quoted as it stands, or refused."""
    if isinstance(value, dict):
        return {name: rounded(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(part) for part in value]
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        return None
    short = round(value) if abs(value) >= WHOLE_FROM else float(f"{value:.4g}")
    return int(short) if float(short).is_integer() else short


def explain(evidence: Evidence, ideas: list[Hypothesis], model: Model | None) -> Explanation | None:
    """Return a model's explanation of the first cause, or None: no model, no cause, or no usable answer.

    The model gets the packet and returns prose and labels. Whatever it says, nothing of the finding changes.
    """
    if model is None or not evidence.causes:
        return None
    packet = packet_of(evidence, ideas)
    known = json.dumps(redact_all(packet), ensure_ascii=False)

    def check(answer: Explained) -> None:
        strange = [cited for cited in answer.cites if cited not in evidence.ids]
        if strange:
            raise ValueError(f"cites {len(strange)} ids that are not in the packet")
        keep_to(known, answer.explanation)

    try:
        answer = model.ask("meta_root_cause_analyzer", packet, Explained, check=check)
    except ModelError as error:
        log.warning("research.unexplained", reason=str(error))
        return None
    text = " ".join(answer.explanation.split())
    labels = _labels(evidence, model)
    if labels:
        text += " " + labels
    return Explanation(text, f"{model.name}, prompt {model.prompts['meta_root_cause_analyzer']}")


def _labels(evidence: Evidence, model: Model) -> str:
    """Return one sentence with a kind for every error pattern, of a closed list; empty where there is no answer."""
    ids = [entry.id for entry in evidence.errors]
    if not ids:
        return ""

    def check(answer: Labelled) -> None:
        named = [label.id for label in answer.labels]
        if sorted(set(named)) != sorted(named) or not set(named) <= set(ids):
            raise ValueError("labels errors that are not in the packet, or one twice")

    packet = {"errors": [entry.model_dump(mode="json") for entry in evidence.errors]}
    try:
        answer = model.ask("meta_error_analyzer", packet, Labelled, check=check)
    except ModelError as error:
        log.warning("research.unlabelled", reason=str(error))
        return ""
    kinds = {label.id: label.kind for label in answer.labels}
    named = [f"{entry.kind or entry.id}: {kinds[entry.id]}" for entry in evidence.errors if entry.id in kinds]
    return "Errors by kind: " + "; ".join(named) + "."


def packet_of(evidence: Evidence, ideas: list[Hypothesis]) -> dict[str, Any]:
    """Return what a model may speak about."""
    plain = evidence.model_dump(mode="json", exclude={"health"})
    plain["hypotheses"] = [idea.model_dump(mode="json", by_alias=True) for idea in ideas]
    return plain


def keep_to(known: str, text: str) -> None:
    """Raise ValueError where a model's text asks for something, or states what the packet does not hold.

    Args:
        known: the packet as the model saw it: the only source of figures.
        text: what the model wrote.
    """
    if any(not sign.isprintable() and sign not in "\n\t" for sign in text):
        raise ValueError("control characters")
    if _FORBIDDEN.search(text):
        raise ValueError("an address, a command or a request")
    if redact(text) != text:
        raise ValueError("something like a secret")
    numbers = set(_NUMBER.findall(known))
    if any(number not in numbers for number in _NUMBER.findall(text)):
        raise ValueError("a figure that is not in the packet")
