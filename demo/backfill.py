"""Fourteen healthy days, told to the collector in one go: runs of the past with their own start times."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from langsmith import Client

from demo.app import answer
from demo.config import APP, CONFIG
from demo.customers import Request, arrive, rhythm
from demo.desk import Step, describe, recorder, scores, usage_of
from demo.variants import Variant

DAYS = 14
PER_MINUTE = 0.8
DETAILED = 0.02
SCORED = 0.5
"""Share of the history that was evaluated; the live answers all are. It halves what the collector has to take in."""
HEALTHY = Variant(CONFIG, {})


def moments(rng: random.Random, until: datetime, *, days: float = DAYS) -> Iterator[datetime]:
    """Yield the start times of the history, oldest first, about one a minute with the day's rhythm."""
    at = until - timedelta(days=days)
    while True:
        at += timedelta(minutes=rng.expovariate(PER_MINUTE * rhythm(at)))
        if at >= until:
            return
        yield at


def tell(
    client: Client, *, until: datetime, project_id: UUID, days: float = DAYS, stop: threading.Event | None = None
) -> int | None:
    """Send the history that ends at a moment and return how many traces it has; None where `stop` cut it short.

    Everything, ids included, follows from `until`: telling it again, or again from the start after a kill half-way,
    makes nothing double, since the collector merges by id.
    """
    rng = random.Random(int(until.timestamp()))
    traces = 0
    for at in moments(rng, until, days=days):
        if stop is not None and stop.is_set():
            return None
        _tell_one(client, rng, arrive(rng, at), at, project_id)
        traces += 1
    client.flush()
    return traces


def _tell_one(client: Client, rng: random.Random, request: Request, at: datetime, project_id: UUID) -> None:
    run_id = run_id_at(at, rng)
    metadata = describe(request, HEALTHY)
    clock = Clock()
    steps: list[Step] = []
    result: dict[str, Any] | None = None
    error = None
    try:
        result = answer(request.inputs, CONFIG, span=recorder(steps), sleep=clock.sleep)
    except Exception as problem:  # noqa: BLE001 - a failed request of the past is history too
        error = repr(problem)
    ended = at + timedelta(seconds=clock.passed + 0.002)
    detailed, scored = rng.random() < DETAILED, rng.random() < SCORED
    ids = {key: UUID(int=rng.getrandbits(128), version=4) for key in ("guardrail_pass", "fact_accuracy")}
    if result is not None and not detailed:
        metadata["usage_metadata"] = usage_of(result)
    order = dotted(at, run_id)
    client.create_run(
        APP,
        dict(request.inputs),
        "chain",
        id=run_id,
        trace_id=run_id,
        dotted_order=order,
        project_name=APP,
        start_time=at,
        end_time=ended,
        outputs=result,
        error=error,
        extra={"metadata": metadata},
    )
    if detailed:
        _tell_steps(client, rng, steps, trace_id=run_id, order=order, start=at, end=ended, result=result)
    if result is not None and scored:
        for key, score in scores(request, result).items():
            client.create_feedback(
                run_id=run_id,
                trace_id=run_id,
                session_id=project_id,
                start_time=at,
                feedback_id=ids[key],
                key=key,
                score=score,
            )


def _tell_steps(
    client: Client,
    rng: random.Random,
    steps: list[Step],
    *,
    trace_id: UUID,
    order: str,
    start: datetime,
    end: datetime,
    result: dict[str, Any] | None,
) -> None:
    for place, step in enumerate(steps):
        begun = start + timedelta(milliseconds=place)
        run_id = run_id_at(begun, rng)
        last = place == len(steps) - 1
        used = {"metadata": {"usage_metadata": usage_of(result)}} if last and result is not None else {}
        client.create_run(
            step.name,
            step.inputs,
            step.kind,
            id=run_id,
            trace_id=trace_id,
            parent_run_id=trace_id,
            dotted_order=f"{order}.{dotted(begun, run_id)}",
            project_name=APP,
            start_time=begun,
            end_time=end if last else begun + timedelta(milliseconds=1),
            outputs=step.outputs,
            error=step.error,
            extra=used,
        )


class Clock:
    """Time that passes by being asked to."""

    def __init__(self) -> None:
        self.passed = 0.0

    def sleep(self, seconds: float) -> None:
        """Let time pass, at once."""
        self.passed += seconds


def run_id_at(at: datetime, rng: random.Random) -> UUID:
    """Return a version-7 UUID of a moment, as the SDK makes them, from a known source of randomness."""
    milliseconds = int(at.timestamp() * 1000)
    return UUID(
        int=milliseconds << 80 | 0x7 << 76 | rng.getrandbits(12) << 64 | 0b10 << 62 | rng.getrandbits(62),
    )


def dotted(at: datetime, run_id: UUID) -> str:
    """Return a run's place in its trace, in the SDK's notation."""
    return at.strftime("%Y%m%dT%H%M%S%fZ") + str(run_id)
