"""From findings to mails: what is told together, what is folded, what is muted, and who hears the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from agents.alert_groups import Valve
from agents.alert_life import Health, Reading, Timing
from agents.alerting import Book, Evidence, Finding
from core.states import AlertKind, EmailState, JobState, Severity
from db.models.alerts import AlertEvent, MonitoringAlert
from db.models.jobs import Job
from db.models.mail import Email
from db.queries.alerts import show_alert
from notifications import rollup
from notifications.announce import announce
from notifications.policy import REAL
from tests.integration.notifications.rows import NOW, SETTINGS, add_app

MINUTE = timedelta(minutes=1)


@dataclass
class Watch:
    """Checks one app minute by minute, and has announced whatever a check asks for."""

    sessions: sessionmaker[Session]
    app_id: int
    valve: Valve = field(default_factory=Valve)
    minute: int = 0

    def look(self, *findings: Finding, minutes: int = 1, silenced: Sequence[str] = ()) -> list[Email]:
        """Look once a minute, always at the same; returns the mails that came of it."""
        before = {mail.id for mail in self.mails()}
        for _ in range(minutes):
            self.minute += 1
            now = NOW + self.minute * MINUTE
            with self.sessions.begin() as session:
                book = Book(session, self.app_id, timing=Timing(), silenced=list(silenced), parent=None)
                for finding in findings:
                    book.move(finding, now=now, evidence=Evidence)
                self.valve = book.tell(Valve.from_json(self.valve.as_json()), now=now)
            self._announce()
        return [mail for mail in self.mails() if mail.id not in before]

    def _announce(self) -> None:
        with self.sessions.begin() as session:
            for job in session.scalars(
                select(Job)
                .where(Job.kind == "notifications.announce", Job.state == JobState.QUEUED)
                .order_by(Job.id)
                .with_for_update()
            ):
                event, subject, number = job.args["event"], int(job.args["subject_id"]), int(job.args.get("number", 0))
                now = NOW + self.minute * MINUTE
                for _ in range(2):  # delivered twice, done once
                    announce(session, event, subject, now=now, settings=SETTINGS, number=number)
                job.state = JobState.DONE

    def mails(self) -> list[Email]:
        """Return all mails to Ada."""
        with self.sessions() as session:
            query = select(Email).where(Email.recipient == "ada@example.com").order_by(Email.id)
            return list(session.scalars(query))


@pytest.fixture
def watch(sessions: sessionmaker[Session]) -> Watch:
    """A watch on an app with two readers."""
    with sessions.begin() as session:
        return Watch(sessions, add_app(session).id)


def bad(metric: str, *, kind: AlertKind = AlertKind.QUALITY_DEGRADATION, observed: float = 0.4) -> Finding:
    """Return a finding that is critical and has been bad for long enough."""
    return Finding(
        kind=kind,
        metric=metric,
        reading=Reading(Health.BAD, Severity.CRITICAL, 0.3, timedelta(minutes=5)),
        title=f"{metric} is {observed}",
        observed=observed,
        expected=0.9,
        window_start=NOW - 5 * MINUTE,
        window_end=NOW,
    )


def good(metric: str, *, kind: AlertKind = AlertKind.QUALITY_DEGRADATION) -> Finding:
    """Return a finding that is well."""
    return Finding(kind=kind, metric=metric, reading=Reading(Health.GOOD), observed=0.95)


def test_thirty_series_failing_send_one_mail_listing_thirty(watch: Watch) -> None:
    """A10: one look, one mail, and each of the thirty stands in it."""
    (mail,) = watch.look(*(bad(f"check_{number:02d}") for number in range(30)))
    assert "30 critical alerts" in mail.subject
    for number in range(30):
        assert f"alerts/{number + 1}\n" in mail.text_body


def test_three_together_are_one_thread_that_ends_with_the_last(watch: Watch) -> None:
    """One mail when they begin, none while two of three are over, one when all are: in the same thread."""
    names = ("accuracy", "tone", "language")
    (mail,) = watch.look(*map(bad, names))
    assert mail.kind == "critical"
    assert "3 critical alerts" in mail.subject
    assert watch.look(good("accuracy"), good("tone"), bad("language"), minutes=30) == []
    (over,) = watch.look(*map(good, names), minutes=30)
    assert over.kind == "resolved"
    assert over.headers["References"] == mail.message_id
    assert over.subject == f"Re: {mail.subject}"
    assert "all 3 are back to normal" in over.text_body
    with watch.sessions() as session:
        assert set(session.scalars(select(MonitoringAlert.group_id))) == {1}


def test_a_thread_ends_although_the_last_of_it_is_silenced(watch: Watch) -> None:
    """Who was told that two things began hears of the end, whatever was silenced meanwhile."""
    (mail,) = watch.look(bad("accuracy"), bad("tone"))
    silenced = [bad("tone").fingerprint]
    assert watch.look(good("accuracy"), bad("tone"), minutes=30, silenced=silenced) == []
    (over,) = watch.look(good("accuracy"), good("tone"), minutes=30, silenced=silenced)
    assert over.headers["References"] == mail.message_id


def test_a_sixth_alert_in_ten_minutes_sends_the_storms_mail_and_a_seventh_none(watch: Watch) -> None:
    """A11: five by themselves, one for the storm that names all six, and the seventh waits for the roll-up."""
    findings: list[Finding] = []
    kinds = []
    for number in range(8):
        findings.append(bad(f"check_{number}"))
        kinds.append([mail.kind for mail in watch.look(*findings)])
    assert kinds == [["critical"]] * 5 + [["storm"], [], []]
    storm = watch.mails()[-1]
    assert "6 critical alerts" in storm.subject
    with watch.sessions.begin() as session:
        rollup.flush(session, now=NOW + timedelta(hours=1), cadence=REAL, settings=SETTINGS)
    hourly = watch.mails()[-1]
    assert hourly.kind == "hourly"
    assert [f"alerts/{number}\n" in hourly.text_body for number in (5, 6, 7, 8)] == [False, False, True, True]
    # All over: the five threads end one by one, and the storm's with its last.
    over = watch.look(*(good(f"check_{number}") for number in range(8)), minutes=30)
    assert sorted(mail.headers["References"] for mail in over) == sorted(
        mail.message_id for mail in watch.mails() if mail.kind in ("critical", "storm")
    )


def test_a_provider_that_is_down_mutes_what_it_causes_until_it_is_back(watch: Watch) -> None:
    """A9: one mail about the errors; what stays bad after them is told once; nothing muted is told to be over."""
    errors = {"kind": AlertKind.ERROR_SPIKE}
    (mail,) = watch.look(bad("error_rate", observed=0.8, **errors), bad("accuracy"), bad("tone"))
    assert "error_rate" in mail.subject
    with watch.sessions() as session:
        muted = session.scalars(select(AlertEvent).where(AlertEvent.kind == "silenced")).all()
        assert [(event.detail["rule"], event.detail["inhibited_by"]) for event in muted] == [("provider_down", 1)] * 2
        told = show_alert(session, 2, now=NOW)
        assert (told.muted_by, told.research, told.hold_s) == (1, JobState.QUEUED, 900.0)
    later = watch.look(good("error_rate", **errors), bad("accuracy"), good("tone"), minutes=60)
    assert {(mail.kind, "accuracy" in mail.subject) for mail in later} == {("resolved", False), ("critical", True)}
    assert len(later) == 2


def test_nothing_is_told_twice_however_often_it_is_asked_for(watch: Watch) -> None:
    """Every mail of a long evening has its own subject, kind and reader."""
    for number in range(8):
        watch.look(*(bad(f"check_{each}") for each in range(number)))
    with watch.sessions() as session:
        rows = session.scalars(select(Email)).all()
    keys = [(row.recipient, row.kind, row.subject) for row in rows]
    assert len(keys) == len(set(keys)) > 0
    assert {row.state for row in rows} == {EmailState.QUEUED}
