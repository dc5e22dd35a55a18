"""What earlier fixes teach: how much of its ceiling a kind of fix delivers, how often it survives, what it takes.

Pure: past fixes in, beliefs out. Without history the beliefs are the priors, and say that they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel
from scipy.special import betaincinv  # scipy.stats would cost every process that comes by here a second

from agents.research.evidence import Hypothesis
from agents.research.predict import EFFICACY, EFFORT_HOURS
from core.states import ProposalStatus
from db.queries.fixes import PastFix

MIN_DECIDED = 3
"""Fixes of each kind concerned that must have been decided before their record outweighs the generators' order."""

MIN_EFFORTS = 5
"""Hours on record of a class from which on they speak for themselves."""

SURVIVED = frozenset({ProposalStatus.IMPLEMENTED})
FELL = frozenset({ProposalStatus.BLOCKED, ProposalStatus.ROLLED_BACK})
"""Rejected is a person's reason, inconclusive an outage, superseded another's success: no evidence about the fix."""

_SPREAD_FLOOR = 0.2
"""Least standard deviation of log hours: five equal entries are no certainty."""

_P80 = 0.8416


@dataclass(frozen=True)
class Effort:
    """Hours that a fix of a class takes, and what that stands on."""

    p50: float
    p80: float
    basis: str


@dataclass(frozen=True)
class History:
    """Beliefs about kinds of fixes, from past ones."""

    fixes: tuple[PastFix, ...] = ()

    def efficacy(self, kind: str) -> tuple[float, float]:
        """Return (a, b) of the Beta of the share of its ceiling that such a fix delivers once it is in force."""
        a, b = EFFICACY[kind]
        for fix in self.fixes:
            if fix.kind == kind and fix.measured_pct is not None and fix.ceiling_pct and fix.ceiling_pct > 0:
                share = float(np.clip(fix.measured_pct / fix.ceiling_pct, 0, 1))
                a, b = a + share, b + 1 - share
        return a, b

    def survival(self, kind: str) -> tuple[float, float]:
        """Return (a, b) of the Beta of whether such a fix survives validation and rollout; a flat prior."""
        decided = [fix.status in SURVIVED for fix in self.decided(kind)]
        return 1.0 + sum(decided), 1.0 + len(decided) - sum(decided)

    def effort(self, kind: str, impact: str) -> Effort:
        """Return P50 and P80 of the hours, by kind and by whether a person must approve.

        Log-normal over what was written down; the prior of the kind, "uncalibrated", until there is enough of it.
        """
        spent = [fix.spent_hours for fix in self.fixes if fix.kind == kind and fix.impact == impact and fix.spent_hours]
        if len(spent) < MIN_EFFORTS:
            return Effort(*EFFORT_HOURS[kind], "uncalibrated")
        logs = np.log(spent)
        middle, spread = float(logs.mean()), max(float(logs.std(ddof=1)), _SPREAD_FLOOR)
        p50, p80 = np.exp(middle), np.exp(middle + _P80 * spread)
        return Effort(round(float(p50), 2), round(float(p80), 2), f"{len(spent)} earlier fixes of its class")

    def ranked(self, ideas: Sequence[Hypothesis]) -> list[Hypothesis]:
        """Return the ideas in the order in which they should be tried; rejected ones stay behind.

        By what may be expected of each, survival × efficacy (the ceiling is the same: it is one cause), once every
        kind among them has a record. Until then the generators' order stands.
        """
        viable = [idea for idea in ideas if idea.rejected is None]
        rest = [idea for idea in ideas if idea.rejected is not None]
        kinds = {idea.kind for idea in viable}
        if len(kinds) > 1 and all(len(self.decided(kind)) >= MIN_DECIDED for kind in kinds):
            worth = {kind: _mean(self.survival(kind)) * _mean(self.efficacy(kind)) for kind in kinds}
            viable.sort(key=lambda idea: -worth[idea.kind])  # stable: equals keep the generators' order
        return viable + rest

    def decided(self, kind: str) -> list[PastFix]:
        """Return the fixes of a kind that proved themselves or fell."""
        return [fix for fix in self.fixes if fix.kind == kind and fix.status in SURVIVED | FELL]


