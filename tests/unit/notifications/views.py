"""Views that the rendering tests start from."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from core.states import Severity
from notifications.views import (
    AlertView,
    ChartView,
    ChecksView,
    DigestView,
    EventView,
    HourlyView,
    ImpactView,
    Margin,
    MetricView,
    ProposalView,
    QualityView,
    RolloutView,
    SilenceView,
    Site,
    SpendView,
    StormView,
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


def storm(**fields: Any) -> StormView:
    """Return a storm of seven."""
    metrics = ("fact_accuracy", "error_rate", "sla_compliance", "guardrail_pass", "latency_p95", "volume", "tone")
    alerts = tuple(alert(id=20 + number, metric=metric) for number, metric in enumerate(metrics))
    given: dict[str, Any] = {"site": SITE, "start": NOW - timedelta(minutes=10), "end": NOW, "alerts": alerts}
    return StormView(**{**given, **fields})


def silence(**fields: Any) -> SilenceView:
    """Return a monitoring that fell silent."""
    given: dict[str, Any] = {
        "site": SITE,
        "now": NOW,
        "last_sweep": NOW - timedelta(minutes=14),
        "limit": timedelta(minutes=12),
    }
    return SilenceView(**{**given, **fields})


def chart(**fields: Any) -> ChartView:
    """Return two days of a score that fell on the second evening, wandering as scores do."""
    start = NOW.replace(minute=0) - timedelta(hours=48)
    fell = start + timedelta(hours=34)
    points = []
    for hour in range(48):
        at = start + timedelta(hours=hour)
        wander = 0.006 * ((hour * 7919) % 11 - 5) / 5
        drop = 0.0 if at < fell else min(0.22, 0.05 * (hour - 33)) if hour < 44 else 0.16
        points.append((at, 0.951 + wander - drop))
    given: dict[str, Any] = {
        "metric": "fact_accuracy",
        "points": tuple(points),
        "step": timedelta(hours=1),
        "zone": SITE.zone,
        "low": 0.938,
        "high": 0.962,
        "bad": ((fell, NOW.replace(minute=0)),),
    }
    return ChartView(**{**given, **fields})


def busy(**fields: Any) -> DigestView:
    """Return a day that has everything."""
    given: dict[str, Any] = {
        "decisions": (
            proposal(
                root_cause="Runs with model = sonic-2 are hit: 412 of 1,180 failed, where 21 would be usual; "
                "that is 94 % of all excess failures",
                checked="validated on 100 cases, no regression",
            ),
        ),
        "rollouts": (
            rollout(
                margins=(
                    Margin("fact_accuracy", 0.004, 0.05),
                    Margin("sla_met", -0.001, 0.05),
                    Margin("error_free", -0.012, 0.05),
                )
            ),
        ),
        "rolled_back": (
            rollout(
                id=6,
                title="Revert prompt.b to v12",
                state="rolled_back",
                reason="fact_accuracy of the candidate fell by 8.1 % against the baseline (limit 5 %)",
            ),
        ),
        "blocked": (
            proposal(
                id=13,
                title="Raise provider.timeout_ms to 600",
                checked="validated on 100 cases, 14 regressions",
            ),
        ),
        "new_alerts": (
            alert(since=NOW - timedelta(hours=13)),
            alert(
                id=10,
                metric="error_rate",
                severity=Severity.HIGH,
                observed=0.081,
                low=0.004,
                high=0.02,
                state="resolved",
                since=NOW - timedelta(hours=9),
                resolved_at=NOW - timedelta(hours=7, minutes=48),
            ),
        ),
        "continuing_alerts": (
            alert(
                id=8,
                metric="sla_compliance",
                severity=Severity.HIGH,
                observed=0.912,
                low=0.98,
                high=0.997,
                state="recovering",
                since=NOW - timedelta(hours=30),
                fired_at=NOW - timedelta(hours=29),
            ),
        ),
        "quality": QualityView(0.884, -0.041, False),
        "metrics": (
            MetricView("quality", 0.884, -0.041, -0.044, -0.052, -0.036),
            MetricView("fact_accuracy", 0.861, -0.082, -0.084, -0.095, -0.071),
            MetricView("guardrail_pass", 0.992, 0.001, 0.0, -0.003, 0.004),
            MetricView("error_rate", 0.034, 0.012, 0.013, 0.008, 0.018),
            MetricView("sla_compliance", 0.978, -0.004, -0.002, -0.009, 0.005),
            MetricView("latency_p95", 2.81, -0.3, -0.2, None, None),
            MetricView("cost_per_1k", 4.12, 0.04, 0.08, -0.04, 0.2),
        ),
        "impacts": (
            ImpactView(11, "Cut retrieval.k to 4", "latency_ms", -12.0, -10.4, -13.0, -7.9, True, 3.2, "holdback"),
            ImpactView(9, "Shorten prompt.a", "fact_accuracy", 1.5, -0.9, -1.6, -0.2, True, -0.4, "holdback"),
        ),
        "chart": chart(),
        "spend": SpendView(14_210, 60_000, 3),
    }
    return digest(**{**given, **fields})
