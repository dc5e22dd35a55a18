"""The mails' SQL: queue once, take, record what became of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.errors import NotFoundError
from core.states import EMAIL, EmailState
from db.models.apps import Watermark
from db.models.mail import Email
from db.repositories import audit, jobs
from db.repositories.jobs import Claim

DELIVER = "notifications.deliver"
DELIVER_ATTEMPTS = 50
"""With the runner's back-off about seven hours: an SMTP server may be down for a morning."""
ERROR_CAP = 1000


def queue_once(
    session: Session,
    *,
    key: str,
    kind: str,
    recipient: str,
    subject: str,
    text: str,
    html: str,
    headers: Mapping[str, str],
    message_id: str,
    now: datetime,
    chart: bytes | None = None,
    not_before: datetime | None = None,
    app_id: int | None = None,
    alert_id: int | None = None,
    parent: Claim | None = None,
    deliver: bool = True,
) -> int | None:
    """Add a mail and the job that delivers it, or return None where the key exists: deciding twice makes one mail.

    Args:
        chart: a PNG that the HTML shows by `cid:`.
        not_before: when it may go out; at once where None.
        deliver: False leaves out the job: the caller sends the mail itself.
    """
    statement = (
        insert(Email)
        .values(
            key=key,
            app_id=app_id,
            alert_id=alert_id,
            kind=kind,
            recipient=recipient,
            subject=subject,
            text_body=text,
            html_body=html,
            chart=chart,
            headers=dict(headers),
            message_id=message_id,
            created_at=now,
        )
        .on_conflict_do_nothing(index_elements=[Email.key])
        .returning(Email.id)
    )
    email_id = session.execute(statement).scalar_one_or_none()
    if email_id is not None and deliver:
        jobs.enqueue(
            session,
            key=f"deliver:{email_id}",
            kind=DELIVER,
            args={"email_id": email_id},
            run_at=not_before,
            max_attempts=DELIVER_ATTEMPTS,
            parent=parent,
        )
    return email_id


def told(session: Session, *, alert_id: int, kinds: Collection[str]) -> list[Email]:
    """Return the mails of these kinds about an alert that reached somebody, or still may."""
    return list(
        session.scalars(
            select(Email)
            .where(Email.alert_id == alert_id, Email.kind.in_(kinds), Email.state != EmailState.FAILED)
            .order_by(Email.id)
        )
    )


def lock(session: Session, email_id: int) -> Email:
    """Return the row, locked for this transaction.

    Raises:
        NotFoundError: there is no such mail.
    """
    row = session.get(Email, email_id, with_for_update=True, populate_existing=True)
    if row is None:
        raise NotFoundError(f"there is no mail {email_id}; `metamon mail list` shows what there is")
    return row


def begin_sending(row: Email) -> int:
    """Record that SMTP is about to be handed the message; returns the attempt's number, its fencing token."""
    row.state = EMAIL.check(row.state, EmailState.SENDING)
    row.attempts += 1
    row.error = None
    return row.attempts


def record(
    session: Session, email_id: int, attempt: int, *, state: EmailState, error: str | None, now: datetime
) -> bool:
    """Record what became of a sending. False where somebody else has taken the mail over since.

    A sender that was believed dead may still say what it knows: its mail is then `unknown`, and becomes what it says.
    """
    row = lock(session, email_id)
    if row.attempts != attempt or row.state not in (EmailState.SENDING, EmailState.UNKNOWN):
        return False
    if row.state is not state:
        if row.state is EmailState.UNKNOWN and state is not EmailState.SENT:
            return False  # a person may be looking at it already: theirs to decide
        row.state = EMAIL.check(row.state, state)
    row.error = error[:ERROR_CAP] if error else None
    if state is EmailState.SENT:
        row.sent_at = now
    return True


def note(row: Email, error: str) -> None:
    """Keep why the latest attempt came to nothing."""
    row.error = error[:ERROR_CAP]


def give_up(row: Email, error: str) -> None:
    """Record that the mail will not be tried again."""
    row.state = EMAIL.check(row.state, EmailState.FAILED)
    row.error = error[:ERROR_CAP]


def mark_unknown(row: Email) -> None:
    """Record that the sender died between handing the message over and saying so."""
    row.state = EMAIL.check(row.state, EmailState.UNKNOWN)
    row.error = "the sender died in mid-sending: it may or may not have arrived; resend it, or mark it sent"


def resend(session: Session, email_id: int, *, by: str) -> None:
    """Send again what failed or is unknown, under its old Message-ID, because a person said so.

    A mail that is still queued gets another job: its own may be dead, and the row's lock lets one of the two through.

    Raises:
        NotFoundError: there is no such mail.
        ForbiddenTransitionError: it is being sent, or was.
    """
    row = lock(session, email_id)
    before = row.state
    if before is not EmailState.QUEUED:
        row.state = EMAIL.check(before, EmailState.QUEUED)
    row.error = None
    audit.record(session, actor=by, action="mail.resend", subject=f"mail:{email_id}", was=before.value)
    key = f"deliver:{email_id}:{row.attempts}"
    again = 0
    # A mail may fail twice without an attempt in between: the server refused the connection each time.
    while (
        jobs.enqueue(
            session,
            key=f"{key}.{again}",
            kind=DELIVER,
            args={"email_id": email_id},
            max_attempts=DELIVER_ATTEMPTS,
        )
        is None
    ):
        again += 1


def mark_sent(session: Session, email_id: int, *, by: str, now: datetime) -> None:
    """Close an unknown mail: a person knows that it arrived.

    Raises:
        NotFoundError: there is no such mail.
        ForbiddenTransitionError: it is not unknown.
    """
    row = lock(session, email_id)
    row.state = EMAIL.check(row.state, EmailState.SENT)
    row.sent_at = now
    row.error = None
    audit.record(session, actor=by, action="mail.mark_sent", subject=f"mail:{email_id}")


def lock_mark(session: Session, app_id: int, name: str, *, at: datetime) -> Watermark:
    """Return how far an app's scheduled mail was told, locked; a new one stands at `at`."""
    session.execute(insert(Watermark).values(app_id=app_id, name=name, at=at).on_conflict_do_nothing())
    return session.get_one(Watermark, (app_id, name), with_for_update=True, populate_existing=True)
