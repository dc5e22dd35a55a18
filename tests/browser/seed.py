"""A day of FA AI for the browser tests: what the demo leaves behind, without waiting for it."""

from __future__ import annotations

import math
import random
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import update
from sqlalchemy.orm import Session, sessionmaker

from agents.change import Change
from analysis.histogram import LogHistogram
from core.states import (
    AlertKind,
    AlertState,
    EmailState,
    JobState,
    ProposalStatus,
    RolloutState,
    Scope,
    Severity,
    ValidationState,
    Verdict,
)
from db.models.alerts import AlertEvent, MonitoringAlert
from db.models.apps import App, Project
from db.models.evaluation import ImprovementImpact, MetaEvaluationRun
from db.models.jobs import Job
from db.models.mail import Email
from db.models.metrics import MetricBucket
from db.models.proposals import ImprovementProposal
from db.models.rollouts import Rollout, RolloutEvent, RolloutLook
from db.models.validation import GoldenSet, ValidationResult
from db.repositories import audit, jobs
from tests.api_server import add_user

ADMIN, RAE, RON, VERA = "admin@fa-ai.example", "rae@fa-ai.example", "ron@fa-ai.example", "vera@fa-ai.example"
EVIL = "Use <script>window.pwned = 1</script><img src=x onerror='window.pwned = 2'> less"
BUCKET = timedelta(minutes=5)
DAYS = 9
"""More five-minute buckets than a chart may have points."""
CONFIG = {
    "prompt.a": "v12", "prompt.b": "v12", "index.emea": "2026-11", "retrieval.k": 4, "route.sonic-2": "sonic-2",
    "provider.timeout_ms": 250,
}  # fmt: skip
TRACES = ["https://traces.example/runs/1", "http://127.0.0.1:8600/api/v1/runs/01a215fc-6f12-76bb-a9e9-284b2f2c1226"]


@dataclass(frozen=True)
class World:
    """The ids that the tests go by."""

    alert: int
    waiting: int
    contested: int
    expiring: int
    mailed: int
    evil: int
    blocked: int
    validation: int
    rollout: int
    held: int
    mail: int
    dead_job: int


def seed(sessions: sessionmaker[Session], now: datetime) -> World:
    """Write the day."""
    for email, role in ((ADMIN, Scope.ADMIN), (RAE, Scope.REVIEWER), (RON, Scope.REVIEWER), (VERA, Scope.VIEWER)):
        add_user(sessions, email, role)
    with sessions.begin() as session:
        app = App(
            name="fa-ai", project="fa-ai", sla_ms=300, notify=["oncall@fa-ai.example"], config=CONFIG,
            allowed={key: {"type": "parameter", "impact": "high"} for key in CONFIG},
        )  # fmt: skip
        session.add_all([app, Project(id=uuid.uuid4(), name="fa-ai", extra={})])
        session.flush()
        _buckets(session, app.id, now)
        alert = _alerts(session, app.id, now)
        blocked = _proposal(session, app.id, alert, now, 1, "provider.timeout_ms", 250, 1000, ProposalStatus.BLOCKED)
        waiting = _proposal(session, app.id, alert, now, 2, "route.sonic-2", "sonic-2", "atlas-1")
        contested = _proposal(session, app.id, None, now, 1, "retrieval.k", 4, 6)
        expiring = _proposal(session, app.id, None, now, 1, "retrieval.k", 4, 7)
        mailed = _proposal(session, app.id, None, now, 1, "retrieval.k", 4, 5)
        evil = _proposal(session, app.id, None, now, 1, "retrieval.k", 4, 8, title=EVIL)
        live = _proposal(session, app.id, None, now, 1, "prompt.b", "v13", "v12", ProposalStatus.ROLLING_OUT)
        done = _proposal(session, app.id, None, now, 1, "index.emea", "2026-11", "2026-10", ProposalStatus.IMPLEMENTED)
        validation = _validations(session, app.id, blocked, waiting, now)
        rollout = _rollout(session, app.id, live, now, RolloutState.RUNNING, 10)
        held = _rollout(session, app.id, done, now - timedelta(hours=5), RolloutState.HOLDBACK, 100)
        _impact(session, done, held, now)
        _evaluations(session, app.id, now)
        dead = _jobs(session, app.id, alert, now)
        mail = _mails(session, app.id, alert, now)
        audit.record(session, actor="deploy:index-pipeline", action="app.config", subject="app:fa-ai", key="index.emea")
    return World(
        alert=alert, waiting=waiting, contested=contested, expiring=expiring, mailed=mailed, evil=evil, blocked=blocked,
        validation=validation, rollout=rollout, held=held, mail=mail, dead_job=dead,
    )  # fmt: skip


