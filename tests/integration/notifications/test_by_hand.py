"""Mail at the shell, over HTTP and through the fleet's own tasks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import SecretStr
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker
from typer.testing import CliRunner

from api.routes import mail as routes
from core.errors import ForbiddenTransitionError, NotFoundError
from core.states import EmailState, JobState, Scope
from db.models.access import AuditEntry
from db.models.jobs import Job
from db.models.mail import Email
from db.repositories import addresses, emails, jobs, tokens
from notifications import typeset
from notifications.announce import announce
from notifications.wishes import BadWishError
from tests.fakes.smtp import ScriptedServer, scripted_server
from tests.integration.notifications.rows import NOW, SETTINGS, add_alert, add_app
from workers.runner import run


@dataclass
class World:
    """A fleet in one process: a database, a mail server, and settings that point at both."""

    sessions: sessionmaker[Session]
    server: ScriptedServer
    shell: CliRunner

    def mails(self) -> list[Email]:
        """Return all mails."""
        with self.sessions() as session:
            return list(session.scalars(select(Email).order_by(Email.id)))

    def work(self) -> None:
        """Run every job that is queued, the way a worker would, until none is left."""
        from tasks import notifications as tasks

        handlers = {f"notifications.{name}": getattr(tasks, name).handler for name in ("announce", "deliver")}
        while True:
            with self.sessions() as session:
                job = session.scalars(
                    select(Job).where(Job.state == JobState.QUEUED, Job.attempts == 0).order_by(Job.id).limit(1)
                ).one_or_none()
            if job is None:
                return
            run(job.id, handlers[job.kind], owner=f"m{job.id}", sessions=self.sessions)


@pytest.fixture
def world(sessions: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Everything that the commands look up for themselves, put in its place."""
    with scripted_server() as server:
        settings = SETTINGS.model_copy(update={"smtp_url": SecretStr(server.url)})
        monkeypatch.setattr("core.settings.settings", lambda: settings)
        monkeypatch.setattr("tasks.notifications.settings", lambda: settings)
        monkeypatch.setattr("db.session.session_factory", lambda: sessions)
        yield World(sessions, server, CliRunner())


def test_from_the_event_to_the_mailbox(world: World) -> None:
    """Announce and deliver are two kinds of jobs in one tree; every step twice changes nothing."""
    with world.sessions.begin() as session:
        alert_id = add_alert(session, add_app(session)).id
        jobs.enqueue(
            session,
            key=f"announce:alert_critical:{alert_id}",
            kind="notifications.announce",
            args={"event": "alert_critical", "subject_id": alert_id},
        )
    world.work()
    assert [got.recipients for got in world.server.received] == [["ada@example.com"], ["bob@example.com"]]
    assert {mail.state for mail in world.mails()} == {EmailState.SENT}
    with world.sessions.begin() as session:
        rows = session.scalars(select(Job).order_by(Job.id)).all()
        assert {row.state for row in rows} == {JobState.DONE}
        assert {row.root_id or row.id for row in rows} == {rows[0].id}
        for mail in world.mails():  # as if every delivery came again, under a job of its own
            jobs.enqueue(session, key=f"again:{mail.id}", kind=emails.DELIVER, args={"email_id": mail.id})
    world.work()
    assert len(world.server.received) == 2


def test_a_refused_mail_is_done_as_a_job_and_failed_as_a_mail(world: World) -> None:
    """The job has nothing left to do; the mail says what happened."""
    world.server.tell("RCPT", "550 no such user", "451 later")
    with world.sessions.begin() as session:
        alert_id = add_alert(session, add_app(session)).id
        announce(session, "alert_critical", alert_id, now=NOW, settings=SETTINGS)
    world.work()
    assert [mail.state for mail in world.mails()] == [EmailState.FAILED, EmailState.QUEUED]
    with world.sessions() as session:
        states = session.scalars(select(Job.state).order_by(Job.id)).all()
        waiting = session.scalars(select(Job).order_by(Job.id.desc())).first()
    assert states == [JobState.DONE, JobState.QUEUED]
    assert waiting is not None
    assert waiting.attempts == 1
    assert "451 later" in (waiting.error or "")


def test_a_test_mail_says_what_the_server_answered(world: World) -> None:
    """It arrives, or the shell says why not and leaves with 4."""
    from cli.mail import app

    assert world.shell.invoke(app, ["test", "--to", "ada@example.com"]).exit_code == 0
    assert world.server.received[0].message["Subject"] == "[metamon] test mail"
    world.server.tell("RCPT", "550 who is that")
    refused = world.shell.invoke(app, ["test", "--to", "nobody@example.com"])
    assert refused.exit_code == 4
    assert "550 who is that" in refused.output
    with world.sessions() as session:
        assert session.scalars(select(Job)).all() == []


