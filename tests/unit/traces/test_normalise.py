"""When a run happened, what it cost, and what is kept of it."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from db.payloads import unpack
from db.repositories.runs import RunOp, merged
from traces.clean import BadFieldError
from traces.embedded import attributes
from traces.normalise import RawRun, feedback_op, run_op

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
ROOT = uuid.UUID(int=1)
CHILD = uuid.UUID(int=2)


def stamp(at: datetime, run_id: uuid.UUID) -> str:
    """Return a segment of a dotted order."""
    return at.strftime("%Y%m%dT%H%M%S%fZ") + str(run_id)


def op(posted: bool = True, **body: Any) -> RunOp:
    """Return a cleaned run."""
    return run_op([RawRun(posted, {"id": str(ROOT), **body})], now=NOW).op


def test_a_dotted_order_alone_tells_day_trace_parent_and_start() -> None:
    """A patch carries little else."""
    order = f"{stamp(NOW - timedelta(days=1), ROOT)}.{stamp(NOW, CHILD)}"
    child = run_op([RawRun(False, {"id": str(CHILD), "dotted_order": order})], now=NOW).op
    assert (child.day, child.start_time, child.trace_start) == (NOW.date(), NOW, NOW - timedelta(days=1))
    assert (child.trace_id, child.parent_run_id, child.is_root) == (ROOT, ROOT, False)


@pytest.mark.parametrize("order", ["nonsense", "20261315T120000000000Zx", "", "." * 50, stamp(NOW, ROOT)[:-1], 7])
def test_a_broken_dotted_order_is_as_good_as_none(order: Any) -> None:
    """The start time stands in; the run is kept."""
    run = op(dotted_order=order, start_time=NOW.isoformat())
    assert (run.day, run.dotted_order, run.is_root) == (NOW.date(), None, True)


@pytest.mark.parametrize("offset", [timedelta(days=-399), timedelta(days=1, hours=23)])
def test_a_start_within_reason_is_believed(offset: timedelta) -> None:
    """History is backfilled, and clocks are a little off."""
    run = op(start_time=(NOW + offset).isoformat())
    assert (run.start_time, run.day, run.duration) == (NOW + offset, (NOW + offset).date(), None)


@pytest.mark.parametrize("offset", [timedelta(days=-401), timedelta(days=3), timedelta(days=90)])
def test_an_absurd_start_is_replaced_by_ours(offset: timedelta) -> None:
    """Where it is stored is looked up; how long it took holds."""
    start = NOW + offset
    run = op(start_time=start.isoformat(), end_time=(start + timedelta(seconds=3)).isoformat())
    assert (run.start_time, run.end_time, run.day) == (NOW, NOW + timedelta(seconds=3), None)


def test_what_retention_would_drop_at_once_is_refused_and_the_last_day_that_it_keeps_is_not() -> None:
    """Counted as of today it would be an incident; every day of it would be two tables."""
    kept, midnight = timedelta(days=30), NOW.replace(hour=0) - timedelta(days=30)
    ids = {"id": str(ROOT), "run_id": str(ROOT), "key": "k"}
    assert run_op([RawRun(True, {**ids, "start_time": midnight.isoformat()})], now=NOW, kept=kept).op.start_time
    assert feedback_op({**ids, "created_at": midnight.isoformat()}, now=NOW, kept=kept).created_at == midnight
    before = midnight - timedelta(seconds=1)
    for body in ({"start_time": before.isoformat()}, {"dotted_order": stamp(before, ROOT)}):
        with pytest.raises(BadFieldError, match="start_time is of 2026-05-15, and no more than 30 days are kept"):
            run_op([RawRun(True, {**ids, **body})], now=NOW, kept=kept)
    with pytest.raises(BadFieldError, match="created_at is of 2026-05-15"):
        feedback_op({**ids, "created_at": before.isoformat()}, now=NOW, kept=kept)


def test_two_statements_of_the_start_that_differ_widely_are_settled_by_the_dotted_order() -> None:
    """It decides the partition, so that post and patch meet."""
    run = op(dotted_order=stamp(NOW, ROOT), start_time=(NOW - timedelta(days=9)).isoformat())
    assert (run.start_time, run.day) == (NOW, NOW.date())


@pytest.mark.parametrize(
    "body",
    [
        {"outputs": {"usage_metadata": {"input_tokens": 7, "output_tokens": 5, "total_tokens": 12, "total_cost": 0.5}}},
        {"extra": {"metadata": {"usage_metadata": {"input_tokens": 7, "output_tokens": 5, "input_cost": 0.5}}}},
        {"outputs": {"llm_output": {"token_usage": {"prompt_tokens": 7, "completion_tokens": 5}}}, "total_cost": "0.5"},
        {
            "outputs": {
                "generations": [[{"message": {"kwargs": {"usage_metadata": {"input_tokens": 7, "output_tokens": 5}}}}]]
            },
            "total_cost": 0.5,
        },
        {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12, "total_cost": 0.5},
    ],
)
def test_usage_is_found_wherever_the_sdks_put_it(body: dict[str, Any]) -> None:
    """Outputs, metadata, LangChain's message, its `llm_output`, or the run itself."""
    run = op(**body)
    assert (run.prompt_tokens, run.completion_tokens, run.total_tokens, run.total_cost) == (7, 5, 12, 0.5)


