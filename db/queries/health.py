"""What `metamon doctor` asks the database."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pydantic import BaseModel
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

import db
from core.clock import utc_now
from db.models.apps import App
from db.models.validation import GoldenSet


class Look(BaseModel):
    """One look at the database."""

    version: str
    now: datetime
    """The database's clock …"""
    asked_at: datetime
    """… when ours said this: the middle of the question and the answer."""
    pending: str
    """What speaks against the schema, or nothing."""
    time_zones: dict[str, str] = {}
    """By app."""
    cases: dict[str, int] = {}
    """Golden cases of the newest sets, by app."""
    without_cases: list[str] = []


def look(session: Session) -> Look:
    """Ask for version, clock, schema, time zones and golden sets."""
    version = str(session.scalar(text("SHOW server_version")))
    before = utc_now()
    theirs = session.execute(select(func.clock_timestamp())).scalar_one()
    asked_at = before + (utc_now() - before) / 2
    found = Look(version=version, now=theirs, asked_at=asked_at, pending=_pending(session))
    if found.pending:
        return found
    newest = select(GoldenSet.app_id, GoldenSet.name, func.max(GoldenSet.version).label("version"))
    latest = newest.group_by(GoldenSet.app_id, GoldenSet.name).subquery()
    counts = (
        select(GoldenSet.app_id, func.sum(GoldenSet.cases).label("cases"))
        .join(latest, (latest.c.app_id == GoldenSet.app_id) & (latest.c.name == GoldenSet.name))
        .where(GoldenSet.version == latest.c.version)
        .group_by(GoldenSet.app_id)
        .subquery()
    )
    rows = session.execute(
        select(App.name, App.timezone, func.coalesce(counts.c.cases, 0))
        .outerjoin(counts, counts.c.app_id == App.id)
        .order_by(App.name)
    ).all()
    found.time_zones = {name: zone for name, zone, _ in rows}
    found.cases = {name: int(count) for name, _, count in rows}
    found.without_cases = [name for name, count in found.cases.items() if not count]
    return found


def _pending(session: Session) -> str:
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    wanted = set(ScriptDirectory(str(Path(db.__file__).parent / "migrations")).get_heads())
    there = set(MigrationContext.configure(session.connection()).get_current_heads())
    if there == wanted:
        return ""
    return f"the database is at {', '.join(there) or 'nothing'}, this version needs {', '.join(wanted)}"