def test_a_drill_reaches_whoever_a_critical_alert_would(world: World) -> None:
    """Both readers get it now, nothing is opened, and the audit log knows who asked; an app without readers says so."""
    from cli.alerts import app

    with world.sessions.begin() as session:
        add_app(session)
    assert world.shell.invoke(app, ["test"]).exit_code == 0
    assert [got.recipients for got in world.server.received] == [["ada@example.com"], ["bob@example.com"]]
    assert world.server.received[0].message["Subject"] == "[fa-ai] drill: a critical alert would reach you like this"
    with world.sessions.begin() as session:
        assert session.scalars(select(AuditEntry.action)).all() == ["alert.test"]
        add_app(session, "mute", notify=[])
    assert "which app? fa-ai, mute" in str(world.shell.invoke(app, ["test"]).exception)
    deaf = world.shell.invoke(app, ["test", "mute"])
    assert deaf.exit_code == 4
    assert "metamon apps set mute notify=" in deaf.output


def test_listing_has_stable_names_and_names_the_deaf(world: World) -> None:
    """Scripts read the JSON; people are told which app would alarm nobody."""
    from cli.mail import app

    with world.sessions.begin() as session:
        alert_id = add_alert(session, add_app(session)).id
        add_app(session, "deaf-bot", notify=[])
        announce(session, "alert_critical", alert_id, now=NOW, settings=SETTINGS)
    world.work()
    result = world.shell.invoke(app, ["list", "--json"])
    first = json.loads(result.stdout)[0]
    assert {"id", "kind", "subject", "to", "state", "sent_at"} <= set(first)
    assert (first["kind"], first["state"], first["to"]) == ("critical", "sent", "bob@example.com")
    assert "deaf-bot" in result.stderr
    assert json.loads(world.shell.invoke(app, ["list", "--json", "--status", "failed"]).stdout) == []


def test_a_mail_is_shown_as_text_html_or_whole(world: World) -> None:
    """Each form alone, so that it can be piped."""
    from cli.mail import app

    with world.sessions.begin() as session:
        announce(session, "alert_critical", add_alert(session, add_app(session)).id, now=NOW, settings=SETTINGS)
    mail = world.mails()[0]
    assert world.shell.invoke(app, ["show", str(mail.id), "--text"]).stdout == mail.text_body
    assert world.shell.invoke(app, ["show", str(mail.id), "--html"]).stdout == mail.html_body
    whole = world.shell.invoke(app, ["show", str(mail.id)]).stdout
    assert f"Message-ID: {mail.message_id}" in whole
    assert "Auto-Submitted: auto-generated" in whole
    assert isinstance(world.shell.invoke(app, ["show", "9999"]).exception, NotFoundError)


def test_a_person_decides_about_an_unknown_mail(world: World) -> None:
    """Resent or marked as sent, and written down who did; what was sent cannot be sent again."""
    from cli.mail import app

    with world.sessions.begin() as session:
        announce(session, "alert_critical", add_alert(session, add_app(session)).id, now=NOW, settings=SETTINGS)
        ids = [mail.id for mail in session.scalars(select(Email).order_by(Email.id))]
        for mail_id in ids:
            row = emails.lock(session, mail_id)
            emails.begin_sending(row)
            emails.mark_unknown(row)
        session.query(Job).delete()
    assert world.shell.invoke(app, ["resend", str(ids[0])]).exit_code == 0
    assert world.shell.invoke(app, ["mark-sent", str(ids[1])]).exit_code == 0
    world.work()
    assert [got.recipients for got in world.server.received] == [["ada@example.com"]]
    assert {mail.state for mail in world.mails()} == {EmailState.SENT}
    again = world.shell.invoke(app, ["resend", str(ids[0])])
    assert isinstance(again.exception, ForbiddenTransitionError)
    with world.sessions() as session:
        actions = session.scalars(select(AuditEntry.action).order_by(AuditEntry.id)).all()
    assert actions == ["mail.resend", "mail.mark_sent"]


def test_a_digest_is_previewed_and_sent_by_hand(world: World, tmp_path: Path) -> None:
    """A preview changes nothing; sending one by hand does not use up the daily one."""
    from cli.digest import app

    with world.sessions.begin() as session:
        add_app(session)
    preview = world.shell.invoke(app, ["preview", "--app", "fa-ai"])
    assert preview.exit_code == 0
    assert preview.stdout.startswith("Subject: [fa-ai]")
    assert "<table" in world.shell.invoke(app, ["preview", "--app", "fa-ai", "--html"]).stdout
    page = tmp_path / "digest.html"
    written = world.shell.invoke(app, ["preview", "--app", "fa-ai", "--out", str(page)])
    assert (written.exit_code, written.stdout) == (0, "")
    assert page.read_text().startswith("<!DOCTYPE html>")
    nowhere = ["preview", "--app", "fa-ai", "--out", str(tmp_path / "no" / "x")]
    assert world.shell.invoke(app, nowhere).exit_code == 2
    assert world.mails() == []
    for _ in range(2):
        assert world.shell.invoke(app, ["send", "--app", "fa-ai", "--to", "eve@example.com"]).exit_code == 0
    world.work()
    assert [got.recipients for got in world.server.received] == [["eve@example.com"]] * 2
    assert "List-Unsubscribe" in world.server.received[0].message
    assert isinstance(world.shell.invoke(app, ["preview", "--app", "nope"]).exception, NotFoundError)


