"""One mail over real SMTP: sent once, or said plainly why not."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import NullPool

from core.clock import utc_now
from core.states import EmailState, JobState
from db.models.jobs import Job
from db.models.mail import Email
from db.repositories import emails, jobs
from db.session import engine_url, make_sessions
from notifications import deliver as delivery
from notifications import smtp
from notifications.policy import HeaderInjectionError
from tests.fakes.smtp import DROP, KEEP_AND_DROP, KEEP_AND_STALL, STALL, ScriptedServer, scripted_server
from tests.integration.notifications.rows import NOW

SENDER = "metamon@example.com"


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """An SMTP server that answers as it is told."""
    with scripted_server() as running:
        yield running


def queued(sessions: sessionmaker[Session], **fields: Any) -> int:
    """Queue one mail."""
    given: dict[str, Any] = {
        "key": "alert_critical:1:ada@example.com",
        "kind": "critical",
        "recipient": "ada@example.com",
        "subject": "[fa-ai] critical: fact_accuracy 0.71, expected 0.93–0.97",
        "text": "In plain words.\n.a line that begins with a dot\n",
        "html": "<p>In <b>markup</b>.</p>\n",
        "message_id": "<0123@metamon.example.com>",
    }
    with sessions.begin() as session:
        email_id = emails.queue_once(
            session, headers={"Auto-Submitted": "auto-generated"}, now=NOW, **{**given, **fields}
        )
    assert email_id is not None
    return email_id


def attempt(
    sessions: sessionmaker[Session],
    email_id: int,
    server: ScriptedServer,
    *,
    timeout_s: float = 5,
    last_attempt: bool = False,
) -> EmailState:
    """Try once to send it."""
    return delivery.deliver(
        sessions,
        email_id,
        server=smtp.parse_server(server.url, timeout_s=timeout_s),
        sender=SENDER,
        now=utc_now,
        last_attempt=last_attempt,
    )


def row_of(sessions: sessionmaker[Session], email_id: int) -> Email:
    """Read a mail's row."""
    with sessions() as session:
        return session.get_one(Email, email_id)


def test_a_mail_arrives_as_it_was_written(sessions: sessionmaker[Session], server: ScriptedServer) -> None:
    """Text first, HTML second, its own Message-ID, one recipient, dots and dashes intact."""
    email_id = queued(sessions)
    assert attempt(sessions, email_id, server) is EmailState.SENT
    (got,) = server.received
    assert (got.sender, got.recipients) == (SENDER, ["ada@example.com"])
    message = got.message
    assert message["Subject"] == "[fa-ai] critical: fact_accuracy 0.71, expected 0.93–0.97"
    assert message["Message-ID"] == "<0123@metamon.example.com>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Date"].datetime == NOW
    parts = [part.get_content_type() for part in message.iter_parts()]
    assert parts == ["text/plain", "text/html"]
    plain = message.get_body(("plain",))
    assert plain is not None
    assert plain.get_content().replace("\r\n", "\n") == "In plain words.\n.a line that begins with a dot\n"
    row = row_of(sessions, email_id)
    assert row.sent_at is not None
    assert row.attempts == 1


def test_a_second_delivery_sends_nothing(sessions: sessionmaker[Session], server: ScriptedServer) -> None:
    """The job may come twice; the mail goes once."""
    email_id = queued(sessions)
    assert [attempt(sessions, email_id, server) for _ in range(3)] == [EmailState.SENT] * 3
    assert len(server.received) == 1


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        *[(command, answer) for command in ("MAIL", "RCPT", "DATA") for answer in ("451 try later", "421 closing")],
        ("MAIL", DROP),
        ("RCPT", DROP),
    ],
)
def test_what_may_pass_is_tried_again(
    sessions: sessionmaker[Session], server: ScriptedServer, command: str, answer: str
) -> None:
    """4xx anywhere, or a line cut before the message was handed over: back in the queue, then it arrives."""
    email_id = queued(sessions)
    server.tell(command, answer)
    with pytest.raises(smtp.PostponedError):
        attempt(sessions, email_id, server)
    row = row_of(sessions, email_id)
    assert row.state is EmailState.QUEUED
    assert row.error
    assert attempt(sessions, email_id, server) is EmailState.SENT
    assert row_of(sessions, email_id).error is None


@pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA"])
def test_a_refusal_for_good_is_final_and_shown(
    sessions: sessionmaker[Session], server: ScriptedServer, command: str
) -> None:
    """5xx is permanent: no second try, and the server's words are kept for a person."""
    email_id = queued(sessions)
    server.tell(command, "550 no such user here")
    assert attempt(sessions, email_id, server) is EmailState.FAILED
    assert attempt(sessions, email_id, server) is EmailState.FAILED
    assert server.received == []
    assert "550 no such user here" in (row_of(sessions, email_id).error or "")


@pytest.mark.parametrize("answer", [KEEP_AND_DROP, KEEP_AND_STALL])
def test_a_message_handed_over_without_a_reply_is_unknown(
    sessions: sessionmaker[Session], server: ScriptedServer, answer: str
) -> None:
    """The server may have it. Nobody but a person may send it again."""
    email_id = queued(sessions)
    server.tell("DATA", answer)
    assert attempt(sessions, email_id, server, timeout_s=0.5) is EmailState.UNKNOWN
    assert attempt(sessions, email_id, server) is EmailState.UNKNOWN
    assert len(server.received) == 1


def test_a_stalling_server_costs_a_time_out_and_no_mail(
    sessions: sessionmaker[Session], server: ScriptedServer
) -> None:
    """A server that hangs before the message is handed over holds a worker for the time-out, no longer."""
    email_id = queued(sessions)
    server.tell("RCPT", STALL)
    began = utc_now()
    with pytest.raises(smtp.PostponedError):
        attempt(sessions, email_id, server, timeout_s=0.5)
    assert utc_now() - began < timedelta(seconds=5)
    assert row_of(sessions, email_id).state is EmailState.QUEUED


def test_nobody_listening_is_tried_again(sessions: sessionmaker[Session]) -> None:
    """A refused connection is the server's restart, not the mail's end."""
    email_id = queued(sessions)
    with pytest.raises(smtp.PostponedError, match=r"127\.0\.0\.1:9"):
        attempt(sessions, email_id, ScriptedServer(url="smtp://127.0.0.1:9"))
    assert row_of(sessions, email_id).state is EmailState.QUEUED


def test_the_last_attempt_fails_the_mail_aloud(sessions: sessionmaker[Session]) -> None:
    """A mail never stays queued for ever behind a dead job."""
    email_id = queued(sessions)
    nobody = ScriptedServer(url="smtp://127.0.0.1:9")
    assert attempt(sessions, email_id, nobody, last_attempt=True) is EmailState.FAILED
    assert "gave up" in (row_of(sessions, email_id).error or "")


def send_and_die(database: str, email_id: int, url: str) -> None:
    """Send a mail and be killed between the server's 250 and our commit."""
    sessions = make_sessions(create_engine(engine_url(database), poolclass=NullPool))
    delivery._record = lambda *_args, **_named: os.kill(os.getpid(), signal.SIGKILL)
    delivery.deliver(sessions, email_id, server=smtp.parse_server(url), sender=SENDER, now=utc_now)


def test_a_sender_killed_after_250_makes_no_second_mail(
    sessions: sessionmaker[Session], database_url: str, server: ScriptedServer
) -> None:
    """The next attempt finds `sending`, sends nothing and leaves it to a person; resent, it keeps its Message-ID."""
    email_id = queued(sessions)
    child = multiprocessing.get_context("spawn").Process(target=send_and_die, args=(database_url, email_id, server.url))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    assert row_of(sessions, email_id).state is EmailState.SENDING
    assert attempt(sessions, email_id, server) is EmailState.UNKNOWN
    assert attempt(sessions, email_id, server) is EmailState.UNKNOWN
    assert len(server.received) == 1

    with sessions.begin() as session:
        emails.resend(session, email_id, by="cli:ada")
    assert attempt(sessions, email_id, server) is EmailState.SENT
    assert {got.message["Message-ID"] for got in server.received} == {"<0123@metamon.example.com>"}


