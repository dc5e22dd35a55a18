"""Synthetic runs shaped like the demo's traffic, with one of its three faults at work."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np

from core.states import RunStatus
from traces.source import TraceRun

START = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)

ALLOWED: dict[str, Any] = {
    **{f"index.{region}": {"type": "parameter", "when": {"region": region}, "impact": "low"} for region in ("amer", "emea", "apac")},
    "route.sonic-2": {"type": "routing", "values": ["sonic-2", "atlas-1"], "when": {"model": "sonic-2"}, "impact": "high"},
    "route.atlas-1": {"type": "routing", "values": ["sonic-2", "atlas-1"], "when": {"model": "atlas-1"}, "impact": "high"},
    "provider.timeout_ms": {"type": "parameter", "minimum": 50, "maximum": 2000, "bounds": "ProviderTimeout", "impact": "low"},
    "prompt.a": {"type": "prompt", "values": ["v12", "v13"], "attribute": "prompt_version", "impact": "low"},
    "prompt.b": {"type": "prompt", "values": ["v12", "v13"], "attribute": "prompt_version", "impact": "low"},
    "retrieval.k": {"type": "parameter", "minimum": 1, "maximum": 10},
}

CONFIG: dict[str, Any] = {
    "prompt.a": "v12", "prompt.b": "v12", "index.amer": "2026-10", "index.emea": "2026-10", "index.apac": "2026-10",
    "route.sonic-2": "sonic-2", "route.atlas-1": "atlas-1", "provider.timeout_ms": 250, "retrieval.k": 4,
}


@dataclass
class Traffic:
    """Live traffic with a fault from `onset_s` seconds after START on; `plan_is_model` makes plan an alias of model."""

    fault: str | None = None
    rate: float = 50.0
    baseline_s: float = 60.0
    bad_s: float = 12.0
    seed: int = 0
    plan_is_model: bool = False
    strength: float = 0.5
    runs: list[TraceRun] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        """Make the runs: two days of thin history, then live traffic."""
        rng = np.random.default_rng(self.seed)
        live = int(self.rate * (self.baseline_s + self.bad_s))
        at = np.sort(rng.uniform(-self.baseline_s, self.bad_s, live))
        history = np.sort(rng.uniform(-172_800, -self.baseline_s, 2880))
        for moment in [*history, *at]:
            self.runs.append(self._run(rng, float(moment)))

    def split(self) -> tuple[list[TraceRun], list[TraceRun]]:
        """Return (bad window, baseline)."""
        return [r for r in self.runs if r.start_time >= START], [r for r in self.runs if r.start_time < START]

    def _run(self, rng: np.random.Generator, moment: float) -> TraceRun:
        live = moment >= 0
        region = str(rng.choice(["amer", "emea", "apac"], p=[0.5, 0.3, 0.2]))
        plan = str(rng.choice(["free", "pro", "enterprise"], p=[0.5, 0.35, 0.15]))
        likes_sonic = {"free": 0.0, "pro": 1.0, "enterprise": 1.0} if self.plan_is_model else {"free": 0.2, "pro": 0.7, "enterprise": 0.8}
        model = "sonic-2" if rng.random() < likes_sonic[plan] else "atlas-1"
        if self.plan_is_model:
            plan = "free" if model == "atlas-1" else "pro"
        beta = rng.random() < 0.5
        prompt = "v13" if beta and live and self.fault == "prompt" else "v12"
        intents = ["price", "ratio", "summary", "advice", "watchlist"]
        weights = [0.4, 0.25, 0.2, 0.15, 0.0] if not (beta and live and self.fault == "prompt") else [0.32, 0.2, 0.16, 0.12, 0.2]
        latency = float(rng.uniform(0.05, 0.15))
        accurate, guarded, error = rng.random() > 0.04, rng.random() > 0.01, None
        if self.fault == "index" and live and region == "emea":
            accurate = accurate and rng.random() > self.strength
        if self.fault == "provider" and live and model == "sonic-2" and rng.random() < self.strength:
            error = "ProviderTimeout('no answer within 250 ms')Traceback (most recent call last):\n\n  File \"/app/provider.py\", line 9, in call\n\nProviderTimeout: no answer within 250 ms\n"
            latency = 0.25
        if prompt == "v13":
            guarded = guarded and rng.random() > self.strength
        if error is None and rng.random() < 0.003:
            error = "ValueError('odd question')"
        return TraceRun(
            id=UUID(bytes=rng.bytes(16)),
            start_time=START + timedelta(seconds=moment),
            latency_s=latency,
            status=RunStatus.ERROR if error else RunStatus.SUCCESS,
            error=error,
            attributes={
                "name": "fa-ai", "region": region, "plan": plan, "model": model, "prompt_version": prompt,
                "channel": str(rng.choice(["web", "api", "mobile"])), "intent": str(rng.choice(intents, p=weights)),
                "targeting_key": f"user-{rng.integers(400)}", "user_id": f"user-{rng.integers(400)}",
                **({"rollout.3": str(rng.choice(["candidate", "baseline"]))} if live else {}),
            },
            scores={} if error else {"fact_accuracy": float(accurate), "guardrail_pass": float(guarded)},
            url=f"http://127.0.0.1:8600/runs/{moment:.3f}",
        )
