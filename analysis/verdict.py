"""From paired results to one verdict: fail, pass, or how much more it would take to tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from scipy import special

from analysis.paired import PairedResult, smallest_passing

POWER = 0.8
"""Probability with which `needed` cases would settle it, were the observed difference the true one."""

MOST = 100_000
"""No more cases than this are ever asked for."""


class Outcome(StrEnum):
    """What the numbers say. Whether they could be had at all is for the caller."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Verdict:
    """The verdict over all metrics.

    Attributes:
        outcome: `pass`, `fail` or `inconclusive`.
        reasons: sentences, the deciding ones alone.
        needed: for an inconclusive verdict, the cases (with as many repeats as now) that would probably settle it, or
            None where no number of cases would: the candidate sits at the margin.
        adjusted: Holm-adjusted `p_worse` by metric.
    """

    outcome: Outcome
    reasons: list[str]
    needed: int | None = None
    adjusted: dict[str, float] = field(default_factory=dict)


def judge(results: Mapping[str, PairedResult], *, alpha: float = 0.05) -> Verdict:
    """Judge a candidate by its metrics.

    FAIL where any metric is worse after Holm's correction; PASS where the margin is ruled out on every metric (an
    intersection–union test, which needs no correction); INCONCLUSIVE else. A missing case is never a pass: it counts as
    lost where a pass is asked for, and as nothing where a failure is.

    Args:
        results: by metric name; each oriented so that `p_worse` is about the candidate being worse.
        alpha: one-sided size of a false failure, and of a false pass at the margin.

    Raises:
        ValueError: alpha outside (0, 1).

    Source: Holm (1979), Scandinavian Journal of Statistics 6, 65–70; Berger (1982), Technometrics 24, 295–300.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha lies in (0, 1), not at {alpha}")
    if not results:
        return Verdict(Outcome.INCONCLUSIVE, ["there is no metric to judge by"])
    adjusted = holm({name: result.p_worse for name, result in results.items()})
    worse = [name for name in results if adjusted[name] <= alpha]
    if worse:
        return Verdict(Outcome.FAIL, [_worse(name, results[name], adjusted[name]) for name in worse], None, adjusted)
    open_metrics = [name for name, result in results.items() if not _strict(result) <= alpha]
    if not open_metrics:
        reasons = [
            f"{name}: a loss of {_size(result, result.margin)} is ruled out (p = {_strict(result):.3f}, "
            f"{result.cases} cases)"
            for name, result in results.items()
        ]
        return Verdict(Outcome.PASS, reasons, None, adjusted)
    needs = {name: needed_cases(results[name], alpha=alpha / len(results)) for name in open_metrics}
    known = [need for need in needs.values() if need is not None]
    return Verdict(
        Outcome.INCONCLUSIVE,
        [_open(name, results[name], needs[name]) for name in open_metrics],
        max(known) if len(known) == len(needs) else None,
        adjusted,
    )


def worse_slices(results: Mapping[str, PairedResult], *, alpha: float = 0.05) -> list[str]:
    """Return sentences about the slices that a loss lies in, the clearest first.

    To be asked only of a metric that has failed as a whole: the gate before the slices keeps the error rate over all of
    them at `alpha`, together with Holm's correction among them.

    Args:
        results: the metric's results by slice ("region = emea").
    """
    adjusted = holm({name: result.p_worse for name, result in results.items()})
    found = sorted((name for name in results if adjusted[name] <= alpha), key=lambda name: (adjusted[name], name))
    return [_worse(name, results[name], adjusted[name]) for name in found]


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return Holm's step-down adjusted p-values under the same names."""
    adjusted: dict[str, float] = {}
    largest = 0.0
    for rank, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        largest = max(largest, min(1.0, p * (len(p_values) - rank)))
        adjusted[name] = largest
    return adjusted


def needed_cases(result: PairedResult, *, alpha: float = 0.05) -> int | None:
    """Return how many cases would settle this metric at `POWER`, were the observed difference the true one.

    Towards a pass where the candidate lies inside the margin, towards a failure (at the corrected `alpha`) where
    beyond. None where it lies at the margin, or nothing is known.
    """
    least = smallest_passing(result.margin / result.baseline) if _has_rate(result) else 2
    if result.cases < 2 or (result.binary and result.loss <= 0 and result.p_worse >= 1):
        return max(least, result.cases + result.missing)  # not one case was lost: there were too few
    low, high = result.interval
    if not np.isfinite([low, high]).all():
        return None
    deviation = (high - low) / (2 * special.ndtri(0.975)) * np.sqrt(result.cases)
    if result.loss < result.margin:
        size, distance = 0.05, result.margin - result.loss
    else:
        size, distance = alpha, result.loss
    reach = special.ndtri(1 - size) + special.ndtri(POWER)
    cases = (reach * deviation / distance) ** 2
    if not cases <= MOST:
        return None
    # Fewer than there were cannot be promised to settle what these left open: ask for a half more at least.
    return max(int(np.ceil(cases)), least, int(np.ceil(1.5 * result.cases)))


def _has_rate(result: PairedResult) -> bool:
    return result.binary and 0 < result.margin < result.baseline


def _strict(result: PairedResult) -> float:
    return result.p_noninferior if result.p_strict is None else result.p_strict


def _size(result: PairedResult, amount: float) -> str:
    return f"{100 * amount:.1f} points" if result.binary else f"{amount:.4g}"


def _worse(name: str, result: PairedResult, p: float) -> str:
    low, high = result.interval
    return (
        f"{name}: worse by {_size(result, abs(result.delta))} "
        f"({_size(result, low)} to {_size(result, high)}; adjusted p = {p:.4f}, {result.cases} cases)"
    )


def _open(name: str, result: PairedResult, needed: int | None) -> str:
    if result.cases == 0:
        return f"{name}: no case was answered in both arms"
    lost = f" ({result.missing} more gave no answer)" if result.missing else ""
    found = (
        f"{name}: a difference of {_size(result, result.delta)} over {result.cases} cases{lost} "
        f"neither shows a loss nor rules out one of {_size(result, result.margin)}"
    )
    if needed is None:
        return f"{found}; it lies at the margin, and more cases would not settle it"
    repeats = int(np.ceil(needed / result.cases))
    return f"{found}; about {needed} cases would settle it, or --repeat {repeats} where the differences are chance"
