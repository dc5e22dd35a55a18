"""The flag of each app: `<app>.config`, what OFREP serves."""

from __future__ import annotations

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.models.apps import App
from db.models.rollouts import Flag

SUFFIX = ".config"


def key_of(app_name: str) -> str:
    """Return the key of an app's flag."""
    return app_name + SUFFIX


def ensure(session: Session, app: App) -> None:
    """Make the app's flag where it does not exist yet. The flag is served without the row too; the row turns it off."""
    session.execute(
        insert(Flag).values(app_id=app.id, key=key_of(app.name)).on_conflict_do_nothing(index_elements=[Flag.key])
    )
