"""The simulated model provider: latency as a distribution per model, a time-out that bites, tokens and a price.

No network and no model: a call sleeps for as long as a real one might take. What it draws depends on the model and the
request alone, so the same request meets the same weather when it is replayed.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from demo.world import World

ORDINARY_PATIENCE_MS = 250.0
HICCUP = 0.002
"""Share of calls that hang on a healthy day."""


@dataclass(frozen=True)
class Model:
    """Latency is log-normal; prices in USD per million tokens."""

    median_ms: float
    spread: float
    input_price: float
    output_price: float


MODELS = {"atlas-1": Model(72, 0.22, 0.60, 2.40), "sonic-2": Model(54, 0.26, 0.50, 2.00)}


class ProviderTimeout(Exception):  # noqa: N818 - named as providers' SDKs name theirs
    """The model gave no answer within `provider.timeout_ms`."""


class UnknownModelError(LookupError):
    """The configuration routes to a model that the provider does not have."""


def latency_ms(model: str, request_id: str, timeout_ms: float, world: World) -> float:
    """Return how long the provider takes over this request, in milliseconds.

    A caller that waits longer than usual on an overloaded model keeps its queue full, so more calls meet the queue:
    patience does not mend an overload, it moves the failures from errors to waiting.
    """
    if model not in MODELS:
        raise UnknownModelError(f"the provider has no model {model!r}; it has {', '.join(sorted(MODELS))}")
    weather = random.Random(f"{model}:{request_id}")
    traits = MODELS[model]
    latency = weather.lognormvariate(0, traits.spread) * traits.median_ms
    luck, severity, hiccup = weather.random(), weather.random(), weather.random()
    if hiccup < HICCUP:
        return latency + 1000
    slow = world.slow.get(model)
    if slow is not None and luck < slow.share * max(1.0, timeout_ms / ORDINARY_PATIENCE_MS):
        latency += slow.extra_ms[0] + severity * (slow.extra_ms[1] - slow.extra_ms[0])
    return latency


def call(model: str, request_id: str, *, timeout_ms: float, world: World, sleep: Callable[[float], None]) -> float:
    """Wait for the model and return how long it took, in milliseconds.

    Raises:
        ProviderTimeout: it would have taken longer than the time-out; the time-out has passed.
    """
    needed = latency_ms(model, request_id, timeout_ms, world)
    sleep(min(needed, timeout_ms) / 1000)
    if needed > timeout_ms:
        raise ProviderTimeout(f"{model} gave no answer within {timeout_ms:g} ms")
    return needed


def usage(prompt: str, passages: int, answer: str) -> dict[str, int]:
    """Return the tokens of a call, at about four characters a token and sixty tokens a passage."""
    given = len(prompt) // 4 + 60 * passages
    written = max(1, len(answer) // 4)
    return {"input_tokens": given, "output_tokens": written, "total_tokens": given + written}


def cost(model: str, tokens: dict[str, int]) -> float:
    """Return the price of a call in USD."""
    traits = MODELS[model]
    return round(
        (tokens["input_tokens"] * traits.input_price + tokens["output_tokens"] * traits.output_price) / 1_000_000, 9
    )
