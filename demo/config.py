"""What FA AI runs with when nobody says otherwise, and which of it a proposal may change."""

from __future__ import annotations

from typing import Any

APP = "fa-ai"
FLAG = f"{APP}.config"
SLA_MS = 300

CONFIG: dict[str, Any] = {
    "prompt.a": "v12",
    "prompt.b": "v12",
    "index.amer": "2026-10",
    "index.emea": "2026-10",
    "index.apac": "2026-10",
    "route.sonic-2": "sonic-2",
    "route.atlas-1": "atlas-1",
    "provider.timeout_ms": 250,
    "retrieval.k": 4,
}

PROMPTS = ["v10", "v11", "v12", "v13"]
SNAPSHOTS = ["2026-10", "2026-11"]
MODELS = ["atlas-1", "sonic-2"]

ALLOWED: dict[str, dict[str, Any]] = {
    "prompt.a": {"type": "prompt", "values": PROMPTS, "attribute": "prompt_version", "impact": "low"},
    "prompt.b": {"type": "prompt", "values": PROMPTS, "attribute": "prompt_version", "impact": "low"},
    **{
        f"index.{region}": {"type": "parameter", "values": SNAPSHOTS, "when": {"region": region}, "impact": "low"}
        for region in ("amer", "emea", "apac")
    },
    **{
        f"route.{model}": {"type": "routing", "values": MODELS, "when": {"model": model}, "impact": "high"}
        for model in MODELS
    },
    "provider.timeout_ms": {
        "type": "parameter",
        "minimum": 100,
        "maximum": 1000,
        "bounds": "ProviderTimeout",
        "impact": "low",
    },
    "retrieval.k": {"type": "parameter", "minimum": 1, "maximum": 10, "impact": "low"},
}
"""`agents.change.AllowedKey` as JSON by configuration key."""
