"""The contract of every mail, E1 to E11, against a real SMTP server that answers as it is told."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from email.message import EmailMessage
from html.parser import HTMLParser

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session, sessionmaker

from api.app import create_app
from core.clock import utc_now
from core.states import AlertState, EmailState, JobState, ProposalStatus, RolloutState, Scope, Severity
from db.models.access import User
from db.models.alerts import AlertEvent, MonitoringAlert
from db.models.apps import App
from db.models.jobs import Job
from db.models.mail import Email, MailAddress, MailPreference
from db.queries.addresses import mail_problems
from db.repositories import addresses
from notifications import dead_man, digest, rollup, unsubscribe
from notifications.announce import announce
from notifications.deliver import deliver
from notifications.policy import DEMO, REAL, HeaderInjectionError, zone_of
from notifications.smtp import PostponedError, parse_server
from notifications.wishes import change
from tests.fakes.smtp import DROP, STALL, ScriptedServer, scripted_server
from tests.integration.notifications.rows import NOW, SETTINGS, add_alert, add_app, add_proposal, add_rollout
from tests.integration.notifications.test_scheduled import add_hours, add_ticks

Factory = sessionmaker[Session]
HOSTILE = '<img src=x onerror="alert(1)"><script>alert(2)</script>'


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """An SMTP server that answers as it is told."""
    with scripted_server() as running:
        yield running


def post(sessions: Factory, server: ScriptedServer, *, kind: str | None = None) -> list[EmailState]:
    """Try once to send whatever is queued, of one kind where asked; returns the states that were reached."""
    with sessions() as session:
        query = select(Email.id).where(Email.state == EmailState.QUEUED).order_by(Email.id)
        ids = session.scalars(query if kind is None else query.where(Email.kind == kind)).all()
    states = []
    for email_id in ids:
        try:
            state = deliver(
                sessions,
                email_id,
                server=parse_server(server.url, timeout_s=1.0),
                sender=SETTINGS.mail_from,
                now=utc_now,
            )
        except PostponedError:
            state = EmailState.QUEUED
        states.append(state)
    return states


def tell(sessions: Factory, event: str, subject_id: int, *, now: datetime = NOW, number: int = 0) -> list[int]:
    """Announce an event."""
    with sessions.begin() as session:
        return announce(session, event, subject_id, now=now, settings=SETTINGS, number=number)


def a_busy_day(sessions: Factory, *, notify: list[str]) -> int:
    """Add an app with a day that has everything, and return its id."""
    with sessions.begin() as session:
        app = add_app(session, notify=notify)
        add_ticks(session)
        add_hours(session, app.id, accuracy=0.71)
        add_alert(session, app, title=HOSTILE, reasons=[HOSTILE])
        add_proposal(session, app, title=f"Route {HOSTILE}", root_cause=HOSTILE)
        rolling = add_proposal(session, app, status=ProposalStatus.ROLLING_OUT, change_hash="1" * 64)
        add_rollout(
            session,
            rolling,
            guard={
                "sequential": {"tolerance": 0.05},
                "evidence": {"fact_accuracy": {"drop": 0.012}, "ratio": {"e_value": 1.0}},
            },
        )
        return app.id


def every_kind(sessions: Factory, *, notify: list[str]) -> None:
    """Queue a mail of every kind that is sent about an app."""
    app_id = a_busy_day(sessions, notify=notify)
    with sessions.begin() as session:
        alert = session.scalars(select(MonitoringAlert)).one()
        high = add_alert(session, session.get_one(App, app_id), fingerprint="other", severity=Severity.HIGH)
        ids = list(session.scalars(select(MonitoringAlert.id).where(MonitoringAlert.id != high.id)))
        waiting = session.scalars(text("SELECT id FROM improvement_proposals ORDER BY id LIMIT 1")).one()
    tell(sessions, "alert_critical", ids[0])
    tell(sessions, "alert_update", ids[0], number=2)
    tell(sessions, "storm", ids[0])
    for event in ("approval_needed", "proposal_blocked", "rolled_back", "implemented"):
        tell(sessions, event, waiting)
    with sessions.begin() as session:
        rollup.flush(session, now=NOW + timedelta(hours=1), cadence=REAL, settings=SETTINGS)
        digest.flush(session, now=NOW, cadence=REAL, settings=SETTINGS)
        alert = session.get_one(MonitoringAlert, alert.id)
        alert.state, alert.resolved_at = AlertState.RESOLVED, NOW
    tell(sessions, "alert_resolved", ids[0])
    dead_man.check(sessions, now=lambda: NOW + timedelta(hours=1), settings=SETTINGS, since=NOW - timedelta(days=1))


KINDS = {
    "critical", "update", "resolved", "storm", "approval", "blocked", "rollback", "implemented", "hourly", "digest",
    "dead_man",
}  # fmt: skip


def kinds_of(sessions: Factory) -> set[str]:
    """Return the kinds of all mails."""
    with sessions() as session:
        return set(session.scalars(select(Email.kind)))


def test_e1_text_comes_first_and_the_only_content_id_is_the_one_referenced(
    sessions: Factory, server: ScriptedServer
) -> None:
    """A client that shows the first part shows words; a picture that nobody refers to would hang below as a file."""
    every_kind(sessions, notify=["ada@example.com"])
    assert set(post(sessions, server)) == {EmailState.SENT}
    assert kinds_of(sessions) == KINDS
    pictures = 0
    for got in server.received:
        message = got.message
        assert message.get_content_type() == "multipart/alternative"
        first, second = message.iter_parts()
        assert first.get_content_type() == "text/plain"
        html = second
        ids = [part["Content-ID"] for part in message.walk() if part["Content-ID"]]
        if second.get_content_type() == "multipart/related":
            html = next(iter(second.iter_parts()))
        assert isinstance(html, EmailMessage)
        referenced = re.findall(r'src="cid:([^"]+)"', html.get_content())
        assert ids == [f"<{cid}>" for cid in referenced]
        pictures += len(ids)
    assert pictures == 1
    chart = next(p for got in server.received for p in got.message.walk() if p.get_content_type() == "image/png")
    content = chart.get_payload(decode=True)
    assert isinstance(content, bytes)
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert chart.get_content_disposition() == "inline"


def test_e2_model_text_is_escaped_and_a_line_break_in_a_subject_raises(
    sessions: Factory, server: ScriptedServer
) -> None:
    """What a model or a trace says is shown as words, in every kind of mail."""

    class Elements(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            assert tag != "script"
            assert not any(name.startswith("on") for name, _ in attrs)
            if tag == "img":
                assert (dict(attrs)["src"] or "").startswith("cid:")

    every_kind(sessions, notify=["ada@example.com"])
    with sessions() as session:
        mails = list(session.scalars(select(Email)))
    for mail in mails:
        Elements().feed(mail.html_body)
    assert any("&lt;script&gt;" in mail.html_body for mail in mails)
    with sessions.begin() as session:
        session.get_one(Email, mails[0].id).subject = "x\r\nBcc: all@example.com"
    with pytest.raises(HeaderInjectionError):
        post(sessions, server, kind=mails[0].kind)
    assert server.received == []


@pytest.mark.parametrize("answer", ["421 closing", "450 busy", "451 later", DROP, STALL])
def test_e3_what_may_pass_is_tried_again(sessions: Factory, server: ScriptedServer, answer: str) -> None:
    """Transient: the mail stays queued with the server's words, and arrives the next time."""
    with sessions.begin() as session:
        alert_id = add_alert(session, add_app(session, notify=["ada@example.com"])).id
    tell(sessions, "alert_critical", alert_id)
    server.tell("RCPT", answer)
    assert post(sessions, server) == [EmailState.QUEUED]
    with sessions() as session:
        assert session.scalars(select(Email.error)).one()
    assert post(sessions, server) == [EmailState.SENT]


@pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA"])
def test_e3_a_refusal_for_good_is_not_retried_and_is_shown(
    sessions: Factory, server: ScriptedServer, command: str
) -> None:
    """Permanent: failed, never tried again by itself, with the server's words where the dashboard reads them."""
    with sessions.begin() as session:
        alert_id = add_alert(session, add_app(session, notify=["ada@example.com"])).id
    tell(sessions, "alert_critical", alert_id)
    server.tell(command, "550 not here")
    assert post(sessions, server) == [EmailState.FAILED]
    assert post(sessions, server) == []
    with sessions() as session:
        assert "550 not here" in (session.scalars(select(Email.error)).one() or "")


def test_e4_a_thread_has_one_root_and_one_base_subject(sessions: Factory, server: ScriptedServer) -> None:
    """Firing, update, resolved: mail programs show them as one conversation for each reader."""
    with sessions.begin() as session:
        alert = add_alert(session, add_app(session))
        session.add(AlertEvent(alert_id=alert.id, at=NOW, kind="firing", observed=0.86))
        session.add(AlertEvent(alert_id=alert.id, at=NOW, kind="updated", observed=0.71))
        alert_id = alert.id
    tell(sessions, "alert_critical", alert_id)
    assert len(tell(sessions, "alert_update", alert_id, number=2)) == 2
    assert tell(sessions, "alert_update", alert_id, number=2) == []  # delivered twice
    with sessions.begin() as session:
        row = session.get_one(MonitoringAlert, alert_id)
        row.state, row.resolved_at, row.observed = AlertState.RESOLVED, NOW, 0.94
    assert tell(sessions, "alert_update", alert_id, number=3) == []  # over: its end is told instead
    tell(sessions, "alert_resolved", alert_id)
    post(sessions, server)
    for reader in ("ada@example.com", "bob@example.com"):
        firing, update, resolved = [got.message for got in server.received if got.recipients == [reader]]
        assert firing["References"] is None
        for reply in (update, resolved):
            assert reply["References"] == reply["In-Reply-To"] == firing["Message-ID"]
            assert reply["Subject"] == f"Re: {firing['Subject']}"
        body = update.get_body(("plain",))
        assert body is not None
        assert "Fact accuracy is now 0.71" in body.get_content()
        assert "You were told 0.86 before" in body.get_content()


