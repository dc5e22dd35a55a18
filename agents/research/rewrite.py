"""A model's edit of a prompt: a hypothesis like any other, tried on the golden set and approved by a person.

It may only edit a text that the app's own configuration holds under a key that may be changed freely. Everything else
about it (key, type, impact, numbers) is ours.
"""

from __future__ import annotations

import json
import re
from typing import Annotated

import structlog
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from agents.change import Change, RefusedChangeError, check_allowed
from agents.research.evidence import Evidence, Hypothesis
from agents.research.explain import keep_to, packet_of
from agents.research.investigation import Subject
from llm.client import Model, ModelError
from llm.redaction import redact, redact_all

log = structlog.get_logger(__name__)

MIN_PROMPT, MAX_PROMPT = 40, 8000
"""Characters of a configuration value that is a prompt's text, and not the name of one."""

MAX_CHANGED = 0.5
"""Share of the text that an edit may touch: more is another prompt, not an edit."""

_PLACEHOLDER = re.compile(r"\{+[^{}]{0,80}\}+")


class Edit(BaseModel):
    """Replace one passage."""

    model_config = ConfigDict(extra="forbid")

    find: Annotated[str, StringConstraints(min_length=4, max_length=600)]
    """Occurs exactly once in the prompt."""
    replace: Annotated[str, StringConstraints(max_length=800)]


class Rewritten(BaseModel):
    """What the model may answer."""

    model_config = ConfigDict(extra="forbid")

    edits: list[Edit] = Field(min_length=1, max_length=4)


def rewrite(subject: Subject, evidence: Evidence, ideas: list[Hypothesis], model: Model | None) -> Hypothesis | None:
    """Return a model's edit of the prompt that the cause points at; None where there is none, or no usable answer.

    Asked for only where no change of configuration is viable: a revert that statistics found beats an essay.
    """
    if (
        model is None
        or not evidence.causes
        or any(idea.rejected is None and idea.change is not None and idea.change.applies_itself for idea in ideas)
    ):
        return None
    found = _prompt_of(subject)
    if found is None:
        return None
    key, text = found
    packet = {"prompt": text, "evidence": packet_of(evidence, ideas)}
    known = json.dumps(redact_all(packet), ensure_ascii=False)
    made: list[str] = []

    def check(answer: Rewritten) -> None:
        made[:] = [applied(text, answer.edits, known)]

    try:
        model.ask("meta_improvement_proposer", packet, Rewritten, check=check)
    except ModelError as error:
        log.warning("research.not_rewritten", reason=str(error))
        return None
    change = Change(type="prompt", key=key, from_=text, to=made[0])
    rejected = subject.tried.get(change.hash)
    try:
        check_allowed(change, subject.allowed)
    except RefusedChangeError as refusal:
        rejected = str(refusal)
    return Hypothesis(
        kind="rewrite",
        title=f"Edit the prompt {key}",
        change=change,
        cites=[evidence.causes[0].id],
        rejected=rejected,
        impact="high",  # whatever the rule says: a model wrote it, a person reads it
        risk=f"Written by {model.name}; answers may change in ways that the golden set does not ask about.",
    )


def applied(text: str, edits: list[Edit], known: str) -> str:
    """Return the text with the edits made.

    Raises:
        ValueError: a passage is not there exactly once, placeholders change, too much changes, or the new words hold
            what a model must not write.
    """
    touched = 0
    before = text
    for edit in edits:
        if text.count(edit.find) != 1:
            raise ValueError("a passage that is not there exactly once")
        if sorted(_PLACEHOLDER.findall(edit.find)) != sorted(_PLACEHOLDER.findall(edit.replace)):
            raise ValueError("placeholders must stay as they are")
        keep_to(known, _PLACEHOLDER.sub("", edit.replace))
        touched += max(len(edit.find), len(edit.replace))
        text = text.replace(edit.find, edit.replace)
    if text == before or len(text) > MAX_PROMPT or touched > MAX_CHANGED * len(before) + 200:
        raise ValueError("no edit, or too much of one")
    if redact(text) != redact(before) and redact(text) != text:
        raise ValueError("something like a secret")
    return text


def _prompt_of(subject: Subject) -> tuple[str, str] | None:
    """Return the one key whose value is a prompt's text and may be any text, with that text."""
    found = [
        (key, value)
        for key, rule in sorted(subject.allowed.items())
        if rule.get("type") == "prompt"
        and rule.get("values") is None
        and isinstance(value := subject.config.get(key), str)
        and MIN_PROMPT <= len(value) <= MAX_PROMPT
        and " " in value
    ]
    return found[0] if len(found) == 1 else None
