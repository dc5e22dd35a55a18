"""One gate of the proof."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Gate:
    """A figure against its goal.

    `claimed` is false where the goal is known to be out of reach: the figure is reported, and a miss is no failure.
    """

    gate: str
    what: str
    figure: float
    goal: str
    passed: bool
    claimed: bool = True
    detail: dict[str, Any] = field(default_factory=dict)


def at_most(gate: str, what: str, detail: dict[str, float], goal: float, *, claimed: bool = True) -> Gate:
    """Return the gate whose worst figure may not exceed the goal."""
    worst = float(max(detail.values()))
    return Gate(gate, what, round(worst, 4), f"<= {goal}", worst <= goal, claimed, _rounded(detail))


def at_least(gate: str, what: str, detail: dict[str, float], goal: float, *, claimed: bool = True) -> Gate:
    """Return the gate whose worst figure may not fall below the goal."""
    worst = float(min(detail.values()))
    return Gate(gate, what, round(worst, 4), f">= {goal}", worst >= goal, claimed, _rounded(detail))


def nominal(rounds: int, level: float = 0.05) -> float:
    """Return the level and two standard errors: a test of exactly 5 % must not miss its gate half of the time."""
    return round(level + 2 * math.sqrt(level * (1 - level) / rounds), 4)


def _rounded(detail: dict[str, float]) -> dict[str, float]:
    return {name: round(float(value), 4) for name, value in detail.items()}
