"""What a deviation without a cause looks like: a step, a drift, a spike, a gap. A model's words about the series."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from agents.research.explain import Explanation, in_words
from agents.research.investigation import Subject
from core.settings import Settings
from db.models.alerts import MonitoringAlert
from db.queries import metrics
from db.session import Sessions
from llm.client import Model

BEFORE = 24
"""Buckets before the bad window that are told: what the deviation stands out from."""

AFTER = 6
POINTS = 48


def describe(sessions: Sessions, settings: Settings, subject: Subject, model: Model) -> Explanation | None:
    """Return a model's words on the shape of an alert's deviation, or None: no alert, or no usable answer.

    Nothing of the alert or of the finding changes by it.
    """
    if subject.alert_id is None:
        return None
    with sessions() as session:
        packet = packet_of(session, subject, bucket_s=settings.bucket_seconds)
    return in_words("meta_anomaly_detector", packet, model)


def packet_of(session: Session, subject: Subject, *, bucket_s: int) -> dict[str, Any]:
    """Return what a model may speak about: the detection, which is final, and the values around it."""
    alert = session.get_one(MonitoringAlert, subject.alert_id)
    width = timedelta(seconds=bucket_s)
    around = metrics.series(
        session,
        app=subject.app,
        metric=alert.metric,
        start=alert.window_start - BEFORE * width,
        end=max(alert.window_end, alert.window_start) + AFTER * width,
        bucket_s=bucket_s,
        points=POINTS,
    )
    return {
        "metric": alert.metric,
        "kind": alert.kind.value,
        "observed": alert.observed,
        "expected": alert.expected,
        "interval_95": [alert.expected_low, alert.expected_high],
        "bad_since": _time(alert.window_start),
        "bad_until": _time(alert.window_end),
        "unit": around.unit,
        "seconds_per_value": around.step_s,
        "values": [{"at": _time(point.at), "value": point.value, "runs": point.runs} for point in around.points],
    }


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"