def _buckets(session: Session, app_id: int, now: datetime) -> None:
    chance = random.Random(7)
    last = now.replace(minute=now.minute // 5 * 5, second=0, microsecond=0)
    for back in range(DAYS * 288):
        bucket = last - back * BUCKET
        runs = int(220 + 120 * math.sin(bucket.hour / 24 * 2 * math.pi) + chance.random() * 30)
        bad = back < 12
        errors = int(runs * (0.15 if bad else 0.002) + chance.random())
        right = int(runs * (0.97 if bad else 0.985))
        latencies = [chance.lognormvariate(-2.4, 0.3) for _ in range(40)]
        session.add(
            MetricBucket(
                app_id=app_id, bucket=bucket, runs=runs, finished=runs, errors=errors, pending=0, abandoned=0,
                sla_met=runs - errors, tokens=runs * 420, cost=runs * 0.0003,
                latency=LogHistogram.of(latencies).as_json(),
                scores={
                    "fact_accuracy": {"n": runs, "sum": right, "sumsq": right},
                    "guardrail_pass": {"n": runs, "sum": runs - 2, "sumsq": runs - 2},
                },
            )
        )  # fmt: skip


def _alerts(session: Session, app_id: int, now: datetime) -> int:
    def add(metric: str, kind: AlertKind, severity: Severity, state: AlertState, title: str, age: timedelta) -> int:
        ended = now - age / 2 if state is AlertState.RESOLVED else None
        alert = MonitoringAlert(
            app_id=app_id, fingerprint=f"{kind}:{metric}", kind=kind, severity=severity, state=state, metric=metric,
            title=title, observed=0.147, expected=0.002, expected_low=0.0, expected_high=0.0083, p_value=1e-17,
            reasons=["error rate 14.7 %, expected 0–0.8 %; 85 of 593 runs failed in 58 s"],
            window_start=now - age, window_end=ended or now, trace_urls=TRACES, run_ids=["1", "2"], tracker={},
            opened_at=now - age, fired_at=now - age, resolved_at=ended, emailed_at=now - age,
        )  # fmt: skip
        session.add(alert)
        session.flush()
        for event in ("pending", "firing") if ended is None else ("firing", "resolved"):
            session.add(AlertEvent(alert_id=alert.id, at=now - age, kind=event, observed=0.147, detail={}))
        return alert.id

    first = add(
        "error_rate", AlertKind.ERROR_SPIKE, Severity.CRITICAL, AlertState.FIRING,
        "Error rate 14.7 % (usually 0.2 %)", timedelta(minutes=50),
    )  # fmt: skip
    add(
        "sla_compliance", AlertKind.SLA_VIOLATION, Severity.HIGH, AlertState.RECOVERING,
        "SLA compliance 91.2 % (usually 99.8 %)", timedelta(minutes=45),
    )  # fmt: skip
    for index in range(60):  # more than a page
        add(
            "fact_accuracy", AlertKind.QUALITY_DEGRADATION, Severity.MEDIUM, AlertState.RESOLVED,
            f"Fact accuracy 9{index % 9}.1 % (usually 98.5 %)", timedelta(hours=3 + index),
        )  # fmt: skip
    return first


def _cause(now: datetime) -> dict[str, Any]:
    onset = now - timedelta(minutes=50)
    return {
        "id": "cause-1", "conditions": {"model": "sonic-2"}, "excess": 7.9, "explained": 1.0, "precision": 0.4,
        "p_value": 8e-13, "runs": 20, "failures": 8, "expected": 0.07, "aliases": [], "onset": onset.isoformat(),
        "onset_low": (onset - timedelta(seconds=2)).isoformat(),
        "onset_high": (onset + timedelta(seconds=1)).isoformat(),
    }  # fmt: skip


def _evidence(now: datetime) -> dict[str, Any]:
    onset = now - timedelta(minutes=50)
    exemplar = {"start_time": onset.isoformat(), "latency_ms": 251.4, "score": None, "attributes": {"model": "sonic-2"}}
    return {
        "metric": "error_rate", "bad_from": onset.isoformat(), "bad_until": now.isoformat(),
        "exemplars": [
            {"id": "bad-1", "run_id": "01a215fc-6f12-76bb-a9e9-284b2f2c1226", "url": TRACES[0], "kind": "bad",
             "error": "ProviderTimeout('sonic-2 gave no answer within 250 ms')", **exemplar},
            {"id": "good-1", "run_id": "01a215fb-d717-7663-ba36-6803902f04c1", "url": TRACES[1], "kind": "good",
             "error": None, **exemplar},
        ],
        "errors": [{"id": "error-1", "kind": "ProviderTimeout", "template": "sonic-<n> gave no answer within <n> ms",
                    "bad": 8, "baseline": 6, "share": 1.0, "frames": ["app.py:answer"]}],
        "health": [
            {"attribute": "model", "value": "sonic-2", "bad_runs": 20, "bad_failures": 8, "baseline_runs": 900,
             "baseline_failures": 2},
            {"attribute": "plan", "value": "plus", "bad_runs": 14, "bad_failures": 4, "baseline_runs": 700,
             "baseline_failures": 2},
        ],
        "changes": [{"id": "change-1", "at": onset.isoformat(), "actor": "deploy:index-pipeline", "key": "index.emea",
                     "before": "2026-10", "after": "2026-11"}],
    }  # fmt: skip


def _proposal(
    session: Session,
    app_id: int,
    alert: int | None,
    now: datetime,
    rank: int,
    key: str,
    before: Any,
    after: Any,
    status: ProposalStatus = ProposalStatus.AWAITING_APPROVAL,
    title: str | None = None,
) -> int:
    change = Change.model_validate({"type": "parameter", "key": key, "from": before, "to": after})
    title = title or f"Set {key} to {after}"
    decided = status in (ProposalStatus.ROLLING_OUT, ProposalStatus.IMPLEMENTED)
    row = ImprovementProposal(
        app_id=app_id, alert_id=alert, rank=rank, status=status, title=title,
        root_cause="Runs with model = sonic-2 are hit: 8 of 20 failed, where 0 would be usual.",
        cause=_cause(now), evidence=_evidence(now), change=change.as_json(), change_hash=change.hash,
        hypotheses=[
            {"title": title, "kind": "route_around", "rejected": None},
            {"title": "Revert index.emea to 2026-10", "kind": "revert",
             "rejected": "index.emea governs region = emea, and the failing runs are model = sonic-2"},
        ],
        metric="error_free", predicted_pct=12.6, predicted_low=6.2, predicted_high=19.6, effort_hours=2,
        effort_hours_p80=4, impact="high", risk="atlas-1 takes the traffic of sonic-2.",
        reviewed_by="policy:low-impact" if decided else None, reviewed_at=now if decided else None,
        approved_hash=change.hash if decided else None,
        screen=_screen(now) if alert is not None else None,
    )  # fmt: skip
    session.add(row)
    session.flush()
    return row.id


def _screen(now: datetime) -> dict[str, Any]:
    return {
        "at": now.isoformat(), "metric": "error_free", "skipped": None, "cases": 16, "matching": 12, "better": 5,
        "worse": 0, "difference": 0.3125, "p_better": 0.01, "p_worse": 1.0, "calls": 16, "cost_usd": 0.0,
        "seconds": 4.1, "ended": None, "rank_before": 1, "rank_after": 1,
    }  # fmt: skip


def _compared(baseline: float, candidate: float, low: float, high: float) -> dict[str, Any]:
    return {
        "cases": 100, "missing": 0, "baseline": baseline, "candidate": candidate, "delta": candidate - baseline,
        "interval": [low, high], "margin": 0.05, "p_worse": 0.5, "p_better": 0.5, "p_noninferior": 0.01,
        "lower_is_better": False, "binary": True,
    }  # fmt: skip


def _validations(session: Session, app_id: int, blocked: int, waiting: int, now: datetime) -> int:
    golden = GoldenSet(app_id=app_id, name="default", version=1, hash="e44db103" * 8, cases=100)
    session.add(golden)
    session.flush()
    regressed = [
        {"key": f"fact-emea-{index}", "metric": "sla_met", "baseline": 1.0, "candidate": 0.0,
         "baseline_output": '{"text": "Revenue was 3,825 million EUR."}',
         "candidate_output": '{"text": "Revenue was 3,852 million EUR."}',
         "baseline_run_id": None, "candidate_run_id": "https://traces.example/runs/9"}
        for index in range(14)
    ]  # fmt: skip

    def add(proposal: int, verdict: Verdict, bad: list[dict[str, Any]], reason: str) -> int:
        comparison = {
            "error_free": _compared(0.85, 1.0, 0.09, 0.23),
            "sla_met": _compared(1.0, 0.6, -0.5, -0.31) if bad else _compared(1.0, 1.0, -0.03, 0.03),
            "fact_accuracy": _compared(0.65, 0.78, 0.07, 0.21),
        }
        row = ValidationResult(
            app_id=app_id, proposal_id=proposal, set_id=golden.id, set_hash=golden.hash, verdict=verdict,
            state=ValidationState.FINISHED, reasons=[reason], target={}, baseline=CONFIG,
            candidate=CONFIG | {"provider.timeout_ms": 1000}, total=200, remaining=0, comparison=comparison,
            regressions=len(bad), regressed=bad, seed=7, requested_by="policy:validation",
            started_at=now - timedelta(minutes=40), finished_at=now - timedelta(minutes=39),
        )  # fmt: skip
        session.add(row)
        session.flush()
        return row.id

    found = add(blocked, Verdict.FAIL, regressed, "sla_met: worse by 40.0 points (-49.8 to -30.9)")
    add(waiting, Verdict.PASS, [], "error_free: a loss of 4.2 points is ruled out (p = 0.000, 100 cases)")
    return found


def _guard(worse: float, fine: float) -> dict[str, Any]:
    metrics = {
        name: {"drop": -0.02, "units": [1200, 140], "baseline": 0.95, "candidate": 0.97, "e_promote": fine,
               "e_rollback": worse, "promote_at": 20.0, "rollback_at": 80.0}
        for name in ("error_free", "sla_met", "fact_accuracy", "guardrail_pass")
    }  # fmt: skip
    return {"ratio": {"e_value": 0.4, "pause_at": 1000.0}, **metrics}


def _rollout(session: Session, app_id: int, proposal: int, now: datetime, state: RolloutState, percent: int) -> int:
    change = session.get_one(ImprovementProposal, proposal).change
    begun = now - timedelta(minutes=40)
    row = Rollout(
        app_id=app_id, proposal_id=proposal, change=change, salt=f"salt-{proposal}", state=state, percent=percent,
        guard={"evidence": _guard(1.6, 9.0), "units": [1200, 140]}, guarded_until=now, stage_started_at=begun,
        started_at=begun,
    )  # fmt: skip
    session.add(row)
    session.flush()
    session.add(
        RolloutEvent(
            rollout_id=row.id,
            at=begun,
            kind="start",
            from_percent=0,
            to_percent=10,
            actor="policy:low-impact",
            evidence={},
        )
    )
    for step in range(40):
        grown = _guard(0.8 + step * 0.02, math.exp(step / 18))
        session.add(RolloutLook(rollout_id=row.id, at=begun + step * timedelta(minutes=1), percent=10, evidence=grown))
    return row.id


def _impact(session: Session, proposal: int, rollout: int, now: datetime) -> None:
    session.add(
        ImprovementImpact(
            proposal_id=proposal,
            rollout_id=rollout,
            metric="fact_accuracy",
            method="holdback",
            before={"value": 0.74, "units": 540},
            after={"value": 0.96, "units": 4800},
            predicted_pct=12.6,
            measured_pct=14.3,
            measured_low=9.1,
            measured_high=19.2,
            p_value=1e-9,
            significant=True,
            within_prediction=True,
            benefit=1900.0,
            cost=120.0,
            roi=15.8,
            roi_low=12.1,
            roi_high=19.4,
            window_start=now - timedelta(days=1),
            window_end=now,
        )
    )


def _evaluations(session: Session, app_id: int, now: datetime) -> None:
    for back in range(1, 31):
        start = (now - timedelta(days=back)).replace(hour=0, minute=0, second=0, microsecond=0)
        session.add(
            MetaEvaluationRun(
                app_id=app_id,
                day=start.date(),
                window_start=start,
                window_end=start + timedelta(days=1),
                runs=1147,
                quality_score=0.992,
                fact_accuracy=0.988,
                guardrail_pass_rate=0.993,
                sla_compliance=0.998,
                error_rate=0.0017,
                latency_p95_s=0.101,
                cost=0.33,
                summary="Quality 0.992 against 0.993 in the seven days before. Nothing moved beyond chance.",
            )
        )


def _jobs(session: Session, app_id: int, alert: int, now: datetime) -> int:
    parent: Job | None = None
    chain: tuple[tuple[str, dict[str, int]], ...] = (
        ("monitoring.sweep", {}), ("monitoring.check_app", {"app_id": app_id}),
        ("research.investigate", {"alert_id": alert}), ("notifications.announce", {"subject_id": alert}),
    )  # fmt: skip
    for kind, args in chain:
        made = jobs.enqueue(session, key=f"seed:{kind}", kind=kind, args=args)
        row = session.get_one(Job, made)
        row.state, row.attempts, row.dispatches = JobState.DONE, 1, 1
        row.started_at = row.finished_at = now
        if parent is not None:
            row.root_id, row.parent_id = parent.root_id or parent.id, parent.id
        parent = row
    dead = jobs.enqueue(session, key="seed:dead", kind="evaluation.measure_impact", args={"rollout_id": 1})
    assert dead is not None
    session.execute(
        update(Job)
        .where(Job.id == dead)
        .values(state=JobState.DEAD, attempts=5, error="OperationalError: the server went away", finished_at=now)
    )
    return dead


def _mails(session: Session, app_id: int, alert: int, now: datetime) -> int:
    html = (
        "<!doctype html><html><head><style>p{color:#036}</style></head><body><p id=hello>Error rate is 14.7 %</p>"
        "<script>parent.pwned = 3</script><img src='http://tracker.invalid/pixel.png'></body></html>"
    )
    first = 0
    for index, state in enumerate((EmailState.SENT, EmailState.FAILED, EmailState.UNKNOWN)):
        row = Email(
            key=f"critical:{index}", app_id=app_id, alert_id=alert, kind="critical", recipient="oncall@fa-ai.example",
            subject="[fa-ai] critical: error_rate 14.7 %, expected 0–0.8 %", text_body="Error rate is 14.7 %",
            html_body=html, headers={"List-Id": "fa-ai <fa-ai.metamon>"}, message_id=f"<{index}@metamon.localhost>",
            state=state, attempts=1, error="550 no such mailbox" if state is EmailState.FAILED else None,
            sent_at=now if state is EmailState.SENT else None,
        )  # fmt: skip
        session.add(row)
        session.flush()
        first = first or row.id
    return first
