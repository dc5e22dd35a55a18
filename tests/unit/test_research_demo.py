"""The demo's three faults are named exactly, and what is proposed for each comes in the right order."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from agents.research.evidence import ConfigChange
from agents.research.investigation import Finding, Subject, investigate
from tests.unit.demo_traffic import ALLOWED, CONFIG, START, Traffic

FAULTS = [
    ("index", "fact_accuracy", {"region": "emea"}, ("index.emea", "2026-10", "2026-11")),
    ("provider", "error_rate", {"model": "sonic-2"}, None),
    ("provider", "sla_compliance", {"model": "sonic-2"}, None),
    ("prompt", "guardrail_pass", {"prompt_version": "v13"}, ("prompt.b", "v12", "v13")),
]


def research(traffic: Traffic, metric: str, deployed: tuple[str, Any, Any] | None) -> Finding:
    """Investigate the traffic with a log that also holds changes which are innocent."""
    changes = [
        ConfigChange(
            id="change-2", at=START - timedelta(hours=3), actor="cli:ann", key="retrieval.k", before=3, after=4
        )
    ]
    config = dict(CONFIG)
    if deployed:
        key, before, after = deployed
        config[key] = after
        changes.insert(0, ConfigChange(id="change-1", at=START, actor="cli:bob", key=key, before=before, after=after))
    subject = Subject(
        alert_id=1,
        app_id=1,
        app="fa-ai",
        metric=metric,
        window_start=START,
        opened_at=START,
        sla_ms=300,
        config=config,
        allowed=ALLOWED,
        changes=changes,
    )
    return investigate(subject, *traffic.split())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("plan_is_model", [False, True])
@pytest.mark.parametrize(("fault", "metric", "truth", "deployed"), FAULTS)
def test_the_cause_is_exactly_the_injected_one(
    fault: str,
    metric: str,
    truth: dict[str, str],
    deployed: tuple[str, Any, Any] | None,
    seed: int,
    plan_is_model: bool,
) -> None:
    """Twelve seconds of bad traffic are enough, also where the plan decides the model."""
    finding = research(Traffic(fault=fault, seed=seed, plan_is_model=plan_is_model), metric, deployed)
    assert finding.cause is not None
    assert finding.cause.conditions == truth
    assert finding.conclusive


def titles(finding: Finding) -> list[str]:
    """Titles of the viable hypotheses, by rank."""
    return [idea.title for idea in finding.hypotheses if idea.rejected is None]


def test_a_stale_index_is_reverted() -> None:
    """The key that governs the failing region changed at the onset; the older change of another key is ruled out."""
    finding = research(Traffic(fault="index"), "fact_accuracy", ("index.emea", "2026-10", "2026-11"))
    assert titles(finding) == ["Revert index.emea to 2026-10"]
    assert [idea.title for idea in finding.hypotheses if idea.rejected] == ["Revert retrieval.k to 3"]
    change = finding.hypotheses[0].change
    assert change is not None
    assert (change.key, change.from_, change.to) == ("index.emea", "2026-11", "2026-10")


def test_a_slow_provider_gets_more_time_first_and_is_routed_around_second() -> None:
    """The exception that the bound raises dominates; the other model is healthy."""
    finding = research(Traffic(fault="provider"), "error_rate", None)
    assert titles(finding) == ["Raise provider.timeout_ms from 250 to 1000", "Route sonic-2 to atlas-1"]
    assert "SLA of 300 ms" in finding.hypotheses[0].risk
    assert [idea.impact for idea in finding.hypotheses[:2]] == ["low", "high"]


@pytest.mark.parametrize("logged", [True, False])
def test_a_bad_prompt_is_reverted_with_or_without_a_log(logged: bool) -> None:
    """Where nobody wrote the change down, the data shows a value that is new and the one it replaced."""
    traffic = Traffic(fault="prompt")
    finding = research(traffic, "guardrail_pass", ("prompt.b", "v12", "v13"))
    if not logged:
        config = {**CONFIG, "prompt.b": "v13"}
        subject = Subject(
            alert_id=1,
            app_id=1,
            app="fa-ai",
            metric="guardrail_pass",
            window_start=START,
            opened_at=START,
            sla_ms=300,
            config=config,
            allowed=ALLOWED,
        )
        finding = investigate(subject, *traffic.split())
    assert titles(finding) == ["Revert prompt.b to v12"]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("metric", ["error_rate", "fact_accuracy", "guardrail_pass", "sla_compliance"])
def test_healthy_traffic_has_no_cause(metric: str, seed: int) -> None:
    """Noise is not explained."""
    finding = research(Traffic(seed=seed), metric, None)
    assert finding.cause is None
    assert finding.hypotheses == []
