"""Ports: free ones, and ones that nobody else of us takes."""

from __future__ import annotations

import socket
from pathlib import Path

from workers.embedded.ports import Ports, free_port


def test_a_port_that_somebody_listens_on_is_moved() -> None:
    """`up` starts beside whatever runs on its usual ports."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert free_port(port) not in (0, port)


def test_a_claimed_port_is_moved_before_anybody_listens_on_it(tmp_path: Path) -> None:
    """Two fleets that start at the same moment choose before either binds."""
    wanted = free_port()
    first, second = Ports(tmp_path), Ports(tmp_path)
    assert first.claim(wanted) == wanted
    assert second.claim(wanted) != wanted
    assert first.claim(wanted) != wanted
    first.release()
    assert Ports(tmp_path).claim(wanted) == wanted
