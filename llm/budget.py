"""How much may be asked of a model: calls and tokens, a hard cap each."""

from __future__ import annotations

from dataclasses import dataclass

from core.errors import MetamonError


class BudgetExceededError(MetamonError):
    """The model has been asked as much as it may be."""


@dataclass
class Budget:
    """What one investigation may spend. Tokens of a call that never answered count by estimate."""

    calls: int = 4
    tokens: int = 20_000
    spent_calls: int = 0
    spent_tokens: int = 0

    def take(self, estimate: int) -> None:
        """Book a call before it is made.

        Args:
            estimate: tokens of the question plus the longest answer allowed.

        Raises:
            BudgetExceededError: it would go over a cap; nothing is booked.
        """
        if self.spent_calls + 1 > self.calls:
            raise BudgetExceededError(f"{self.calls} model calls are made; that is the cap")
        if self.spent_tokens + estimate > self.tokens:
            raise BudgetExceededError(f"{estimate} more tokens would go over the cap of {self.tokens}")
        self.spent_calls += 1
        self.spent_tokens += estimate

    def settle(self, estimate: int, used: int | None) -> None:
        """Replace a call's estimate by what it really used, where the model says so and it is not absurd."""
        if used is not None and 0 <= used <= estimate:
            self.spent_tokens += used - estimate
