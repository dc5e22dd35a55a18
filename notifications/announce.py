"""One event, told at once to everybody on the app's list."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum

import structlog
from sqlalchemy.orm import Session

from core.errors import PermanentError
from core.settings import Settings
from db.models.alerts import MonitoringAlert
from db.models.apps import App
from db.models.proposals import ImprovementProposal
from db.repositories import emails
from db.repositories.jobs import Claim
from notifications import gather, render
from notifications.outbox import listeners, queue, site_of
from notifications.policy import recipients
from notifications.views import EventView, Rendered

log = structlog.get_logger(__name__)


class Event(StrEnum):
    """What is announced. The subject is an alert for the first two, a proposal for the others."""

    ALERT_CRITICAL = "alert_critical"
    ALERT_RESOLVED = "alert_resolved"
    APPROVAL_NEEDED = "approval_needed"
    PROPOSAL_BLOCKED = "proposal_blocked"
    ROLLED_BACK = "rolled_back"
    IMPLEMENTED = "implemented"


class UnknownEventError(PermanentError):
    """No such event is announced."""


class MissingSubjectError(PermanentError):
    """What the announcement is about does not exist."""


KINDS: dict[Event, str] = {
    Event.ALERT_CRITICAL: "critical",
    Event.ALERT_RESOLVED: "resolved",
    Event.APPROVAL_NEEDED: "approval",
    Event.PROPOSAL_BLOCKED: "blocked",
    Event.ROLLED_BACK: "rollback",
    Event.IMPLEMENTED: "implemented",
}

ABOUT_PROPOSAL: dict[Event, tuple[Callable[[EventView], Rendered], str]] = {
    Event.APPROVAL_NEEDED: (
        render.approval,
        "Approved, it goes to 10 % of the users first, and a guard takes it back where it harms. "
        "The approval holds for exactly this change.",
    ),
    Event.PROPOSAL_BLOCKED: (
        render.blocked,
        "The next proposal for the same cause is validated, where there is one.",
    ),
    Event.ROLLED_BACK: (
        render.rolled_back,
        "The next proposal for the same cause is validated, where there is one.",
    ),
    Event.IMPLEMENTED: (
        render.implemented,
        "It is part of the app's configuration from now on. What it was worth was measured against a hold-back, and "
        "teaches the next prediction.",
    ),
}


def announce(
    session: Session, event: str, subject_id: int, *, now: datetime, settings: Settings, parent: Claim | None = None
) -> list[int]:
    """Queue the mails of one event and return their ids; called twice, it queues them once.

    Args:
        subject_id: the alert's id, or the proposal's.

    Raises:
        UnknownEventError: there is no such event.
        MissingSubjectError: there is no such alert or proposal.
    """
    try:
        known = Event(event)
    except ValueError:
        raise UnknownEventError(f"{event!r} is not announced; these are: {', '.join(Event)}") from None
    if known in (Event.ALERT_CRITICAL, Event.ALERT_RESOLVED):
        alert = session.get(MonitoringAlert, subject_id, with_for_update=True)
        if alert is None:
            raise MissingSubjectError(f"there is no alert {subject_id}")
        app = session.get_one(App, alert.app_id)
        if known is Event.ALERT_CRITICAL:
            return _fired(session, app, alert, now=now, settings=settings, parent=parent)
        return _resolved(session, app, alert, now=now, settings=settings, parent=parent)
    proposal = session.get(ImprovementProposal, subject_id)
    if proposal is None:
        raise MissingSubjectError(f"there is no proposal {subject_id}")
    app = session.get_one(App, proposal.app_id)
    return _proposal(session, app, proposal, known, now=now, settings=settings, parent=parent)


def _fired(
    session: Session, app: App, alert: MonitoringAlert, *, now: datetime, settings: Settings, parent: Claim | None
) -> list[int]:
    view = EventView(
        site=site_of(app, settings),
        now=now,
        alert=gather.alert_view(alert),
        next_up="The cause is being looked for among the attributes of these runs. You hear again when a decision "
        "is needed, or when it is over.",
    )
    mail = render.critical(view)
    made = queue(
        session,
        app,
        event=Event.ALERT_CRITICAL,
        subject=alert.id,
        kind=KINDS[Event.ALERT_CRITICAL],
        to=listeners(app, what=f"alert {alert.id}"),
        render=lambda _: mail,
        sender=settings.mail_from,
        now=now,
        alert_id=alert.id,
        parent=parent,
    )
    if made and alert.emailed_at is None:
        alert.emailed_at = now
    return made


def _resolved(
    session: Session, app: App, alert: MonitoringAlert, *, now: datetime, settings: Settings, parent: Claim | None
) -> list[int]:
    firing = {row.recipient: row for row in emails.told(session, alert_id=alert.id, kind=KINDS[Event.ALERT_CRITICAL])}
    if not firing:
        log.info("mail.nobody_was_told", app=app.name, alert_id=alert.id)
    view = EventView(site=site_of(app, settings), now=now, alert=gather.alert_view(alert))

    def reply(recipient: str) -> Rendered:
        root = firing[recipient]
        mail = render.resolved(view, base_subject=root.subject)
        thread = {"In-Reply-To": root.message_id, "References": root.message_id}
        return Rendered(mail.subject, mail.text, mail.html, {**mail.headers, **thread})

    return queue(
        session,
        app,
        event=Event.ALERT_RESOLVED,
        subject=alert.id,
        kind=KINDS[Event.ALERT_RESOLVED],
        to=recipients(firing)[0],
        render=reply,
        sender=settings.mail_from,
        now=now,
        alert_id=alert.id,
        parent=parent,
    )


def _proposal(
    session: Session,
    app: App,
    proposal: ImprovementProposal,
    event: Event,
    *,
    now: datetime,
    settings: Settings,
    parent: Claim | None,
) -> list[int]:
    write, next_up = ABOUT_PROPOSAL[event]
    rolled = event in (Event.ROLLED_BACK, Event.IMPLEMENTED)
    view = EventView(
        site=site_of(app, settings),
        now=now,
        proposal=gather.proposal_view(session, proposal),
        validation=None if rolled else gather.validation_view(session, proposal.id),
        rollout=gather.rollout_of(session, proposal) if rolled else None,
        impact=gather.impact_of(session, proposal) if rolled else None,
        next_up=next_up,
    )
    mail = write(view)
    return queue(
        session,
        app,
        event=event,
        subject=proposal.id,
        kind=KINDS[event],
        to=listeners(app, what=f"proposal {proposal.id}"),
        render=lambda _: mail,
        sender=settings.mail_from,
        now=now,
        alert_id=proposal.alert_id,
        parent=parent,
    )
