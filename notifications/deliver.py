"""One mail, and what became of it.

`sending` is committed just before the message is handed over, so a process that dies between the server's 250 and our
commit leaves a trace: the mail is then `unknown`, and a person decides. Nothing is ever sent twice silently.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP

import structlog

from core.states import EmailState
from db.models.mail import Email
from db.repositories import addresses, emails
from db.session import Sessions
from notifications.policy import content_id, safe_header
from notifications.smtp import PostponedError, RefusedError, Server, UncertainError, transmit

log = structlog.get_logger(__name__)


def compose(row: Email, *, sender: str) -> EmailMessage:
    """Return the message: plain text first, HTML second, its date the moment it was decided.

    Raises:
        HeaderInjectionError: a header of the row holds a line break.
    """
    message = EmailMessage(policy=SMTP)
    message["From"] = safe_header(sender)
    message["To"] = safe_header(row.recipient)
    message["Subject"] = safe_header(row.subject)
    message["Date"] = row.created_at
    message["Message-ID"] = safe_header(row.message_id)
    for name, value in row.headers.items():
        message[safe_header(name)] = safe_header(str(value))
    # Quoted-printable keeps lines short whatever the text, and 7-bit whatever the relay.
    message.set_content(row.text_body, cte="quoted-printable")
    message.add_alternative(row.html_body, subtype="html", cte="quoted-printable")
    if row.chart is not None:
        html = message.get_payload()[1]  # type: ignore[index]
        assert isinstance(html, EmailMessage)
        html.add_related(
            row.chart, "image", "png", cid=f"<{content_id(row.chart)}>", disposition="inline", filename="chart.png"
        )
    return message


def deliver(
    sessions: Sessions,
    email_id: int,
    *,
    server: Server,
    sender: str,
    now: Callable[[], datetime],
    last_attempt: bool = False,
) -> EmailState:
    """Try once to send a mail and return the state it is left in. Nothing is open while SMTP speaks.

    Args:
        last_attempt: a mail that cannot be sent now is then failed instead of left in the queue.

    Raises:
        PostponedError: the server has nothing of it and there are attempts left; the mail is still queued.
        NotFoundError: there is no such mail.
    """
    with sessions() as session, session.begin():
        row = emails.lock(session, email_id)
        if row.state is EmailState.SENDING:
            emails.mark_unknown(row)
            return EmailState.UNKNOWN
        if row.state is not EmailState.QUEUED:
            return row.state
        message = compose(row, sender=sender)
        recipient = row.recipient

    attempt: int | None = None

    def hand_over() -> bool:
        """Commit `sending`; False where another sender was quicker."""
        nonlocal attempt
        with sessions() as session, session.begin():
            row = emails.lock(session, email_id)
            if row.state is not EmailState.QUEUED:
                return False
            attempt = emails.begin_sending(row)
        return True

    state, error, bounce = EmailState.SENT, None, False
    try:
        if not transmit(server, sender, recipient, message.as_bytes(), hand_over):
            return _state(sessions, email_id)
    except PostponedError as problem:
        state, error = EmailState.FAILED if last_attempt else EmailState.QUEUED, str(problem)
        if last_attempt:
            error = f"gave up after many attempts: {problem}"
    except RefusedError as problem:
        state, error, bounce = EmailState.FAILED, str(problem), problem.bounce
    except UncertainError as problem:
        state, error = EmailState.UNKNOWN, str(problem)
    _record(sessions, email_id, attempt, state=state, error=error, bounce=bounce, now=now())
    if state is EmailState.QUEUED:
        raise PostponedError(error or "")
    return state


def _state(sessions: Sessions, email_id: int) -> EmailState:
    with sessions() as session:
        return session.get_one(Email, email_id).state


def _record(
    sessions: Sessions,
    email_id: int,
    attempt: int | None,
    *,
    state: EmailState,
    error: str | None,
    now: datetime,
    bounce: bool = False,
) -> None:
    with sessions() as session, session.begin():
        row = emails.lock(session, email_id)
        if attempt is not None:
            if emails.record(session, email_id, attempt, state=state, error=error, now=now) and (
                state is EmailState.SENT
            ):
                addresses.accepted(session, row.recipient)
            return
        if row.state is EmailState.QUEUED:
            if state is EmailState.FAILED:
                emails.give_up(row, error or "")
                # In the transaction that ends the mail: a second sender finds it failed and counts nothing.
                if bounce and addresses.bounced(session, row.recipient, error=error or "", now=now):
                    log.warning("mail.address_disabled", mail_id=email_id)
            else:
                emails.note(row, error or "")
