"""The embedded mail server, spoken to by SMTP."""

from __future__ import annotations

import smtplib
import subprocess
import sys
import time
from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path

import pytest

from workers.embedded.ports import free_port
from workers.embedded.smtp import MESSAGE_CAP_BYTES, Folder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """A running server: its port and its folder."""
    folder, port = tmp_path_factory.mktemp("some mail"), free_port()
    process = subprocess.Popen([sys.executable, "-m", "workers.embedded.smtp", str(port), str(folder)])
    deadline = time.monotonic() + 30
    while True:
        try:
            smtplib.SMTP("127.0.0.1", port, timeout=5).quit()
            break
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    yield port, folder
    process.terminate()
    assert process.wait(10) == 0


def test_a_mail_becomes_one_file_with_its_envelope(server: tuple[int, Path]) -> None:
    """What was sent is kept to the byte, and for whom: a blind copy is in no header."""
    port, folder = server
    with smtplib.SMTP("127.0.0.1", port, timeout=5) as client:
        client.sendmail(
            "a@example.com", ["b@example.com", "c@example.com"], "Subject: Ünläut\r\n\r\nHi\r\n.\r\n".encode()
        )
    (path,) = folder.glob("*.eml")
    message = message_from_bytes(path.read_bytes())
    assert message.get_all("X-Envelope-To") == ["b@example.com", "c@example.com"]
    assert str(message.get_payload()).splitlines() == ["Hi", "."]


def test_a_mail_beyond_the_cap_is_refused(server: tuple[int, Path]) -> None:
    """A gigabyte of mail must not fill the disk."""
    port, folder = server
    before = len(list(folder.iterdir()))
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as client, pytest.raises(smtplib.SMTPSenderRefused):
        client.sendmail("a@example.com", ["b@example.com"], b"x" * (MESSAGE_CAP_BYTES + 1))
    assert len(list(folder.iterdir())) == before


def test_the_oldest_mails_go_at_the_start(tmp_path: Path) -> None:
    """The folder is an inbox, not an archive."""
    for name in ("20260101", "20260103", "20260102"):
        (tmp_path / f"{name}.eml").touch()
    Folder(tmp_path).prune(keep=2)
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["20260102", "20260103"]
