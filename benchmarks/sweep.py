"""How long one check takes for 10,000 new runs, and whether it grows with the history behind them.

    python -m benchmarks.sweep --history 30000 --history 120000

Prints one JSON document. The goal is a ratio near one between the largest history and the smallest, by processor time:
a sweep reads what changed, never the history. Absolute seconds are the machine's. Also timed: the overview page's one
request, and the first check after a backfill of 20,000 runs over 14 days with buckets of ten seconds. Histories that
the time budget does not allow are left out and named.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import psutil  # type: ignore[import-untyped]
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from agents.monitoring.check import Cadence, check_app
from benchmarks.database import own_database
from core.states import Scope
from db.session import engine_url, make_engine, make_sessions
from tests.api_server import bearer, served_api
from tests.monitoring_world import Spec, World, make_world

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
DAYS = 14
CHUNK = 20_000
REAL = Cadence()
DEMO = Cadence.of(sweep=timedelta(seconds=3), bucket=timedelta(seconds=10), demo=True)


def healthy(start: datetime, end: datetime, count: int, rng: random.Random) -> list[Spec]:
    """Return so many healthy runs, evenly spread."""
    pace = (end - start) / count
    return [
        Spec(
            start + number * pace,
            "error" if rng.random() < 0.01 else "success",
            rng.lognormvariate(-2.5, 0.3),
            {"fact_accuracy": float(rng.random() > 0.04), "guardrail_pass": float(rng.random() > 0.02)},
        )
        for number in range(count)
    ]


def fill(world: World, start: datetime, end: datetime, count: int) -> None:
    """Store a history in chunks."""
    rng = random.Random(count)
    chunks = max(1, count // CHUNK)
    span = (end - start) / chunks
    for chunk in range(chunks):
        world.add(healthy(start + chunk * span, start + (chunk + 1) * span, count // chunks, rng))


@dataclass
class Took:
    """What a check cost: seconds on the clock, and of the processor, ours and Postgres' together."""

    wall_s: float
    cpu_s: float


def check(world: World, now: datetime, cadence: Cadence) -> Took:
    """Check once and return what it took."""
    with world.sessions.begin() as session:
        backend = psutil.Process(session.scalars(text("SELECT pg_backend_pid()")).one())
        wall, cpu = time.perf_counter(), time.process_time() + sum(backend.cpu_times()[:2])
        check_app(session, world.app_id, at=now, now=now, cadence=cadence, run_url=url)
        session.flush()
        return Took(
            round(time.perf_counter() - wall, 3),
            round(time.process_time() + sum(backend.cpu_times()[:2]) - cpu, 3),
        )


def url(project_id: UUID, run_id: UUID) -> str:
    """Return any address."""
    return f"http://localhost/{project_id}/{run_id}"


def overview(sessions: sessionmaker[Session], rounds: int) -> float:
    """Return the median seconds that the overview page waits for its verdict."""
    seconds = []
    with (
        served_api(sessions) as url,
        httpx.Client(headers=bearer(sessions, Scope.VIEWER, f"tess-{time.time_ns()}"), timeout=60) as client,
    ):
        for _ in range(rounds):
            began = time.perf_counter()
            client.get(f"{url}/api/v1/overview").raise_for_status()
            seconds.append(time.perf_counter() - began)
    return round(statistics.median(seconds), 3)


def sweeps(sessions: sessionmaker[Session], history: int, new: int, rounds: int) -> dict[str, Any]:
    """Time checks of `new` runs after a history of so many."""
    world = make_world(sessions, project=f"history-{history}")
    fill(world, NOW - timedelta(days=DAYS), NOW, history)
    first = check(world, NOW, REAL)
    seconds = []
    for number in range(rounds):
        low = NOW + number * timedelta(minutes=5)
        fill(world, low, low + timedelta(minutes=5), new)
        seconds.append(check(world, low + timedelta(minutes=5), REAL))
    return {
        "history": history,
        "first": asdict(first),
        "sweep_wall_s": statistics.median(took.wall_s for took in seconds),
        "sweep_cpu_s": statistics.median(took.cpu_s for took in seconds),
        "overview_s": overview(sessions, rounds),
    }


def measure(
    sessions: sessionmaker[Session], histories: list[int], new: int, rounds: int, budget: float
) -> dict[str, Any]:
    """Return the document."""
    started = time.perf_counter()
    backfill = make_world(sessions, project="backfill")
    fill(backfill, NOW - timedelta(days=DAYS), NOW, 20_000)
    document: dict[str, Any] = {
        "benchmark": "sweep",
        "new_runs": new,
        "backfill_20000": asdict(check(backfill, NOW, DEMO)),
    }
    measured: list[dict[str, Any]] = []
    left_out = []
    for history in sorted(histories):
        spent = time.perf_counter() - started
        if measured and spent * (1 + history / measured[-1]["history"]) > budget:
            left_out.append(history)
            continue
        measured.append(sweeps(sessions, history, new, rounds))
    document["histories"] = measured
    document["left_out"] = left_out
    document["ratio"] = round(measured[-1]["sweep_cpu_s"] / measured[0]["sweep_cpu_s"], 2)
    return document


def main() -> None:
    """Run the benchmark on a Postgres of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--history", type=int, action="append", help="runs before; may be given several times")
    parser.add_argument("--new", type=int, default=10_000, help="runs a sweep has to take in")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--budget", type=float, default=240, help="seconds after which no larger history is begun")
    asked = parser.parse_args()
    with own_database() as database:
        engine = make_engine(engine_url(database.url))
        histories = asked.history or [30_000, 120_000]
        found = measure(make_sessions(engine), histories, asked.new, asked.rounds, asked.budget)
        engine.dispose()
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
