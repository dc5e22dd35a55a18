"""Writing apps: added once, changed field by field, every change of the configuration in the audit log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.errors import MetamonError, NotFoundError
from db.models.apps import App
from db.repositories import audit, flags


class DuplicateAppError(MetamonError):
    """An app of this name exists."""


def add(session: Session, *, name: str, by: str, **values: Any) -> int:
    """Add an app and return its id.

    Args:
        name: unique; the caller has checked its form.
        by: who adds it.
        values: the other columns.

    Raises:
        DuplicateAppError: the name is taken.
    """
    statement = insert(App).values(name=name, **values).on_conflict_do_nothing(index_elements=[App.name])
    app_id = session.execute(statement.returning(App.id)).scalar_one_or_none()
    if app_id is None:
        raise DuplicateAppError(f"an app {name!r} exists already; `metamon apps set {name} …` changes it")
    flags.ensure(session, session.get_one(App, app_id))
    audit.record(session, actor=by, action="app.add", subject=f"app:{name}", source=values.get("source", "embedded"))
    return app_id


def locked(session: Session, name: str) -> App:
    """Return the app, locked until the transaction ends.

    Raises:
        NotFoundError: there is no such app.
    """
    app = session.scalars(select(App).where(App.name == name).with_for_update()).one_or_none()
    if app is None:
        names = ", ".join(session.scalars(select(App.name).order_by(App.name))) or "none yet"
        raise NotFoundError(f"there is no app {name!r}; there is: {names}")
    return app


def change(session: Session, name: str, values: Mapping[str, Any], *, by: str) -> list[str]:
    """Set columns of an app and return the names of those that changed.

    Raises:
        NotFoundError: there is no such app.
    """
    app = locked(session, name)
    changed = [key for key, value in values.items() if getattr(app, key) != value]
    for key in changed:
        audit.record(
            session, actor=by, action="app.set", subject=f"app:{name}", key=key, **{"from": getattr(app, key)},
            to=values[key],
        )  # fmt: skip
        setattr(app, key, values[key])
    return changed


def configure(session: Session, name: str, values: Mapping[str, Any], *, by: str) -> list[str]:
    """Set keys of the configuration that flags serve and return those that changed; None removes a key.

    Each change is an entry `app.config` in the audit log: research looks there for what changed when.

    Raises:
        NotFoundError: there is no such app.
    """
    app = locked(session, name)
    config = dict(app.config)
    changed = [key for key, value in values.items() if config.get(key) != value]
    for key in changed:
        audit.record(
            session, actor=by, action="app.config", subject=f"app:{name}", key=key, **{"from": config.get(key)},
            to=values[key],
        )  # fmt: skip
        if values[key] is None:
            del config[key]
        else:
            config[key] = values[key]
    if changed:
        app.config = config
    return changed
