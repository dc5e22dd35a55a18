"""Runs of an app that traces to the LangSmith cloud: polled into our own store, then read from there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from core.clock import utc_now
from core.settings import REFUSED_PROJECTS
from core.states import RunStatus
from db.models.apps import App, Project, Watermark
from db.models.traces import Run
from db.queries.runs import days
from db.repositories.runs import abandon_pending
from db.session import Sessions
from traces import ingest
from traces.embedded import ABANDON_WINDOW, ABANDONED_AFTER, EmbeddedSource
from traces.ingest import Upload
from traces.langsmith_api import PAGE_SIZE, LangSmithApi
from traces.normalise import OLDEST, RawRun
from traces.source import Pulled, TraceRun

WATERMARK = "langsmith"

SETTLING = timedelta(seconds=30)
"""The cloud is asked for what is older than this: younger runs may still be on their way into it."""

OVERLAP = timedelta(minutes=15)
"""How far before the watermark each poll looks again: clocks are skewed and uploads are late. Upserts make it free."""

LATE_WINDOW = timedelta(hours=24)
"""How long after its start a run's end is still looked for."""

EDIT_WINDOW = timedelta(days=7)
"""How old a run may be whose edited feedback is still taken in."""

FIRST_WINDOW = timedelta(days=14)
"""How much history the first poll fetches: two weekly seasons for the baseline."""

IDS_AT_ONCE = 100

Item = TypeVar("Item")


