"""Asking a model about a finding: why it fails where there is a cause, what the deviation looks like where none is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from agents.research import shape
from agents.research.explain import Explanation, explain
from agents.research.investigation import Finding, Subject
from agents.research.rewrite import rewrite
from agents.spending import granted
from core.settings import Settings
from db.session import Sessions
from llm.client import Model


@dataclass(frozen=True)
class Said:
    """A finding with what a model added to it."""

    finding: Finding
    explanation: Explanation | None = None


def ask(sessions: Sessions, settings: Settings, subject: Subject, finding: Finding, *, now: datetime) -> Said:
    """Let a model explain the finding and edit a prompt, where one is configured, well, and not spent.

    Evidence, causes and the hypotheses that statistics made are the same whatever it does.
    """
    with granted(sessions, settings, subject.app_id, purpose="research", now=now) as model:
        if model is None:
            return Said(finding)
        if finding.cause is None:
            return Said(finding, shape.describe(sessions, settings, subject, model))
        return _ask(model, subject, finding)


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
