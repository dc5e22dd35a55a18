"""Runs as columns: which failed by the alert's metric, and which attributes may explain it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.states import RunStatus
from db.repositories.roots import TAKEN
from traces.source import TraceRun

EXCLUDED_PREFIXES = ("rollout.", "ls_", "LANGSMITH_", "LANGCHAIN_")
EXCLUDED = frozenset({"revision_id", "user_id", "session_id", "thread_id", "targeting_key"})
"""Attributes that name the tracing, the arm of a rollout or one person: never a cause."""

MAX_ATTRIBUTES = 20
NEARLY_UNIQUE = 0.5
"""An attribute with more distinct values than this share of its runs names runs, not kinds of runs."""

TIMED = frozenset({"latency_p50", "latency_p95", "latency_p99"})
NOT_ABOUT_RUNS = TAKEN | {"volume", "no_data", "tokens", "cost"}
"""Metrics that no single run can fail."""


@dataclass(frozen=True)
class Sample:
    """The bad window and its baseline, N finished runs in order of time."""

    runs: list[TraceRun]
    bad: NDArray[np.bool_]
    """Which runs are in the bad window, shape (N,)."""
    values: NDArray[np.float64]
    """What the localiser judges: 1 where a run failed, or a measurement; higher is worse. NaN: not judged."""
    success: NDArray[np.float64]
    """What the prediction is about: higher is better (1 where a run succeeded, a score), or −milliseconds."""
    metric: str
    """Success metric: `error_free`, `sla_met`, a feedback key, or `latency_ms` (lower is better)."""

    @property
    def failed(self) -> NDArray[np.bool_]:
        """Runs that are bad examples: failed, or for a measurement among the baseline's worst tenth; shape (N,)."""
        known = self.values[np.isfinite(self.values)]
        if np.isin(known, (0.0, 1.0)).all():
            return np.asarray(self.values == 1.0)
        base = self.values[~self.bad & np.isfinite(self.values)]
        limit = np.quantile(base if len(base) else known, 0.9)
        return np.asarray(self.values > limit)

    @cached_property
    def started(self) -> NDArray[np.float64]:
        """When each run started, seconds since the epoch, shape (N,)."""
        return np.array([run.start_time.timestamp() for run in self.runs], dtype=np.float64)

    @cached_property
    def columns(self) -> dict[str, list[str | None]]:
        """Attributes that may explain something, the most complete first: values by run."""
        seen: Counter[str] = Counter()
        for run in self.runs:
            seen.update(run.attributes.keys())
        found: dict[str, list[str | None]] = {}
        for name, count in sorted(seen.items(), key=lambda item: (-item[1], item[0])):
            if name in EXCLUDED or name.startswith(EXCLUDED_PREFIXES):
                continue
            column = [run.attributes.get(name) for run in self.runs]
            distinct = len({value for value in column if value is not None})
            if distinct < 2 and count == len(self.runs):
                continue
            if distinct > max(50, NEARLY_UNIQUE * count):
                continue
            found[name] = column
            if len(found) == MAX_ATTRIBUTES:
                break
        return found

    def mask(self, conditions: Mapping[str, str]) -> NDArray[np.bool_]:
        """Return which runs the conditions hold for, shape (N,)."""
        return np.array(
            [all(run.attributes.get(key) == value for key, value in conditions.items()) for run in self.runs],
            dtype=bool,
        )


def sample(bad: Sequence[TraceRun], baseline: Sequence[TraceRun], *, metric: str, sla_ms: int) -> Sample:
    """Lay out runs for an alert's metric.

    `error_rate` → a run fails where it ended in an error; `sla_compliance` → where it ended in an error or beyond the
    SLA; `latency_*` → its duration; a feedback key → where its score is 0, or the score itself.

    Args:
        bad: runs of the bad window; unfinished ones are left out.
        baseline: runs before it.
        metric: the alert's metric.
        sla_ms: the app's promise, milliseconds.
    """
    pairs = [(run, True) for run in bad] + [(run, False) for run in baseline]
    pairs = [pair for pair in pairs if pair[0].status in (RunStatus.SUCCESS, RunStatus.ERROR)]
    pairs.sort(key=lambda pair: pair[0].start_time)
    runs = [_readable(run) for run, _ in pairs]
    name: str
    if metric in TIMED:
        name, success = "latency_ms", [_latency(run) for run in runs]
    elif metric == "error_rate":
        name, success = "error_free", [float(run.status is RunStatus.SUCCESS) for run in runs]
    elif metric == "sla_compliance":
        name, success = "sla_met", [_met(run, sla_ms) for run in runs]
    else:
        name, success = metric, [_score(run, metric) for run in runs]
    good = np.array(success, dtype=np.float64)
    known = good[np.isfinite(good)]
    values = 1.0 - good if np.isin(known, (0.0, 1.0)).all() else -good
    return Sample(runs, np.array([flag for _, flag in pairs], dtype=bool), values, good, name)


def _readable(run: TraceRun) -> TraceRun:
    """Return the run with texts that can be stored and shown: no lone surrogates, no zero bytes."""
    texts = [run.error or "", *run.attributes, *run.attributes.values()]
    if all(text.isascii() and "\x00" not in text for text in texts):
        return run
    return replace(
        run,
        error=None if run.error is None else _valid(run.error),
        attributes={_valid(key): _valid(value) for key, value in run.attributes.items()},
    )


def _valid(text: str) -> str:
    return text.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")


def _latency(run: TraceRun) -> float:
    return float("nan") if run.latency_s is None else -1000 * run.latency_s


def _met(run: TraceRun, sla_ms: int) -> float:
    if run.status is RunStatus.ERROR:
        return 0.0
    return float("nan") if run.latency_s is None else float(1000 * run.latency_s <= sla_ms)


def _score(run: TraceRun, key: str) -> float:
    value: Any = run.scores.get(key)
    return float("nan") if value is None else float(value)
