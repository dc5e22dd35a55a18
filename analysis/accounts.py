"""Money for a rollback: what is staked, unit by unit, on "the candidate is worse" for one metric of a rollout.

Every unit is one round of a game that is fair where the arms are alike, whatever the scores' distribution and wherever
the base rate has drifted to (see `analysis.eprocess`): with arm A, share s and any q that was known before,

    wealth ← wealth · (1 + λ·X),   X = (1−A)(y−q)/(1−s) − A(y−q)/s,   E[X] = p₀ − p₁ ≤ 0.

Only λ is a matter of skill. The money lies in accounts, each for one relative drop d; δ = d·p₀ is the drop in points,
v = q(1−q)/(s(1−s)) the variance of X. λ = δ/v would be the likelihood ratio: best on average, slow in the median. An
account plays for its target by a deadline instead: with the share u of the target in hand and the information J left
until the deadline it stakes λ = (δ/v)·φ(Φ⁻¹(u))/(u·√J), which makes the chance of reaching the target the largest in
a diffusion, clipped to a range about the likelihood ratio so that neither a jump ruins nor a deadline tempts. What is
left at the deadline goes to the account of the next smaller drop. All of this is known before the unit's outcome, so
that the total is a test supermartingale, and by Ville's inequality reaches the target with probability at most
1/target, however often one looks.

Sources: Waudby-Smith & Ramdas (2024), JRSS-B 86, 1-27; Browne (1999), Advances in Applied Probability 31, 551-577.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from analysis.eprocess import Flags, Floats, log_mean_exp

TIMES_TOLERANCE = np.array([1.0, 2.0, 4.0])
"""Drops that are played for, in units of the tolerance; the last account plays for hard failure."""
HARD_DROP = 0.7
MONEY = np.array([0.26, 0.24, 0.38, 0.02])
"""What each account starts with. With the reserve it is less than 1: accounts that play for a target reach it nearly as
often as Ville's bound allows, and what is kept back lowers the bound."""
RESERVE = 0.02
"""Fed to the last account in halves, at growing intervals: a candidate that breaks late is caught as quickly."""
FIRST_REFUND = 256
DEADLINE = np.array([1.05, 1.05, 1.1])
"""In units of the information at which a fixed test of the same size would have a power of one half."""
BOLDEST, TIMIDEST = 2.0, 0.9
SKEWNESS = 2.2
"""How much later the deadline lies for a skewed X (a small share of a reliable app), times Cornish and Fisher's."""
CAUTION = 0.3
"""Standard errors by which the base rate is taken lower than it seems: too bold a stake costs more than too timid."""
MOST_LOST = 0.95
"""No single unit may take more than this share of an account."""
SHORTEST, LONGEST = 4, 256
"""Units between two looks at the stake."""
_EMPTY = -1e6
_ALL = np.ones(len(MONEY))
_TIMED = len(TIMES_TOLERANCE)


MEMORY = 3000.0
PRIOR_MEAN, PRIOR_WEIGHT = 0.9, 50.0
"""What is believed of a base rate before a unit was seen, in units."""
BOUNDS = (0.02, 0.998)


