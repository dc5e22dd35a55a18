"""Post, patch and feedback of one run in every order: the store ends up the same, and the sweep is told."""

from __future__ import annotations

import itertools
import threading
import uuid
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session, sessionmaker

from core.states import RunStatus
from db.models.apps import Project
from db.models.metrics import BucketChange
from db.models.traces import Feedback, LooseEnd, Run
from db.queries import runs as run_queries
from db.repositories import partitions
from tests.integration.traces.conftest import dotted, patch, post
from traces import ingest
from traces.embedded import EmbeddedSource
from traces.ingest import Upload

NOW = datetime(2026, 6, 15, 12, 0, 30, tzinfo=UTC)
MINUTE = NOW.replace(second=0)


def send(
    sessions: sessionmaker[Session],
    *,
    posts: list[dict[str, Any]] | None = None,
    patches: list[dict[str, Any]] | None = None,
    feedback: list[dict[str, Any]] | None = None,
    now: datetime = NOW,
) -> Upload:
    """Ingest as the API does."""
    upload = ingest.from_batch({"post": posts or [], "patch": patches or []}, now=now)
    for body in feedback or []:
        upload.add_feedback(body, "feedback", now=now)
    ingest.store(sessions, upload, now=now)
    assert upload.errors == {}
    return upload


def rows(sessions: sessionmaker[Session]) -> list[Run]:
    """Return all stored runs."""
    with sessions() as session:
        return list(session.scalars(select(Run)))


def work_off(sessions: sessionmaker[Session]) -> list[datetime]:
    """Take the notes as the sweep does and return their buckets."""
    with sessions.begin() as session:
        found = sorted(set(session.scalars(select(BucketChange.bucket))))
        session.execute(text("DELETE FROM bucket_changes"))
    return found


FIRST = post(NOW, inputs={"q": 1}, tags=["a"], extra={"metadata": {"region": "emea", "v": 1}, "runtime": {"sdk": "x"}})
LATER = patch(FIRST, outputs={"a": 1}, extra={"metadata": {"v": 2, "w": 3}}, name=None, tags=None)
LAST = patch(FIRST, after=timedelta(seconds=2), error="late trouble")


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("together", [True, False])
def test_post_and_patches_merge_in_any_order(
    sessions: sessionmaker[Session], order: tuple[int, ...], together: bool
) -> None:
    """Null never overwrites, a patch overrides, a late post fills gaps only."""
    ops = [("post", FIRST), ("patch", {**LATER, "end_time": None}), ("patch", LAST)]
    if together:
        send(sessions, posts=[FIRST], patches=[ops[i][1] for i in order if i])
    else:
        for i in order:
            kind, body = ops[i]
            send(sessions, posts=[body] if kind == "post" else [], patches=[body] if kind == "patch" else [])
    (run,) = rows(sessions)
    assert (run.name, run.tags, run.posted, run.is_root) == ("answer", ["a"], True, True)
    assert (run.status, run.error) == (RunStatus.ERROR, "late trouble")
    assert run.end_time == NOW + timedelta(seconds=2)
    assert run.run_metadata == {"region": "emea", "v": 2, "w": 3}
    with sessions() as session:
        record = run_queries.get(session, run.id)
        project = session.get_one(Project, run.project_id)
    assert record is not None
    assert (record.inputs, record.outputs) == ({"q": 1}, {"a": 1})
    assert project.name == "fa-ai"
    assert MINUTE in work_off(sessions)


def test_sending_everything_again_changes_nothing(sessions: sessionmaker[Session]) -> None:
    """The SDK repeats a batch whose answer was lost."""
    for _ in range(3):
        send(sessions, posts=[FIRST], patches=[LAST], feedback=[{"id": str(FIRST["id"]), "run_id": FIRST["id"], "key": "k", "score": 1, "created_at": NOW.isoformat()}])  # fmt: skip  # noqa: E501
    assert len(rows(sessions)) == 1
    with sessions() as session:
        assert len(session.scalars(select(Feedback)).all()) == 1


