"""Run a command on a leash: when the process that started it dies, however it dies, so does the command.

Used as `python -I -S leash.py PARENT SIGNAL COMMAND…`: asks the kernel for SIGNAL at the parent's death and then
becomes COMMAND. A function between fork and exec would do the same, but is unsafe in a process that has threads.
Only Linux knows such a request; elsewhere the next `up` stops what a killed one left.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask, look whether the parent is still there, and become the command."""
    parent, signal_number, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal_number)
    if os.getppid() != parent:  # it died before we asked
        raise SystemExit(f"the process {parent} that wanted {command[0]} is gone")
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and exec would hand that on
    try:
        os.execvp(command[0], command)  # noqa: S606  # to become the command is the point
    except OSError as error:
        raise SystemExit(f"{command[0]} cannot be run: {error.strerror}") from None


if __name__ == "__main__":
    main()
