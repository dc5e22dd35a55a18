"""Where a series is after an alarm: away from its level, back, or accepted where it went."""

from __future__ import annotations

import numpy as np

from analysis.detection.result import Flags, Reals

BACK = 0.5
"""Back is who has gone half of the way back."""


class Whereabouts:
    """Which of S series are away from their level, and for how long.

    Attributes:
        home: deviation from the usual before it left, shape (S,).
        jump: how far it went, shape (S,).
        gone: steps away; 0 is at home; shape (S,).
    """

    def __init__(self, n_series: int, *, accept_after: int) -> None:
        self.home: Reals = np.zeros(n_series)
        self.jump: Reals = np.zeros(n_series)
        self.gone: Reals = np.zeros(n_series)
        self.accept_after = accept_after

    def update(self, place: Reals, before: Reals, alarm: Flags, known: Flags) -> tuple[Flags, Flags]:
        """Return (away, accepted) after one more step.

        Args:
            place: deviation of the value from the usual at this time, shape (S,).
            before: the same of the last hour's average, shape (S,).
            alarm: who alarms at this step.
            known: who has a value at this step.
        """
        leaving = known & alarm & (self.gone == 0.0)
        np.copyto(self.home, before, where=leaving)
        np.copyto(self.jump, place - before, where=leaving)
        distance = (place - self.home) * np.sign(self.jump)
        out = known & (distance > BACK * np.abs(self.jump)) & (leaving | (self.gone > 0.0))
        accepted = out & (self.gone >= self.accept_after)
        np.copyto(self.gone, np.where(out & ~accepted, self.gone + 1.0, 0.0), where=known)
        return self.gone > 0.0, accepted
