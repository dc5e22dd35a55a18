"""Events become mails: once each, to whom it concerns, in one transaction."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from core.states import AlertState, EmailState, ProposalStatus, RolloutState, ValidationState, Verdict
from db.models.alerts import MonitoringAlert
from db.models.jobs import Job
from db.models.mail import Email
from db.models.validation import GoldenSet, ValidationResult
from db.repositories import emails
from notifications.announce import MissingSubjectError, UnknownEventError, announce
from tests.integration.notifications.rows import NOW, SETTINGS, add_alert, add_app, add_proposal, add_rollout


def told(sessions: sessionmaker[Session], event: str, subject_id: int) -> list[Email]:
    """Announce an event and return the mails that made."""
    with sessions.begin() as session:
        made = announce(session, event, subject_id, now=NOW, settings=SETTINGS)
    with sessions() as session:
        return list(session.scalars(select(Email).where(Email.id.in_(made)).order_by(Email.id)))


def test_a_critical_alert_is_told_to_everybody_at_once(sessions: sessionmaker[Session]) -> None:
    """One row and one job for each recipient; the alert knows that it was mailed."""
    with sessions.begin() as session:
        alert_id = add_alert(session, add_app(session)).id
    mails = told(sessions, "alert_critical", alert_id)
    assert [mail.recipient for mail in mails] == ["ada@example.com", "bob@example.com"]
    assert {mail.subject for mail in mails} == {"[fa-ai] critical: fact_accuracy 0.71, expected 0.93–0.97"}
    assert mails[0].key == f"alert_critical:{alert_id}:ada@example.com"
    assert mails[0].message_id != mails[1].message_id
    assert mails[0].message_id.endswith("@metamon.example.com>")
    with sessions() as session:
        assert session.get_one(MonitoringAlert, alert_id).emailed_at == NOW
        keys = session.scalars(select(Job.key).where(Job.kind == "notifications.deliver").order_by(Job.id)).all()
    assert keys == [f"deliver:{mail.id}" for mail in mails]


def test_announcing_twice_tells_once(sessions: sessionmaker[Session]) -> None:
    """A redelivered job finds its mails there."""
    with sessions.begin() as session:
        alert_id = add_alert(session, add_app(session)).id
    assert len(told(sessions, "alert_critical", alert_id)) == 2
    assert told(sessions, "alert_critical", alert_id) == []


def test_resolved_answers_in_the_thread_of_those_who_were_told(sessions: sessionmaker[Session]) -> None:
    """Same base subject, References to the firing mail; whose firing mail bounced, or who came later, hears nothing."""
    with sessions.begin() as session:
        app = add_app(session, notify=["ada@example.com", "bob@example.com"])
        alert = add_alert(session, app)
        alert_id, app_id = alert.id, app.id
    firing = {mail.recipient: mail for mail in told(sessions, "alert_critical", alert_id)}
    with sessions.begin() as session:
        emails.give_up(emails.lock(session, firing["bob@example.com"].id), "550")
        session.get_one(type(app), app_id).notify = ["ada@example.com", "late@example.com"]
        alert = session.get_one(MonitoringAlert, alert_id)
        alert.state, alert.resolved_at = AlertState.RESOLVED, NOW
    (mail,) = told(sessions, "alert_resolved", alert_id)
    root = firing["ada@example.com"]
    assert mail.recipient == "ada@example.com"
    assert mail.subject == f"Re: {root.subject}"
    assert mail.headers["References"] == mail.headers["In-Reply-To"] == root.message_id
    assert "20 min" in mail.text_body


def test_nobody_hears_that_something_is_over_which_nobody_told(sessions: sessionmaker[Session]) -> None:
    """Resolved before it was ever mailed: no mail."""
    with sessions.begin() as session:
        alert_id = add_alert(session, add_app(session), state=AlertState.RESOLVED, resolved_at=NOW).id
    assert told(sessions, "alert_resolved", alert_id) == []


def test_an_app_without_recipients_crashes_nothing(sessions: sessionmaker[Session]) -> None:
    """The alert stays as not mailed, so that the record tells the truth."""
    with sessions.begin() as session:
        alert_id = add_alert(session, add_app(session, notify=[])).id
    assert told(sessions, "alert_critical", alert_id) == []
    with sessions() as session:
        assert session.get_one(MonitoringAlert, alert_id).emailed_at is None


def test_an_entry_that_is_no_address_harms_nobody_else(sessions: sessionmaker[Session]) -> None:
    """A typo in the list, or a line break put there on purpose, costs its own mail alone."""
    with sessions.begin() as session:
        app = add_app(
            session, notify=["ada", "eve@example.com\r\nBcc: x@example.com", "Ada@example.com", "ada@example.com"]
        )
        alert_id = add_alert(session, app).id
    assert [mail.recipient for mail in told(sessions, "alert_critical", alert_id)] == ["Ada@example.com"]


def test_an_approval_is_asked_for_with_its_validation(sessions: sessionmaker[Session]) -> None:
    """What the reader needs to decide is in the mail; nothing in it decides by itself."""
    with sessions.begin() as session:
        app = add_app(session)
        proposal = add_proposal(session, app)
        golden = GoldenSet(app_id=app.id, name="golden", version=1, hash="h", cases=100)
        session.add(golden)
        session.flush()
        session.add(
            ValidationResult(
                app_id=app.id,
                proposal_id=proposal.id,
                set_id=golden.id,
                set_hash="h",
                state=ValidationState.FINISHED,
                verdict=Verdict.PASS,
                reasons=["error_free rose by 18 points; nothing regressed"],
                target={},
                baseline={},
                candidate={},
                total=200,
                remaining=0,
                seed=1,
                requested_by="policy",
            )
        )
        proposal_id = proposal.id
    mail = told(sessions, "approval_needed", proposal_id)[0]
    assert mail.kind == "approval"
    assert mail.subject == "[fa-ai] needs your approval: Route sonic-2 to atlas-1"
    for said in (
        "100 cases",
        "error_free rose",
        "route.sonic-2: sonic-2 → atlas-1",
        f"metamon proposals approve {proposal_id}",
    ):
        assert said in mail.text_body
    assert f"https://metamon.example/proposals/{proposal_id}" in mail.html_body
    assert "approve?" not in mail.html_body.lower().replace("approve? route", "")


@pytest.mark.parametrize(
    ("event", "kind", "status"),
    [
        ("proposal_blocked", "blocked", ProposalStatus.BLOCKED),
        ("rolled_back", "rollback", ProposalStatus.ROLLED_BACK),
        ("implemented", "implemented", ProposalStatus.IMPLEMENTED),
    ],
)
def test_what_became_of_a_proposal_is_told(
    sessions: sessionmaker[Session], event: str, kind: str, status: ProposalStatus
) -> None:
    """Blocked, rolled back and implemented each have their mail, with the reason in it."""
    with sessions.begin() as session:
        proposal = add_proposal(session, add_app(session), status=status)
        if event != "proposal_blocked":
            add_rollout(
                session,
                proposal,
                state=RolloutState.ROLLED_BACK if event == "rolled_back" else RolloutState.HOLDBACK,
                percent=0 if event == "rolled_back" else 100,
                finished_at=NOW if event == "rolled_back" else None,
                reason="fact_accuracy fell by 8 points" if event == "rolled_back" else None,
            )
        proposal_id = proposal.id
    mail = told(sessions, event, proposal_id)[0]
    assert mail.kind == kind
    assert proposal.title in mail.subject
    if event == "rolled_back":
        assert "fact_accuracy fell by 8 points" in mail.text_body
        assert "fact_accuracy fell by 8 points" in mail.html_body


def test_an_approved_change_that_may_not_be_rolled_out_is_told_as_what_it_is(sessions: sessionmaker[Session]) -> None:
    """Whoever approved it waits for it: validation found nothing, the app no longer allows it."""
    why = "cli:ann approved it, but it may not be rolled out any more: 'prompt.a' is not a key"
    with sessions.begin() as session:
        proposal = add_proposal(session, add_app(session), status=ProposalStatus.REJECTED, review_reason=why)
        proposal_id, title = proposal.id, proposal.title
    mail = told(sessions, "proposal_blocked", proposal_id)[0]
    assert (mail.kind, mail.subject) == ("blocked", f"[fa-ai] not rolled out: {title}")
    assert why in " ".join(mail.text_body.split())
    assert "Validation found" not in mail.text_body


def test_what_does_not_exist_is_said(sessions: sessionmaker[Session]) -> None:
    """A wrong event or subject is dead at once: trying again cannot help."""
    with sessions.begin() as session:
        with pytest.raises(UnknownEventError, match="alert_critical"):
            announce(session, "party", 1, now=NOW, settings=SETTINGS)
        with pytest.raises(MissingSubjectError):
            announce(session, "alert_critical", 999, now=NOW, settings=SETTINGS)
        with pytest.raises(MissingSubjectError):
            announce(session, "implemented", 999, now=NOW, settings=SETTINGS)


def test_two_installations_never_share_a_message_id(sessions: sessionmaker[Session]) -> None:
    """After a reset "alert 1" is another alert: a mail program must not drop it as a duplicate."""
    ids = []
    for days in (30, 29):
        with sessions.begin() as session:
            app = add_app(session, f"app-{days}", created_at=NOW - timedelta(days=days))
            alert = add_alert(session, app)
            made = announce(session, "alert_critical", alert.id, now=NOW, settings=SETTINGS)
            mails = [session.get_one(Email, mail_id) for mail_id in made]
            ids.append(mails[0].message_id)
            assert mails[0].state is EmailState.QUEUED
    assert ids[0] != ids[1]
