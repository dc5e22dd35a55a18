"""One event, told at once to everybody who wants to hear of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, tzinfo
from enum import StrEnum

from sqlalchemy.orm import Session

from core.errors import PermanentError
from core.settings import Settings
from db.models.alerts import MonitoringAlert
from db.models.apps import App
from db.models.proposals import ImprovementProposal
from db.repositories.jobs import Claim
from notifications import alert_mails, gather, render
from notifications.listeners import listeners
from notifications.outbox import by_zone, queue, site_of
from notifications.views import EventView, Rendered


class Event(StrEnum):
    """What is announced. The subject is an alert (of a storm, the one that it is told under), or a proposal."""

    ALERT_CRITICAL = "alert_critical"
    ALERT_UPDATE = "alert_update"
    ALERT_RESOLVED = "alert_resolved"
    STORM = "storm"
    APPROVAL_NEEDED = "approval_needed"
    PROPOSAL_BLOCKED = "proposal_blocked"
    ROLLED_BACK = "rolled_back"
    IMPLEMENTED = "implemented"


class UnknownEventError(PermanentError):
    """No such event is announced."""


class MissingSubjectError(PermanentError):
    """What the announcement is about does not exist."""


ABOUT_PROPOSAL: dict[Event, tuple[str, Callable[[EventView], Rendered], str]] = {
    Event.APPROVAL_NEEDED: (
        "approval",
        render.approval,
        "If you approve, 10 % of the users get it first, and a guard takes it back as soon as it does harm. "
        "Your approval covers exactly this change and no other.",
    ),
    Event.PROPOSAL_BLOCKED: (
        "blocked",
        render.blocked,
        "If there is another proposal for the same cause, it is validated now.",
    ),
    Event.ROLLED_BACK: (
        "rollback",
        render.rolled_back,
        "If there is another proposal for the same cause, it is validated now.",
    ),
    Event.IMPLEMENTED: (
        "implemented",
        render.implemented,
        "The change is part of the app's configuration now. What it was worth is measured against the users who were "
        "held back, and makes the next prediction better.",
    ),
}
"""By event: kind of the mail, its renderer, and what happens next."""


def announce(
    session: Session,
    event: str,
    subject_id: int,
    *,
    now: datetime,
    settings: Settings,
    number: int = 0,
    parent: Claim | None = None,
) -> list[int]:
    """Queue the mails of one event and return their ids; called twice, it queues them once.

    Args:
        subject_id: the alert's id, or the proposal's.
        number: tells updates of one alert apart.

    Raises:
        UnknownEventError: there is no such event.
        MissingSubjectError: there is no such alert or proposal.
    """
    try:
        known = Event(event)
    except ValueError:
        raise UnknownEventError(f"{event!r} is not announced; these are: {', '.join(Event)}") from None
    if known in ABOUT_PROPOSAL:
        return _proposal(session, subject_id, known, now=now, settings=settings, parent=parent)
    alert = session.get(MonitoringAlert, subject_id, with_for_update=True)
    if alert is None:
        raise MissingSubjectError(f"there is no alert {subject_id}")
    app = session.get_one(App, alert.app_id)
    if known is Event.STORM:
        return alert_mails.storm(session, app, alert, now=now, settings=settings, parent=parent)
    if known is Event.ALERT_CRITICAL:
        return alert_mails.fired(session, app, alert, now=now, settings=settings, parent=parent)
    if known is Event.ALERT_UPDATE:
        return alert_mails.updated(session, app, alert, number=number, now=now, settings=settings, parent=parent)
    return alert_mails.resolved(session, app, alert, now=now, settings=settings, parent=parent)


def _proposal(
    session: Session, proposal_id: int, event: Event, *, now: datetime, settings: Settings, parent: Claim | None
) -> list[int]:
    proposal = session.get(ImprovementProposal, proposal_id)
    if proposal is None:
        raise MissingSubjectError(f"there is no proposal {proposal_id}")
    app = session.get_one(App, proposal.app_id)
    kind, write, next_up = ABOUT_PROPOSAL[event]
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

    def in_zone(zone: tzinfo) -> Rendered:
        return write(replace(view, site=replace(view.site, zone=zone)))

    return queue(
        session,
        app,
        event=event,
        subject=proposal.id,
        kind=kind,
        to=listeners(session, app, kind=kind, what=f"proposal {proposal.id}"),
        render=by_zone(in_zone),
        sender=settings.mail_from,
        now=now,
        alert_id=proposal.alert_id,
        parent=parent,
    )