def test_e5_machines_can_tell_and_only_digests_can_be_unsubscribed(sessions: Factory, server: ScriptedServer) -> None:
    """No out-of-office answers to a machine; an alert is no newsletter."""
    every_kind(sessions, notify=["ada@example.com"])
    post(sessions, server)
    with sessions() as session:
        kinds = dict(session.execute(select(Email.message_id, Email.kind)).all())
    for got in server.received:
        message = got.message
        assert message["Auto-Submitted"] == "auto-generated"
        assert message["X-Auto-Response-Suppress"] == "All"
        assert message["List-Id"] == "fa-ai <fa-ai.metamon>"
        assert ("List-Unsubscribe" in message) is (kinds[message["Message-ID"]] == "digest")
        assert ("List-Unsubscribe-Post" in message) is (kinds[message["Message-ID"]] == "digest")


SEVEN_ZONES = [
    "UTC", "Europe/Berlin", "America/New_York", "America/St_Johns", "Asia/Kathmandu", "Australia/Lord_Howe",
    "Pacific/Kiritimati",
]  # fmt: skip


@pytest.mark.parametrize(
    "change_of_time",
    [datetime(2026, 4, 4, tzinfo=UTC), datetime(2026, 10, 24, tzinfo=UTC)],
    ids=["Lord Howe", "Europe"],
)
def test_e6_each_reader_has_one_digest_a_local_date_at_nine(sessions: Factory, change_of_time: datetime) -> None:
    """Seven readers in seven zones, checked every quarter of an hour over the days when clocks change.

    The whole year is simulated in tests/unit/notifications/test_policy.py, where it takes a second.
    """
    names = {f"reader{number}@example.com": zone for number, zone in enumerate(SEVEN_ZONES)}
    with sessions.begin() as session:
        app = add_app(session, notify=list(names), created_at=change_of_time)
        for address, zone in names.items():
            session.add(MailPreference(app_id=app.id, address=address, timezone=zone, muted=[]))
    at = change_of_time
    while at < change_of_time + timedelta(days=2):
        with sessions.begin() as session:
            digest.flush(session, now=at, cadence=REAL, settings=SETTINGS)
        at += timedelta(minutes=15)
    with sessions() as session:
        mails = list(session.scalars(select(Email).order_by(Email.id)))
    for address, name in names.items():
        mine = [mail for mail in mails if mail.recipient == address]
        moments = [mail.created_at.astimezone(zone_of(name)) for mail in mine]
        days = [moment.date() for moment in moments]
        assert len(days) == len(set(days)) >= 2
        # the first may be one that was due before the watch began
        assert {moment.time() for moment in moments[1:]} <= {time(9, 0)}


