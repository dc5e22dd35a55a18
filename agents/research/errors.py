"""An app's errors as patterns, now: what `metamon errors` shows and what people merge and split."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel
from sqlalchemy import select

from analysis.errors import Known, Pattern, group
from core.errors import NotFoundError
from core.settings import Settings
from db.models.apps import App
from db.repositories import error_patterns
from db.repositories.projects import monitored_project
from db.session import Sessions
from llm.redaction import redact
from traces.select import source_of

MAX_RUNS = 10_000
TEMPLATE_CAP = 1000
EXAMPLES = 3


class ErrorPatternRecord(BaseModel):
    """One pattern with its errors of a window."""

    key: str
    kind: str
    template: str
    frames: list[str]
    count: int
    share: float
    """Of all errors of the window."""
    first: datetime
    last: datetime
    examples: list[str]
    """Addresses of runs that ended so, the latest first."""


def patterns_of(
    sessions: Sessions, settings: Settings, app_name: str, *, since: datetime, until: datetime
) -> list[ErrorPatternRecord]:
    """Sort the errors of a window into patterns, the most frequent first, and remember them.

    Raises:
        NotFoundError: there is no such app.
    """
    with sessions() as session:
        app = session.scalars(select(App).where(App.name == app_name)).one_or_none()
        if app is None:
            raise NotFoundError(f"there is no app {app_name!r}; `metamon apps list` shows what there is")
        project = monitored_project(session, app)
        known = error_patterns.known(session, app.id)
        app_id, kind = app.id, app.source
    if project is None:
        return []
    runs = source_of(kind, sessions, settings).runs(project.id, since, until, only_errors=True, limit=MAX_RUNS)
    runs = [run for run in runs if run.error]
    found = group([run.error or "" for run in runs], known, clean=redact)
    with sessions() as session, session.begin():
        error_patterns.see(session, app_id, [remembered(pattern) for pattern in found], now=until)
    return [
        ErrorPatternRecord(
            key=pattern.key,
            kind=pattern.fingerprint.kind,
            template=redact(pattern.fingerprint.template)[:TEMPLATE_CAP],
            frames=list(pattern.fingerprint.frames),
            count=pattern.count,
            share=round(pattern.count / len(runs), 4),
            first=min(runs[place].start_time for place in pattern.members),
            last=max(runs[place].start_time for place in pattern.members),
            examples=[runs[place].url for place in pattern.members[:EXAMPLES]],
        )
        for pattern in found
    ]


def remembered(pattern: Pattern) -> Known:
    """Return a pattern in the form that is kept."""
    mark = pattern.fingerprint
    frames = tuple(frame[:200] for frame in mark.frames)
    return Known(pattern.key, mark.kind[:200], frames, mark.template[:TEMPLATE_CAP].replace("\x00", "\ufffd"))
