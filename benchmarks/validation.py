"""How long a validation takes beside what its app alone would take, and whether that grows with the golden set.

    python -m benchmarks.validation --cases 1000 --cases 10000

Prints one JSON document. `ratio` is seconds over cases × repeats × latency / concurrency: both arms of a case are asked
side by side, so that is the least there is; the goal is 1.15 at most for 100 cases. `flat` is the processor time of a
case in the largest set over that in the smallest, `memory_mib` what the largest set took beyond the smallest at its
peak; both are about what a run costs us, so they are measured against an app that answers at once. The jobs are the
real ones, delivered by two threads, on a Postgres of its own, with both arms traced. Sets that the time budget does not
allow are left out and named.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil  # type: ignore[import-untyped]
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from agents.validation import prepare
from agents.validation.plan import PARALLEL
from agents.validation.prepare import Wish
from agents.validation.start import enqueue_start
from benchmarks.database import own_database
from core.clock import utc_now
from core.states import JobState
from db.models.apps import App
from db.models.jobs import Job
from db.models.validation import ValidationResult
from db.repositories import golden
from db.session import engine_url, make_engine, make_sessions
from targets.golden import parse_lines
from tasks import validation as tasks
from workers.embedded.ports import free_port
from workers.runner import run

GOAL = 1.15
HANDLERS = {
    "validation.start": tasks.start.handler,
    "validation.run_chunk": tasks.run_chunk.handler,
    "validation.finish": tasks.finish.handler,
}
Sessions = sessionmaker[Session]


def serve(port: int, latency_s: float) -> None:
    """Be an app that answers each question with 7 after so long, as many at once as are asked."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
                await asyncio.sleep(latency_s)
                body = b'{"value": 7}'
                kind = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                writer.write(kind + b"content-length: %d\r\n\r\n" % len(body) + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def main() -> None:
        async with await asyncio.start_server(answer, "127.0.0.1", port) as server:
            await server.serve_forever()

    asyncio.run(main())


def lines(count: int) -> list[str]:
    """Return so many golden cases."""
    check = {"type": "numeric", "metric": "fact_accuracy", "path": "value", "expected": 7}
    return [
        json.dumps({"key": f"case-{n:05}", "inputs": {"n": n}, "checks": [check], "tags": {"part": n % 4}})
        for n in range(count)
    ]


def work(sessions: Sessions, validation_id: int, owner: str) -> None:
    """Be a worker until the run has its verdict."""
    while True:
        kinds = select(Job.id, Job.kind).where(Job.kind.in_(HANDLERS), Job.state == JobState.QUEUED)
        with sessions() as session:
            due = session.execute(kinds.where(Job.run_at <= utc_now()).order_by(Job.id).limit(1)).one_or_none()
            if due is None and session.get_one(ValidationResult, validation_id).verdict is not None:
                return
        if due is None:
            time.sleep(0.005)
        else:
            run(due.id, HANDLERS[due.kind], owner=owner, sessions=sessions)


def validate(sessions: Sessions, *, cases: int, repeats: int, latency_s: float, concurrency: int) -> dict[str, Any]:
    """Run one validation and return what it took."""
    port = free_port()
    app = multiprocessing.get_context("spawn").Process(target=serve, args=(port, latency_s), daemon=True)
    app.start()
    _wait_for(port)
    name = f"bench-{cases}-{repeats}-{int(1000 * latency_s)}"
    target = {"kind": "http", "url": f"http://127.0.0.1:{port}/", "timeout_s": 30, "concurrency": concurrency}
    with sessions.begin() as session:
        row = App(name=name, project=name, sla_ms=30_000, target=target, config={"k": 4})
        session.add(row)
        session.flush()
        golden.import_set(session, row.id, "default", parse_lines(lines(cases)))
    try:
        with sessions.begin() as session:
            made, _ = prepare.prepare_ad_hoc(session, name, {"k": 5}, Wish("bench", 1, repeats), now=utc_now())
            enqueue_start(session, made.id)
            run_id = made.id
        ours = psutil.Process()
        peak, over = [ours.memory_info().rss], threading.Event()

        def watch() -> None:
            while not over.wait(0.1):
                peak[0] = max(peak[0], ours.memory_info().rss)

        watcher = threading.Thread(target=watch)
        watcher.start()
        began, cpu = time.perf_counter(), time.process_time()
        with ThreadPoolExecutor(PARALLEL) as workers:
            for worker in [workers.submit(work, sessions, run_id, f"w{n}") for n in range(PARALLEL)]:
                worker.result()
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        over.set()
        watcher.join()
    finally:
        app.terminate()
        app.join()
    with sessions() as session:
        verdict = session.get_one(ValidationResult, run_id).verdict
    least = cases * repeats * latency_s / concurrency
    return {
        "cases": cases,
        "repeats": repeats,
        "latency_s": latency_s,
        "concurrency": concurrency,
        "verdict": verdict.value if verdict else None,
        "seconds": round(seconds, 2),
        "ratio": round(seconds / least, 3) if least else None,
        "cpu_ms_per_case": round(1000 * cpu / (cases * repeats), 2),
        "peak_mib": round(peak[0] / 2**20, 1),
    }


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def measure(sessions: Sessions, asked: argparse.Namespace) -> dict[str, Any]:
    """Return the document."""
    validate(sessions, cases=50, repeats=1, latency_s=0.0, concurrency=asked.concurrency)  # imports, connections
    began = time.perf_counter()
    timed = [
        validate(sessions, cases=100, repeats=k, latency_s=asked.latency, concurrency=asked.concurrency)
        for k in asked.repeat or [1, 3]
    ]
    grown: list[dict[str, Any]] = []
    left_out = []
    for cases in sorted(asked.cases or [1_000, 10_000]):
        spent = time.perf_counter() - began
        if grown and spent + grown[-1]["seconds"] * cases / grown[-1]["cases"] > asked.budget:
            left_out.append(cases)
            continue
        grown.append(validate(sessions, cases=cases, repeats=1, latency_s=0.0, concurrency=asked.concurrency))
    return {
        "benchmark": "validation",
        "goal": GOAL,
        "timed": timed,
        "worst_ratio": max(each["ratio"] for each in timed),
        "passed": all(each["ratio"] <= GOAL for each in timed),
        "grown": grown,
        "left_out": left_out,
        "flat": round(grown[-1]["cpu_ms_per_case"] / grown[0]["cpu_ms_per_case"], 2),
        "memory_mib": round(grown[-1]["peak_mib"] - grown[0]["peak_mib"], 1),
        "load": [round(each, 2) for each in psutil.getloadavg()],
    }


def main() -> None:
    """Run the benchmark on a Postgres of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latency", type=float, default=1.0, help="seconds that the app takes to answer")
    parser.add_argument("--concurrency", type=int, default=8, help="cases that the app lets be asked at once")
    parser.add_argument("--repeat", type=int, action="append", help="runs of each of 100 cases; may be given again")
    parser.add_argument("--cases", type=int, action="append", help="sizes of golden sets; may be given several times")
    parser.add_argument("--budget", type=float, default=420, help="seconds after which no larger set is begun")
    asked = parser.parse_args()
    with own_database() as database:
        engine = make_engine(engine_url(database.url))
        found = measure(make_sessions(engine), asked)
        engine.dispose()
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
