"""The history: deterministic, in the past, healthy, and cut short when told to stop."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from langsmith import Client

from demo import backfill

UNTIL = datetime(2026, 11, 26, 12, tzinfo=UTC)
PROJECT = UUID(int=1)


class Recorder(Client):
    """A langsmith client that keeps what it is given instead of sending it."""

    def __init__(self) -> None:
        self.kept: list[dict[str, Any]] = []
        self.judged: list[dict[str, Any]] = []

    def create_run(self, name: str, inputs: dict[str, Any], run_type: Any, **fields: Any) -> None:
        """Keep a run."""
        self.kept.append({"name": name, "run_type": run_type, "inputs": inputs, **fields})

    def create_feedback(self, **fields: Any) -> None:  # type: ignore[override]
        """Keep a score."""
        self.judged.append(fields)

    def flush(self, timeout: float | None = None) -> None:
        """Nothing waits."""


def told(days: float = 0.5) -> Recorder:
    """Tell half a day."""
    recorder = Recorder()
    backfill.tell(recorder, until=UNTIL, project_id=PROJECT, days=days)
    return recorder


def test_the_same_history_twice_is_the_same_runs() -> None:
    """Ids follow from the moment it ends at: the collector merges what it knows."""
    first, second = told(), told()
    assert first.kept == second.kept
    assert [score["feedback_id"] for score in first.judged] == [score["feedback_id"] for score in second.judged]
    assert len({run["id"] for run in first.kept}) == len(first.kept)


def test_runs_lie_in_the_past_about_one_a_minute() -> None:
    """Start times are spread over the window; each run ends after it starts."""
    roots = [run for run in told().kept if run["id"] == run["trace_id"]]
    assert 12 * 60 * 0.5 < len(roots) < 12 * 60 * 1.3
    assert all(UNTIL - timedelta(days=0.5) < run["start_time"] < UNTIL for run in roots)
    assert all(timedelta(milliseconds=20) < run["end_time"] - run["start_time"] < timedelta(seconds=1) for run in roots)
    assert all(run["id"].version == 7 for run in roots)


def test_a_root_carries_the_attributes_and_no_variant() -> None:
    """What research localises over is in the history too."""
    metadata = told().kept[0]["extra"]["metadata"]
    assert set(metadata) - {"usage_metadata"} == {
        "region", "model", "prompt_version", "channel", "plan", "intent", "targeting_key",
    }  # fmt: skip


def test_steps_hang_below_their_root() -> None:
    """Some traces have their steps, and tokens stand on one run of a trace alone."""
    recorder = told(days=2)
    steps = [run for run in recorder.kept if run["id"] != run["trace_id"]]
    assert {run["run_type"] for run in steps} == {"retriever", "tool", "llm"}
    roots = {run["id"]: run for run in recorder.kept if run["id"] == run["trace_id"]}
    assert len({run["trace_id"] for run in steps}) < 0.1 * len(roots)
    for step in steps:
        assert step["dotted_order"].startswith(roots[step["trace_id"]]["dotted_order"] + ".")
        assert "usage_metadata" not in roots[step["trace_id"]]["extra"]["metadata"]


def test_it_stops_when_told() -> None:
    """A half-told history says so, to be told again."""
    stop = threading.Event()
    stop.set()
    assert backfill.tell(Recorder(), until=UNTIL, project_id=PROJECT, days=1, stop=stop) is None