class LangSmithSource:
    """The LangSmith cloud behind our own store. Implements `traces.source.TraceSource`.

    Args:
        sessions: the database.
        connect: opens a connection to the cloud; used for the length of one call.
        public_url: how people reach our API, for runs whose project the cloud gave no link for.
        kept: how long runs and feedback are kept; the cloud may keep them longer.
        clock: says when payloads were fetched that `runs` asks for.
    """

    def __init__(
        self,
        sessions: Sessions,
        connect: Callable[[], LangSmithApi],
        public_url: str,
        kept: timedelta = OLDEST,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.sessions = sessions
        self.connect = connect
        self.kept = kept
        self.clock = clock
        self.store = EmbeddedSource(sessions, public_url)
        self._links: dict[UUID, str] = {}

    def pull(self, app_id: int, now: datetime) -> Pulled:
        """Fetch what is new, what ended late, what was still pending, and feedback new and edited.

        Everything is an upsert by id, and the watermark moves last: a poll that dies is repeated in full.

        Raises:
            SourceAwayError: the cloud did not answer or asked to slow down; call again later.
            SourceRefusedError: the key is wrong.
        """
        with self.sessions() as session:
            app = session.get_one(App, app_id)
            mark = session.get(Watermark, (app_id, WATERMARK))
        if app.project in REFUSED_PROJECTS:
            return Pulled()
        until = now - SETTLING
        since = min(mark.at if mark else now - FIRST_WINDOW, until)
        with self.connect() as api:
            remote = api.project(app.project)
            if remote is None:
                return Pulled()
            project_id = self._project(app.project, remote.id, remote.reference_dataset_id, remote.url)
            if remote.reference_dataset_id is not None:
                return Pulled()
            start = since - OVERLAP
            count = self._store_runs(project_id, api.roots(remote.id, start, until), now)
            late_end = f'gte(end_time, "{start.isoformat()}")'
            count += self._store_runs(
                project_id, api.roots(remote.id, until - LATE_WINDOW, start, filter=late_end), now
            )
            count += self._refresh_pending(api, project_id, remote.id, now)
            scored = self._store_feedback(
                api.feedback(session=[remote.id], min_created_at=start.isoformat(), max_created_at=until.isoformat()),
                now,
            )
            scored += self._refresh_edited(api, remote.id, start, until, now)
        with self.sessions() as session, session.begin():
            abandoned = abandon_pending(
                session, project_id, start=now - ABANDONED_AFTER - ABANDON_WINDOW, end=now - ABANDONED_AFTER
            )
            move = insert(Watermark).values(app_id=app_id, name=WATERMARK, at=until)
            session.execute(
                move.on_conflict_do_update(
                    index_elements=[Watermark.app_id, Watermark.name],
                    set_={"at": move.excluded.at},
                    where=Watermark.at < move.excluded.at,
                )
            )
        return Pulled(runs=count, feedback=scored, abandoned=abandoned)

    def runs(
        self,
        project_id: UUID,
        start: datetime,
        end: datetime,
        *,
        only_errors: bool = False,
        limit: int = 10_000,
        with_payload: bool = False,
    ) -> list[TraceRun]:
        """Return root runs that started in [start, end), newest first; payloads are fetched when first asked for."""
        if with_payload:
            found = self.store.runs(project_id, start, end, only_errors=only_errors, limit=limit, with_payload=True)
            bare = [run.id for run in found if run.inputs is None]
            if not bare:
                return [self._linked(project_id, run) for run in found]
            self._fetch_payloads(project_id, bare, start)
        found = self.store.runs(project_id, start, end, only_errors=only_errors, limit=limit, with_payload=with_payload)
        return [self._linked(project_id, run) for run in found]

    def run_url(self, project_id: UUID, run_id: UUID) -> str:
        """Return where the run can be looked at: the cloud's own page."""
        if project_id not in self._links:
            with self.sessions() as session:
                project = session.get(Project, project_id)
            self._links[project_id] = str(((project.extra if project else {}) or {}).get("langsmith_url") or "")
        link = self._links[project_id]
        return f"{link}/r/{run_id}?poll=true" if link else self.store.run_url(project_id, run_id)

    def _linked(self, project_id: UUID, run: TraceRun) -> TraceRun:
        return replace(run, url=self.run_url(project_id, run.id))

    def _project(self, name: str, remote_id: UUID, dataset_id: UUID | None, url: str | None) -> UUID:
        """Return our row's id for the cloud's project: the cloud's id, unless the name was here before."""
        values: dict[str, Any] = {"name": name, "reference_dataset_id": dataset_id}
        extra = {"langsmith_url": url, "langsmith_id": str(remote_id)}
        with self.sessions() as session, session.begin():
            statement = insert(Project).values(id=remote_id, extra=extra, **values)
            return session.execute(
                statement.on_conflict_do_update(
                    index_elements=[Project.name],
                    set_={
                        "extra": Project.extra.op("||")(statement.excluded.extra),
                        "reference_dataset_id": dataset_id,
                    },
                ).returning(Project.id)
            ).scalar_one()

    def _store_runs(self, project_id: UUID, forms: Iterable[dict[str, Any]], now: datetime) -> int:
        count = 0
        for page in _pages(forms, PAGE_SIZE):
            upload = Upload(kept=self.kept)
            for form in page:
                # As a patch: what the cloud says now goes before what it said earlier.
                form["session_id"] = str(project_id)
                upload.add_run([RawRun(False, form)], f"run {form.get('id')}", now=now)
            ingest.store(self.sessions, upload, now=now)
            count += upload.stored
        return count

    def _store_feedback(self, forms: Iterable[dict[str, Any]], now: datetime) -> int:
        count = 0
        for page in _pages(forms, PAGE_SIZE):
            upload = Upload(kept=self.kept)
            for form in page:
                upload.add_feedback(form, f"feedback {form.get('id')}", now=now)
            ingest.store(self.sessions, upload, now=now)
            count += upload.stored
        return count

    def _refresh_pending(self, api: LangSmithApi, project_id: UUID, remote_id: UUID, now: datetime) -> int:
        start = now - ABANDONED_AFTER
        with self.sessions() as session:
            pending = session.scalars(
                select(Run.id).where(
                    Run.project_id == project_id,
                    Run.is_root,
                    Run.status == RunStatus.PENDING,
                    Run.start_time >= start,
                    *days(start, None),
                )
            ).all()
        count = 0
        for ids in _pages(pending, IDS_AT_ONCE):
            forms = api.roots(remote_id, start, now, ids=[str(run_id) for run_id in ids])
            count += self._store_runs(project_id, (form for form in forms if "end_time" in form), now)
        return count

    def _refresh_edited(
        self, api: LangSmithApi, remote_id: UUID, start: datetime, until: datetime, now: datetime
    ) -> int:
        edited = api.roots(
            remote_id,
            until - EDIT_WINDOW,
            until,
            filter='neq(feedback_key, "")',  # the bounds below need a condition on feedback
            min_feedback_modified_at=start,
            max_feedback_modified_at=until,
        )
        count = 0
        for page in _pages(edited, IDS_AT_ONCE):
            rows = api.feedback(run_ids=[form["id"] for form in page], max_created_at=until.isoformat())
            count += self._store_feedback(rows, now)
        return count

    def _fetch_payloads(self, project_id: UUID, ids: Sequence[UUID], start: datetime) -> None:
        with self.sessions() as session:
            extra = session.get_one(Project, project_id).extra
        remote_id = UUID(extra.get("langsmith_id") or str(project_id))
        with self.connect() as api:
            for page in _pages(ids, IDS_AT_ONCE):
                self._store_runs(project_id, api.payloads(remote_id, page, start), self.clock())


def _pages(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    page: list[Item] = []
    for item in items:
        page.append(item)
        if len(page) == size:
            yield page
            page = []
    if page:
        yield page
