"""The roll-up and the digest: what is due goes out once, what was missed is caught up, silence means breakage."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from core.settings import Settings
from core.states import AlertState, JobState, ProposalStatus, RolloutState, Severity
from db.models.alerts import MonitoringAlert
from db.models.jobs import Job
from db.models.mail import Email
from db.models.metrics import MetricHour
from notifications import digest, rollup
from notifications.policy import DEMO, REAL
from tests.integration.notifications.rows import NOW, SETTINGS, add_alert, add_app, add_proposal, add_rollout

HOUR = timedelta(hours=1)
TEN = datetime(2026, 11, 26, 9, 5, tzinfo=UTC)
"""Five past ten in Berlin: the slot from nine to ten is over."""


def flush_hourly(sessions: sessionmaker[Session], now: datetime = TEN, **named: Any) -> list[Email]:
    """Run the roll-up at a moment and return the mails it made."""
    with sessions.begin() as session:
        made = rollup.flush(
            session, now=now, cadence=named.get("cadence", REAL), settings=named.get("settings", SETTINGS)
        )
    with sessions() as session:
        return list(session.scalars(select(Email).where(Email.id.in_(made)).order_by(Email.id)))


def flush_digest(sessions: sessionmaker[Session], now: datetime = NOW, **named: Any) -> list[Email]:
    """Run the digest check at a moment and return the mails it made."""
    with sessions.begin() as session:
        made = digest.flush(
            session, now=now, cadence=named.get("cadence", REAL), settings=named.get("settings", SETTINGS)
        )
    with sessions() as session:
        return list(session.scalars(select(Email).where(Email.id.in_(made)).order_by(Email.id)))


def test_high_alerts_of_the_hour_come_in_one_mail(sessions: sessionmaker[Session]) -> None:
    """Two alerts, one mail for each recipient; critical ones were told before and low ones wait for the digest."""
    with sessions.begin() as session:
        app = add_app(session)
        for number, severity in enumerate([Severity.HIGH, Severity.HIGH, Severity.CRITICAL, Severity.MEDIUM]):
            add_alert(session, app, fingerprint=f"f{number}", severity=severity, metric=f"metric_{number}")
    mails = flush_hourly(sessions)
    assert [mail.recipient for mail in mails] == ["ada@example.com", "bob@example.com"]
    assert mails[0].subject == "[fa-ai] hourly: 2 high-severity alerts"
    assert "Metric 0 " in mails[0].text_body
    assert "Metric 1 " in mails[0].text_body
    assert "Metric 2 " not in mails[0].text_body
    assert "Metric 3 " not in mails[0].text_body
    with sessions() as session:
        emailed = dict(session.execute(select(MonitoringAlert.metric, MonitoringAlert.emailed_at)).all())
    assert [metric for metric, at in emailed.items() if at == TEN] == ["metric_0", "metric_1"]


def test_an_hour_with_nothing_to_say_sends_nothing(sessions: sessionmaker[Session]) -> None:
    """Quiet hours are the digest's to tell."""
    with sessions.begin() as session:
        add_app(session)
    assert flush_hourly(sessions) == []


def test_each_hour_is_told_once(sessions: sessionmaker[Session]) -> None:
    """The check runs every five minutes; the slot has one mail."""
    with sessions.begin() as session:
        add_alert(session, add_app(session), severity=Severity.HIGH)
    assert len(flush_hourly(sessions)) == 2
    assert flush_hourly(sessions) == []
    assert flush_hourly(sessions, TEN + timedelta(minutes=50)) == []
    assert flush_hourly(sessions, TEN + HOUR) == []


def test_a_missed_hour_comes_with_the_next(sessions: sessionmaker[Session]) -> None:
    """Beat was down for three hours: what happened then is told when it is back."""
    with sessions.begin() as session:
        app = add_app(session)
    assert flush_hourly(sessions, TEN - HOUR) == []
    with sessions.begin() as session:
        add_alert(session, session.merge(app, load=False), severity=Severity.HIGH)
        add_proposal(session, app, created_at=NOW)
    (mail, _) = flush_hourly(sessions, TEN + 3 * HOUR)
    assert mail.subject == "[fa-ai] hourly: 1 high-severity alert, 1 proposal"


def test_an_alert_that_committed_late_is_not_lost(sessions: sessionmaker[Session]) -> None:
    """Its time lies in a slot that was told already; nobody was told of it, so the next mail does."""
    with sessions.begin() as session:
        app = add_app(session)
    assert flush_hourly(sessions) == []
    with sessions.begin() as session:
        add_alert(session, app, severity=Severity.HIGH)
    assert len(flush_hourly(sessions, TEN + HOUR)) == 2