def test_e7_deciding_again_makes_the_same_message_ids(sessions: Factory) -> None:
    """A decision that was lost with its transaction is made again under the same names.

    A sender that is killed after the server's 250 and before its commit is in test_deliver.py.
    """
    with sessions.begin() as session:
        alert_id = add_alert(session, add_app(session)).id

    def decide(session: Session, now: datetime) -> list[str]:
        made = announce(session, "alert_critical", alert_id, now=now, settings=SETTINGS)
        return list(session.scalars(select(Email.message_id).where(Email.id.in_(made)).order_by(Email.recipient)))

    with sessions() as session:
        first = decide(session, NOW)
        session.rollback()
    with sessions.begin() as session:
        assert decide(session, NOW + timedelta(minutes=9)) == first
    assert len(set(first)) == 2
    assert tell(sessions, "alert_critical", alert_id) == []


def test_e8_one_message_for_each_recipient(sessions: Factory, server: ScriptedServer) -> None:
    """A refused address costs its own mail alone, and nobody sees who else was written to."""
    with sessions.begin() as session:
        app = add_app(session, notify=["ada@example.com", "gone@example.com", "bob@example.com"])
        alert_id = add_alert(session, app).id
    tell(sessions, "alert_critical", alert_id)
    server.tell("RCPT", "250 OK", "550 gone", "250 OK")
    assert post(sessions, server) == [EmailState.SENT, EmailState.FAILED, EmailState.SENT]
    assert [got.recipients for got in server.received] == [["ada@example.com"], ["bob@example.com"]]
    assert [got.message["To"] for got in server.received] == ["ada@example.com", "bob@example.com"]


def bounce(sessions: Factory, server: ScriptedServer, *, answer: str, notify: list[str] | None = None) -> None:
    """Send a mail to everybody; the first address on the list is answered as told."""
    with sessions.begin() as session:
        app = session.scalars(select(App)).one_or_none() or add_app(session, notify=notify or [])
        count = session.scalar(select(func.count()).select_from(MonitoringAlert)) or 0
        alert_id = add_alert(session, app, fingerprint=f"f{count}").id
    tell(sessions, "alert_critical", alert_id)
    server.tell("RCPT", answer)
    post(sessions, server)


def test_e9_two_hard_bounces_disable_an_address(sessions: Factory, server: ScriptedServer) -> None:
    """It is written to no more, that is said, and an admin can bring it back."""
    for _ in range(2):
        bounce(sessions, server, answer="550 5.1.1 no such user", notify=["gone@example.com", "ada@example.com"])
    with sessions() as session:
        (problem,) = mail_problems(session)
    assert (problem.kind, problem.address) == ("disabled", "gone@example.com")
    before = len(server.received)
    bounce(sessions, server, answer="250 OK")
    assert [got.recipients for got in server.received[before:]] == [["ada@example.com"]]
    with sessions.begin() as session:
        addresses.enable(session, "Gone@example.com", by="cli:ada")
    bounce(sessions, server, answer="250 OK")
    assert len(server.received) == before + 3
    with sessions() as session:
        assert mail_problems(session) == []


def test_e9_an_accepted_mail_between_two_bounces_forgets_the_first(sessions: Factory, server: ScriptedServer) -> None:
    """In a row is what counts, and only what the server says of the address itself."""
    for answer in ("550 no such user", "250 OK", "550 no such user", "554 5.7.1 relaying denied", "451 later"):
        bounce(sessions, server, answer=answer, notify=["flaky@example.com", "ada@example.com"])
    with sessions() as session:
        row = session.get_one(MailAddress, "flaky@example.com")
        assert (row.bounces, row.disabled_at) == (1, None)


def test_e9_the_last_address_of_an_app_is_never_disabled(sessions: Factory, server: ScriptedServer) -> None:
    """Somebody must be told; a banner says that nobody may be hearing, and the fleet is not called well."""
    for _ in range(3):
        bounce(sessions, server, answer="550 5.1.1 no such user", notify=["only@example.com"])
    with sessions() as session:
        (problem,) = mail_problems(session)
        assert session.get_one(MailAddress, "only@example.com").disabled_at is None
    assert problem.kind == "bouncing"
    assert "last address" in problem.text
    bounce(sessions, server, answer="250 OK")
    assert [got.recipients for got in server.received] == [["only@example.com"]]


def test_e9_the_last_admin_is_never_disabled(sessions: Factory, server: ScriptedServer) -> None:
    """Others are told of the app, but nobody else could change anything."""
    with sessions.begin() as session:
        session.add(User(email="root@example.com", role=Scope.ADMIN))
        session.add(User(email="ada@example.com", role=Scope.REVIEWER))
    for _ in range(2):
        bounce(sessions, server, answer="550 no such user", notify=["root@example.com", "ada@example.com"])
    with sessions() as session:
        assert session.get_one(MailAddress, "root@example.com").disabled_at is None
        assert [problem.kind for problem in mail_problems(session)] == ["bouncing"]


