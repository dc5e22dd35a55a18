"""How quickly runs become durable, against a bare server that parses the same bytes and COPYs them.

    python -m benchmarks.ingest --runs 4000

Prints one JSON document. The floor has no auth, no upsert, no merge of post and patch, no validation: it splits the
body, parses the JSON, joins post and patch, compresses the payloads as one and COPYs one row per run into one table
with a primary key. Both serve the same zstd bodies over HTTP from the same Postgres, alternately, and answer after
the commit. Read the ratios: absolute rates are the machine's.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import orjson
import psutil  # type: ignore[import-untyped]
import psycopg
import zstandard

from benchmarks.database import own_database
from core.states import Scope
from db.repositories import tokens
from db.session import make_engine, make_sessions
from workers.embedded.ports import free_port

BOUNDARY = uuid.uuid4().hex
WORDS = ("revenue", "margin", "forecast", "quarter", "dividend", "segment", "cash", "flow", "audit", "index", "policy")


def bodies(runs: int, batch: int, start: datetime) -> list[bytes]:
    """Return uploads as the SDK makes them: per trace a root and a child, each as post and patch."""
    compressor = zstandard.ZstdCompressor(level=1)
    made = []
    for first in range(0, runs, batch):
        parts: list[tuple[str, Any]] = []
        for number in range(first, min(first + batch, runs), 2):
            at = start + timedelta(milliseconds=10 * number)
            root, child = uuid.uuid4(), uuid.uuid4()
            above = at.strftime("%Y%m%dT%H%M%S%fZ") + str(root)
            for run_id, order, kind in (
                (root, above, "chain"),
                (child, f"{above}.{at.strftime('%Y%m%dT%H%M%S%fZ')}{child}", "llm"),
            ):
                parts += _run(run_id, root, order, kind, at, number)
        body = b"".join(
            b'--%s\r\nContent-Disposition: form-data; name="%s"\r\nContent-Type: application/json\r\n\r\n%s\r\n'
            % (BOUNDARY.encode(), name.encode(), orjson.dumps(content))
            for name, content in parts
        )
        made.append(compressor.compress(body + f"--{BOUNDARY}--\r\n".encode()))
    return made


def _run(run_id: uuid.UUID, root: uuid.UUID, order: str, kind: str, at: datetime, n: int) -> list[tuple[str, Any]]:
    text = " ".join(WORDS[(n * 7 + i * i) % len(WORDS)] + str((n * i) % 97) for i in range(90))
    metadata = {"region": ("emea", "amer", "apac")[n % 3], "model": "sonic-2", "prompt_version": f"v{n % 5}"}
    extra = {"metadata": {**metadata, "targeting_key": f"user-{n % 500}"}, "runtime": {"sdk": "langsmith-py", "v": "1"}}
    head = {"id": str(run_id), "trace_id": str(root), "dotted_order": order, "session_name": "bench"}
    post = {**head, "name": "answer", "run_type": kind, "start_time": at.isoformat(), "tags": ["live"]}
    if run_id != root:
        post["parent_run_id"] = str(root)
    usage = {"input_tokens": 100 + n, "output_tokens": 50, "total_tokens": 150 + n}
    return [
        (f"post.{run_id}", post),
        (f"post.{run_id}.inputs", {"question": text}),
        (f"post.{run_id}.extra", extra),
        (f"patch.{run_id}", {**head, "end_time": (at + timedelta(seconds=1)).isoformat()}),
        (f"patch.{run_id}.outputs", {"answer": text, **({"usage_metadata": usage} if kind == "llm" else {})}),
    ]


def serve(kind: str, url: str, port: int) -> None:
    """Serve the floor or the collector until killed."""
    import uvicorn

    app = floor_app(url) if kind == "floor" else collector_app(url)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)


def collector_app(url: str) -> Any:
    """Return the collector as the API mounts it."""
    from fastapi import FastAPI

    from api.routes import collector

    app = FastAPI()
    app.state.sessions = make_sessions(make_engine(url))
    app.state.bearers = {}
    app.include_router(collector.router_v1)
    return app


def floor_app(url: str) -> Any:
    """Return the bare server."""
    from psycopg_pool import ConnectionPool
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    pool = ConnectionPool(url, min_size=4, max_size=4, open=True)

    def work(body: bytes) -> None:
        merged: dict[str, dict[str, Any]] = {}
        for section in zstandard.ZstdDecompressor().decompressobj().decompress(body).split(b"--" + BOUNDARY.encode()):
            header, _, data = section.partition(b"\r\n\r\n")
            if not data:
                continue
            _, run_id, *field = header.split(b'name="')[1].split(b'"')[0].decode().split(".")
            document = orjson.loads(data)
            merged.setdefault(run_id, {}).update({field[0]: document} if field else document)
        compressor = zstandard.ZstdCompressor(level=3)
        with pool.connection() as connection, connection.cursor().copy("COPY floor FROM STDIN") as copy:
            for run_id, run in merged.items():
                payload = compressor.compress(orjson.dumps(run))
                copy.write_row((run_id, run["trace_id"], run["name"], run["start_time"], run["end_time"], payload))

    async def take(request: Request) -> Response:
        await run_in_threadpool(work, await request.body())
        return Response(status_code=202)

    return Starlette(routes=[Route("/runs/multipart", take, methods=["POST"])])


@contextmanager
def serving(kind: str, url: str) -> Iterator[tuple[str, psutil.Process]]:
    """Run a server in a process of its own."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.ingest", "--serve", kind, "--url", url, "--port", str(port)]
    with subprocess.Popen(command) as process:
        try:
            for _ in range(600):
                try:
                    httpx.get(f"http://127.0.0.1:{port}/")
                    break
                except httpx.TransportError:
                    time.sleep(0.05)
            yield f"http://127.0.0.1:{port}", psutil.Process(process.pid)
        finally:
            process.terminate()


