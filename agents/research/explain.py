"""The one thing a language model adds: prose about evidence that is already decided."""

from __future__ import annotations

import json
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


def explain(evidence: Evidence, ideas: list[Hypothesis], model: Model | None) -> Explanation | None:
    """Return a model's explanation of the first cause, or None: no model, no cause, or no usable answer.

    The model gets the packet and returns prose. Whatever it says, nothing of the finding changes.
    """
    if model is None or not evidence.causes:
        return None
    packet = _packet(evidence, ideas)
    known = json.dumps(redact_all(packet), ensure_ascii=False)

    def check(answer: Explained) -> None:
        _keep_to_packet(answer, evidence.ids, known)

    try:
        answer = model.ask("meta_root_cause_analyzer", packet, Explained, check=check)
    except ModelError as error:
        log.warning("research.unexplained", reason=str(error))
        return None
    return Explanation(" ".join(answer.explanation.split()), model.name)


def _packet(evidence: Evidence, ideas: list[Hypothesis]) -> dict[str, Any]:
    plain = evidence.model_dump(mode="json", exclude={"health"})
    plain["hypotheses"] = [idea.model_dump(mode="json", by_alias=True) for idea in ideas]
    return plain


def _keep_to_packet(answer: Explained, ids: frozenset[str], known: str) -> None:
    """Raise ValueError where the answer cites, counts or asks for what the packet does not hold."""
    strange = [cited for cited in answer.cites if cited not in ids]
    if strange:
        raise ValueError(f"cites {len(strange)} ids that are not in the packet")
    text = answer.explanation
    if any(not sign.isprintable() and sign not in "\n\t" for sign in text):
        raise ValueError("control characters")
    if _FORBIDDEN.search(text):
        raise ValueError("an address, a command or a request")
    if redact(text) != text:
        raise ValueError("something like a secret")
    numbers = set(_NUMBER.findall(known))
    if any(number not in numbers for number in _NUMBER.findall(text)):
        raise ValueError("a figure that is not in the packet")