def links(html: str) -> set[str]:
    """Return where a mail's links lead."""
    return set(re.findall(r'href="(https://metamon\.example[^"]*)"', html))


def test_e10_a_scanner_that_fetches_every_link_changes_nothing(sessions: Factory) -> None:
    """GET and HEAD of every link of every kind of mail; then the unsubscribe link's POST does act."""
    every_kind(sessions, notify=["ada@example.com"])
    with sessions() as session:
        mails = list(session.scalars(select(Email)))
    found = set().union(*(links(mail.html_body) for mail in mails))
    assert any("/proposals/" in link for link in found)
    assert any("/unsubscribe/" in link for link in found)
    assert not any(word in link for link in found for word in ("approve", "reject", "?"))

    def everything() -> list[object]:
        tables = ("mail_preferences", "improvement_proposals", "rollouts", "monitoring_alerts", "audit_log", "jobs")
        with sessions() as session:
            return [
                session.execute(text(f"SELECT md5(string_agg(t::text, '' ORDER BY t::text)) FROM {name} t")).scalar()
                for name in tables
            ]

    before = everything()
    with TestClient(create_app(sessions), raise_server_exceptions=True) as client:
        for link in sorted(found):
            path = link.removeprefix("https://metamon.example")
            for method in ("GET", "HEAD"):
                assert client.request(method, path).status_code < 500
        assert everything() == before
        stop = next(link for link in found if "/unsubscribe/" in link).removeprefix("https://metamon.example")
        page = client.get(stop)
        assert "Stop the daily digests of fa-ai?" in page.text
        assert page.headers["referrer-policy"] == "no-referrer"
        one_click = client.post(stop, content="List-Unsubscribe=One-Click")
        assert one_click.status_code == 200
        assert client.post(stop, content="List-Unsubscribe=One-Click").status_code == 200  # twice is once
        with sessions.begin() as session:
            assert digest.flush(session, now=NOW + timedelta(days=1), cadence=REAL, settings=SETTINGS) == []
        assert "stopped" in client.get(stop).text
        client.post(stop, data={"undo": "1"})
        with sessions.begin() as session:
            assert len(digest.flush(session, now=NOW + timedelta(days=2), cadence=REAL, settings=SETTINGS)) == 1


def test_e10_a_link_that_nobody_signed_does_nothing(sessions: Factory) -> None:
    """Somebody else's digests cannot be stopped by guessing."""
    with sessions.begin() as session:
        app_id = add_app(session).id
        key = addresses.signing_key(session, unsubscribe.KEY_NAME)
    good = unsubscribe.sign(unsubscribe.Wish(app_id, "ada@example.com", "digest"), key)
    body, _, mac = good.partition(".")
    forged = unsubscribe.sign(unsubscribe.Wish(app_id, "bob@example.com", "digest"), b"x" * 32)
    with TestClient(create_app(sessions)) as client:
        for token in (forged, body, f"{body}.", f"{forged.partition('.')[0]}.{mac}", "é", "a.b", good[:-3]):
            assert client.post(f"/unsubscribe/{token}").status_code == 404
            assert client.get(f"/unsubscribe/{token}").status_code == 404
    with sessions() as session:
        assert session.scalars(select(MailPreference)).all() == []


def test_e10_no_raw_prompt_of_a_user_is_in_a_mail(sessions: Factory) -> None:
    """Mails name metrics and causes; what customers typed stays in the database."""
    every_kind(sessions, notify=["ada@example.com"])
    with sessions() as session:
        for mail in session.scalars(select(Email)):
            assert "inputs" not in mail.text_body
            assert "messages" not in mail.text_body


def test_e11_a_quiet_day_sends_too(sessions: Factory, server: ScriptedServer) -> None:
    """Silence means breakage, so health is told, with how many checks stand behind it."""
    with sessions.begin() as session:
        app = add_app(session, notify=["ada@example.com"])
        add_ticks(session)
        add_hours(session, app.id)
    with sessions.begin() as session:
        digest.flush(session, now=NOW, cadence=REAL, settings=SETTINGS)
    assert post(sessions, server) == [EmailState.SENT]
    assert server.received[0].message["Subject"].startswith("[fa-ai] all quiet · 288 of 288 checks ran")


