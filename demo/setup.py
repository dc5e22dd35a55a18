"""What the demo needs before a customer may come: the app's row, its golden set, a token, a place for its world."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.clock import utc_now
from core.states import Scope
from db.models import App
from db.repositories import apps, golden, projects, tokens
from db.session import Sessions
from demo.config import ALLOWED, APP, CONFIG, SLA_MS
from demo.world import VARIABLE, write
from targets.golden import parse_lines

ACTOR = "demo"
NOTIFY = "oncall@fa-ai.example"
GOLDEN = Path(__file__).parent / "golden.jsonl"


@dataclass(frozen=True)
class Place:
    """Where the demo keeps its own files, inside the state folder."""

    folder: Path

    @property
    def world(self) -> Path:
        """The state of the world outside the app: what `FA_AI_WORLD` names.

        In a folder of its own, since a sandbox that may read the file may read its folder.
        """
        return self.folder / "world" / "world.json"

    @property
    def token(self) -> Path:
        """The app's ingest token, mode 0600."""
        return self.folder / "token"


def ensure_app(sessions: Sessions, place: Place) -> int:
    """Register FA AI and return its id. What the loop changed in its configuration since is left alone."""
    if not place.world.is_file():
        write(place.world, {})
    target = {"kind": "python", "callable": "demo.app:answer", "env": {VARIABLE: str(place.world)}}
    with sessions() as session, session.begin():
        app_id = session.scalar(select(App.id).where(App.name == APP))
        if app_id is None:
            # Not watched before its history is whole: half a history looks like an app that has gone silent.
            app_id = apps.add(
                session, name=APP, by=ACTOR, project=APP, sla_ms=SLA_MS, config=CONFIG, notify=[NOTIFY], enabled=False
            )
        apps.change(session, APP, {"allowed": ALLOWED, "target": target}, by=ACTOR)
        golden.import_set(session, app_id, golden.DEFAULT, parse_lines(GOLDEN.read_text().splitlines()))
        return app_id


def ensure_project(sessions: Sessions) -> UUID:
    """Return the id of the tracing project, which feedback names."""
    return projects.ensure(sessions, [APP])[APP]


def ensure_token(sessions: Sessions, place: Place) -> str:
    """Return a valid ingest token: the one of the last time, or a new one where that was lost or revoked."""
    with sessions() as session, session.begin():
        if place.token.is_file():
            token = place.token.read_text().strip()
            if tokens.find(session, token, now=utc_now()) is not None:
                return token
        return _new_token(session, place)


def _new_token(session: Session, place: Place) -> str:
    token = tokens.create(session, name=f"{APP} (demo)", scope=Scope.INGEST, by=ACTOR)
    place.folder.mkdir(parents=True, exist_ok=True)
    place.token.touch(mode=0o600)
    place.token.chmod(0o600)
    place.token.write_text(token)
    return token
