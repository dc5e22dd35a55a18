"""What can be said of a change that nobody was spared: a comparison with the past, and never the word causal.

Without a randomised hold-back the days before are the only control. How far two stretches of days differ when nothing
was changed is read off the history itself: the same difference at every earlier day is the placebo's distribution.
Where the history is too short for that, the difference is a description without a p-value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.impact import Contrast

Floats = NDArray[np.float64]

LEAST_HISTORY = 240
"""Days before the change for a placebo test: fewer, and its size is far from what it says."""
WINDOW = 14
"""Days on either side that are compared; whole weeks, so that weekends weigh alike."""
SIZE = 0.06
"""What the placebo test's 5 % is in simulations with autocorrelated days."""


@dataclass(frozen=True)
class BeforeAfter:
    """A difference over time.

    Attributes:
        method: `placebo` with a p-value and an interval, or `description` without.
        delta: mean after minus mean before, less the same of the control where there is one.
        low, high: 95 % interval from the placebos; None for a description.
        p_value: two-sided rank among the placebos; None for a description.
        days: (before, after) that were compared.
        label: how the figure may be called.
    """

    method: Literal["placebo", "description"]
    delta: float
    low: float | None
    high: float | None
    p_value: float | None
    days: tuple[int, int]
    label: str

    causal: Literal[False] = False


def before_after(
    series: ArrayLike, *, changed_at: int, control: ArrayLike | None = None, window: int = WINDOW
) -> BeforeAfter | None:
    """Compare the days after a change with those before.

    Args:
        series: the metric by day, oldest first, NaN for days without; shape (days,).
        changed_at: index of the first day with the change.
        control: the same of something that the change cannot have touched (difference-in-differences), or None.
        window: days on either side.

    Returns:
        None where no day on one side has a value.

    Raises:
        ValueError: series of different lengths, an infinite value, a change outside of the series.

    Source: Abadie, Diamond & Hainmueller (2015), American Journal of Political Science 59, 495-510 (in-time placebo).
    """
    y = np.asarray(series, dtype=np.float64)
    other = np.zeros_like(y) if control is None else np.asarray(control, dtype=np.float64)
    if y.ndim != 1 or other.shape != y.shape:
        raise ValueError(f"the series and its control need the same days, not {y.shape} and {other.shape}")
    if np.isinf(y).any() or np.isinf(other).any():
        raise ValueError("an infinite day cannot be compared; NaN means no value")
    if not 0 < changed_at < len(y):
        raise ValueError(f"the change lies within the series of {len(y)} days, not at {changed_at}")
    if window < 1:
        raise ValueError(f"a window has at least one day, not {window}")
    y = y - other
    after = min(window, len(y) - changed_at)

    def difference(at: int) -> float:
        then, now = y[max(at - window, 0) : at], y[at : at + after]
        then, now = then[~np.isnan(then)], now[~np.isnan(now)]
        return float(now.mean() - then.mean()) if len(then) and len(now) else math.nan

    delta = difference(changed_at)
    if math.isnan(delta):
        return None
    compared = (min(window, changed_at), after)
    # Only placebos that are over before the change: what it did must not be in its own yardstick.
    placebos = np.array([difference(at) for at in range(window, changed_at - after + 1)])
    placebos = placebos[~np.isnan(placebos)]
    if changed_at < LEAST_HISTORY or len(placebos) < LEAST_HISTORY // 2:
        label = f"description only: {changed_at} days of history, {LEAST_HISTORY} would allow a placebo test"
        return BeforeAfter("description", delta, None, None, None, compared, label)
    # A trend moves every placebo alike: it is no part of the change.
    usual = float(np.median(placebos))
    extreme = int(np.sum(np.abs(placebos - usual) >= abs(delta - usual)))
    half = float(np.quantile(np.abs(placebos - usual), 0.95))
    return BeforeAfter(
        method="placebo",
        delta=delta - usual,
        low=delta - usual - half,
        high=delta - usual + half,
        p_value=(1 + extreme) / (1 + len(placebos)),
        days=compared,
        label=f"not causal: nobody was held back; a placebo test of nominal 5 % errs about {SIZE:.0%} of the time",
    )


def may_be_called_causal(result: Contrast | BeforeAfter | None) -> bool:
    """Tell whether a report may say that the change caused the difference: with a randomised hold-back alone."""
    return isinstance(result, Contrast)


def sentence(result: Contrast | BeforeAfter | None, *, metric: str) -> str:
    """Return what may be said of a measurement, for a report or a mail."""
    if result is None:
        return f"{metric}: too few outcomes on both sides: nothing can be said"
    if isinstance(result, Contrast):
        said = "caused" if result.p_value < 0.05 else "shows no effect beyond chance;"
        return (
            f"{metric}: the change {said} a difference of {result.delta:+.4g} "
            f"(p = {result.p_value:.3f}, {result.units[1]} units with it, {result.units[0]} held back)"
        )
    found = f"{metric}: {result.delta:+.4g} over {result.days[1]} days against {result.days[0]} before"
    if result.p_value is not None:
        found += f" (p = {result.p_value:.3f} among placebos)"
    return f"{found}; {result.label}"
