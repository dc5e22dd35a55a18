"""Gate 9: an unchanged app is found changed no more often than promised, and causal is said with a hold-back alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analysis.impact import holdback_contrast
from analysis.placebo import before_after, may_be_called_causal, sentence
from benchmarks.stats_proof.gate import Gate, at_least, at_most, nominal

DAYS = 28


def _days(rng: np.random.Generator, n: int, correlation: float) -> NDArray[np.float64]:
    """Return the log odds of success by day: memory, and a trend."""
    noise = rng.normal(0, 0.35, n)
    for day in range(1, n):
        noise[day] += correlation * noise[day - 1]
    return np.asarray(2.0 + noise + 0.03 * np.arange(n))


def impact(seed: int, rounds: int = 1200) -> list[Gate]:
    """Hold-back of 10 %, users of unequal luck and traffic, four weeks of days with memory."""
    holdback: dict[str, float] = {}
    naive: dict[str, float] = {}
    for correlation in (0.0, 0.35, 0.7):
        rng = np.random.default_rng([seed, 9, int(100 * correlation)])
        hits, requests = 0, 0
        for _ in range(rounds):
            users, rows = 400, 1500
            day = rng.integers(0, DAYS, rows)
            user = (users * rng.beta(0.7, 1.5, rows)).astype(int)
            arm = (rng.random(users) < 0.9)[user]
            odds = _days(rng, DAYS, correlation)[day] + rng.normal(0, 1.0, users)[user]
            y = (rng.random(rows) < 1 / (1 + np.exp(-odds))).astype(float)
            found = holdback_contrast(user, arm, np.full(rows, 0.9), y)
            hits += found is not None and found.p_value < 0.05
            late = day >= DAYS // 2
            spread = np.sqrt(y[late].var() / late.sum() + y[~late].var() / (~late).sum())
            requests += abs(y[late].mean() - y[~late].mean()) > 1.96 * spread
        holdback[f"autocorrelation {correlation}"] = hits / rounds
        naive[f"autocorrelation {correlation}"] = requests / rounds
    rng = np.random.default_rng([seed, 90])
    placebo, said = 0, 0
    for _ in range(rounds // 4):
        found_days = before_after(0.9 + 0.02 * _days(rng, 300, 0.7), changed_at=286)
        assert found_days is not None
        placebo += found_days.p_value is not None and found_days.p_value < 0.05
        said += may_be_called_causal(found_days) or "caus" in sentence(found_days, metric="m").replace("not causal", "")
    return [
        at_most(
            "9", "impact A/A by hold-back (0.05 and two standard errors of the simulation)", holdback, nominal(rounds)
        ),
        at_most("9", "reports without a hold-back that say causal", {"placebo": float(said)}, 0.0),
        at_most("9", "size of the placebo test, as labelled", {"nominal 0.05": placebo / (rounds // 4)}, 0.1),
        at_least("9", "control: request-level z before and after breaks", naive, 0.30),
    ]
