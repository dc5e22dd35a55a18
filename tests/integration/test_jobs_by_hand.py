"""What an operator sees of the jobs and does to them, at the shell and over HTTP."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker
from typer.testing import CliRunner

from api.routes import jobs as routes
from core.clock import utc_now
from core.errors import ForbiddenTransitionError, NotFoundError
from core.states import JobState
from db.models.access import AuditEntry
from db.models.jobs import Job
from db.queries.jobs import JobNode, list_jobs, show_job, tree
from db.repositories import jobs

LEASE = timedelta(seconds=30)


@pytest.fixture
def chain(sessions: sessionmaker[Session]) -> dict[str, int]:
    """A chain of four: a sweep, its check, the research of an alert (dead), and a mail."""
    ids: dict[str, int] = {}
    parent = None
    for key, kind in (
        ("tick:sweep:1", "monitoring.sweep"),
        ("check:1:1", "monitoring.check_app"),
        ("research:1", "research.investigate"),
    ):
        with sessions.begin() as session:
            job_id = jobs.enqueue(session, key=key, kind=kind, args={"app_id": 1}, parent=parent, max_attempts=1)
            if key == "research:1":
                ids["mail"] = jobs.enqueue(session, key="deliver:1", kind="notifications.deliver", parent=parent) or 0
        assert job_id is not None
        ids[kind] = job_id
        with sessions.begin() as session:
            parent = jobs.claim(session, job_id, owner="worker", now=utc_now(), lease=LEASE)
        assert parent is not None
        with sessions.begin() as session:
            if key == "research:1":
                jobs.fail(session, parent, "ValueError: no traces\nmore", now=utc_now(), retry_at=None)
            else:
                jobs.finish(jobs.hold(session, parent), utc_now())
    return ids


def test_a_chain_reads_as_a_tree(sessions: sessionmaker[Session], chain: dict[str, int]) -> None:
    """From whichever job one looks: the sweep at the root, the mail and the research below the check."""
    with sessions() as session:
        for job_id in chain.values():
            root = show_job(session, job_id, now=utc_now()).chain
            assert root.kind == "monitoring.sweep"
            (check,) = root.children
            assert {child.kind for child in check.children} == {"research.investigate", "notifications.deliver"}


def test_a_job_whose_parent_is_gone_hangs_below_the_root(
    sessions: sessionmaker[Session], chain: dict[str, int]
) -> None:
    """Retention may take a link out of a chain; the rest is still shown."""
    with sessions.begin() as session:
        session.delete(session.get_one(Job, chain["monitoring.check_app"]))
    with sessions() as session:
        root = show_job(session, chain["mail"], now=utc_now()).chain
    assert root.kind == "monitoring.sweep"
    assert len(root.children) == 2
    with sessions.begin() as session:
        session.delete(session.get_one(Job, chain["monitoring.sweep"]))
    with sessions() as session:
        orphaned = show_job(session, chain["mail"], now=utc_now()).chain
    assert {orphaned.kind, *(child.kind for child in orphaned.children)} == {
        "research.investigate",
        "notifications.deliver",
    }


def test_a_very_long_chain_stays_readable() -> None:
    """A thousand jobs, each the child of the one before: neither Python nor a JSON parser gives up on them."""
    now = utc_now()
    nodes = [
        JobNode(
            id=number,
            key=f"k{number}",
            kind="rollout.advance",
            queue="rollout",
            state=JobState.DONE,
            attempts=1,
            max_attempts=5,
            dispatches=1,
            age_s=1.0,
            error=None,
            root_id=1,
            parent_id=number - 1 or None,
            created_at=now,
            run_at=now,
            started_at=now,
            finished_at=now,
        )
        for number in range(1, 1001)
    ]
    content = tree(nodes, 1).model_dump_json()
    assert content.count('"key"') == 1000


def test_lists_narrow_down_to_what_is_stuck(sessions: sessionmaker[Session], chain: dict[str, int]) -> None:
    """By queue, state, kind, age and chain; beat's done ticks are left out where one looks for trouble."""
    now = utc_now()
    with sessions() as session:

        def kinds(**named: object) -> list[str]:
            return [record.kind for record in list_jobs(session, now=now, **named)]  # type: ignore[arg-type]

        assert len(kinds()) == 4
        assert "monitoring.sweep" not in kinds(ticks=False)
        assert kinds(state=JobState.DEAD) == ["research.investigate"]
        assert kinds(queue="notifications") == ["notifications.deliver"]
        assert kinds(kind="monitoring.check_app") == ["monitoring.check_app"]
        assert kinds(older_than=timedelta(hours=1)) == []
        assert len(kinds(root_id=chain["monitoring.sweep"])) == 4
        assert kinds(oldest_first=True, limit=1) == ["monitoring.sweep"]
        assert kinds(key=(chain["monitoring.check_app"],)) == ["monitoring.sweep"]
        with pytest.raises(NotFoundError, match="jobs list"):
            show_job(session, 9999, now=now)


