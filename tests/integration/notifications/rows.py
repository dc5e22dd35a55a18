"""Rows that the notification tests start from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from core.settings import Settings
from core.states import AlertKind, AlertState, ProposalStatus, RolloutState, Severity
from db.models.alerts import MonitoringAlert
from db.models.apps import App
from db.models.proposals import ImprovementProposal
from db.models.rollouts import Rollout, RolloutEvent

NOW = datetime(2026, 11, 26, 8, 30, tzinfo=UTC)
"""09:30 in Berlin."""

SETTINGS = Settings(public_url="https://metamon.example", mail_from="metamon@example.com")


def add_app(session: Session, name: str = "fa-ai", **fields: Any) -> App:
    """Add an app with two recipients in Berlin."""
    given: dict[str, Any] = {
        "project": name,
        "sla_ms": 2000,
        "notify": ["ada@example.com", "bob@example.com"],
        "timezone": "Europe/Berlin",
        "created_at": NOW - timedelta(days=30),
    }
    app = App(name=name, **{**given, **fields})
    session.add(app)
    session.flush()
    return app


def add_alert(session: Session, app: App, **fields: Any) -> MonitoringAlert:
    """Add a critical alert that fires."""
    given: dict[str, Any] = {
        "fingerprint": "quality_degradation:fact_accuracy",
        "kind": AlertKind.QUALITY_DEGRADATION,
        "severity": Severity.CRITICAL,
        "state": AlertState.FIRING,
        "metric": "fact_accuracy",
        "title": "fact_accuracy fell to 0.71",
        "observed": 0.71,
        "expected": 0.95,
        "expected_low": 0.93,
        "expected_high": 0.97,
        "reasons": ["71 % of 412 answers were right; 95 % is usual."],
        "window_start": NOW - timedelta(minutes=20),
        "window_end": NOW - timedelta(minutes=5),
        "opened_at": NOW - timedelta(minutes=15),
        "fired_at": NOW - timedelta(minutes=10),
        "trace_urls": ["https://metamon.example/traces/1"],
    }
    alert = MonitoringAlert(app_id=app.id, **{**given, **fields})
    session.add(alert)
    session.flush()
    return alert


def add_proposal(session: Session, app: App, **fields: Any) -> ImprovementProposal:
    """Add a proposal that waits for approval."""
    given: dict[str, Any] = {
        "status": ProposalStatus.AWAITING_APPROVAL,
        "title": "Route sonic-2 to atlas-1",
        "root_cause": "model = sonic-2 carries 94 % of the excess errors",
        "cause": {"conditions": {"model": "sonic-2"}},
        "change": {"type": "routing", "key": "route.sonic-2", "from": "sonic-2", "to": "atlas-1", "note": ""},
        "change_hash": "0" * 64,
        "metric": "error_rate",
        "predicted_pct": -18.0,
        "predicted_low": -24.0,
        "predicted_high": -11.0,
        "effort_hours": 0.5,
        "effort_hours_p80": 1.0,
        "impact": "high",
        "created_at": NOW - timedelta(minutes=40),
        "updated_at": NOW - timedelta(minutes=30),
    }
    proposal = ImprovementProposal(app_id=app.id, **{**given, **fields})
    session.add(proposal)
    session.flush()
    return proposal


def add_rollout(session: Session, proposal: ImprovementProposal, **fields: Any) -> Rollout:
    """Add a rollout at 10 % with its first step."""
    given: dict[str, Any] = {
        "change": proposal.change,
        "salt": "salt",
        "state": RolloutState.RUNNING,
        "percent": 10,
        "stage_started_at": NOW - timedelta(minutes=25),
        "started_at": NOW - timedelta(minutes=25),
    }
    rollout = Rollout(app_id=proposal.app_id, proposal_id=proposal.id, **{**given, **fields})
    session.add(rollout)
    session.flush()
    session.add(
        RolloutEvent(
            rollout_id=rollout.id,
            at=rollout.finished_at or rollout.stage_started_at,
            kind="rolled_back" if rollout.state is RolloutState.ROLLED_BACK else "started",
            from_percent=0,
            to_percent=rollout.percent,
            actor="policy:test",
        )
    )
    session.flush()
    return rollout
