"""Tracing projects: made by whoever traces into them, refused where the system would watch itself."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, delete, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.errors import MetamonError, NotFoundError
from core.settings import REFUSED_PROJECTS
from db.base import Json
from db.models.apps import App, Project
from db.models.metrics import BucketChange
from db.models.traces import Feedback, Run
from db.session import Sessions

DEFAULT = "default"
"""Where a run goes that names no project; the SDK's own default."""

NAME_CAP = 255

_known: WeakKeyDictionary[Engine, dict[str, UUID]] = WeakKeyDictionary()


class DuplicateProjectError(MetamonError):
    """A project of this name exists."""


class WatchedProjectError(MetamonError):
    """An app's traffic goes to this project: a key that may send runs must not take it out of sight."""


def ensure(sessions: Sessions, names: Iterable[str], ids: Iterable[UUID] = ()) -> dict[str, UUID]:
    """Return the ids of the projects by name, making the missing ones in a transaction of their own.

    Args:
        names: project names; an unknown one is created.
        ids: project ids that clients stated. An unknown one is created under a name made of the id.
    """
    wanted = set(names)
    wanted_ids = {str(project_id): project_id for project_id in ids}
    with sessions() as session:
        bind = session.get_bind()
        known = _known.setdefault(bind.engine if isinstance(bind, Connection) else bind, {})
        missing = sorted((wanted | wanted_ids.keys()) - known.keys())
        if missing:
            with session.begin():
                for key in missing:
                    known[key] = _one(session, key, wanted_ids.get(key))
        return {key: known[key] for key in wanted | wanted_ids.keys()}


def forget(sessions: Sessions) -> None:
    """Forget which projects exist: another process may have deleted one."""
    with sessions() as session:
        bind = session.get_bind()
        _known.pop(bind.engine if isinstance(bind, Connection) else bind, None)


def _one(session: Session, key: str, given: UUID | None) -> UUID:
    if given is not None:
        session.execute(insert(Project).values(id=given, name=f"project-{given}").on_conflict_do_nothing())
        return given
    session.execute(insert(Project).values(id=uuid4(), name=key).on_conflict_do_nothing())
    return session.scalars(select(Project.id).where(Project.name == key)).one()


def monitored_project(session: Session, app: App) -> Project | None:
    """Return the project whose root runs are the app's traffic, or None where there is nothing to monitor.

    None for a project that does not exist yet, for our own project and the evaluators', and for an experiment:
    the system never monitors itself.
    """
    if app.project in REFUSED_PROJECTS:
        return None
    project = session.scalars(select(Project).where(Project.name == app.project)).one_or_none()
    if project is None or project.reference_dataset_id is not None:
        return None
    return project


def create(
    session: Session,
    *,
    project_id: UUID | None,
    name: str,
    description: str | None = None,
    extra: Json | None = None,
    reference_dataset_id: UUID | None = None,
    start_time: datetime | None = None,
    upsert: bool = False,
) -> UUID:
    """Add a project and return its id.

    Raises:
        DuplicateProjectError: the name is taken and `upsert` is not asked for, or the id is another's.
        WatchedProjectError: an app's project was to become an experiment, which is never monitored.
    """
    if reference_dataset_id is not None:
        _leave_watched(session, name)
    if project_id is not None and (taken := session.get(Project, project_id)) is not None and taken.name != name:
        raise DuplicateProjectError(f"the project {project_id} is called {taken.name!r}; PATCH it to rename it")
    values: dict[str, Any] = {
        "id": project_id or uuid4(),
        "name": name,
        "description": description,
        "extra": extra or {},
        "reference_dataset_id": reference_dataset_id,
        **({"start_time": start_time} if start_time else {}),
    }
    statement = insert(Project).values(**values)
    if upsert:
        changed = {"description": description, "extra": extra or {}, "reference_dataset_id": reference_dataset_id}
        statement = statement.on_conflict_do_update(
            index_elements=[Project.name], set_={k: v for k, v in changed.items() if v} or {"name": name}
        )
    else:
        statement = statement.on_conflict_do_nothing()
    made = session.scalars(statement.returning(Project.id)).one_or_none()
    if made is None:
        raise DuplicateProjectError(f"a project {name!r} exists already; choose another name or ask with upsert=true")
    return made


def change(session: Session, project_id: UUID, **values: Any) -> None:
    """Change what is given of a project.

    Raises:
        NotFoundError: there is no such project.
        DuplicateProjectError: the new name is taken.
        WatchedProjectError: an app's project was to be called otherwise.
    """
    given = {key: value for key, value in values.items() if value is not None}
    name = given.get("name")
    if name and session.scalar(select(Project.id).where(Project.name == name, Project.id != project_id)):
        raise DuplicateProjectError(f"a project {name!r} exists already; choose another name")
    project = session.get(Project, project_id, with_for_update=True)
    if project is None:
        raise NotFoundError(f"there is no project {project_id}")
    if name and name != project.name:
        _leave_watched(session, project.name)
    for key, value in given.items():
        setattr(project, key, value)


def remove(session: Session, project_id: UUID) -> None:
    """Delete a project with its runs and their feedback.

    Raises:
        NotFoundError: there is no such project.
        WatchedProjectError: it is an app's.
    """
    session.execute(text("SET LOCAL lock_timeout = '5s'"))
    project = session.get(Project, project_id, with_for_update=True)
    if project is None:
        raise NotFoundError(f"there is no project {project_id}")
    _leave_watched(session, project.name)
    session.execute(delete(Feedback).where(Feedback.project_id == project_id))
    session.execute(delete(Run).where(Run.project_id == project_id))
    session.execute(delete(BucketChange).where(BucketChange.project_id == project_id))
    session.execute(delete(Project).where(Project.id == project_id))


def _leave_watched(session: Session, name: str) -> None:
    app = session.scalar(select(App.name).where(App.project == name, App.enabled).limit(1))
    if app is not None:
        raise WatchedProjectError(
            f"the project {name!r} is watched as the app {app}: choose another, or first "
            f"`metamon apps set {app} enabled=false`"
        )
