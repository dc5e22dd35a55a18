"""Views that the rendering tests start from."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from core.states import Severity
from notifications.views import (
    AlertView,
    ChecksView,
    DigestView,
    EventView,
    HourlyView,
    ImpactView,
    MetricView,
    ProposalView,
    QualityView,
    RolloutView,
    Site,
    ValidationView,
)

NOW = datetime(2026, 11, 26, 8, 5, tzinfo=UTC)
SITE = Site("fa-ai", "https://metamon.example", ZoneInfo("Europe/Berlin"))


def alert(**fields: Any) -> AlertView:
    """Return a critical alert."""
    given = AlertView(
        id=12,
        kind="quality_degradation",
        severity=Severity.CRITICAL,
        state="firing",
        metric="fact_accuracy",
        title="fact_accuracy fell to 0.71",
        observed=0.71,
        expected=0.95,
        low=0.93,
        high=0.97,
        reasons=("119 of 412 answers were wrong, where 5 % is usual.",),
        since=NOW - timedelta(minutes=13),
        until=NOW - timedelta(minutes=5),
        opened_at=NOW - timedelta(minutes=8),
        fired_at=NOW - timedelta(minutes=3),
        trace_urls=("https://metamon.example/traces/1", "https://elsewhere.example/traces/2"),
    )
    return replace(given, **fields)


def proposal(**fields: Any) -> ProposalView:
    """Return a proposal that waits."""
    given = ProposalView(
        id=14,
        title="Route sonic-2 to atlas-1",
        status="awaiting_approval",
        root_cause="model = sonic-2 carries 94 % of the excess errors",
        change="route.sonic-2: sonic-2 → atlas-1",
        metric="error_free",
        predicted_pct=18.2,
        predicted_low=11.0,
        predicted_high=24.5,
        effort_hours=0.5,
        impact="high",
        risk="Answers of atlas-1 cost 12 % more.",
        alert_id=11,
        alert_title="error_rate rose to 8.1 %",
    )
    return replace(given, **fields)


def rollout(**fields: Any) -> RolloutView:
    """Return a rollout at its second stage."""
    given = RolloutView(
        id=7,
        proposal_id=13,
        title="Revert index.emea to 2026-10",
        state="running",
        percent=50,
        holdback_percent=10,
        started_at=NOW - timedelta(hours=3),
        stage_started_at=NOW - timedelta(hours=1),
        last_step="promoted, 10 → 50 %",
    )
    return replace(given, **fields)


def event(**fields: Any) -> EventView:
    """Return an event with everything that some event has."""
    given: dict[str, Any] = {
        "site": SITE,
        "now": NOW,
        "alert": alert(),
        "proposal": proposal(),
        "validation": ValidationView(31, "pass", 100, 0, ("nothing got worse",), (("case-7", "sla_met"),)),
        "rollout": rollout(reason="the guard saw harm", finished_at=NOW),
        "impact": ImpactView(14, "Route", "error_free", 18.2, 17.0, 12.0, 22.0, True, 3.2, "holdback"),
        "next_up": "More follows.",
    }
    return EventView(**{**given, **fields})


def hourly(**fields: Any) -> HourlyView:
    """Return an hour in which much happened."""
    given: dict[str, Any] = {
        "site": SITE,
        "start": NOW - timedelta(hours=1),
        "end": NOW,
        "alerts": (alert(severity=Severity.HIGH),),
        "proposals": (proposal(),),
        "rollouts": (rollout(),),
    }
    return HourlyView(**{**given, **fields})


def digest(**fields: Any) -> DigestView:
    """Return a quiet day; fields make it another."""
    given: dict[str, Any] = {
        "site": SITE,
        "day": date(2026, 11, 26),
        "start": NOW - timedelta(days=1),
        "end": NOW,
        "checks": ChecksView(288, 288),
        "runs": 41_007,
        "quality": QualityView(0.861, -0.012, True),
        "metrics": (
            MetricView("fact_accuracy", 0.861, -0.012, -0.084, -0.095, -0.071),
            MetricView("error_rate", 0.034, 0.012, 0.002, -0.004, 0.008),
            MetricView("latency_p95", 2.81, -0.3, -0.2, None, None),
        ),
    }
    return DigestView(**{**given, **fields})