def test_a_silenced_alert_is_not_rolled_up(sessions: sessionmaker[Session]) -> None:
    """Somebody said why it shall be quiet."""
    with sessions.begin() as session:
        add_alert(session, add_app(session), severity=Severity.HIGH, silenced=True)
    assert flush_hourly(sessions) == []


def test_the_demo_rolls_up_in_short_slots_and_says_so(sessions: sessionmaker[Session]) -> None:
    """Ninety seconds instead of an hour, and the mail owns up to it."""
    with sessions.begin() as session:
        add_rollout(session, add_proposal(session, add_app(session)), stage_started_at=NOW - timedelta(seconds=20))
    settings = SETTINGS.model_copy(update={"demo": True})
    mails = flush_hourly(sessions, NOW + timedelta(seconds=10), cadence=DEMO, settings=settings)
    assert mails[0].subject == "[fa-ai] roll-up: 1 rollout"
    assert "demo cadence" in mails[0].text_body
    assert "demo cadence" in mails[0].html_body


def add_ticks(session: Session, *, missing: int = 0, period: timedelta = timedelta(minutes=5)) -> None:
    """Add a done sweep for every slot of a bit more than a day, but for some."""
    at = NOW - timedelta(hours=25)
    for number in range(25 * 12):
        slot = at + number * period
        if number % 12 == 3 and missing > 0 and slot > NOW - timedelta(hours=23):
            missing -= 1
            continue
        session.add(
            Job(
                key=f"tick:sweep:{slot.isoformat()}",
                kind="monitoring.sweep",
                queue="monitoring",
                args={"scheduled_for": slot.isoformat()},
                state=JobState.DONE,
                finished_at=slot + timedelta(seconds=1),
            )
        )


def add_hours(session: Session, app_id: int, *, accuracy: float = 0.95, hours: int = 24 * 9) -> None:
    """Add complete hours of steady traffic; the last day has the given accuracy."""
    for back in range(1, hours + 1):
        hour = NOW.replace(minute=0) - back * HOUR
        runs = 100 + back % 7
        rate = (accuracy if back <= 24 else 0.95) + (back % 5 - 2) * 0.004
        session.add(
            MetricHour(
                app_id=app_id,
                hour=hour,
                runs=runs,
                finished=runs,
                errors=1 + back % 2,
                sla_met=runs - 3,
                answered=runs - 1,
                latency_p95=1.2,
                latency={"5": runs - 6, "10": 5},
                scores={"fact_accuracy": {"n": runs, "sum": runs * rate, "sumsq": runs * rate}},
                tokens=1000,
                cost=0.4,
            )
        )


def test_a_quiet_day_sends_too(sessions: sessionmaker[Session]) -> None:
    """Silence means breakage, so health is told as well, with how many checks stand behind it."""
    with sessions.begin() as session:
        app = add_app(session)
        add_ticks(session)
        add_hours(session, app.id)
    mails = flush_digest(sessions)
    assert [mail.recipient for mail in mails] == ["ada@example.com", "bob@example.com"]
    assert mails[0].subject.startswith("[fa-ai] all quiet · 288 of 288 checks ran · quality 0.96")
    assert "within noise" in mails[0].subject
    assert "All quiet, 288 of 288 checks ran" in mails[0].text_body
    assert mails[0].key == f"digest:{app.id}:2026-11-26:ada@example.com"
    assert "List-Unsubscribe" in mails[0].headers


def test_missing_checks_are_the_verdict(sessions: sessionmaker[Session]) -> None:
    """An app that was not looked at is not healthy."""
    with sessions.begin() as session:
        app = add_app(session)
        add_ticks(session, missing=20)
        add_hours(session, app.id)
    (mail, _) = flush_digest(sessions)
    assert "268 of 288 checks ran" in mail.subject
    assert mail.text_body.splitlines()[2] == "Monitoring had gaps: 268 of 288 checks ran"


def test_the_digest_is_due_at_nine_local_and_comes_once(sessions: sessionmaker[Session]) -> None:
    """Checked every five minutes through two days: one mail a day and recipient."""
    with sessions.begin() as session:
        add_app(session)
    sent = []
    at = NOW.replace(hour=0, minute=0)
    while at < NOW + timedelta(days=1, hours=12):
        sent += [(mail.recipient, at) for mail in flush_digest(sessions, at)]
        at += timedelta(minutes=30)
    assert sent == [
        (who, datetime(2026, 11, day, 8, 0, tzinfo=UTC))
        for day in (26, 27)
        for who in ("ada@example.com", "bob@example.com")
    ]