def test_a_patch_without_any_time_finds_its_run_in_its_partition(sessions: sessionmaker[Session]) -> None:
    """`update_run` with nothing but an id, days after the run began."""
    old = post(NOW - timedelta(days=5))
    send(sessions, posts=[old])
    send(sessions, patches=[{"id": old["id"], "end_time": (NOW - timedelta(days=5)).isoformat(), "outputs": {"a": 1}}])
    (run,) = rows(sessions)
    assert (run.day, run.status) == ((NOW - timedelta(days=5)).date(), RunStatus.SUCCESS)


def test_a_patch_without_any_time_that_comes_first_is_kept_and_moves_to_its_posts_day(
    sessions: sessionmaker[Session],
) -> None:
    """The row it made meanwhile is a guess; the post knows day, project and start."""
    old = post(NOW - timedelta(days=5), inputs={"q": 1})
    send(sessions, patches=[{"id": old["id"], "end_time": NOW.isoformat(), "error": "gave up"}])
    assert rows(sessions)[0].day == NOW.date()
    send(sessions, patches=[{"id": old["id"], "tags": ["b"]}])
    send(sessions, posts=[old])
    (run,) = rows(sessions)
    assert (run.day, run.start_time) == ((NOW - timedelta(days=5)).date(), NOW - timedelta(days=5))
    assert (run.error, run.tags, run.name, run.posted) == ("gave up", ["b"], "answer", True)
    with sessions() as session:
        assert session.scalars(select(LooseEnd)).all() == []
    assert {MINUTE, MINUTE - timedelta(days=5)} <= set(work_off(sessions))


