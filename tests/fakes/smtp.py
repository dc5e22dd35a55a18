"""A real SMTP server that answers as it is told: accept, refuse, stall, or drop the line at a chosen command."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from workers.embedded.ports import free_port

DROP = "drop"
STALL = "stall"
KEEP_AND_DROP = "keep and drop"
"""The message is kept, the line is cut before the reply: what a crash of either side looks like."""
KEEP_AND_STALL = "keep and stall"


@dataclass
class Received:
    """A message the server took."""

    sender: str
    recipients: list[str]
    message: EmailMessage


@dataclass
class ScriptedServer:
    """What the server answers next, by command, and what it has received."""

    answers: dict[str, list[str]] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)
    stalled: threading.Event = field(default_factory=threading.Event)
    """Set once a command stalls."""
    url: str = ""

    def tell(self, command: str, *answers: str) -> None:
        """Queue answers for MAIL, RCPT or DATA; after them it accepts."""
        self.answers.setdefault(command, []).extend(answers)

    async def handle_MAIL(  # noqa: N802  # aiosmtpd's names
        self, server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Answer MAIL FROM."""
        answer = await self._answer("MAIL", server)
        if answer.startswith("250"):
            envelope.mail_from = address
            envelope.mail_options.extend(options)
        return answer

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Answer RCPT TO."""
        answer = await self._answer("RCPT", server)
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
            envelope.rcpt_options.extend(options)
        return answer

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Answer the message itself."""
        answer = await self._answer("DATA", server, envelope)
        if answer.startswith("250"):
            self._keep(envelope)
        return answer

    def _keep(self, envelope: Envelope) -> None:
        content = envelope.content
        assert isinstance(content, bytes)
        message = message_from_bytes(content, policy=default)
        assert isinstance(message, EmailMessage)
        self.received.append(Received(envelope.mail_from or "", list(envelope.rcpt_tos), message))

    async def _answer(self, command: str, server: SMTP, envelope: Envelope | None = None) -> str:
        waiting = self.answers.get(command)
        answer = waiting.pop(0) if waiting else "250 OK"
        if envelope is not None and answer in (KEEP_AND_DROP, KEEP_AND_STALL):
            self._keep(envelope)
        if answer in (STALL, KEEP_AND_STALL):
            self.stalled.set()
            await asyncio.sleep(60)
        if answer in (DROP, KEEP_AND_DROP):
            transport: Any = server.transport
            transport.abort()
            return "421 gone"
        return answer


@contextmanager
def scripted_server() -> Iterator[ScriptedServer]:
    """Run the server on a port of its own for the length of a block."""
    handler = ScriptedServer()
    controller = Controller(handler, hostname="127.0.0.1", port=free_port())  # it cannot ask for "any port" itself
    controller.start()
    try:
        handler.url = f"smtp://127.0.0.1:{controller.port}"
        yield handler
    finally:
        controller.stop()