def test_quiet_hours_hold_back_what_is_not_critical(sessions: Factory) -> None:
    """The question waits for the morning in the reader's zone; the alarm does not."""
    with sessions.begin() as session:
        app = add_app(session, notify=["ada@example.com"])
        alert_id, proposal_id = add_alert(session, app).id, add_proposal(session, app).id
        change(
            session, "fa-ai", "ada@example.com", by="cli:ada", now=NOW, timezone="Asia/Tokyo", quiet="17:00-07:30",
        )  # fmt: skip
    assert len(tell(sessions, "alert_critical", alert_id)) == 1  # 17:30 in Tokyo
    assert len(tell(sessions, "approval_needed", proposal_id)) == 1
    with sessions() as session:
        at = dict(
            session.execute(
                select(Email.kind, Job.run_at).join(Job, Job.key == func.concat("deliver:", Email.id))
            ).all()
        )
    assert at["approval"] == datetime(2026, 11, 26, 22, 30, tzinfo=UTC)
    assert at["critical"] < utc_now()


def test_a_reader_hears_what_they_asked_for(sessions: Factory) -> None:
    """Kinds and severities by reader; the digest tells all, or its verdict would be false."""
    with sessions.begin() as session:
        app = add_app(session)
        add_alert(session, app, severity=Severity.HIGH)
        proposal_id = add_proposal(session, app, created_at=NOW).id
        change(session, "fa-ai", "ada@example.com", by="cli:ada", now=NOW, mute=["approval"])
        change(session, "fa-ai", "bob@example.com", by="cli:ada", now=NOW, min_severity=Severity.CRITICAL)
    assert len(tell(sessions, "approval_needed", proposal_id)) == 1
    with sessions.begin() as session:
        made = rollup.flush(session, now=NOW + timedelta(hours=1), cadence=REAL, settings=SETTINGS)
        subjects = dict(session.execute(select(Email.recipient, Email.subject).where(Email.id.in_(made))).all())
    assert subjects == {
        "ada@example.com": "[fa-ai] hourly: 1 high-severity alert, 1 proposal",
        "bob@example.com": "[fa-ai] hourly: 1 proposal",
    }


def test_a_silent_monitoring_is_mailed_once_past_the_fleet(sessions: Factory, server: ScriptedServer) -> None:
    """No worker, no Redis: the API's own thread tells, again and again until the server takes it, and once."""
    settings = SETTINGS.model_copy(update={"smtp_url": SecretStr(server.url)})
    with sessions.begin() as session:
        add_app(session, notify=["ada@example.com"])
        add_app(session, "other", notify=["ada@example.com"])
        add_ticks(session)
        # One that a clock ahead of ours did is no sign of life to come.
        ahead = NOW + timedelta(hours=6)
        done = {"kind": "monitoring.sweep", "queue": "monitoring", "state": JobState.DONE, "finished_at": ahead}
        session.add(Job(key="tick:ahead", **done))
    started = NOW - timedelta(days=1)

    def look(minutes: int) -> int:
        return len(
            dead_man.check(sessions, now=lambda: NOW + timedelta(minutes=minutes), settings=settings, since=started)
        )

    assert look(5) == 0
    server.tell("RCPT", "451 later")
    assert [look(minutes) for minutes in (13, 14, 15)] == [1, 0, 0]
    assert [got.message["Subject"] for got in server.received] == ["[fa-ai] monitoring has been silent for 17 min"]
    with sessions() as session:
        assert session.scalars(select(Job).where(Job.kind == "notifications.deliver")).all() == []


def test_a_day_without_data_has_no_chart_and_no_crash(sessions: Factory) -> None:
    """The demo's first seconds."""
    settings = SETTINGS.model_copy(update={"demo": True, "bucket_seconds": 10})
    with sessions.begin() as session:
        add_app(session, created_at=NOW - timedelta(minutes=5))
        made = digest.flush(session, now=NOW, cadence=DEMO, settings=settings)
        assert [session.get_one(Email, mail_id).chart for mail_id in made] == [None, None]


def test_the_digest_tells_the_margins_of_the_guard(sessions: Factory) -> None:
    """How close each rollout is to being taken back."""
    a_busy_day(sessions, notify=["ada@example.com"])
    with sessions.begin() as session:
        (made,) = digest.flush(session, now=NOW, cadence=REAL, settings=SETTINGS)
        body = session.get_one(Email, made).text_body
    assert "Guard: Fact accuracy −1.2 % (taken back at −5 %)" in body
    assert RolloutState.RUNNING.value not in body
