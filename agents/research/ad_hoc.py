"""A question without an alert, or an alert looked at again: the same investigation, and nothing is written."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from agents.change import Change
from agents.research import subject as subjects
from agents.research.evidence import CauseRecord, Evidence, Hypothesis
from agents.research.investigation import Finding, Subject, about_runs, investigate
from agents.research.predict import predict
from agents.research.wording import nothing_found, root_cause
from core.errors import MetamonError
from core.settings import Settings
from db.session import Sessions
from traces.select import source_of
from traces.source import TraceRun

METRICS = ("error_rate", "sla_compliance", "latency_p95")
"""Asked about where no metric is named, and every feedback key with it."""

MAX_KEYS = 8


class NoRunsError(MetamonError):
    """There is nothing to look at."""


class Idea(BaseModel):
    """A hypothesis with what it promises and takes."""

    kind: str
    title: str
    change: Change | None
    cites: list[str]
    rejected: str | None
    risk: str
    impact: str
    cause: str
    """Id of the cause that it is for."""
    predicted_pct: float | None
    """None where it is rejected."""
    predicted_interval: tuple[float, float] | None
    effort_hours: float | None
    effort_hours_p80: float | None
    effort_basis: str | None


class Answer(BaseModel):
    """What one metric's investigation says."""

    app: str
    alert_id: int | None
    metric: str
    summary: str
    causes: list[CauseRecord]
    """Empty where nothing stands out."""
    hypotheses: list[Idea]
    """The viable ones by rank, then the rejected."""
    evidence: Evidence | None

    def as_json(self) -> dict[str, Any]:
        """Return the document that is printed, changes under the keys that proposals use."""
        return self.model_dump(mode="json", by_alias=True)


def about_alert(sessions: Sessions, settings: Settings, alert_id: int, *, now: datetime) -> Answer:
    """Investigate an alert as it stands now.

    Raises:
        UnknownAlertError: there is no such alert.
        NoRunsError: its app has no runs that are monitored.
    """
    with sessions() as session:
        what, project, end, excluded = subjects.read(session, alert_id, now=now)
    if project is None:
        raise NoRunsError(f"no runs of {what.app} are monitored yet")
    if not about_runs(what.metric):
        return _answer(what, Finding(None, None))
    source = source_of(what.source, sessions, settings)
    return _answer(what, investigate(what, *subjects.windows(source, project, what.window_start, end, excluded)))


def about_window(
    sessions: Sessions,
    settings: Settings,
    app: str,
    *,
    since: datetime,
    until: datetime,
    now: datetime,
    metric: str | None = None,
) -> list[Answer]:
    """Compare a window of an app with what came before it, in one metric or in all that a run can fail.

    Raises:
        NotFoundError: there is no such app.
        NoRunsError: there are no runs in the window, or the metric is none that a run can fail.
    """
    if metric is not None and not about_runs(metric):
        raise NoRunsError(
            f"no single run can fail {metric}: ask about error_rate, sla_compliance, latency_p95 or a feedback key"
        )
    with sessions() as session:
        what, project, end, excluded = subjects.ask(
            session, app, metric=metric or METRICS[0], since=since, until=until, now=now
        )
    bad: list[TraceRun] = []
    if project is not None:
        source = source_of(what.source, sessions, settings)
        bad, baseline = subjects.windows(source, project, since, end, excluded)
    if not bad:
        raise NoRunsError(f"{app} has no runs between {since:%Y-%m-%d %H:%M} and {until:%Y-%m-%d %H:%M} UTC")
    names = [metric] if metric else [*METRICS, *_keys(bad)]
    asked = [replace(what, metric=name) for name in names]
    return [_answer(entry, investigate(entry, bad, baseline)) for entry in asked]


def _keys(runs: list[TraceRun]) -> list[str]:
    seen = {key for run in runs for key in run.scores}
    return sorted(seen - set(METRICS))[:MAX_KEYS]


def _answer(what: Subject, finding: Finding) -> Answer:
    cause, evidence = finding.cause, finding.evidence
    return Answer(
        app=what.app,
        alert_id=what.alert_id,
        metric=what.metric,
        summary=root_cause(cause, evidence.about(cause.id)) if cause and evidence else nothing_found(evidence),
        causes=evidence.causes if evidence else [],
        hypotheses=[_idea(what, finding, idea) for idea in finding.hypotheses],
        evidence=evidence,
    )


def _idea(what: Subject, finding: Finding, idea: Hypothesis) -> Idea:
    cause = finding.cause_of(idea)
    plain = idea.model_dump(exclude={"change"}) | {"change": idea.change}
    if idea.rejected is not None or cause is None or finding.sample is None:
        nothing = dict.fromkeys(
            ("predicted_pct", "predicted_interval", "effort_hours", "effort_hours_p80", "effort_basis")
        )
        return Idea(**plain, **nothing)
    efficacy = what.history.efficacy(idea.kind)
    promise = predict(finding.sample, finding.selects[cause.id], idea.kind, began=cause.began, efficacy=efficacy)
    effort = what.history.effort(idea.kind, idea.impact)
    return Idea(
        **plain,
        predicted_pct=promise.pct,
        predicted_interval=(promise.low, promise.high),
        effort_hours=effort.p50,
        effort_hours_p80=effort.p80,
        effort_basis=effort.basis,
    )
