"""One SMTP conversation, driven command by command: everything turns on one moment, the dot that ends the message.

Before it, whatever breaks, the server has nothing and the mail may be sent again. After it, only a reply tells; where
none comes, the mail's fate is unknown.
"""

from __future__ import annotations

import re
import smtplib
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from core.errors import MetamonError, TransientError

TIMEOUT_S = 20.0
"""For connecting and for each reply."""


class BadServerUrlError(MetamonError):
    """The URL of the mail server is not one."""


class PostponedError(TransientError):
    """The server has nothing of this mail: it may be tried again."""


class RefusedError(MetamonError):
    """The server refuses this mail for good.

    Args:
        bounce: it is the recipient that the server does not take: a hard bounce.
    """

    def __init__(self, message: str, *, bounce: bool = False) -> None:
        super().__init__(message)
        self.bounce = bounce


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
            _expect(smtp.rcpt(recipient), 250, 251, about_recipient=True)
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


def _expect(reply: tuple[int, bytes], *good: int, about_recipient: bool = False) -> None:
    code, said = reply
    if code in good:
        return
    if code == 421 or not 500 <= code < 600:
        raise PostponedError(f"the server said {_said(code, said)}")
    # 5.7.x is policy (relaying denied, we are on a list): the address may be as good as any.
    bounce = about_recipient and not said.lstrip().startswith(b"5.7.")
    raise RefusedError(f"the server refused it: {_said(code, said)}", bounce=bounce)


def _said(code: int, text: bytes | str) -> str:
    words = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return f"{code} {words}"[:300].strip()


def _stuffed(content: bytes) -> bytes:
    """Double the leading dots (RFC 5321, 4.5.2) and end the last line."""
    stuffed = re.sub(rb"(?m)^\.", b"..", content)
    return stuffed if stuffed.endswith(b"\r\n") else stuffed + b"\r\n"
