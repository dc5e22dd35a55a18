"""The likelihood of every single run under "these runs got worse, the others did not"."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import logit

from analysis.encoding import Flags, Reals
from analysis.expected import FLOOR, sigmoid
from analysis.slices import Window

MU_BINS = 48
RATES = np.array([0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.97])
SHIFTS = np.array(
    [-3.0, -2.0, -1.5, -1.0, -0.6, -0.3, 0.15, 0.3, 0.45, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0, 2.5, 3.0, 4.0, 5.0]
)


class Fit(NamedTuple):
    """What lifting a set of runs explains."""

    gain: float
    moved: float
    rates: Reals


class RunLikelihood:
    """The likelihood of every run of the bad window, over a histogram of their expected rates.

    Runs of (nearly) the same expected rate are alike, so a slice is two counts per bin, and the fit costs nothing.
    """

    def __init__(self, window: Window) -> None:
        self.window = window
        eta = logit(window.expected)
        edges = np.unique(np.quantile(eta, np.linspace(0, 1, MU_BINS + 1)[1:-1]))
        self.bins = np.searchsorted(edges, eta)
        size = len(edges) + 1
        counts = np.maximum(np.bincount(self.bins, minlength=size), 1)
        self.rate = np.bincount(self.bins, weights=window.expected, minlength=size) / counts
        self.rate = np.clip(self.rate, FLOOR, 1 - FLOOR)
        self.size = size
        # rows: shapes of the excess; the first is "none"
        extra = 1 - (1 - self.rate) * (1 - RATES[:, None])
        shift = sigmoid(logit(self.rate) + SHIFTS[:, None])
        self.shapes = np.clip(np.vstack([self.rate[None, :], extra, shift]), FLOOR, 1 - FLOOR)
        self.worse = np.concatenate([[True], np.ones(len(RATES), dtype=bool), SHIFTS > 0])
        self.log_fail, self.log_ok = np.log(self.shapes), np.log1p(-self.shapes)
        self.all_runs = np.bincount(self.bins, minlength=size)
        self.all_failed = np.bincount(self.bins[window.failed], minlength=size)

    def gain(self, inside: Flags) -> Fit:
        """Return what lifting the runs inside gains, and their fitted rates.

        The others may have moved as a whole too, at the price of one parameter (BIC): a slice must stand out from
        its surroundings, not only from its past.
        """
        inner, outer, others = self._both(inside)
        best = int(np.argmax(np.where(self.worse, inner, -np.inf)))
        moved = max(0.0, float(outer.max() - outer[0] - 0.5 * np.log(max(others, 2))))
        expected = self.window.expected[inside]
        if best == 0:
            fitted = expected
        elif best <= len(RATES):
            fitted = 1 - (1 - expected) * (1 - RATES[best - 1])
        else:
            fitted = sigmoid(logit(expected) + SHIFTS[best - 1 - len(RATES)])
        return Fit(float(inner[best] - inner[0]), moved, np.clip(fitted, FLOOR, 1 - FLOOR))

    def _both(self, inside: Flags) -> tuple[Reals, Reals, int]:
        """Log-likelihood of the runs inside and of the others under every shape, and how many others there are."""
        runs = np.bincount(self.bins[inside], minlength=self.size)
        failed = np.bincount(self.bins[inside & self.window.failed], minlength=self.size)
        others, others_failed = self.all_runs - runs, self.all_failed - failed
        inner = self.log_fail @ failed + self.log_ok @ (runs - failed)
        outer = self.log_fail @ others_failed + self.log_ok @ (others - others_failed)
        return inner, outer, int(others.sum())

    def is_everywhere(self, inside: Flags) -> bool:
        """Tell whether the runs outside of a slice moved about as much as those inside.

        On either scale: as an extra failure rate at least half as large, or as odds with two thirds of the shift.
        """
        inner, outer, others = self._both(inside)
        if outer.max() - outer[0] <= 0.5 * np.log(max(others, 2)):
            return False
        rates, shifts = slice(1, 1 + len(RATES)), slice(1 + len(RATES), None)
        scales = [(np.concatenate([[0.0], RATES]), rates, 0.5), (np.concatenate([[0.0], SHIFTS]), shifts, 0.67)]
        for scale, part, share in scales:
            here = float(scale[int(np.argmax(np.concatenate([inner[:1], inner[part]])))])
            there = float(scale[int(np.argmax(np.concatenate([outer[:1], outer[part]])))])
            if here > 0 and there >= share * here:
                return True
        return False