@pytest.fixture
def shell(sessions: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """A shell whose commands use the test's database."""
    monkeypatch.setattr("db.session.session_factory", lambda: sessions)
    return CliRunner()


def test_an_operator_retries_and_cancels_and_it_is_written_down(
    sessions: sessionmaker[Session], chain: dict[str, int], shell: CliRunner
) -> None:
    """Both change the row and leave an entry in the audit log, in one transaction."""
    from cli.jobs import app

    research, mail = chain["research.investigate"], chain["mail"]
    assert shell.invoke(app, ["retry", str(research)]).exit_code == 0
    assert shell.invoke(app, ["cancel", str(mail)]).exit_code == 0
    with sessions() as session:
        assert session.get_one(Job, research).state is JobState.QUEUED
        assert session.get_one(Job, mail).state is JobState.CANCELLED
        entries = session.scalars(select(AuditEntry).order_by(AuditEntry.id)).all()
    assert [(entry.action, entry.subject) for entry in entries] == [
        ("job.retry", f"job:{research}"),
        ("job.cancel", f"job:{mail}"),
    ]
    assert entries[0].actor.startswith("cli:")


def test_retrying_several_is_all_or_nothing(
    sessions: sessionmaker[Session], chain: dict[str, int], shell: CliRunner
) -> None:
    """One that cannot be retried leaves the others as they were."""
    from cli.jobs import app

    ids = [str(chain["research.investigate"]), str(chain["monitoring.check_app"])]
    result = shell.invoke(app, ["retry", *ids])
    assert isinstance(result.exception, ForbiddenTransitionError)
    with sessions() as session:
        assert session.get_one(Job, chain["research.investigate"]).state is JobState.DEAD
        assert session.scalars(select(AuditEntry)).all() == []


def test_the_shell_shows_what_the_database_knows(chain: dict[str, int], shell: CliRunner) -> None:
    """JSON is one document; the table names the state, the error's first line and the tree."""
    from cli.jobs import app

    listed = json.loads(shell.invoke(app, ["list", "--json"]).stdout)
    assert {record["kind"] for record in listed} == {
        "research.investigate",
        "notifications.deliver",
        "monitoring.check_app",
    }
    shown = json.loads(shell.invoke(app, ["show", str(chain["mail"]), "--json"]).stdout)
    assert shown["chain"]["children"][0]["kind"] == "monitoring.check_app"
    text = shell.invoke(app, ["show", str(chain["research.investigate"])])
    assert text.exit_code == 0
    for said in ("dead", "ValueError: no traces", "monitoring.sweep", "notifications.deliver"):
        assert said in text.stdout


def test_the_api_serves_and_changes_jobs(sessions: sessionmaker[Session], chain: dict[str, int]) -> None:
    """Viewers read; only an admin's token retries or cancels."""
    from core.states import Scope
    from db.repositories import tokens

    with sessions.begin() as session:
        given = {
            scope: {"x-api-key": tokens.create(session, name=scope.value, scope=scope, by="test")}
            for scope in (Scope.VIEWER, Scope.ADMIN)
        }
    app = FastAPI()
    app.state.sessions, app.state.bearers = sessions, {}
    app.include_router(routes.router)
    research = chain["research.investigate"]
    with TestClient(app) as client:
        assert client.get("/jobs").status_code == 401
        listed = client.get("/jobs", params={"state": "dead"}, headers=given[Scope.VIEWER]).json()["items"]
        assert [record["id"] for record in listed] == [research]
        assert (
            client.get(f"/jobs/{research}", headers=given[Scope.VIEWER]).json()["chain"]["kind"] == "monitoring.sweep"
        )
        assert client.post(f"/jobs/{research}/retry", headers=given[Scope.VIEWER]).status_code == 403
        retried = client.post(f"/jobs/{research}/retry", headers=given[Scope.ADMIN])
        assert retried.json()["state"] == "queued"
        assert client.post(f"/jobs/{research}/cancel", headers=given[Scope.ADMIN]).json()["state"] == "cancelled"
    with sessions() as session:
        actions = session.scalars(
            select(AuditEntry.action).where(AuditEntry.subject == f"job:{research}").order_by(AuditEntry.id)
        ).all()
    assert actions == ["job.retry", "job.cancel"]
