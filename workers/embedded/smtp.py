"""The embedded mail server: takes every mail by SMTP and keeps it as a file. Nothing leaves the machine.

Run as `python -m workers.embedded.smtp PORT FOLDER [HOST]`.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import uuid
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

from core.clock import utc_now

MESSAGE_CAP_BYTES = 10_000_000
KEPT = 5000
"""Mails that are kept; the oldest go when the server starts."""


class Folder:
    """An aiosmtpd handler that writes each message to a file, whole or not at all."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802  # its name
        """Keep one message and answer as SMTP wants; a full disk is a temporary failure."""
        content = envelope.content or b""
        body = content if isinstance(content, bytes) else content.encode()
        # The envelope decides who gets a mail, and it is not in the message.
        head = f"X-Envelope-From: {_line(envelope.mail_from)}\r\n".encode()
        head += b"".join(f"X-Envelope-To: {_line(recipient)}\r\n".encode() for recipient in envelope.rcpt_tos)
        name = f"{utc_now():%Y%m%dT%H%M%S.%f}-{uuid.uuid4().hex[:8]}"
        temporary = self.path / f".{name}"
        try:
            temporary.write_bytes(head + body)
            temporary.rename(self.path / f"{name}.eml")
        except OSError as error:
            temporary.unlink(missing_ok=True)
            return f"452 {error.strerror}"
        return "250 kept"

    def prune(self, keep: int = KEPT) -> None:
        """Remove all but the newest `keep` mails."""
        for path in sorted(self.path.glob("*.eml"))[:-keep]:
            path.unlink()


def _line(value: str | None) -> str:
    return (value or "").replace("\r", " ").replace("\n", " ")


async def serve(port: int, folder: Path, host: str = "127.0.0.1") -> None:
    """Serve on loopback, or on the address given, until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, stop.set)
    handler = Folder(folder)
    handler.prune()

    def session() -> SMTP:
        return SMTP(handler, data_size_limit=MESSAGE_CAP_BYTES, hostname="localhost", loop=loop, enable_SMTPUTF8=True)

    server = await loop.create_server(session, host, port)
    await stop.wait()
    server.close()


def main() -> None:
    """Read port, folder and perhaps the address from the command line and serve."""
    asyncio.run(serve(int(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:4]))


if __name__ == "__main__":
    main()
