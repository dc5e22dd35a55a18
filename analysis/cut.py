"""A measurement as failed or not: cut where the bad window differs from its baseline."""

from __future__ import annotations

from typing import Literal

import numpy as np

from analysis.encoding import Attribute, Flags, Reals

Worse = Literal["higher", "lower"]

PRIOR = 6.0
"""Failures, behaving as expected, that the cut of a measurement is shrunk with."""

THRESHOLDS = (0.5, 0.75, 0.9, 0.97)
"""Quantiles of the baseline beyond which a measurement counts as bad; the one that tells most is tried first."""


def failing_runs(attributes: list[Attribute], values: Reals, bad: Flags, worse: Worse | None) -> list[Flags]:
    """Return which runs failed; for a measurement, in as many ways as it was cut, the most telling first.

    What tells most over single values and all runs need not tell most about a combination of values: where the first
    way shows nothing, another one may.
    """
    if np.isin(values, (0.0, 1.0)).all():
        return [values > 0.5]
    found: list[tuple[float, Flags]] = []
    directions = {"higher": (1.0,), "lower": (-1.0,), None: (1.0, -1.0)}[worse]
    for sign in directions:
        signed = values * sign
        for quantile in THRESHOLDS:
            failed = signed > np.quantile(signed[~bad], quantile)
            gain = _marginal_gain(attributes, failed, bad)
            if gain > 0:
                found.append((gain, failed))
    found.sort(key=lambda entry: -entry[0])
    return [failed for _, failed in found]


def _marginal_gain(attributes: list[Attribute], failed: Flags, bad: Flags) -> float:
    """Return the best likelihood ratio of "this value fails more than before" over single values and all runs."""
    gain = 0.0
    everything = Attribute("", ("",), np.zeros(len(bad), dtype=np.int64))
    for attribute in [everything, *attributes]:
        size = attribute.levels
        now_runs = np.bincount(attribute.codes[bad], minlength=size)
        now = np.bincount(attribute.codes[bad & failed], minlength=size)
        base_runs = np.bincount(attribute.codes[~bad], minlength=size) + 2 * PRIOR
        base = np.bincount(attribute.codes[~bad & failed], minlength=size) + 2 * PRIOR * failed[~bad].mean()
        with np.errstate(divide="ignore", invalid="ignore"):
            p, q = now / np.maximum(now_runs, 1), base / base_runs
            value = np.where(p > 0, now * np.log(p / q), 0) + np.where(
                p < 1, (now_runs - now) * np.log((1 - p) / (1 - q)), 0
            )
        value[(p <= q) | ~np.isfinite(value)] = 0
        gain = max(gain, float(value.max()))
    return gain
