"""How much may be asked of a model: calls, tokens and money, a hard cap each."""

from __future__ import annotations

import math
from dataclasses import dataclass

from core.errors import MetamonError


class BudgetExceededError(MetamonError):
    """The model has been asked as much as it may be."""


@dataclass
class Budget:
    """What one piece of work may spend. A call that never answered counts by estimate."""

    calls: int = 4
    tokens: int = 20_000
    usd: float = math.inf
    price_in: float = 0.0
    """USD per million tokens of questions."""
    price_out: float = 0.0
    """USD per million tokens of answers."""
    spent_calls: int = 0
    spent_tokens: int = 0
    spent_usd: float = 0.0

    def take(self, asked: int, answer: int = 0) -> None:
        """Book a call before it is made.

        Args:
            asked: tokens of the question, on the safe side.
            answer: tokens of the longest answer allowed.

        Raises:
            BudgetExceededError: it would go over a cap; nothing is booked.
        """
        if self.spent_calls + 1 > self.calls:
            raise BudgetExceededError(f"{self.calls} model calls are made; that is the cap")
        if self.spent_tokens + asked + answer > self.tokens:
            raise BudgetExceededError(f"{asked + answer} more tokens would go over the cap of {self.tokens}")
        price = self._price(asked, answer)
        if self.spent_usd + price > self.usd:
            raise BudgetExceededError(f"${price:.4f} more would go over the cap of ${self.usd:.4f}")
        self.spent_calls += 1
        self.spent_tokens += asked + answer
        self.spent_usd += price

    def settle(self, asked: int, answer: int, used: tuple[int, int] | None) -> None:
        """Replace a call's estimate by what it really used, where the model says so and it is not absurd.

        Args:
            asked, answer: as they were booked.
            used: tokens in and out as the server states them. It may not claim less than a third of the question:
                a server that lies would lift the cap.
        """
        if used is None or not (0 <= used[0] <= asked and 0 <= used[1] <= answer):
            return
        real = max(used[0], asked // 3), used[1]
        self.spent_tokens += sum(real) - asked - answer
        self.spent_usd += self._price(*real) - self._price(asked, answer)

    def _price(self, asked: int, answer: int) -> float:
        return (asked * self.price_in + answer * self.price_out) / 1e6