def test_the_busy_day_has_everything_in_its_order(sessions: sessionmaker[Session]) -> None:
    """Verdict, decisions, rollouts, what was undone and why, alerts new and continuing, the table."""
    with sessions.begin() as session:
        app = add_app(session)
        add_ticks(session)
        add_hours(session, app.id, accuracy=0.71)
        add_alert(session, app)
        add_alert(
            session,
            app,
            fingerprint="sla_violation:sla_compliance",
            metric="sla_compliance",
            severity=Severity.HIGH,
            observed=0.9,
            expected=0.99,
            expected_low=0.98,
            expected_high=1.0,
            window_start=NOW - timedelta(days=2),
            fired_at=NOW - timedelta(days=2),
        )
        add_proposal(session, app)
        add_rollout(
            session,
            add_proposal(
                session, app, title="Raise retrieval.k", status=ProposalStatus.ROLLING_OUT, change_hash="1" * 64
            ),
        )
        add_rollout(
            session,
            add_proposal(
                session, app, title="Revert prompt.b", status=ProposalStatus.ROLLED_BACK, change_hash="2" * 64
            ),
            state=RolloutState.ROLLED_BACK,
            percent=0,
            finished_at=NOW - HOUR,
            reason="fact_accuracy of the candidate fell by 8 points",
        )
        add_proposal(session, app, title="Raise the time-out", status=ProposalStatus.BLOCKED, change_hash="3" * 64)
    (mail, _) = flush_digest(sessions)
    assert mail.subject.startswith("[fa-ai] 1 needs approval · 1 critical · quality 0.82 (−0.14)")
    text = mail.text_body
    order = [
        "fa-ai is in trouble: 1 critical alert open",
        "NEEDS YOUR DECISION (1)",
        "Route sonic-2 to atlas-1",
        "ROLLOUTS IN PROGRESS (1)",
        "Raise retrieval.k",
        "ROLLED BACK OR BLOCKED",
        "fact_accuracy of the candidate fell by 8 points",
        "Blocked: Raise the time-out",
        "ALERTS: 1 NEW, 1 CONTINUING",
        "THE LAST 24 HOURS",
        "  Fact accuracy  ",
    ]
    places = [text.index(said) for said in order]
    assert places == sorted(places)
    assert len(mail.html_body) < 30_000
    for said in order[:3]:
        assert said.split(" (")[0].lower() in mail.html_body.lower()


def test_the_demo_sends_its_digest_when_the_stories_are_told(sessions: sessionmaker[Session]) -> None:
    """Not at nine: after 200 seconds at the latest, once."""
    settings: Settings = SETTINGS.model_copy(update={"demo": True, "sweep_seconds": 3})
    with sessions.begin() as session:
        add_app(session, created_at=NOW)
    assert flush_digest(sessions, NOW + timedelta(seconds=60), cadence=DEMO, settings=settings) == []
    mails = flush_digest(sessions, NOW + timedelta(seconds=200), cadence=DEMO, settings=settings)
    assert len(mails) == 2
    assert "demo cadence" in mails[0].text_body
    assert flush_digest(sessions, NOW + timedelta(seconds=203), cadence=DEMO, settings=settings) == []


def test_no_recipient_is_no_crash_and_no_endless_work(sessions: sessionmaker[Session]) -> None:
    """The day counts as told, or every check would gather it again."""
    with sessions.begin() as session:
        app = add_app(session, notify=[])
        add_alert(session, app, severity=Severity.HIGH)
    assert flush_digest(sessions) == []
    assert flush_hourly(sessions) == []
    with sessions.begin() as session:
        session.get_one(type(app), app.id).notify = ["ada@example.com"]
    assert flush_digest(sessions, NOW + timedelta(minutes=5)) == []
    assert [mail.state for mail in flush_digest(sessions, NOW + timedelta(days=1))] != []


def test_a_resolved_alert_is_told_as_resolved(sessions: sessionmaker[Session]) -> None:
    """The verdict says that it recovered."""
    with sessions.begin() as session:
        app = add_app(session)
        add_ticks(session)
        add_alert(session, app, state=AlertState.RESOLVED, resolved_at=NOW - timedelta(minutes=2))
    (mail, _) = flush_digest(sessions)
    assert "fa-ai was degraded; it has recovered" in mail.text_body
    assert "0 critical" in mail.subject
