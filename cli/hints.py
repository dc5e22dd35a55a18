"""The next command to type, in a spelling that works where the user stands."""

from __future__ import annotations

import os
import shlex
import shutil
import sys

import platformdirs


def command(*arguments: str) -> str:
    """Return a `metamon` command line that can be pasted.

    Started by `./uvw` or `uv run` from a clone, `metamon` is not on the user's PATH; and a fleet in a folder of its own
    must be named.
    """
    if wrapper := os.environ.get("METAMON_UVW"):
        words = [wrapper, "run", "metamon"]
    elif "UV_RUN_RECURSION_DEPTH" in os.environ:
        words = ["uv", "run", "metamon"]
    elif shutil.which("metamon") or not sys.argv[0].endswith("metamon"):
        words = ["metamon"]
    else:
        words = [sys.argv[0]]
    state = os.environ.get("METAMON_STATE")
    if state and state != platformdirs.user_data_dir("metamon"):
        arguments = (*arguments, "--state", state)
    return shlex.join([*words, *arguments])
