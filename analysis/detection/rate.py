"""The detector of failure rates from small counts: a mixture of Shiryaev-Roberts e-detectors.

Each step multiplies a stake by the likelihood of the counts if the odds of failure had risen k-fold, over their
likelihood if all is as learnt, and adds one new stake, for a change may begin at any step. The expected time until the
mean of such sums passes 1/α in healthy operation is at least 1/α steps, however often one looks (Shin, Ramdas, Rinaldo:
E-detectors, 2024). Failure probabilities wander, so both likelihoods are beta-binomial, never binomial.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaln

from analysis.detection import state as states
from analysis.detection.clock import seconds
from analysis.detection.result import THRESHOLD, Detection, Flags, Reals
from analysis.detection.state import DetectorStateError

VERSION = 1
KIND = "rate"

ODDS = np.array([3.0, 8.0, 30.0, 150.0])[:, np.newaxis]
"""How much the odds of failure may have risen."""
PATIENCE = 1e5
"""Steps between false alarms in healthy operation, at least: with 5-minute steps about a year."""
CAP = 30.0
"""The stakes are worth at most so many times what alarms: else the way back from an incident took as long again. All
shrink alike, so that the stake that fits the incident best decides how soon its end is seen."""

PRIOR_RATE, PRIOR_CALLS = 0.01, 2000.0
FIRM_CALLS = 50.0
"""Where a history is known the prior is worth no more than this."""
MOST_CALLS = 50_000.0
"""The memory of the usual rate: older calls fade."""
WANDER_RELATIVE, WANDER_ABSOLUTE = 0.15, 0.002
"""Healthy rates wander by so much around their mean …"""
PERSISTENCE = 12.0
"""… and for so many steps at a time: many calls of one hour say little more than some."""
ALTERNATIVE_STRENGTH = 60.0
"""How firmly a raised rate is imagined, in calls."""
ENOUGH_PAIRS = 1000.0
"""Before, wandering is not learnt."""
MOST_PEARSON = 10.0
"""What one window teaches of wandering at most."""
SUSPECT = 0.5
"""From this score on a step teaches nothing, for it may be the beginning of an incident …"""
ACCEPT_STEPS = 288.0
"""… until so many steps in a row were suspect: then the rate is the usual one."""


@dataclass(frozen=True)
class Suspicion:
    """What a series looks like since it became suspect; each of shape (S,).

    Attributes:
        alarmed: whether its latest known step alarmed.
        steps: known steps since it became suspect; 0 where it is not.
        failures, calls: counted in them.
    """

    alarmed: Flags
    steps: Reals
    failures: Reals
    calls: Reals


class RateDetector:
    """Watches failures among calls of S series."""

    def __init__(self, n_series: int) -> None:
        """Begin with the prior alone: 1 %, worth 2,000 calls.

        Raises:
            ValueError: no series.
        """
        if n_series < 1:
            raise ValueError(f"a detector watches at least one series, not {n_series}")
        self.n_series = n_series
        self.latest: int | None = None
        self._memory: dict[str, NDArray[Any]] = {
            "stakes": np.full((len(ODDS), n_series), -np.inf),  # logarithms
            "failures": np.full(n_series, PRIOR_RATE * PRIOR_CALLS),
            "calls": np.full(n_series, PRIOR_CALLS),
            "excess": np.zeros(n_series),
            "pairs": np.zeros(n_series),
            "alarmed": np.zeros(n_series),
            "suspect": np.zeros(n_series),
            "lately": np.zeros((2, n_series)),  # failures and calls since it is suspect
        }

    @classmethod
    def from_history(cls, failures: ArrayLike, calls: ArrayLike) -> RateDetector:
        """Return a detector that knows what one series did before: its usual rate, and how far that wanders.

        Args:
            failures, calls: by group (an hour, say), in time's order, shape (G,); groups without calls are ignored.
        """
        k, n = np.asarray(failures, np.float64).ravel(), np.asarray(calls, np.float64).ravel()
        k, n = k[n > 0.0], n[n > 0.0]
        detector = cls(1)
        if n.size:
            weight = min(1.0, (MOST_CALLS - FIRM_CALLS) / float(n.sum()))
            known = float(k.sum()) * weight + PRIOR_RATE * FIRM_CALLS, float(n.sum()) * weight + FIRM_CALLS
            rate = known[0] / known[1]
            pearson = (k - n * rate) ** 2 / (n * rate * (1 - rate)) - 1.0
            detector._memory["failures"][:], detector._memory["calls"][:] = known
            detector._memory["excess"][:] = float(np.minimum(pearson, MOST_PEARSON).sum())
            detector._memory["pairs"][:] = float((n - 1.0).sum())
        return detector

    @classmethod
    def joined(cls, parts: Sequence[RateDetector]) -> RateDetector:
        """Return one detector of all series of the parts, in their order. Its latest moment is the latest of theirs."""
        detector = cls(sum(part.n_series for part in parts))
        moments = [part.latest for part in parts if part.latest is not None]
        detector.latest = max(moments, default=None)
        for name in detector._memory:
            detector._memory[name] = np.concatenate([part._memory[name] for part in parts], axis=-1)
        return detector

    def column(self, series: int) -> RateDetector:
        """Return a detector of one of the series alone."""
        detector = RateDetector(1)
        detector.latest = self.latest
        for name, values in self._memory.items():
            detector._memory[name] = values[..., series : series + 1].copy()
        return detector

    @staticmethod
    def chance_of(score: float) -> float:
        """Return how probable such a score is at one step of healthy operation, at most: one over the evidence."""
        return float(min(1.0, PATIENCE**-score))

    def suspicion(self) -> Suspicion:
        """Return what every series looks like since it became suspect."""
        m = self._memory
        return Suspicion(m["alarmed"] > 0.0, m["suspect"].copy(), m["lately"][0].copy(), m["lately"][1].copy())

    def update(self, failures: ArrayLike, calls: ArrayLike, at: np.datetime64 | datetime) -> Detection:
        """Take the counts of one window.

        Args:
            failures, calls: shape (S,). NaN, no call, more failures than calls, or a negative count are no data.
            at: the moment. Not later than the latest one, it teaches nothing and alarms nobody.

        Raises:
            ValueError: another shape, or no moment at all.
        """
        k, n = np.asarray(failures, np.float64), np.asarray(calls, np.float64)
        if k.shape != (self.n_series,) or n.shape != (self.n_series,):
            raise ValueError(
                f"counts have shapes {k.shape} and {n.shape}, this detector watches {self.n_series} series"
            )
        moment = seconds(at)
        known = np.isfinite(k) & np.isfinite(n) & (n > 0.0) & (k >= 0.0) & (k <= n)
        if self.latest is not None and moment <= self.latest:
            known = np.zeros_like(known)
        else:
            self.latest = moment
        return self._step(np.where(known, k, 0.0), np.where(known, n, 1.0), known)

    def _step(self, k: Reals, n: Reals, known: Flags) -> Detection:
        m = self._memory
        rate = m["failures"] / m["calls"]
        spread = np.maximum(self._dispersion(rate) * rate * (1 - rate), (WANDER_RELATIVE * rate + WANDER_ABSOLUTE) ** 2)
        strength = np.maximum(rate * (1 - rate) / (spread + rate * (1 - rate) / m["calls"]) - 1.0, 2.0)
        thin = 1.0 / (1.0 + np.maximum(n - 1.0, 0.0) * PERSISTENCE / strength)
        odds = ODDS * rate / (1 - rate)
        raised = odds / (1 + odds)
        firm = np.minimum(strength, ALTERNATIVE_STRENGTH)
        gain = _likelihood(thin * k, thin * n, raised, firm) - _likelihood(thin * k, thin * n, rate, strength)
        stakes = np.where(known, np.logaddexp(0.0, m["stakes"]) + gain, m["stakes"])
        evidence = np.logaddexp.reduce(stakes, axis=0) - np.log(len(ODDS))
        above = np.maximum(evidence - np.log(PATIENCE * CAP), 0.0)
        stakes, evidence = stakes - above, evidence - above
        # The scale is that of the logarithm: half the score is the root of the odds.
        score = np.where(known, np.maximum(evidence, 0.0) / np.log(PATIENCE), 0.0)
        alarm: Flags = score >= THRESHOLD
        over = known & (m["alarmed"] > 0.0) & ~alarm  # the incident is over: what was staked on it is spent

        suspect = np.where(score >= SUSPECT, m["suspect"] + 1.0, 0.0)
        accepted = known & (suspect >= ACCEPT_STEPS)
        taught = known & ((score < SUSPECT) | accepted)
        fade = np.where(accepted, 0.0, np.minimum(1.0, MOST_CALLS / (m["calls"] + n)))
        # An accepted rate starts from what it was all the time that it was suspect, as sure as the prior.
        lately = np.where(suspect > 0.0, m["lately"] + np.stack((k, n)), 0.0)
        start = np.clip(lately[0] / np.maximum(lately[1], 1e-12), PRIOR_RATE, 0.95) * PRIOR_CALLS
        pearson = (k - n * rate) ** 2 / np.maximum(n * rate * (1 - rate), 1e-12) - 1.0
        after = {
            "failures": np.where(accepted, start, (m["failures"] + k) * fade),
            "calls": np.where(accepted, PRIOR_CALLS, (m["calls"] + n) * fade),
            "excess": 0.999 * m["excess"] + np.minimum(pearson, MOST_PEARSON),
            "pairs": 0.999 * m["pairs"] + n - 1.0,
        }
        for name, values in after.items():
            np.copyto(m[name], values, where=taught)
        np.copyto(m["stakes"], np.where(accepted | over, -np.inf, stakes), where=known)
        np.copyto(m["alarmed"], alarm & ~accepted, where=known)
        np.copyto(m["lately"], np.where(accepted, 0.0, lately), where=known)
        np.copyto(m["suspect"], np.where(accepted, 0.0, suspect), where=known)
        half = 1.96 * np.sqrt(spread + rate * (1 - rate) / n)
        low, high = np.clip(rate - half, 0.0, 1.0), np.clip(rate + half, 0.0, 1.0)
        return Detection(score, alarm, rate, low, high, suspect > 0.0, accepted)

    def _dispersion(self, rate: Reals) -> Reals:
        """Return the intraclass correlation that the windows have shown beyond chance; in [0, 0.2]."""
        pairs = self._memory["pairs"]
        shown = np.clip(self._memory["excess"] / np.maximum(pairs, 1.0), 0.0, 0.2)
        return np.where(pairs > ENOUGH_PAIRS, shown, 0.0)

    def state(self) -> dict[str, Any]:
        """Return all that is remembered, as a flat dict of strings and a number: fit for JSON, npz, a database."""
        latest = 0 if self.latest is None else self.latest
        setup = np.array([self.n_series, latest, self.latest is not None], np.int64)
        return states.packed(KIND, VERSION, {"setup": setup, **self._memory})

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> RateDetector:
        """Return the detector that goes on, bit by bit, where `state` was taken.

        Raises:
            DetectorStateError: the state is of another version, or damaged: make a new detector and let it learn.
        """
        states.checked(state, KIND, VERSION)
        n_series, latest, started = (int(value) for value in states.array_like(state, "setup", np.zeros(3, np.int64)))
        if n_series < 1:
            raise DetectorStateError("this state is damaged: it has no series")
        detector = cls(n_series)
        detector.latest = latest if started else None
        for name, like in detector._memory.items():
            np.copyto(like, states.array_like(state, name, like))
        return detector


def _likelihood(k: Reals, n: Reals, rate: Reals, strength: Reals) -> Reals:
    """Return the logarithm of the beta-binomial likelihood, the binomial coefficient left out."""
    a, b = rate * strength, (1 - rate) * strength
    return np.asarray(betaln(k + a, n - k + b) - betaln(a, b))
