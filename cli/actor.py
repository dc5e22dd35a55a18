"""Who sits at the shell."""

from __future__ import annotations

import getpass


def actor() -> str:
    """Return how the audit log names the person at this shell."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a container's user may have no name
        return "cli:unknown"
