"""How much memory an idle fleet takes, proportional set size, process by process.

    python -m benchmarks.memory --settle 60

Starts `metamon up` in a folder of its own, waits until its verdict is ok and the settle time is over, and prints one
JSON document. Shared pages count once: the sum is what the machine really gives. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

MIB = 2**20
PATIENCE_S = 300


def name_of(process: psutil.Process) -> str:
    """Return what the process is in the fleet."""
    line = " ".join(process.cmdline())
    if worker := re.search(r" worker -Q (\w+)", line):
        return f"worker-{worker[1]}"
    known = {"postgres": "postgres", "redis-server": "redis", "uvicorn": "api", "flower": "flower", " beat": "beat",
             "workers.relay": "relay", "embedded.smtp": "smtp", "cli up": "up"}  # fmt: skip
    return next((name for mark, name in known.items() if mark in line), "other")


def measure(root: psutil.Process) -> dict[str, float]:
    """Return MiB of proportional set size by part of the fleet, children included."""
    sizes: dict[str, float] = {}
    for process in (root, *root.children(recursive=True)):
        try:
            name, size = name_of(process), process.memory_full_info().pss / MIB
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
        sizes[name] = sizes.get(name, 0.0) + size
    return dict(sorted(sizes.items(), key=lambda item: -item[1]))


def is_up(state: Path) -> bool:
    """Return whether the fleet calls itself ok."""
    asked = subprocess.run(
        [sys.executable, "-m", "cli", "status", "--json", "--state", str(state)], capture_output=True, check=False
    )
    return bool(asked.stdout) and json.loads(asked.stdout)["verdict"] == "ok"


def main() -> None:
    """Start, settle, measure, stop."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settle", type=float, default=60.0, help="seconds between up and the measurement")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state"
        begun = time.monotonic()
        up = subprocess.Popen(
            [sys.executable, "-m", "cli", "up", "--state", str(state)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ}, start_new_session=True,
        )  # fmt: skip
        try:
            while not ((state / "fleet.json").exists() and is_up(state)):
                if up.poll() is not None or time.monotonic() - begun > PATIENCE_S:
                    sys.exit(f"the fleet did not come up: see the logs of `metamon up --state {state}`")
                time.sleep(1)
            seconds = time.monotonic() - begun
            time.sleep(given.settle)
            sizes = measure(psutil.Process(up.pid))
        finally:
            up.send_signal(signal.SIGINT)
            up.wait(60)
    print(
        json.dumps(
            {
                "up_s": round(seconds, 1),
                "pss_mib": round(sum(sizes.values())),
                "goal_mib": 1536,
                "by_part_mib": {name: round(size, 1) for name, size in sizes.items()},
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
