"""One mail over SMTP, and what became of it.

The conversation is driven command by command, because everything turns on one moment: the dot that ends the message.
Before it, whatever breaks, the server has nothing and the mail may be sent again. After it, only a reply tells; where
none comes, the mail is `unknown` and a person decides. `sending` is committed just before the message is handed over,
so a process that dies in between leaves the same trace.
"""

from __future__ import annotations

import re
import smtplib
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from urllib.parse import unquote, urlsplit

from core.errors import MetamonError, TransientError
from core.states import EmailState
from db.models.mail import Email
from db.repositories import emails
from db.session import Sessions
from notifications.policy import safe_header

TIMEOUT_S = 20.0
"""For connecting and for each reply."""


class BadServerUrlError(MetamonError):
    """The URL of the mail server is not one."""


class PostponedError(TransientError):
    """The server has nothing of this mail: it may be tried again."""


class RefusedError(MetamonError):
    """The server refuses this mail for good."""


class UncertainError(MetamonError):
    """The message was handed over and no reply came: it may have been accepted."""


@dataclass(frozen=True)
class Server:
    """Where mail goes out."""

    host: str
    port: int
    tls: bool
    """Encrypted from the first byte (smtps). Otherwise STARTTLS is used where the server offers it."""
    user: str | None = None
    password: str | None = None
    timeout_s: float = TIMEOUT_S


def parse_server(url: str, *, timeout_s: float = TIMEOUT_S) -> Server:
    """Return the server of an `smtp://` or `smtps://` URL. The error never repeats the URL: it holds a password.

    Raises:
        BadServerUrlError: the URL has another scheme, no host, or a port that is none.
    """
    rule = "METAMON_SMTP_URL must look like smtp://user:password@host:port or smtps://…"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BadServerUrlError(rule) from None
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
        raise BadServerUrlError(rule)
    tls = parts.scheme == "smtps"
    return Server(
        host=parts.hostname,
        port=port or (465 if tls else 25),
        tls=tls,
        user=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        timeout_s=timeout_s,
    )


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

    state, error = EmailState.SENT, None
    try:
        if not transmit(server, sender, recipient, message.as_bytes(), hand_over):
            return _state(sessions, email_id)
    except PostponedError as problem:
        state, error = EmailState.FAILED if last_attempt else EmailState.QUEUED, str(problem)
        if last_attempt:
            error = f"gave up after many attempts: {problem}"
    except RefusedError as problem:
        state, error = EmailState.FAILED, str(problem)
    except UncertainError as problem:
        state, error = EmailState.UNKNOWN, str(problem)
    _record(sessions, email_id, attempt, state=state, error=error, now=now())
    if state is EmailState.QUEUED:
        raise PostponedError(error or "")
    return state


def _state(sessions: Sessions, email_id: int) -> EmailState:
    with sessions() as session:
        return session.get_one(Email, email_id).state


def _record(
    sessions: Sessions, email_id: int, attempt: int | None, *, state: EmailState, error: str | None, now: datetime
) -> None:
    with sessions() as session, session.begin():
        if attempt is not None:
            emails.record(session, email_id, attempt, state=state, error=error, now=now)
            return
        row = emails.lock(session, email_id)
        if row.state is EmailState.QUEUED:
            if state is EmailState.FAILED:
                emails.give_up(row, error or "")
            else:
                emails.note(row, error or "")


def transmit(server: Server, sender: str, recipient: str, content: bytes, hand_over: Callable[[], bool]) -> bool:
    """Hold one SMTP conversation for one recipient. True where the server took the message on.

    Args:
        content: the whole message, lines ended by CRLF.
        hand_over: called when the server has accepted sender and recipient; False calls the sending off.

    Raises:
        PostponedError: the server has nothing of it; another time may do.
        RefusedError: a 5xx: another time will not do.
        UncertainError: the message was handed over and nothing came back.
    """
    with _conversation(server) as smtp:
        with _before_the_dot(server):
            smtp.ehlo_or_helo_if_needed()
            if not server.tls and smtp.has_extn("starttls"):
                _expect(smtp.starttls(context=_opportunistic(server)), 220)
                smtp.ehlo()
            if server.user is not None:
                smtp.login(server.user, server.password or "")
            _expect(smtp.mail(sender), 250)
            _expect(smtp.rcpt(recipient), 250, 251)
        if not hand_over():
            return False
        with _before_the_dot(server):
            _expect(smtp.docmd("DATA"), 354)
            smtp.send(_stuffed(content))
        try:
            smtp.send(b".\r\n")
            reply = smtp.getreply()
        except (OSError, smtplib.SMTPException) as error:
            raise UncertainError(
                f"the message was handed to {server.host} and no reply came ({type(error).__name__})"
            ) from error
        if reply[0] < 0:
            raise UncertainError(f"the message was handed to {server.host} and its reply made no sense")
        _expect(reply, 250)
        return True


@contextmanager
def _conversation(server: Server) -> Iterator[smtplib.SMTP]:
    """Connect, and hang up politely where that costs nothing."""
    with _before_the_dot(server):
        if server.tls:
            smtp: smtplib.SMTP = smtplib.SMTP_SSL(
                server.host,
                server.port,
                local_hostname=_own_name(),
                timeout=server.timeout_s,
                context=ssl.create_default_context(),
            )
        else:
            smtp = smtplib.SMTP(server.host, server.port, local_hostname=_own_name(), timeout=server.timeout_s)
    try:
        yield smtp
    finally:
        smtp.close()


def _own_name() -> str:
    """Return what we call ourselves in EHLO. Not the resolver's answer: without a network that takes many seconds."""
    name = socket.gethostname()
    return name if "." in name else "[127.0.0.1]"


def _opportunistic(server: Server) -> ssl.SSLContext:
    """Return the terms of STARTTLS: a password is only shown to a server that proves who it is.

    Without one, encryption to an unproven server (a relay on localhost with its snake-oil certificate) is still better
    than none.
    """
    context = ssl.create_default_context()
    if server.user is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


@contextmanager
def _before_the_dot(server: Server) -> Iterator[None]:
    """Whatever breaks in here, the server has no message of ours."""
    try:
        yield
    except smtplib.SMTPAuthenticationError as error:
        # A wrong password is ours to mend, not the recipient's fault: the mail waits.
        raise PostponedError(f"{server.host} refused our user or password ({error.smtp_code})") from error
    except smtplib.SMTPResponseException as error:
        # A greeting of 4xx or 5xx: the server is not taking mail at all now.
        raise PostponedError(f"{server.host} said {_said(error.smtp_code, error.smtp_error)}") from error
    except (OSError, smtplib.SMTPException) as error:
        raise PostponedError(
            f"{server.host}:{server.port} cannot be spoken to: {str(error)[:200] or type(error).__name__}"
        ) from error


def _expect(reply: tuple[int, bytes], *good: int) -> None:
    code, said = reply
    if code in good:
        return
    if code == 421 or not 500 <= code < 600:
        raise PostponedError(f"the server said {_said(code, said)}")
    raise RefusedError(f"the server refused it: {_said(code, said)}")


def _said(code: int, text: bytes | str) -> str:
    words = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return f"{code} {words}"[:300].strip()


def _stuffed(content: bytes) -> bytes:
    """Double the leading dots (RFC 5321, 4.5.2) and end the last line."""
    stuffed = re.sub(rb"(?m)^\.", b"..", content)
    return stuffed if stuffed.endswith(b"\r\n") else stuffed + b"\r\n"