def test_a_sender_believed_dead_may_still_say_what_it_knows(sessions: sessionmaker[Session]) -> None:
    """Its lease ran out while the server was slow; the mail is unknown until the 250 is told, and sent from then on."""
    email_id = queued(sessions)
    with sessions.begin() as session:
        attempt_number = emails.begin_sending(emails.lock(session, email_id))
    with sessions.begin() as session:
        emails.mark_unknown(emails.lock(session, email_id))
    with sessions.begin() as session:
        assert emails.record(session, email_id, attempt_number, state=EmailState.SENT, error=None, now=NOW)
    assert row_of(sessions, email_id).state is EmailState.SENT


def test_a_late_sender_cannot_touch_a_mail_that_was_taken_over(sessions: sessionmaker[Session]) -> None:
    """The attempt's number fences it off."""
    email_id = queued(sessions)
    with sessions.begin() as session:
        first = emails.begin_sending(emails.lock(session, email_id))
        emails.mark_unknown(emails.lock(session, email_id))
        emails.resend(session, email_id, by="cli:ada")
        emails.begin_sending(emails.lock(session, email_id))
    with sessions.begin() as session:
        assert not emails.record(session, email_id, first, state=EmailState.FAILED, error="late", now=NOW)
    assert row_of(sessions, email_id).state is EmailState.SENDING


def test_deciding_twice_makes_one_mail_and_one_job(sessions: sessionmaker[Session]) -> None:
    """The key is the identity of the mail."""
    email_id = queued(sessions)
    with sessions.begin() as session:
        again = emails.queue_once(
            session,
            key="alert_critical:1:ada@example.com",
            kind="critical",
            recipient="ada@example.com",
            subject="s",
            text="t",
            html="h",
            headers={},
            message_id="<0123@metamon.example.com>",
            now=NOW,
        )
    assert again is None
    with sessions() as session:
        (job,) = session.scalars(select(Job)).all()
    assert (job.key, job.kind, job.args) == (f"deliver:{email_id}", "notifications.deliver", {"email_id": email_id})


def test_resending_by_hand_makes_a_new_job_each_time(sessions: sessionmaker[Session]) -> None:
    """Also where no attempt lies between the two: the server refused the connection both times."""
    email_id = queued(sessions)
    with sessions.begin() as session:
        session.get_one(Job, session.scalars(select(Job.id)).one()).state = JobState.DEAD
    for _ in range(2):
        with sessions.begin() as session:
            emails.give_up(emails.lock(session, email_id), "refused")
        with sessions.begin() as session:
            emails.resend(session, email_id, by="cli:ada")
    with sessions() as session:
        states = session.scalars(select(Job.state).where(Job.kind == emails.DELIVER).order_by(Job.id)).all()
    assert states == [JobState.DEAD, JobState.QUEUED, JobState.QUEUED]


def test_a_line_break_in_a_subject_raises(sessions: sessionmaker[Session]) -> None:
    """Somebody's text must not become a header of its own."""
    email_id = queued(sessions, subject="harmless\r\nBcc: everybody@example.com")
    with pytest.raises(HeaderInjectionError):
        delivery.compose(row_of(sessions, email_id), sender=SENDER)


@pytest.mark.parametrize(
    "url", ["http://mail:25", "smtp://", "smtp://mail:notaport", "mail.example.com", "smtp://user:secret@:99999999"]
)
def test_a_wrong_server_url_says_the_rule_and_not_the_password(url: str) -> None:
    """What is printed may end in a log."""
    with pytest.raises(smtp.BadServerUrlError) as caught:
        smtp.parse_server(url)
    assert "smtp://user:password@host:port" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_the_server_url_carries_an_escaped_password() -> None:
    """A password with an @ or a slash is written with percent signs."""
    server = smtp.parse_server("smtps://ops%40example.com:p%2Fw%40d@mail.example.com")
    assert (server.host, server.port, server.tls) == ("mail.example.com", 465, True)
    assert (server.user, server.password) == ("ops@example.com", "p/w@d")


def test_the_deliver_job_retries_and_then_rests(sessions: sessionmaker[Session]) -> None:
    """Deliveries get many attempts: an SMTP server may be down for a morning."""
    email_id = queued(sessions)
    with sessions() as session:
        job = session.scalars(select(Job).where(Job.key == f"deliver:{email_id}")).one()
    assert job.max_attempts == emails.DELIVER_ATTEMPTS
    with sessions.begin() as session:
        assert jobs.claim(session, job.id, owner="a", now=utc_now(), lease=timedelta(seconds=30)) is not None
