"""What every kind of target has in common: one question in, one answer or one kind of no answer out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from core.states import CaseOutcome

MAX_OUTPUT = 64 * 1024
"""Characters of an answer that are taken."""


@dataclass(frozen=True)
class Answer:
    """What became of one question.

    Attributes:
        outcome: `ok`; `failed` where the target itself failed; `not_run` where it could not be asked (an outage).
        output: the answer, JSON or text; None without one.
        latency_ms: from question to answer; None where it was not asked.
        error: why there is no answer.
        run_id: id of its trace, where the target tells.
        cost: USD, where the target tells.
        tokens: used by models, where the target tells.
    """

    outcome: CaseOutcome
    output: Any = None
    latency_ms: float | None = None
    error: str | None = None
    run_id: str | None = None
    cost: float | None = None
    tokens: int | None = None


class Target(Protocol):
    """One way to run the app. Not thread-safe: one per arm and lane."""

    def ask(self, inputs: Mapping[str, Any], config: Mapping[str, Any]) -> Answer:
        """Ask one question under a configuration. Never raises for what the target does."""

    def close(self) -> None:
        """End whatever runs. Safe to call twice."""


def answered(output: Any, latency_ms: float) -> Answer:
    """Return the answer with what it tells of itself: `run_id`, `cost` and `tokens`."""
    run_id, cost, tokens = None, None, None
    if isinstance(output, Mapping):
        told = output.get("run_id")
        run_id = told[:100] if isinstance(told, str) else None
        price = output.get("cost")
        # NaN and infinity compare false here.
        cost = float(price) if isinstance(price, int | float) and 0 <= price < 1e6 else None
        used = output.get("tokens")
        tokens = used if isinstance(used, int) and not isinstance(used, bool) and 0 <= used < 1e9 else None
    return Answer(CaseOutcome.OK, output, latency_ms, None, run_id, cost, tokens)
