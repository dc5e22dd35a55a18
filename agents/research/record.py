"""What an investigation leaves behind, in one transaction: proposals, the alert's event, what is to be tried."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from agents.change import Change
from agents.research.errors import remembered
from agents.research.evidence import CauseRecord, Evidence, Hypothesis
from agents.research.explain import Explanation
from agents.research.investigation import Finding, Subject
from agents.research.predict import predict
from agents.research.sample import Sample
from agents.research.wording import nothing_found, root_cause
from agents.review import start_first
from core.states import ProposalStatus
from db.models.alerts import AlertEvent
from db.repositories import error_patterns, jobs, proposals
from db.repositories.jobs import Claim


def record(
    session: Session,
    subject: Subject,
    finding: Finding,
    *,
    now: datetime,
    parent: Claim | None = None,
    explanation: Explanation | None = None,
) -> list[int]:
    """Write what was found about an alert and enqueue the validation of the proposal that applies itself.

    Where there are several, they are screened first.

    Returns:
        ids of the proposals made, by rank; empty where nothing stands out, or where another alert's open proposal
        does the same for the same cause: then the alert is attached to it.
    """
    assert subject.alert_id is not None, "a question without an alert leaves nothing behind"
    cause, evidence = finding.cause, finding.evidence
    error_patterns.see(session, subject.app_id, [remembered(pattern) for pattern in finding.patterns], now=now)
    if cause is None or evidence is None or finding.sample is None:
        _event(session, subject, now, causes=[], summary=nothing_found(evidence))
        return []
    proposals.lock_app(session, subject.app_id)
    summary = root_cause(cause, evidence)
    ideas = finding.hypotheses
    viable = [idea for idea in ideas if idea.rejected is None and idea.change is not None]
    causes = [entry.model_dump(mode="json") for entry in evidence.causes]
    twin = proposals.open_twin(
        session,
        app_id=subject.app_id,
        alert_id=subject.alert_id,
        keys=[idea.change.key for idea in viable if idea.change and idea.change.applies_itself],
        conditions=[cause.conditions, *cause.aliases],
    )
    if twin is not None:
        _event(session, subject, now, causes=causes, summary=summary, proposal_id=twin, attached=True)
        return []
    made: list[int] = []
    for rank, idea in enumerate(viable, 1):
        change = idea.change
        assert change is not None
        fields = _fields(
            subject=subject,
            evidence=evidence,
            cause=cause,
            idea=idea,
            change=change,
            ideas=ideas,
            sample=finding.sample,
            selects=finding.selects,
            summary=summary,
        )
        if explanation is not None:
            fields |= {"explanation": explanation.text, "explained_by": explanation.by}
        proposal_id = proposals.add_once(session, rank=rank, **fields)
        if proposal_id is None:
            continue
        made.append(proposal_id)
    if made and len(proposals.to_be_tried(session, subject.alert_id)) > 1:
        key = f"screen:{subject.alert_id}"
        jobs.enqueue(session, key=key, kind="validation.screen", args={"alert_id": subject.alert_id}, parent=parent)
    elif made:
        start_first(session, subject.alert_id, parent=parent)
    _event(session, subject, now, causes=causes, summary=summary, proposal_ids=made, attached=False)
    return made


def _fields(
    *,
    subject: Subject,
    evidence: Evidence,
    cause: CauseRecord,
    idea: Hypothesis,
    change: Change,
    ideas: list[Hypothesis],
    sample: Sample,
    selects: Mapping[str, str],
    summary: str,
) -> dict[str, Any]:
    efficacy = subject.history.efficacy(idea.kind)
    promise = predict(sample, selects, idea.kind, began=cause.began, efficacy=efficacy)
    effort = subject.history.effort(idea.kind, idea.impact)
    return {
        "app_id": subject.app_id,
        "alert_id": subject.alert_id,
        "status": ProposalStatus.PROPOSED,
        "kind": idea.kind,
        "title": idea.title,
        "root_cause": summary,
        "cause": cause.model_dump(mode="json"),
        "hypotheses": [entry.model_dump(mode="json", by_alias=True) for entry in ideas],
        "evidence": evidence.model_dump(mode="json"),
        "change": change.as_json(),
        "change_hash": change.hash,
        "metric": evidence.success_metric,
        "ceiling_pct": promise.ceiling,
        "predicted_pct": promise.pct,
        "predicted_low": promise.low,
        "predicted_high": promise.high,
        "effort_hours": effort.p50,
        "effort_hours_p80": effort.p80,
        "effort_basis": effort.basis,
        "impact": idea.impact,
        "risk": idea.risk,
    }


def _event(session: Session, subject: Subject, now: datetime, **detail: Any) -> None:
    session.add(AlertEvent(alert_id=subject.alert_id, at=now, kind="researched", detail=detail))
