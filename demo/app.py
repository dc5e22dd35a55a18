"""FA AI itself: route, retrieve, calculate, write, check. Standard library alone: a sandbox starts it fast."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from demo import guardrail, intents, prompts, provider, retriever, world, writer
from demo.config import CONFIG
from demo.market import REGIONS

PREFERRED = {"free": "atlas-1", "plus": "atlas-1", "business": "sonic-2"}
"""Model alias by plan, unless the customer chose one."""


class BadRequestError(ValueError):
    """The inputs are no request that FA AI takes. The message says what would be right."""


class Note(Protocol):
    """Takes what a step has to say for itself, once it knows."""

    def __call__(self, **outputs: Any) -> None:
        """Keep the step's outputs."""


Kind = Literal["retriever", "tool", "llm"]
Span = Callable[[str, Kind, dict[str, Any]], AbstractContextManager[Note]]
"""Wraps one step: name, kind and inputs; tracing is somebody else's business."""


@contextmanager
def untraced(_name: str, _kind: Kind, _inputs: dict[str, Any]) -> Iterator[Note]:
    """Wrap nothing."""
    yield lambda **_outputs: None


@dataclass(frozen=True)
class Route:
    """Which way a request goes under a configuration."""

    region: str
    plan: str
    channel: str
    intent: str
    model: str
    prompt_version: str


def route(inputs: Mapping[str, Any], config: Mapping[str, Any]) -> Route:
    """Decide model and prompt of a request: the plan (or the customer) picks an alias, `route.<alias>` the model.

    Raises:
        BadRequestError: no question, or a region, plan or model alias that does not exist.
    """
    effective = {**CONFIG, **config}
    question = inputs.get("question")
    if not isinstance(question, str) or not question.strip():
        raise BadRequestError("inputs need a `question`, a text")
    region, plan = str(inputs.get("region", "amer")), str(inputs.get("plan", "free"))
    if region not in REGIONS:
        raise BadRequestError(f"`region` is one of {', '.join(REGIONS)}, not {region!r}")
    if plan not in PREFERRED:
        raise BadRequestError(f"`plan` is one of {', '.join(PREFERRED)}, not {plan!r}")
    alias = str(inputs.get("prefer") or PREFERRED[plan])
    if f"route.{alias}" not in effective:
        raise BadRequestError(f"`prefer` names a model alias with a route, not {alias!r}")
    return Route(
        region=region,
        plan=plan,
        channel=str(inputs.get("channel", "web")),
        intent=intents.understand(question).intent,
        model=str(effective[f"route.{alias}"]),
        prompt_version=str(effective["prompt.b" if inputs.get("beta") else "prompt.a"]),
    )


def answer(
    inputs: Mapping[str, Any],
    config: Mapping[str, Any],
    *,
    span: Span = untraced,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Answer one question.

    Args:
        inputs: `question`; optional `region`, `plan`, `channel`, `beta` (uses prompt slot b), `prefer` (a model
            alias), `request_id` (what the provider's weather is drawn from; the question where it is missing).
        config: what differs from `demo.config.CONFIG`, by dotted key.
        span: wraps each step, for tracing.
        sleep: how time passes in the provider, seconds.

    Returns:
        `text`, `value` (a number, a company's name or None), `citations`, `refused`, `guardrail` (`passed`,
        `reasons`), `intent`, `model`, `prompt_version`, `usage` (tokens) and `cost` (USD).

    Raises:
        BadRequestError: the inputs are no request.
        ProviderTimeout: the model gave no answer in time.
        LookupError: the configuration names a prompt, an index or a model that does not exist.
    """
    effective = {**CONFIG, **config}
    way = route(inputs, effective)
    ask = intents.understand(inputs["question"])
    prompt = prompts.load(way.prompt_version)
    version, k = str(effective[f"index.{way.region}"]), int(effective["retrieval.k"])

    with span("retriever", "retriever", {"question": inputs["question"], "index": version, "k": k}) as note:
        passages = retriever.retrieve(ask, region=way.region, version=version, k=k)
        note(documents=[passage.source for passage in passages])

    expression = ask.measure.expression if ask.measure else None
    with span("calculator", "tool", {"expression": expression}) as note:
        results = writer.work_out(ask, passages)
        note(results=results)

    with span("llm", "llm", {"model": way.model, "prompt": way.prompt_version}) as note:
        provider.call(
            way.model,
            str(inputs.get("request_id") or inputs["question"]),
            timeout_ms=float(effective["provider.timeout_ms"]),
            world=world.current(),
            sleep=sleep,
        )
        draft = writer.write(ask, prompt, passages, results)
        tokens = provider.usage(prompt.text, len(passages), draft.text)
        note(text=draft.text)

    reasons = guardrail.violations(draft.text)
    return {
        "text": draft.text,
        "value": draft.value,
        "citations": [passage.source for passage in passages] if draft.value is not None else [],
        "refused": draft.refused,
        "guardrail": {"passed": not reasons, "reasons": reasons},
        "intent": way.intent,
        "model": way.model,
        "prompt_version": way.prompt_version,
        "usage": tokens,
        "cost": provider.cost(way.model, tokens),
    }
