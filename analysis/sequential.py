"""The guard of a rollout: looked at continuously, wrong with a known and small probability.

For every metric (success in [0, 1], higher is better) two bets run, unit by unit:

- against "the candidate is no worse than the baseline": see `analysis.accounts`; its wealth is the evidence for a
  rollback, which needs 1/α · M of it (Bonferroni over M metrics) AND an estimated drop of at least the tolerance;
- against "the candidate loses the tolerance or more": its wealth is the evidence for a promotion, which needs 1/α for
  every metric.

A third bet watches the split itself: where units do not arrive in the agreed shares, nothing else can be believed, so
the rollout pauses (α = .001). Whatever hits both arms alike (an outage, a bad hour) moves none of them. It does make
the arms harder to tell apart: rows that are known to suffer from something else (`disturbed`) are left out of the
second bet, so that one fault does not stall the cure of another. A rollback looks at all rows all the same.

A unit's outcome counts once per stage (see `analysis.exposure`). Estimates are stratified by stage and never pooled
over stages: with a daily cycle that would be Simpson's paradox. NaN is no outcome.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.accounts import Accounts
from analysis.eprocess import Baseline, Flags, Floats, log_bets, log_mean_exp, paths
from analysis.exposure import Exposure

Action = Literal["hold", "promote", "rollback", "pause"]

PROMOTE_WEIGHTS = np.array([0.25, 0.75])
"""What is kept and what is staked on the promotion. Ville's bound of alpha is nearly sharp at a drop of exactly the
tolerance: a quarter that is kept back lowers the bound, and leaves simulation room to show it."""
SKEWS = np.array([-1.0, -0.3, -0.1, 0.1, 0.3, 1.0])
"""Log odds by which the split may be off, for the check of the ratio."""
RATIO_ALPHA = 0.001
VERSION = 2


@dataclass(frozen=True)
class Decision:
    """What to do, and why.

    `evidence` by metric: baseline, candidate (stage-stratified means), drop (relative, a fraction), units
    [baseline, candidate], e_rollback, rollback_at, e_promote, promote_at; and "ratio": {e_value, pause_at}.
    """

    action: Action
    metric: str | None = None
    reason: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)


class RolloutGuard:
    """The running evidence of one rollout.

    Args:
        metrics: names, in the order of the outcomes' columns.
        tolerance: the relative drop that is too much, a fraction in (0, 1).
        alpha: probability of a false rollback over the whole rollout, and of a false promotion.
    """

    def __init__(self, metrics: Sequence[str], *, tolerance: float = 0.05, alpha: float = 0.05) -> None:
        if not metrics or len(set(metrics)) != len(metrics):
            raise ValueError(f"a guard takes at least one metric, each once; got {list(metrics)}")
        if not 0 < tolerance < 1 or not 0 < alpha < 1:
            raise ValueError(f"tolerance and alpha are fractions in (0, 1); got {tolerance} and {alpha}")
        self.metrics = tuple(metrics)
        self.tolerance = tolerance
        self.alpha = alpha
        self.rollback_at = len(self.metrics) / alpha
        self.promote_at = 1 / alpha
        self._exposure = Exposure()
        self._baselines = [Baseline() for _ in self.metrics]
        self._against_equal = [Accounts(tolerance, self.rollback_at) for _ in self.metrics]
        self._against_drop = np.zeros(len(self.metrics))
        self._against_split = np.zeros(len(SKEWS))
        # By stage: per metric [n0, sum0, n1, sum1].
        self._strata: dict[float, Floats] = {}
        self._stages: dict[float, list[int]] = {}

    def observe(
        self,
        units: Sequence[Any] | NDArray[Any],
        candidate: ArrayLike,
        share: ArrayLike,
        outcomes: ArrayLike,
        *,
        disturbed: ArrayLike | None = None,
    ) -> Decision:
        """Take in what arrived and say what to do.

        Args:
            units: randomisation units (strings or integers), in order of arrival; length n.
            candidate: whether the unit had the candidate; shape (n,).
            share: the candidate's share of units at that time, a number or shape (n,). Where it is 0 or 1 nothing was
                randomised, and the row is left out.
            outcomes: scores in [0, 1], higher is better, NaN for none; shape (n, metrics).
            disturbed: whether something that hits both arms is known to hit this row; shape (n,). It must depend on
                nothing that the candidate changes.

        Returns:
            `rollback` or `pause` where their evidence sufficed at any row; `promote` where it suffices at the end of
            the batch; else `hold`. No data is no evidence.

        Raises:
            ValueError: shapes that do not fit, an arm that is neither, a share outside [0, 1], a score outside [0, 1].
        """
        arm, shares, scores, apart = self._checked(len(units), candidate, share, outcomes, disturbed)
        counts, chance, fresh = self._exposure.admit(units, arm, shares)
        skewed = self._watch_split(arm[fresh], chance[fresh])
        of_stage = stage_of(shares)
        for stage in np.unique(of_stage[counts]).tolist():
            seen = self._stages.setdefault(stage, [0, 0])
            here = counts & (of_stage == stage)
            seen[0] += int((here & ~arm).sum())
            seen[1] += int((here & arm).sum())
        worst: tuple[int, int, float, dict[str, Any]] | None = None
        before = {key: value.copy() for key, value in self._strata.items()}
        for index in range(len(self.metrics)):
            rows = np.flatnonzero(counts & ~np.isnan(scores[:, index]))
            found = self._take(index, scores[rows, index], arm[rows], chance[rows], apart=apart[rows], before=before)
            if found is not None and (worst is None or rows[found[0]] < worst[0]):
                worst = (int(rows[found[0]]), index, *found[1:])
        evidence = self.evidence()
        if worst is not None:
            _, index, e_value, estimate = worst
            name = self.metrics[index]
            evidence[name] |= {**estimate, "e_rollback": e_value}
            return Decision("rollback", name, self._sentence(name, evidence[name], "rollback"), evidence)
        if skewed is not None:
            evidence["ratio"]["e_value"] = skewed
            return Decision("pause", None, self._split_sentence(skewed), evidence)
        weakest = min(self.metrics, key=lambda name: evidence[name]["e_promote"])
        action: Action = "promote" if evidence[weakest]["e_promote"] >= self.promote_at else "hold"
        return Decision(action, weakest, self._sentence(weakest, evidence[weakest], action), evidence)

    def units_at(self, share: float) -> tuple[int, int]:
        """Return how many units counted while the share was this: (baseline, candidate)."""
        if not 0 < share < 1:
            return 0, 0
        baseline, candidate = self._stages.get(float(stage_of(np.array(share))), (0, 0))
        return baseline, candidate

    def forget_split(self) -> None:
        """Start the check of the ratio afresh: a person has looked at why it was off."""
        self._against_split = np.zeros(len(SKEWS))

    def _checked(
        self, n: int, candidate: ArrayLike, share: ArrayLike, outcomes: ArrayLike, disturbed: ArrayLike | None
    ) -> tuple[Flags, Floats, Floats, Flags]:
        """Return (candidate, share, scores, disturbed) as arrays of n rows."""
        metrics = len(self.metrics)
        arms = np.asarray(candidate)
        shares = np.asarray(share, dtype=np.float64)
        scores = np.asarray(outcomes, dtype=np.float64)
        apart = np.zeros(n, dtype=np.bool_) if disturbed is None else np.asarray(disturbed, dtype=np.bool_)
        if n == 0 or (metrics == 1 and scores.shape == (n,)):
            scores = scores.reshape(n, metrics)
        if arms.shape != (n,) or shares.shape not in ((), (n,)) or scores.shape != (n, metrics) or apart.shape != (n,):
            raise ValueError(
                f"{n} units need candidate ({n},), share () or ({n},), outcomes ({n}, {metrics}); got {arms.shape}, "
                f"{shares.shape}, {scores.shape}"
            )
        if not np.isin(arms, (0, 1)).all():
            raise ValueError("a unit has the candidate (true) or the baseline (false)")
        if not ((shares >= 0) & (shares <= 1)).all():
            raise ValueError("the candidate's share is a fraction in [0, 1]")
        if ((scores < 0) | (scores > 1)).any():
            raise ValueError("scores lie in [0, 1], higher is better; NaN where there is none")
        return arms.astype(np.bool_), np.broadcast_to(shares, (n,)), scores, apart

    # -- the three bets ------------------------------------------------------------------------------------------------

    def _watch_split(self, arm: Flags, share: Floats) -> float | None:
        """Bet on a skewed split; return the evidence where it ever sufficed within these rows."""
        if not len(arm):
            return None
        odds = (share / (1 - share))[:, None] * np.exp(SKEWS)
        skewed = odds / (1 + odds)
        expected = share[:, None]
        steps = np.where(arm[:, None], np.log(skewed / expected), np.log((1 - skewed) / (1 - expected)))
        walks = np.cumsum(np.vstack([self._against_split, steps]), axis=0)[1:]
        self._against_split = walks[-1].copy()
        wealth = log_mean_exp(walks, np.full(len(SKEWS), 1 / len(SKEWS)))
        crossed = wealth >= -np.log(RATIO_ALPHA)
        return _exp(wealth[int(np.argmax(crossed))]) if crossed.any() else None

    def _take(
        self, index: int, y: Floats, arm: Flags, share: Floats, *, apart: Flags, before: Mapping[float, Floats]
    ) -> tuple[int, float, dict[str, Any]] | None:
        """Bet one metric's rows; return (row, e-value, estimate) of the first row that calls for a rollback."""
        if not len(y):
            return None
        wealth = self._against_equal[index].play(y, arm, share)
        self._bet_on_promotion(index, y[~apart], arm[~apart], share[~apart])
        enough = wealth >= np.log(self.rollback_at)
        found = None
        stages = stage_of(share)
        strata = {stage: stages == stage for stage in np.unique(stages).tolist()}
        if enough.any():
            totals = self._stratum_paths(index, y, arm, strata, before)
            baseline, treated = stratified(totals)
            with np.errstate(invalid="ignore", divide="ignore"):
                drop = 1 - treated / baseline
            called = enough & (drop >= self.tolerance)
            if called.any():
                row = int(np.argmax(called))
                found = (row, _exp(wealth[row]), _estimate(float(baseline[row]), float(treated[row])))
        for key in sorted(strata):
            here = strata[key]
            totals_here = self._strata.setdefault(key, np.zeros((len(self.metrics), 4)))[index]
            for column, mask in ((0, here & ~arm), (2, here & arm)):
                if mask.any():
                    totals_here[column] += mask.sum()
                    # Summed one by one: the order of addition must not depend on how a batch was cut.
                    totals_here[column + 1] = paths(totals_here[column + 1], y[mask])[-1]
        return found

    def _bet_on_promotion(self, index: int, y: Floats, arm: Flags, share: Floats) -> None:
        """Bet one metric's undisturbed rows against a drop of the tolerance or more."""
        if not len(y):
            return
        base, stake = self._baselines[index].follow(y, ~arm)
        steps = log_bets(y, arm, share, p0=base, p1=base, ratio=np.array(1 - self.tolerance), stake=stake)
        self._against_drop[index] = paths(float(self._against_drop[index]), steps)[-1]

    def _stratum_paths(
        self, index: int, y: Floats, arm: Flags, strata: Mapping[float, Flags], before: Mapping[float, Floats]
    ) -> Floats:
        """Return [n0, sum0, n1, sum1] of every stratum after each row; shape (strata, 4, n)."""
        result = []
        nowhere = np.zeros(len(y), dtype=np.bool_)
        for key in sorted({*before, *strata}):
            start = before[key][index] if key in before else np.zeros(4)
            here = strata.get(key, nowhere)
            columns = (here & ~arm, np.where(here & ~arm, y, 0.0), here & arm, np.where(here & arm, y, 0.0))
            result.append([paths(start[k], np.asarray(column, dtype=np.float64)) for k, column in enumerate(columns)])
        return np.asarray(result, dtype=np.float64)

    # -- what people read ----------------------------------------------------------------------------------------------

    def evidence(self) -> dict[str, Any]:
        """Return the present evidence, as `Decision.evidence` describes it."""
        found: dict[str, Any] = {}
        kept = np.zeros(len(self.metrics))
        promoting = log_mean_exp(np.column_stack([kept, self._against_drop]), PROMOTE_WEIGHTS)
        for index, name in enumerate(self.metrics):
            totals = np.array([stratum[index] for stratum in self._strata.values()]).reshape(-1, 4, 1)
            baseline, treated = stratified(totals)
            found[name] = {
                **_estimate(float(baseline[0]), float(treated[0])),
                "units": [int(totals[:, 0].sum()), int(totals[:, 2].sum())],
                "e_rollback": _exp(float(self._against_equal[index].log_total)),
                "rollback_at": self.rollback_at,
                "e_promote": _exp(promoting[index]),
                "promote_at": self.promote_at,
            }
        split = log_mean_exp(self._against_split, np.full(len(SKEWS), 1 / len(SKEWS)))
        found["ratio"] = {"e_value": _exp(float(split)), "pause_at": 1 / RATIO_ALPHA}
        return found

    def _sentence(self, name: str, of: Mapping[str, Any], action: Action) -> str:
        if of["drop"] is None:
            return f"{name}: no outcome in both arms yet"
        means = f"{name} {of['candidate']:.3g} against {of['baseline']:.3g} ({-100 * of['drop']:+.1f} %)"
        if action == "rollback":
            return f"{means}, e-value {of['e_rollback']:.3g} ≥ {of['rollback_at']:.3g}"
        sign = "≥" if action == "promote" else "<"
        against = f"against a drop of {self.tolerance:.0%}"
        return f"{means}, e-value {of['e_promote']:.3g} {sign} {of['promote_at']:.3g} {against}"

    def _split_sentence(self, e_value: float) -> str:
        return (
            f"units do not arrive in the agreed shares (e-value {e_value:.3g} ≥ {1 / RATIO_ALPHA:.3g}): "
            "check the assignment and that both arms trace their runs"
        )

    # -- restart -------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return everything as JSON can hold it; `from_state` continues bit-identically."""
        return {
            "version": VERSION,
            "metrics": list(self.metrics),
            "tolerance": self.tolerance,
            "alpha": self.alpha,
            "exposure": self._exposure.state(),
            "baselines": [[b.n, b.total, b.squares] for b in self._baselines],
            "against_equal": [accounts.state() for accounts in self._against_equal],
            "against_drop": self._against_drop.tolist(),
            "against_split": self._against_split.tolist(),
            "strata": [[stage, totals.tolist()] for stage, totals in self._strata.items()],
            "stages": [[stage, *seen] for stage, seen in self._stages.items()],
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> RolloutGuard:
        """Return the guard that `state` describes.

        Raises:
            ValueError: the state was written by another version of the guard.
        """
        if state.get("version") != VERSION:
            raise ValueError(f"this guard reads states of version {VERSION}, not {state.get('version')!r}")
        self = cls(state["metrics"], tolerance=float(state["tolerance"]), alpha=float(state["alpha"]))
        self._exposure = Exposure.from_state(state["exposure"])
        self._baselines = [Baseline(*map(float, numbers)) for numbers in state["baselines"]]
        self._against_equal = [
            Accounts.from_state(accounts, tolerance=self.tolerance, target=self.rollback_at)
            for accounts in state["against_equal"]
        ]
        self._against_drop = np.array(state["against_drop"], dtype=np.float64)
        self._against_split = np.array(state["against_split"], dtype=np.float64)
        self._strata = {float(stage): np.array(totals, dtype=np.float64) for stage, totals in state["strata"]}
        self._stages = {float(stage): [int(b), int(c)] for stage, b, c in state["stages"]}
        return self


def stage_of(share: Floats) -> Floats:
    """Return the stage of a share in (0, 1): its log odds to one digit, so that a share that creeps has few stages."""
    inside = np.clip(share, 1e-9, 1 - 1e-9)
    return np.asarray(np.round(np.log(inside / (1 - inside)), 1) + 0.0, dtype=np.float64)


def stratified(totals: Floats) -> tuple[Floats, Floats]:
    """Return the means of both arms, weighted alike over strata by what each can tell.

    Args:
        totals: [n0, sum0, n1, sum1] by stratum; shape (strata, 4, n).

    Returns:
        (baseline, candidate), shape (n,) each; NaN where no stratum has both arms.
    """
    if not len(totals):
        nothing = np.full(totals.shape[-1], np.nan)
        return nothing, nothing
    n0, sum0, n1, sum1 = (totals[:, k] for k in range(4))
    with np.errstate(invalid="ignore", divide="ignore"):
        weight = np.where((n0 > 0) & (n1 > 0), n0 * n1 / (n0 + n1), 0.0)
        total = weight.sum(axis=0)
        means = [
            np.where(weight > 0, weight * np.where(n > 0, s / n, 0.0), 0.0).sum(axis=0) / total
            for n, s in ((n0, sum0), (n1, sum1))
        ]
    return means[0], means[1]


def _estimate(baseline: float, candidate: float) -> dict[str, Any]:
    known = np.isfinite(baseline) and np.isfinite(candidate)
    return {
        "baseline": baseline if known else None,
        "candidate": candidate if known else None,
        "drop": 1 - candidate / baseline if known and baseline > 0 else None,
    }


def _exp(log_value: float) -> float:
    """Return e to the power, capped where it would leave the floating-point range and JSON with it."""
    return float(np.exp(min(float(log_value), 700.0)))
