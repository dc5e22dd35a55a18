"""A running quantile of magnitudes: one number per series, no history, no distribution assumed."""

from __future__ import annotations

import numpy as np

from analysis.detection.result import Flags, Reals

FIRST = 60
"""So many magnitudes are averaged before the quantile is tracked."""
START = 1.5
"""Where tracking starts, as a multiple of that average."""
FASTEST, SLOWEST = 0.1, 0.006
"""Step of the logarithm, first and in the end. Slow enough that a day of trouble moves it by a quarter at most."""


def quantile_step(tracked: Reals, magnitudes: Reals, seen: Reals, q: float) -> Reals:
    """Return the quantile after one more magnitude.

    Stochastic approximation on the logarithm: up by q·η beyond it, down by (1 - q)·η below, so that both balance where
    a share of 1 - q lies beyond. A magnitude counts only as one beyond, however large it is.

    Args:
        tracked: the quantile so far, shape (S,), ≥ 0.
        magnitudes: shape (S,), ≥ 0.
        seen: how many magnitudes came before this one, shape (S,); below 0 counts as 0.
        q: in (0, 1).
    """
    count = np.maximum(seen, 0.0) + 1.0
    eta = np.clip(10.0 / count, SLOWEST, FASTEST)
    beyond: Flags = magnitudes > tracked
    moved = tracked * np.exp(eta * np.where(beyond, q, q - 1.0))
    # a scale of exactly zero could never grow
    moved = np.where(beyond & (moved == 0.0), 1e-12 * magnitudes, moved)
    first = count <= FIRST
    if first.any():
        mean = tracked + (magnitudes - tracked) / count
        moved = np.where(first, np.where(count == FIRST, START * mean, mean), moved)
    return moved
