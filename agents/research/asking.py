"""Asking a model about a finding, within what the app may spend: reserved first, settled whatever comes of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from agents.research.explain import Explanation, explain
from agents.research.investigation import Finding, Subject
from agents.research.rewrite import rewrite
from core.settings import Settings
from db.repositories import usage
from db.repositories.usage import Caps
from db.session import Sessions
from llm.client import Model, configured

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Said:
    """A finding with what a model added to it."""

    finding: Finding
    explanation: Explanation | None = None


def ask(sessions: Sessions, settings: Settings, subject: Subject, finding: Finding, *, now: datetime) -> Said:
    """Let a model explain the finding and edit a prompt, where one is configured, well, and not spent.

    Evidence, causes and the hypotheses that statistics made are the same whatever it does.
    """
    model = configured(settings)
    evidence = finding.evidence
    if model is None or evidence is None or not evidence.causes:
        return Said(finding)
    wanted = Caps(model.budget.calls, model.budget.tokens, model.budget.usd)
    daily = Caps(settings.model_calls_daily, settings.model_tokens_daily, settings.model_usd_daily)
    with sessions() as session, session.begin():
        granted = usage.reserve(
            session, subject.app_id, purpose="research", model=model.name, now=now, wanted=wanted, daily=daily
        )
    if isinstance(granted, str):
        log.warning("research.model_not_asked", app=subject.app, reason=granted)
        return Said(finding)
    model.budget.calls, model.budget.tokens = granted.caps.calls, granted.caps.tokens
    model.budget.usd = granted.caps.usd
    try:
        return _ask(model, subject, finding)
    finally:
        with sessions() as session, session.begin():
            usage.settle(session, granted.id, budget=model.budget, answered=model.answered > 0)


def _ask(model: Model, subject: Subject, finding: Finding) -> Said:
    evidence = finding.evidence
    assert evidence is not None
    words = explain(evidence, finding.hypotheses, model)
    if words is None:  # it is down, late or lying: no second question
        return Said(finding)
    edit = rewrite(subject, evidence, finding.hypotheses, model)
    if edit is None:
        return Said(finding, words)
    viable = [idea for idea in finding.hypotheses if idea.rejected is None]
    rest = [idea for idea in finding.hypotheses if idea.rejected is not None]
    # in front of the written recommendation: it is the only one that can be tried
    ideas = [edit, *viable, *rest] if edit.rejected is None else [*viable, edit, *rest]
    return Said(replace(finding, hypotheses=ideas), words)
