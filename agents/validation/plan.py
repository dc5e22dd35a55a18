"""What a validation would take, and how it is cut into chunks: arithmetic and a seed, no I/O."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from analysis.paired import minimum_detectable_effect, smallest_passing

MARGIN = 0.05
"""Loss that a candidate may have, as a share of the baseline's rate."""
LATENCY_MARGIN = 0.25
"""Slowness that is reported as harmless. Time on a shared machine is noisy: only meeting the SLA decides."""
FLIPS = 0.03
"""Share of cases that are expected to turn from wrong to right by chance, for what a run can detect."""
CHUNK = 25
"""Cases of one job: large enough that the start of a sandbox does not count, small enough to share work."""
CHUNK_SECONDS = 240
"""Time that a chunk may take where every case runs into its time-out; below the limit of a task."""
SMOKE_ALPHA = 0.001
"""Spent on the early look, so that two looks together keep the size."""
ALPHA = 0.05
START_SECONDS = 1.0
PARALLEL = 2
"""Chunks that run at once on the smallest fleet."""


@dataclass(frozen=True)
class PlannedCase:
    """What the plan needs to know of a case."""

    id: int
    tags: Mapping[str, Any]
    metrics: frozenset[str]


@dataclass(frozen=True)
class Pace:
    """How much of a run may be under way at once.

    Attributes:
        window: chunks, each a job.
        lanes: cases within a chunk.
    """

    window: int
    lanes: int


def pace(concurrency: int) -> Pace:
    """Share the concurrency that the app allows between chunks and the lanes inside each; never more than allowed."""
    window = min(PARALLEL, concurrency)
    return Pace(window, concurrency // window)


class Plan(BaseModel):
    """What is said before anything starts."""

    cases: int
    repeats: int
    executions: int
    """Case × arm × repeat."""
    minutes: float
    detectable_points: float
    """Smallest loss that would show as a regression with 80 % power, in points."""
    passing_cases: int
    """Fewest cases of a metric that can pass at all."""
    metrics: dict[str, int]
    """Cases by metric."""
    warnings: list[str]
    cost_usd: float | None = None
    """Expected, from what executions cost lately; None where none told its cost."""
    budget_usd: float | None = None
    budget_tokens: int | None = None
    taken_over: int = 0
    """Executions that an earlier run did already."""


def chunk_size(timeout_s: float, repeats: int, lanes: int = 1) -> int:
    """Return how many cases one job takes: whole rounds of its lanes."""
    fitting = max(1, int(CHUNK_SECONDS / (timeout_s * repeats))) * lanes
    return max(1, min(max(CHUNK // lanes, 1) * lanes, fitting))


def layout(cases: Sequence[PlannedCase], *, seed: int, size: int, smoke: int = 0) -> list[list[int]]:
    """Cut the cases into chunks, in an order that the seed decides.

    With `smoke`, the first chunk is a sample of so many cases that takes turns among the combinations of tags.

    Returns: case ids by chunk; each case once.
    """
    rng = random.Random(seed)  # noqa: S311 - an order, no secret
    order = list(cases)
    rng.shuffle(order)
    chunks: list[list[int]] = []
    if smoke:
        strata: dict[tuple[tuple[str, str], ...], list[PlannedCase]] = {}
        for case in order:
            strata.setdefault(tuple(sorted((k, str(v)) for k, v in case.tags.items())), []).append(case)
        sample: list[PlannedCase] = []
        queues = list(strata.values())
        while len(sample) < min(smoke, len(cases)):
            sample += [queue.pop() for queue in queues if queue]
            queues = [queue for queue in queues if queue]
        sample = sample[:smoke]
        taken = {case.id for case in sample}
        chunks.append([case.id for case in sample])
        order = [case for case in order if case.id not in taken]
    chunks += [[case.id for case in order[i : i + size]] for i in range(0, len(order), size)]
    return chunks


def plan(
    cases: Sequence[PlannedCase],
    *,
    repeats: int,
    latency_ms: float,
    has_sla: bool = True,
    chunks: int = 1,
    concurrency: int = PARALLEL,
    cost_usd: float | None = None,
    taken_over: int = 0,
) -> Plan:
    """Say what a run would take and what it could find.

    Args:
        latency_ms: expected time of one execution.
        chunks: jobs that the run is cut into; each starts two sandboxes a lane.
        concurrency: cases that may be under way at once.
        cost_usd: expected cost of one execution.
        taken_over: executions that need not be run.
    """
    executions = 2 * repeats * len(cases)
    left = max(executions - taken_over, 0)
    window = pace(concurrency).window
    # The arms of a case run side by side.
    seconds = left / 2 * latency_ms / 1000 / concurrency + chunks * START_SECONDS / min(window, max(chunks, 1))
    metrics = Counter(metric for case in cases for metric in case.metrics)
    metrics["error_free"] = len(cases)
    if has_sla:
        metrics["sla_met"] = len(cases)
    fewest = smallest_passing(MARGIN)
    warnings = [
        f"{name} has {count} cases: a pass takes at least {fewest}, even without a single loss"
        for name, count in sorted(metrics.items())
        if count < fewest
    ]
    effect = minimum_detectable_effect(len(cases), flips=FLIPS, repeats=repeats) if cases else 1.0
    return Plan(
        cases=len(cases),
        repeats=repeats,
        executions=executions,
        minutes=round(seconds / 60, 2),
        detectable_points=round(100 * effect, 1),
        passing_cases=fewest,
        metrics=dict(sorted(metrics.items())),
        warnings=warnings,
        cost_usd=None if cost_usd is None else round(cost_usd * left, 4),
        taken_over=taken_over,
    )