def send(url: str, uploads: Sequence[bytes], token: str, connections: int) -> float:
    """Send the uploads and return the seconds until the last was durable."""
    headers = {
        "x-api-key": token,
        "Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
        "Content-Encoding": "zstd",
    }
    with httpx.Client(headers=headers, timeout=60) as client, ThreadPoolExecutor(connections) as pool:
        began = time.perf_counter()
        for response in pool.map(lambda body: client.post(f"{url}/runs/multipart", content=body), uploads):
            response.raise_for_status()
        return time.perf_counter() - began


def cpu(process: psutil.Process, database: psutil.Process) -> float:
    """Return the CPU seconds that a server and its database have used, ended backends included."""
    times = [process.cpu_times()] + [child.cpu_times() for child in database.children()]
    waited = database.cpu_times()
    own = sum(float(t.user + t.system) for t in times)
    return own + float(waited.children_user + waited.children_system)


def measure(runs: int, batch: int, rounds: int, connections: int, url: str, database: psutil.Process) -> dict[str, Any]:
    """Send alternately to both and compare."""
    engine = make_engine(url)
    with make_sessions(engine).begin() as session:
        token = tokens.create(session, name="bench", scope=Scope.INGEST, by="bench")
    engine.dispose()
    rates: dict[str, list[float]] = {"floor": [], "collector": []}
    used: dict[str, list[float]] = {"floor": [], "collector": []}
    raw = 0
    now = datetime.now(UTC)
    with serving("floor", url) as floor, serving("collector", url) as collector:
        servers = {"floor": floor, "collector": collector}
        for kind, (address, _) in servers.items():
            send(address, bodies(batch * 4, batch, now), token, connections)  # warm: partitions, projects, plans
            assert kind in rates
        for number in range(rounds):
            for kind in ("floor", "collector") if number % 2 == 0 else ("collector", "floor"):
                address, process = servers[kind]
                uploads = bodies(runs, batch, now)
                if kind == "collector":
                    raw += sum(len(zstandard.ZstdDecompressor().decompressobj().decompress(body)) for body in uploads)
                before = cpu(process, database)
                rates[kind].append(runs / send(address, uploads, token, connections))
                used[kind].append((cpu(process, database) - before) / runs * 1000)
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT count(*), (SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits "
            "WHERE inhparent = 'runs'::regclass) FROM runs"
        ).fetchone()
    assert row is not None
    stored, size = int(row[0]), float(row[1])
    rate = {kind: statistics.median(values) for kind, values in rates.items()}
    seconds = {kind: statistics.median(values) for kind, values in used.items()}
    raw_per_run = raw / (runs * rounds)
    return {
        "benchmark": "ingest",
        "runs": runs,
        "batch": batch,
        "rounds": rounds,
        "connections": connections,
        "runs_per_s": {kind: round(value) for kind, value in rate.items()},
        "cpu_s_per_1000": {kind: round(value, 3) for kind, value in seconds.items()},
        "ratio_to_floor": round(rate["collector"] / rate["floor"], 3),
        "cpu_ratio_to_floor": round(seconds["collector"] / seconds["floor"], 3),
        "bytes_per_run": {"raw": round(raw_per_run), "stored": round(size / stored)},
        "storage_ratio_to_raw": round(size / stored / raw_per_run, 3),
        "goal": {"ratio_to_floor": 0.5, "cpu_ratio_to_floor": 2.0, "storage_ratio_to_raw": 0.6},
    }


def main() -> None:
    """Run the benchmark, or one of its servers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=4000, help="runs a round")
    parser.add_argument("--batch", type=int, default=100, help="runs an upload")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--serve", choices=["floor", "collector"], help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        globals()["BOUNDARY"] = os.environ["BENCH_BOUNDARY"]
        serve(asked.serve, asked.url, asked.port)
        return
    os.environ["BENCH_BOUNDARY"] = BOUNDARY
    with own_database() as database:
        with psycopg.connect(database.url) as connection:
            connection.execute(
                "CREATE TABLE floor (id uuid PRIMARY KEY, trace_id uuid, name text, "
                "start_time timestamptz, end_time timestamptz, body bytea)"
            )
        process = psutil.Process(database.pid)
        found = measure(asked.runs, asked.batch, asked.rounds, asked.connections, database.url, process)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
