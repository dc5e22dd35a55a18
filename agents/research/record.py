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
        ids of the proposals made, by rank; empty where nothing stands out. Where another alert's open proposal does the
        same for the same cause, none is made for it: the alert is attached to that one.
    """
    assert subject.alert_id is not None, "a question without an alert leaves nothing behind"
    cause, evidence = finding.cause, finding.evidence
    words = {} if explanation is None else {"explanation": explanation.text, "explained_by": explanation.by}
    error_patterns.see(session, subject.app_id, [remembered(pattern) for pattern in finding.patterns], now=now)
    if cause is None or evidence is None or finding.sample is None:
        _event(session, subject, now, causes=[], summary=nothing_found(evidence), **words)
        return []
    proposals.lock_app(session, subject.app_id)
    ideas = finding.hypotheses
    causes = [entry.model_dump(mode="json") for entry in evidence.causes]
    summaries = {entry.id: root_cause(entry, evidence.about(entry.id)) for entry in evidence.causes}
    viable = [idea for idea in ideas if idea.rejected is None and idea.change is not None]
    twins = {entry.id: _twin(session, subject, entry, viable) for entry in evidence.causes}
    made: list[int] = []
    wanted = [idea for idea in viable if twins[idea.cause] is None]
    for rank, idea in enumerate(wanted, 1):
        own, change = finding.cause_of(idea), idea.change
        assert own is not None
        assert change is not None
        fields = _fields(
            subject=subject,
            evidence=evidence.about(own.id),
            cause=own,
            idea=idea,
            change=change,
            ideas=ideas,
            sample=finding.sample,
            selects=finding.selects[own.id],
            summary=summaries[own.id],
        )
        if own is cause:  # it was asked about the first
            fields |= words
        proposal_id = proposals.add_once(session, rank=rank, **fields)
        if proposal_id is not None:
            made.append(proposal_id)
    if made and len(proposals.to_be_tried(session, subject.alert_id)) > 1:
        key = f"screen:{subject.alert_id}"
        jobs.enqueue(session, key=key, kind="validation.screen", args={"alert_id": subject.alert_id}, parent=parent)
    elif made:
        start_first(session, subject.alert_id, parent=parent)
    found = [twin for twin in twins.values() if twin is not None]
    detail: dict[str, Any] = {"proposal_ids": made} if wanted or not found else {}
    if found:
        detail["proposal_id"] = found[0]
    if not made:  # nothing else carries them
        detail |= words
    _event(
        session, subject, now, causes=causes, summary=summaries[cause.id], attached=bool(found) and not wanted, **detail
    )
    return made


def _twin(session: Session, subject: Subject, cause: CauseRecord, viable: list[Hypothesis]) -> int | None:
    """Return another alert's open proposal that does for a cause what would be proposed here, or None."""
    assert subject.alert_id is not None
    changes = [idea.change for idea in viable if idea.cause == cause.id and idea.change]
    return proposals.open_twin(
        session,
        app_id=subject.app_id,
        alert_id=subject.alert_id,
        keys=[change.key for change in changes if change.applies_itself],
        conditions=[cause.conditions, *cause.aliases],
    )


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