def test_a_post_and_an_idle_patch_at_the_same_moment_make_one_row(pooled: sessionmaker[Session]) -> None:
    """Two transactions that cannot see each other must not leave two rows of one run."""
    partitions.ensure(pooled, [NOW.date(), (NOW - timedelta(days=3)).date()])
    runs = [post(NOW - timedelta(days=3)) for _ in range(30)]
    barrier = threading.Barrier(2)

    def posting() -> None:
        for run in runs:
            barrier.wait()
            send(pooled, posts=[run])

    def patching() -> None:
        for run in runs:
            barrier.wait()
            send(pooled, patches=[{"id": run["id"], "end_time": NOW.isoformat()}])

    threads = [threading.Thread(target=target) for target in (posting, patching)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stored = rows(pooled)
    assert len(stored) == len(runs)
    assert {run.day for run in stored} == {(NOW - timedelta(days=3)).date()}
    assert {run.status for run in stored} == {RunStatus.SUCCESS}


def test_two_batches_that_share_runs_do_not_dead_lock(pooled: sessionmaker[Session]) -> None:
    """The same runs in opposite orders at once: both commit."""
    runs = [post(NOW) for _ in range(60)]
    failures: list[BaseException] = []

    def sending(batch: list[dict[str, Any]]) -> None:
        try:
            for _ in range(5):
                send(pooled, posts=batch, patches=[patch(run) for run in batch])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=sending, args=(batch,)) for batch in (runs, runs[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(rows(pooled)) == 60


def test_a_clock_far_off_is_replaced_by_ours_and_its_durations_hold(sessions: sessionmaker[Session]) -> None:
    """90 days ahead: kept under the day it came, post and patch in one row, and what the client said is remembered."""
    skewed = post(NOW + timedelta(days=90))
    send(sessions, posts=[skewed])
    send(sessions, patches=[patch(skewed, after=timedelta(seconds=3))], now=NOW + timedelta(seconds=10))
    (run,) = rows(sessions)
    assert (run.day, run.start_time, run.end_time) == (NOW.date(), NOW, NOW + timedelta(seconds=3))
    with sessions() as session:
        record = run_queries.get(session, run.id)
    assert record is not None
    assert record.extra["metamon"]["client_start_time"] == skewed["start_time"]
    assert work_off(sessions) == [MINUTE]


def test_a_late_run_touches_the_bucket_in_which_it_started(sessions: sessionmaker[Session]) -> None:
    """The sweep restates the past; nobody counts a run by when it arrived."""
    late = post(NOW - timedelta(hours=3))
    send(sessions, posts=[late])
    assert work_off(sessions) == [MINUTE - timedelta(hours=3)]
    send(sessions, patches=[patch(late)])
    assert work_off(sessions) == [MINUTE - timedelta(hours=3)]


def test_a_child_touches_its_roots_bucket_where_it_carries_usage(sessions: sessionmaker[Session]) -> None:
    """Tokens are summed over the trace; a child without any is nothing to restate."""
    root = post(NOW - timedelta(minutes=10))
    send(sessions, posts=[root])
    work_off(sessions)
    for usage in (None, {"total_tokens": 12, "total_cost": 0.01}):
        child_id = uuid.uuid4()
        child = post(NOW, id=child_id, trace_id=root["id"], parent_run_id=root["id"])
        child["dotted_order"] = dotted(NOW, child_id, str(root["dotted_order"]))
        child["outputs"] = {"usage_metadata": usage} if usage else {}
        send(sessions, posts=[child])
        assert work_off(sessions) == ([MINUTE - timedelta(minutes=10)] if usage else [])
    with sessions() as session:
        found = session.scalars(select(Run).where(Run.total_tokens.is_not(None))).one()
    assert (found.total_tokens, found.total_cost, found.is_root) == (12, 0.01, False)


def test_feedback_ahead_of_its_run_is_kept_and_joined(sessions: sessionmaker[Session]) -> None:
    """On a child, whose trace only the run itself can tell."""
    root = post(NOW)
    child_id = uuid.uuid4()
    child = post(NOW, id=child_id, trace_id=root["id"], parent_run_id=root["id"])
    child["dotted_order"] = dotted(NOW, child_id, str(root["dotted_order"]))
    send(sessions, feedback=[{"run_id": str(child_id), "key": "fact_accuracy", "score": 0.5}])
    with sessions() as session:
        assert session.scalars(select(LooseEnd.run_id)).all() == [child_id]
    send(sessions, posts=[root])
    work_off(sessions)
    send(sessions, posts=[child])
    assert work_off(sessions) == [MINUTE]
    with sessions() as session:
        row = session.scalars(select(Feedback)).one()
        assert session.scalars(select(LooseEnd)).all() == []
    assert (str(row.trace_id), row.project_id) == (root["id"], rows(sessions)[0].project_id)
    (run,) = EmbeddedSource(sessions, "http://api").runs(rows(sessions)[0].project_id, NOW, NOW + timedelta(seconds=1))
    assert run.scores == {"fact_accuracy": 0.5}


def test_feedback_on_a_known_run_touches_its_traces_bucket(sessions: sessionmaker[Session]) -> None:
    """Scored a day later, it counts when the run began."""
    run = post(NOW - timedelta(days=1))
    send(sessions, posts=[run], now=NOW - timedelta(days=1))
    work_off(sessions)
    send(sessions, feedback=[{"run_id": run["id"], "key": "k", "score": True}])
    assert work_off(sessions) == [MINUTE - timedelta(days=1)]


def test_retention_drops_whole_days_and_ingest_goes_on(sessions: sessionmaker[Session]) -> None:
    """A dropped day that is still known to this process is made anew, not an error."""
    old = NOW - timedelta(days=40)
    send(sessions, posts=[post(old), post(NOW)], feedback=[{"run_id": str(uuid.uuid4()), "key": "k", "created_at": old.isoformat()}])  # fmt: skip  # noqa: E501
    dropped = partitions.drop_before(sessions, date(2026, 6, 1))
    assert dropped == ["feedback_20260506", "runs_20260506"]
    assert [run.day for run in rows(sessions)] == [NOW.date()]
    send(sessions, posts=[post(old)])
    assert len(rows(sessions)) == 2


def test_a_deleted_project_is_made_anew_by_the_next_run(sessions: sessionmaker[Session]) -> None:
    """A process that still knows the project looks again instead of failing."""
    send(sessions, posts=[post(NOW)])
    with sessions.begin() as session:
        for table in ("runs", "bucket_changes", "projects"):
            session.execute(text(f"DELETE FROM {table}"))
    send(sessions, posts=[post(NOW)])
    assert len(rows(sessions)) == 1