def test_the_clients_own_document_is_left_as_it_was() -> None:
    """Metadata has a column of its own and is not stored twice."""
    body: dict[str, Any] = {"extra": {"metadata": {"region": "emea"}, "runtime": {"sdk": "x"}}}
    run = op(**body)
    assert (run.metadata, unpack(run.extra)) == ({"region": "emea"}, {"runtime": {"sdk": "x"}})
    assert body == {"extra": {"metadata": {"region": "emea"}, "runtime": {"sdk": "x"}}}


def test_a_run_without_an_id_is_refused() -> None:
    """There would be nothing to merge it by."""
    with pytest.raises(BadFieldError, match="id"):
        run_op([RawRun(True, {"name": "x"})], now=NOW)


def test_a_patch_goes_before_a_post_and_a_later_patch_before_an_earlier_one() -> None:
    """Whatever order they stand in."""
    post, early, late = op(name="post", error="e"), op(False, name="early"), op(False, name="late", tags=["t"])
    for group in ([post, early, late], [early, post, late], [early, late, post]):
        whole = merged(group)
        assert (whole.name, whole.tags, whole.error, whole.posted) == ("late", ["t"], "e", True)
    assert merged([late, early]).name == "early"


def test_a_post_that_makes_sense_with_its_patch_alone_is_stored_as_both() -> None:
    """One such run must not cost a whole upload when it is met in the store already."""
    post = RawRun(True, {"id": str(ROOT), "name": "q", "trace_id": "nonsense"})
    patch = RawRun(False, {"id": str(ROOT), "trace_id": str(ROOT)})
    whole = run_op([post, patch], now=NOW).op
    assert whole.split is not None
    assert [(part.name, part.trace_id) for part in whole.split()] == [("q", ROOT)]


def test_attributes_are_flat_texts() -> None:
    """Scalars only; booleans are words; a tag is an attribute."""
    flat = attributes("answer", {"region": "emea", "beta": True, "k": 4, "nested": {"x": 1}, "none": None}, ["live"])
    assert flat == {"name": "answer", "region": "emea", "beta": "true", "k": "4", "tag:live": "true"}


def test_feedback_with_an_absurd_time_counts_from_now() -> None:
    """It decides the partition in which retention finds it."""
    body = {"run_id": str(ROOT), "key": "k", "created_at": (NOW + timedelta(days=90)).isoformat()}
    assert feedback_op(body, now=NOW).day == NOW.date()


def test_too_large_a_value_of_feedback_is_refused() -> None:
    """A correction is a correction, not a dump."""
    with pytest.raises(BadFieldError, match="correction"):
        feedback_op({"run_id": str(ROOT), "key": "k", "correction": {"x": "y" * 100_000}}, now=NOW)
