"""Prove the statistics: `python -m benchmarks.stats_proof [--seed N] [--only 4,6] [--figure FILE.svg]`.

Prints one JSON object a line: gate, what, figure, goal, passed, claimed, detail, seconds. Exits with 1 where a claimed
gate was missed. With `--figure` it draws the false rollbacks of our rule and of simpler ones instead.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path

from benchmarks.stats_proof import cases, oracles, rollouts, worth
from benchmarks.stats_proof.gate import Gate

PARTS: dict[str, Callable[[int], list[Gate]]] = {
    # The longest first, so that two cores end together.
    "4": rollouts.false_rollbacks,
    "6": rollouts.delays,
    "3": cases.verdicts,
    "9": worth.impact,
    "7": rollouts.negative_controls,
    "fault": rollouts.second_fault,
    "2": cases.noninferior,
    "1": cases.worse,
    "5": rollouts.false_promotions,
    "8": oracles.agreement,
}


def part(name: str, seed: int) -> tuple[list[Gate], float]:
    """Return one part's gates, and how long they took."""
    begun = time.perf_counter()
    return PARTS[name](seed), time.perf_counter() - begun


def main() -> int:
    """Run what was asked for; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stats_proof", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="gates, separated by commas: " + ", ".join(PARTS))
    parser.add_argument("--figure", type=Path, help="draw false rollbacks into this SVG instead")
    asked = parser.parse_args()
    if asked.figure:
        from benchmarks.stats_proof.figure import draw

        draw(asked.figure, seed=asked.seed)
        return 0
    names = [name.strip() for name in asked.only.split(",") if name.strip()] or list(PARTS)
    if unknown := [name for name in names if name not in PARTS]:
        parser.error(f"there is no gate {', '.join(unknown)}; there are {', '.join(PARTS)}")
    missed = 0
    # One thread each: numpy's own threads would fight over the cores that the processes have.
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")
    with ProcessPoolExecutor(min(2, len(names))) as pool:
        waiting = [pool.submit(part, name, asked.seed) for name in names]
        for done in as_completed(waiting):
            gates, seconds = done.result()
            for gate in gates:
                missed += gate.claimed and not gate.passed
                print(json.dumps(asdict(gate) | {"seconds": round(seconds, 1)}, ensure_ascii=False), flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