class KindRecord(BaseModel):
    """What a kind of fix has shown."""

    kind: str
    decided: int
    survived: int
    measured: int
    coverage: float | None
    bias_pct: float | None
    efficacy: float
    """Mean of the present belief: the share of its ceiling that the next one is expected to deliver."""
    efficacy_interval: tuple[float, float]
    effort_p50: float
    effort_p80: float
    effort_basis: str


class TrackRecord(BaseModel):
    """How far predictions can be believed."""

    predictions: int
    """Predictions whose impact was measured against a hold-back."""
    coverage: float | None
    """Share of measured values within their predicted interval; 0.9 is what is promised."""
    coverage_interval: tuple[float, float] | None
    """95 % interval of it (Clopper-Pearson)."""
    bias_pct: float | None
    """Mean of measured minus predicted, percentage points; negative: too much is promised."""
    mean_error_pct: float | None
    """Mean distance between measured and predicted, percentage points."""
    efforts: int
    """Fixes with their hours on record."""
    effort_within_p80: float | None
    """Share of them that took no longer than their P80; 0.8 is what is promised."""
    kinds: list[KindRecord]


def calibration(fixes: Sequence[PastFix]) -> TrackRecord:
    """Compare what was promised with what came of it."""
    history = History(tuple(fixes))
    pairs = [(fix, fix.measured_pct) for fix in fixes if fix.measured_pct is not None]
    within = [fix.predicted_low <= value <= fix.predicted_high for fix, value in pairs]
    errors = np.array([value - fix.predicted_pct for fix, value in pairs])
    timed = [fix.spent_hours <= fix.effort_hours_p80 for fix in fixes if fix.spent_hours is not None]
    return TrackRecord(
        predictions=len(pairs),
        coverage=_share(within),
        coverage_interval=_clopper_pearson(sum(within), len(within)) if within else None,
        bias_pct=round(float(errors.mean()), 2) if len(errors) else None,
        mean_error_pct=round(float(np.abs(errors).mean()), 2) if len(errors) else None,
        efforts=len(timed),
        effort_within_p80=_share(timed),
        kinds=[_kind(kind, history) for kind in EFFICACY],
    )


def _kind(kind: str, history: History) -> KindRecord:
    decided = history.decided(kind)
    pairs = [(fix, fix.measured_pct) for fix in history.fixes if fix.kind == kind and fix.measured_pct is not None]
    a, b = history.efficacy(kind)
    low, high = betaincinv(a, b, [0.05, 0.95])
    impacts = {fix.impact for fix in history.fixes if fix.kind == kind}
    efforts = [history.effort(kind, impact) for impact in sorted(impacts)] or [history.effort(kind, "high")]
    # the class with a record speaks for the kind where only one of them has one
    effort = next((entry for entry in efforts if entry.basis != "uncalibrated"), efforts[0])
    return KindRecord(
        kind=kind,
        decided=len(decided),
        survived=sum(fix.status in SURVIVED for fix in decided),
        measured=len(pairs),
        coverage=_share([fix.predicted_low <= value <= fix.predicted_high for fix, value in pairs]),
        bias_pct=round(float(np.mean([value - fix.predicted_pct for fix, value in pairs])), 2) if pairs else None,
        efficacy=round(_mean((a, b)), 3),
        efficacy_interval=(round(float(low), 3), round(float(high), 3)),
        effort_p50=effort.p50,
        effort_p80=effort.p80,
        effort_basis=effort.basis,
    )


def _mean(shape: tuple[float, float]) -> float:
    return shape[0] / (shape[0] + shape[1])


def _share(flags: Sequence[bool]) -> float | None:
    return round(sum(flags) / len(flags), 4) if flags else None


def _clopper_pearson(hits: int, total: int) -> tuple[float, float]:
    low = 0.0 if hits == 0 else float(betaincinv(hits, total - hits + 1, 0.025))
    high = 1.0 if hits == total else float(betaincinv(hits + 1, total - hits, 0.975))
    return round(low, 4), round(high, 4)
