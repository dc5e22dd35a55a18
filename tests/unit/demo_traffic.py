"""Synthetic runs shaped like the demo's traffic, with one of its three faults at work."""

from __future__ import annotations

from bisect import bisect
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any
from uuid import UUID

import numpy as np

from core.states import RunStatus
from traces.source import TraceRun

START = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
REGIONS = ("amer", "emea", "apac")
PROMPTS = ["v12", "v13"]
MODELS = ["atlas-1", "sonic-2"]
INTENTS = ["price", "ratio", "summary", "advice", "watchlist"]

TIMEOUT = """ProviderTimeout('no answer within 250 ms')Traceback (most recent call last):

  File "/app/provider.py", line 9, in call
    raise ProviderTimeout(message)

ProviderTimeout: no answer within 250 ms
"""

ALLOWED: dict[str, Any] = {
    "prompt.a": {"type": "prompt", "values": PROMPTS, "attribute": "prompt_version", "impact": "low"},
    "prompt.b": {"type": "prompt", "values": PROMPTS, "attribute": "prompt_version", "impact": "low"},
    **{f"index.{name}": {"type": "parameter", "when": {"region": name}, "impact": "low"} for name in REGIONS},
    **{f"route.{name}": {"type": "routing", "values": MODELS, "when": {"model": name}} for name in MODELS},
    "provider.timeout_ms": {
        "type": "parameter", "minimum": 100, "maximum": 1000, "bounds": "ProviderTimeout", "impact": "low",
    },
    "retrieval.k": {"type": "parameter", "minimum": 1, "maximum": 10},
}  # fmt: skip

CONFIG: dict[str, Any] = {
    "prompt.a": "v12",
    "prompt.b": "v12",
    **{f"index.{name}": "2026-10" for name in REGIONS},
    **{f"route.{name}": name for name in MODELS},
    "provider.timeout_ms": 250,
    "retrieval.k": 4,
}


@dataclass
class Traffic:
    """Two days of thin history, then live traffic; from START on with a fault: index, provider or prompt.

    `plan_is_model` makes the customer's plan decide the model, so that both select the same runs.
    """

    fault: str | None = None
    rate: float = 50.0
    history: int = 2880
    baseline_s: float = 60.0
    bad_s: float = 12.0
    seed: int = 0
    plan_is_model: bool = False
    strength: float = 0.5
    runs: list[TraceRun] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        """Make the runs."""
        rng = np.random.default_rng(self.seed)
        live = rng.uniform(-self.baseline_s, self.bad_s, int(self.rate * (self.baseline_s + self.bad_s)))
        moments = np.sort(np.concatenate([rng.uniform(-172_800, -self.baseline_s, self.history), live]))
        dice = rng.random((len(moments), 12)).tolist()
        self.runs = [self._run(float(moment), row) for moment, row in zip(moments, dice, strict=True)]

    def split(self) -> tuple[list[TraceRun], list[TraceRun]]:
        """Return (bad window, baseline)."""
        return [r for r in self.runs if r.start_time >= START], [r for r in self.runs if r.start_time < START]

    def _run(self, moment: float, dice: Any) -> TraceRun:
        bad = moment >= 0
        region = _pick(REGIONS, (0.5, 0.3, 0.2), dice[0])
        plan = _pick(("free", "pro", "enterprise"), (0.5, 0.35, 0.15), dice[1])
        model = MODELS[int(dice[2] < {"free": 0.2, "pro": 0.7, "enterprise": 0.8}[plan])]
        if self.plan_is_model:
            plan = "free" if model == "atlas-1" else "pro"
        released = bad and self.fault == "prompt" and dice[3] < 0.5
        intent = _pick(INTENTS, (0.32, 0.2, 0.16, 0.12, 0.2) if released else (0.4, 0.25, 0.2, 0.15), dice[4])
        hit = dice[5] < self.strength
        accurate = dice[6] > 0.04 and not (bad and self.fault == "index" and region == "emea" and hit)
        guarded = dice[7] > 0.01 and not (released and hit)
        error, latency = None, 0.05 + 0.1 * float(dice[8])
        if bad and self.fault == "provider" and model == "sonic-2" and hit:
            error, latency = TIMEOUT, 0.25
        elif dice[9] < 0.003:
            error = "ValueError('odd question')"
        user = f"user-{int(dice[10] * 400)}"
        return TraceRun(
            id=UUID(int=int(dice[11] * 2**52) << 64 | int(abs(moment) * 1e6)),
            start_time=START + timedelta(seconds=moment),
            latency_s=latency,
            status=RunStatus.ERROR if error else RunStatus.SUCCESS,
            error=error,
            attributes={
                "name": "fa-ai",
                "region": region,
                "plan": plan,
                "model": model,
                "prompt_version": "v13" if released else "v12",
                "channel": _pick(("web", "api", "mobile"), (0.6, 0.3, 0.1), float(dice[10] * 7 % 1)),
                "intent": intent,
                "targeting_key": user,
                "user_id": user,
                "rollout.3": "candidate" if dice[10] < 0.1 else "baseline",
            },
            scores={} if error else {"fact_accuracy": float(accurate), "guardrail_pass": float(guarded)},
            url=f"http://127.0.0.1:8600/api/v1/runs/{moment:.3f}",
        )


STALE = START + timedelta(seconds=6)
"""When the second of two faults begins."""


def two_faults(**traffic: Any) -> Traffic:
    """Return the provider's fault from START on, and from STALE on an index that raises for most runs of emea."""
    made = Traffic(fault="provider", bad_s=16, seed=3, **traffic)
    rng = np.random.default_rng(3)
    error = 'StaleIndexError("no such snapshot")'
    made.runs = [
        replace(run, status=RunStatus.ERROR, error=error, scores={})
        if run.start_time >= STALE and run.attributes["region"] == "emea" and rng.random() < 0.8
        else run
        for run in made.runs
    ]
    return made


def _pick(names: Any, weights: Any, die: float) -> str:
    return str(names[min(bisect(list(accumulate(weights)), die), len(weights) - 1)])
