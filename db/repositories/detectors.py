"""The memory of an app's detectors, as it was when the last check ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.models.metrics import DetectorState


def stored(session: Session, app_id: int) -> dict[str, DetectorState]:
    """Return the memories of an app, by name."""
    rows = session.scalars(select(DetectorState).where(DetectorState.app_id == app_id))
    return {row.name: row for row in rows}


def store(
    session: Session,
    app_id: int,
    name: str,
    *,
    settled_until: datetime,
    step: timedelta,
    metrics: Sequence[str],
    state: Mapping[str, Any],
    learning_since: datetime,
    note: str,
    now: datetime,
) -> None:
    """Keep a memory in place of the one before. The caller holds the lock of the app's watermark."""
    values = {
        "settled_until": settled_until, "step_s": int(step.total_seconds()), "metrics": list(metrics),
        "state": dict(state),
        "learning_since": learning_since, "note": note, "updated_at": now,
    }  # fmt: skip
    session.execute(
        insert(DetectorState)
        .values(app_id=app_id, name=name, **values)
        .on_conflict_do_update(index_elements=["app_id", "name"], set_=values)
    )
