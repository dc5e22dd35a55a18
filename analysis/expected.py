"""How often runs like these fail when nothing is wrong: a shrunken logistic model of the baseline window."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from analysis.cells import BLOCK
from analysis.encoding import Attribute, Codes, Flags, Reals
from analysis.spread import MAX_CELLS, Spread

MAX_ROWS = 200_000
"""Baseline runs that the model is fitted on; more would not move it."""

FLOOR = 1e-6


def sigmoid(eta: Reals) -> Reals:
    """Return 1/(1 + e^-eta) without overflow; any shape."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(eta, -30, 30))))


def expected_rate(
    attributes: Sequence[Attribute], failed: Flags, baseline: Flags, spread: Spread, *, sweeps: int = 3
) -> Reals:
    """Return the expected failure rate of every run, from the baseline alone.

    Ridge logistic regression with main effects and shrunken pairs, by block-coordinate Newton steps: within one
    attribute (or pair) the levels are disjoint, so a block's step is a count per level. A level that the baseline never
    saw keeps the effect 0.

    Args:
        attributes: levels of N runs.
        failed: outcome of each run, shape (N,).
        baseline: which runs are the baseline, shape (N,).
        spread: how much values and pairs differ; its inverse is the ridge.
        sweeps: passes over the main effects.

    Returns:
        array (N,) in (0, 1).
    """
    rows = np.flatnonzero(baseline)
    if len(rows) > MAX_ROWS:
        rows = np.random.default_rng(0).choice(rows, MAX_ROWS, replace=False)
    y = failed[rows].astype(np.float64)
    intercept = np.log((y.sum() + 0.5) / (len(y) - y.sum() + 0.5))
    eta = np.full(len(rows), intercept)
    effects: dict[tuple[int, ...], Reals] = {}

    def step(key: tuple[int, ...], codes: Codes, size: int, ridge: float) -> None:
        nonlocal eta
        mean = sigmoid(eta)
        theta = effects.setdefault(key, np.zeros(size))
        gradient = np.bincount(codes, weights=y - mean, minlength=size) - ridge * theta
        curvature = np.bincount(codes, weights=mean * (1 - mean), minlength=size) + ridge
        # a step of two logits at most: from a rate near 0 or 1 the quadratic overshoots
        move = np.clip(gradient / curvature, -2, 2)
        theta += move
        eta = eta + move[codes]

    local = [attribute.codes[rows] for attribute in attributes]
    for _ in range(sweeps):
        for place, attribute in enumerate(attributes):
            step((place,), local[place], attribute.levels, 1 / spread.values)
    if 0 < y.sum() < len(y):
        for a, b in combinations(range(len(attributes)), 2):
            size = attributes[a].levels * attributes[b].levels
            if size <= MAX_CELLS:
                step((a, b), local[a] * attributes[b].levels + local[b], size, 1 / spread.pairs)
    total = np.full(len(failed), intercept)
    for start in range(0, len(failed), BLOCK):
        part = slice(start, start + BLOCK)
        block = [attribute.codes[part] for attribute in attributes]
        for key, theta in effects.items():
            cells = block[key[0]]
            if len(key) == 2:
                cells = cells * attributes[key[1]].levels + block[key[1]]
            total[part] += theta[cells]
    return np.clip(sigmoid(total), FLOOR, 1 - FLOOR)
