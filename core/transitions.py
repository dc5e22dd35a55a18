"""One table of allowed transitions per state column, used by everyone who changes it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Generic, TypeVar

from core.errors import ForbiddenTransitionError

State = TypeVar("State", bound=StrEnum)


class Transitions(Generic[State]):
    """The allowed moves of one state column.

    Args:
        subject: what the column belongs to, for the error message ("proposal").
        table: every state with the states that may follow it; a final state maps to an empty set.
    """

    def __init__(self, subject: str, table: Mapping[State, frozenset[State]]) -> None:
        self.subject = subject
        self.table = dict(table)

    def check(self, current: State, target: State) -> State:
        """Return `target` where the move is allowed.

        Raises:
            ForbiddenTransitionError: the table does not allow it (staying put is a move like any other).
        """
        allowed = self.table[current]
        if target not in allowed:
            raise ForbiddenTransitionError(self.subject, current, target, frozenset(str(s) for s in allowed))
        return target

    @property
    def final(self) -> frozenset[State]:
        """The states that nothing follows."""
        return frozenset(state for state, following in self.table.items() if not following)