def test_the_api_shows_mails_and_lets_an_admin_decide(world: World) -> None:
    """Viewers read, admins decide, and nothing happens on GET: mail scanners follow every link."""
    with world.sessions.begin() as session:
        announce(session, "alert_critical", add_alert(session, add_app(session)).id, now=NOW, settings=SETTINGS)
        given = {
            scope: {"x-api-key": tokens.create(session, name=scope.value, scope=scope, by="test")}
            for scope in (Scope.VIEWER, Scope.ADMIN)
        }
    mail = world.mails()[0]
    with world.sessions.begin() as session:
        emails.give_up(emails.lock(session, mail.id), "550")
    app = FastAPI()
    app.state.sessions, app.state.bearers = world.sessions, {}
    app.include_router(routes.router)
    with TestClient(app) as client:
        assert client.get("/mail").status_code == 401
        viewer, admin = given[Scope.VIEWER], given[Scope.ADMIN]
        assert [item["id"] for item in client.get("/mail", params={"limit": 1}, headers=viewer).json()["items"]] == [
            mail.id + 1
        ]
        shown = client.get(f"/mail/{mail.id}", headers=viewer)
        assert shown.headers["content-type"] == "application/json"
        assert shown.json()["html"] == mail.html_body
        assert client.get(f"/mail/{mail.id}/resend", headers=admin).status_code == 405
        assert client.post(f"/mail/{mail.id}/resend", headers=viewer).status_code == 403
        assert client.post(f"/mail/{mail.id}/resend", headers=admin).json()["state"] == "queued"
        assert "html" not in client.post(f"/mail/{mail.id}/resend", headers=admin).json()


def test_wishes_are_set_at_the_shell_and_over_http(world: World) -> None:
    """Checked, listed, written down who did it; a bounced address is a banner until somebody enables it."""
    from cli.mail import app

    with world.sessions.begin() as session:
        add_app(session)
        for _ in range(2):
            addresses.bounced(session, "bob@example.com", error="550 gone", now=NOW)
        admin = {"x-api-key": tokens.create(session, name="admin", scope=Scope.ADMIN, by="test")}
    wish = ["wish", "Ada@example.com", "--app", "fa-ai", "--timezone", "Asia/Tokyo", "--mute", "hourly"]
    assert world.shell.invoke(app, [*wish, "--quiet", "22:00-07:00"]).exit_code == 0
    first, second = json.loads(world.shell.invoke(app, ["recipients", "--json"]).stdout)
    assert (first["timezone"], first["muted"], first["quiet"]) == ("Asia/Tokyo", ["hourly"], "22:00-07:00")
    assert (second["bounces"], second["disabled_at"] is not None) == (2, True)
    for wrong in (["--mute", "news"], ["--timezone", "Mars"], ["--quiet", "late"]):
        assert isinstance(world.shell.invoke(app, [*wish[:4], *wrong]).exception, BadWishError)
    stranger = world.shell.invoke(app, ["wish", "eve@example.com", "--app", "fa-ai", "--mute", "digest"])
    assert isinstance(stranger.exception, NotFoundError)
    assert "bob@example.com bounced 2 times" in world.shell.invoke(app, ["list"]).stderr

    api = FastAPI()
    api.state.sessions, api.state.bearers = world.sessions, {}
    api.include_router(routes.router)
    with TestClient(api) as client:
        assert [item["kind"] for item in client.get("/mail/problems", headers=admin).json()] == ["disabled"]
        assert client.post("/mail/recipients/enable", json={"address": "bob@example.com"}, headers=admin).json() == []
        changed = client.patch(
            "/mail/recipients",
            json={"app": "fa-ai", "address": "ada@example.com", "quiet": "none", "unmute": ["hourly"]},
            headers=admin,
        )
        assert (changed.json()[0]["quiet"], changed.json()[0]["muted"]) == (None, [])
    with world.sessions() as session:
        actions = session.scalars(select(AuditEntry.action).order_by(AuditEntry.id)).all()
    assert actions == ["mail.disable", "token.create", "mail.prefer", "mail.enable", "mail.prefer"]


def test_a_template_with_a_hole_fails_the_job_and_sends_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing variable is a dead job that names it, never half a mail."""
    with world.sessions.begin() as session:
        alert_id = add_alert(session, add_app(session)).id
        jobs.enqueue(
            session,
            key="announce",
            kind="notifications.announce",
            args={"event": "alert_critical", "subject_id": alert_id},
        )
    broken = typeset.environment().from_string("Dear {{ who_is_this }}")
    monkeypatch.setattr(typeset, "layout", lambda _: broken)
    world.work()
    assert world.mails() == []
    assert world.server.received == []
    with world.sessions() as session:
        job = session.scalars(select(Job)).one()
    assert (job.state, job.attempts) == (JobState.QUEUED, 1)
    assert "'who_is_this' is undefined" in (job.error or "")