@dataclass
class Accounts:
    """The accounts of one metric; or of the same metric in many games at once, where simulations play them.

    Shapes below are of one game; many add a second axis to what they play, and a first one to what they have.

    Args:
        tolerance: the relative drop that is too much.
        target: the wealth that is enough evidence.
        games: None for one game, or how many.
    """

    tolerance: float
    target: float
    games: int | None = None

    def __post_init__(self) -> None:
        lead = () if self.games is None else (self.games,)
        self.drops = np.append(np.minimum(self.tolerance * TIMES_TOLERANCE, 0.9), max(HARD_DROP, self.tolerance))
        """The relative drop that each account plays for."""
        self.quantiles = np.maximum(-special.ndtri(np.minimum(MONEY[:_TIMED] / self.target, 0.4)), 0.25)
        """How many standard errors a fixed test of each timed account's size would ask for."""
        self.log_wealth: Floats = np.log(MONEY) + np.zeros((*lead, 1))
        self.information: Floats = np.zeros((*lead, _TIMED))
        self.boldness: Floats = np.ones((*lead, len(MONEY)))
        self.seen: Floats = np.zeros((4, *lead))
        """[units, scores, their squares, shares]: slowly forgetting sums over both arms. They steer the stakes;
        validity needs none of them."""
        self.base: Floats = np.full((*lead, len(MONEY)), PRIOR_MEAN)
        self.spread: Floats = np.ones(lead)
        self.units, self.left, self.refunds = 0, 0, 0
        if self.games is None:
            self.log_wealth, self.information = self.log_wealth.reshape(-1), self.information.reshape(-1)

    @property
    def log_total(self) -> Floats:
        """The logarithm of all the money that is at stake."""
        return log_mean_exp(self.log_wealth, _ALL)

    def play(self, y: Floats, arm: Flags, share: Floats) -> Floats:
        """Play units in order of arrival and return the logarithm of the total after each; shape (n,).

        Args:
            y: scores in [0, 1]; shape (n,).
            arm: whether the unit has the candidate; shape (n,).
            share: its chance of that, in (0, 1); shape (n,), the same in all games.
        """
        totals = np.empty(y.shape)
        start = 0
        while start < len(y):
            if self.left == 0:
                self._plan(float(share[start]))
            end = min(len(y), start + self.left)
            part = slice(start, end)
            steps, gained = self._steps(y[part], arm[part], share[part])
            walks = np.cumsum(np.concatenate([self.log_wealth[None], steps]), axis=0)[1:]
            totals[part] = log_mean_exp(walks, _ALL)
            self.log_wealth = walks[-1].copy()
            self.information = np.cumsum(np.concatenate([self.information[None], gained]), axis=0)[-1]
            self._remember(y[part], share[part])
            self.units += end - start
            self.left -= end - start
            start = end
        return totals

    def _remember(self, y: Floats, share: Floats) -> None:
        keep = 1 - 1 / MEMORY
        fade = keep ** np.arange(len(y) - 1, -1, -1.0)
        fresh = (fade.sum(), np.tensordot(fade, y, 1), np.tensordot(fade, y * y, 1), fade @ share)
        for place, sums in enumerate(fresh):
            self.seen[place] = self.seen[place] * keep ** len(y) + sums

    def _steps(self, y: Floats, arm: Flags, share: Floats) -> tuple[Floats, Floats]:
        """Return the logarithm of each account's factor; and the information in each unit for the timed ones."""
        s = share.reshape(-1, *(1,) * y.ndim)
        base = self.base
        q = base * (1 - s * self.drops)
        variance = self.spread[..., None] * q * (1 - q) / (s * (1 - s))
        loss = self.drops * base
        stake = np.minimum(self.boldness * loss / variance, MOST_LOST * np.minimum((1 - s) / q, s / (1 - q)))
        contrast = np.where(arm[..., None], -1 / s, 1 / (1 - s)) * (y[..., None] - q)
        return np.log1p(stake * contrast), (loss * loss / variance)[..., :_TIMED]

    def _plan(self, share: float) -> None:
        """Settle what has come to its deadline, and fix the stakes of the next units."""
        if self.units >= FIRST_REFUND * 4**self.refunds:
            self.refunds += 1
            self.log_wealth[..., -1] = np.logaddexp(self.log_wealth[..., -1], np.log(RESERVE / 2**self.refunds))
        self._guess(share)
        self.left = min(max(self.units // 20, SHORTEST), LONGEST)
        remaining = self._deadlines(share) - self.information
        wealth = self.log_wealth
        for account in range(_TIMED - 1, 0, -1):
            over = (remaining[..., account] <= 0) & (wealth[..., account] > _EMPTY)
            if over.any():
                both = np.logaddexp(wealth[..., account - 1], wealth[..., account])
                wealth[..., account - 1] = np.where(over, both, wealth[..., account - 1])
                wealth[..., account] = np.where(over, 2 * _EMPTY, wealth[..., account])
        hand = np.clip(np.exp(np.minimum(wealth[..., :_TIMED], 700.0)) / self.target, 1e-7, 0.98)
        quantile = special.ndtri(hand)
        density = np.exp(-quantile * quantile / 2) / np.sqrt(2 * np.pi)
        bold = np.clip(density / hand / np.sqrt(np.maximum(remaining, 0.02)), TIMIDEST, BOLDEST)
        self.boldness[..., :_TIMED] = np.where(remaining > 0.02, bold, 1.0)

    def _guess(self, share: float) -> None:
        """Guess, cautiously, the baseline's mean if the candidate had lost each of the drops; and the spread.

        The spread is the scores' variance as a share of what it is where every score is 0 or 1, in (0, 1].
        """
        n, total, squares, shares = (sums[..., None] for sums in self.seen)
        weight = n + PRIOR_WEIGHT
        thinned = 1 - self.drops * (shares + share * PRIOR_WEIGHT) / weight
        mean = (total + PRIOR_MEAN * thinned * PRIOR_WEIGHT) / weight
        error = np.sqrt(np.maximum(mean * (1 - mean), 1e-6) / weight)
        self.base = np.clip((mean - CAUTION * error) / thinned, *BOUNDS)
        raw = total / np.maximum(n, 1e-9)
        binary = raw * (1 - raw)
        found = np.clip((squares / np.maximum(n, 1e-9) - raw * raw) / np.maximum(binary, 1e-6), 0.0, 1.0)
        # Believed only as far as it was seen: fifty units of prior that the score is all or nothing.
        self.spread = np.where(binary > 1e-6, (found * n + 50) / (n + 50), 1.0)[..., 0]

    def _deadlines(self, share: float) -> Floats:
        """Return by when each timed account plays, in information; shape (timed,)."""
        z, drops, base = self.quantiles, self.drops[:_TIMED], self.base[..., :_TIMED]
        q = base * (1 - share * drops)
        variance = q * (1 - q) / (share * (1 - share))
        third = q * (1 - q) * (1 - 2 * q) * (1 / (1 - share) ** 2 - 1 / share**2)
        skew = np.clip(third / variance**2 * drops * base, 0.0, 3.0)
        # Cornish and Fisher (1938), with the sample's size put in terms of z.
        return np.asarray(DEADLINE * (z + SKEWNESS * skew * np.abs(z * z - 1) / (6 * z)) ** 2, dtype=np.float64)

    def state(self) -> dict[str, Any]:
        """Return what JSON can hold, without what the guard itself knows."""
        arrays = {name: getattr(self, name).tolist() for name in _ARRAYS}
        return arrays | {name: getattr(self, name) for name in _NUMBERS}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], *, tolerance: float, target: float) -> Accounts:
        """Return the accounts that `state` describes."""
        self = cls(tolerance, target)
        for name in _ARRAYS:
            setattr(self, name, np.array(state[name], dtype=np.float64))
        for name in _NUMBERS:
            setattr(self, name, int(state[name]))
        return self


_ARRAYS = ("log_wealth", "information", "boldness", "seen", "base", "spread")
_NUMBERS = ("units", "left", "refunds")
