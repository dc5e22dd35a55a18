"""A model's words on what a change was worth. What was measured, and how, is final before it is asked."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from agents.impact import Measurement
from agents.research.explain import in_words
from agents.spending import granted
from core.settings import Settings
from db.models.proposals import ImprovementProposal
from db.session import Sessions


def put_into_words(sessions: Sessions, settings: Settings, measured: Measurement, *, now: datetime) -> Measurement:
    """Return the measurement with a model's words beside its figures; as it came where there is no usable answer.

    To be called outside any transaction: an answer may take its time.
    """
    if measured.fields["after"].get("value") is None:
        return measured  # nothing was measured, and that is said already
    with sessions() as session:
        proposal = session.get_one(ImprovementProposal, measured.fields["proposal_id"])
        app_id, packet = proposal.app_id, packet_of(measured.fields, proposal)
    with granted(sessions, settings, app_id, purpose="impact", now=now) as model:
        words = None if model is None else in_words("meta_impact_calculator", packet, model)
    if words is None:
        return measured
    return replace(measured, fields=measured.fields | {"explanation": words.text, "explained_by": words.by})


def packet_of(fields: dict[str, Any], proposal: ImprovementProposal) -> dict[str, Any]:
    """Return what a model may speak about.

    Args:
        fields: columns of `improvement_impact`.
    """
    told = (
        "metric",
        "method",
        "before",
        "after",
        "p_value",
        "significant",
        "within_prediction",
        "benefit",
        "cost",
        "roi",
    )
    return {
        "change": proposal.title,
        **{name: fields.get(name) for name in told},
        "predicted_percent": proposal.predicted_pct,
        "predicted_interval_90": [proposal.predicted_low, proposal.predicted_high],
        "measured_percent": fields.get("measured_pct"),
        "measured_interval_95": [fields.get("measured_low"), fields.get("measured_high")],
        "roi_interval_95": [fields.get("roi_low"), fields.get("roi_high")],
        "assumptions": fields.get("assumptions", {}),
    }
