"""Filter expressions against stored runs, and the pages in which they come."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy.orm import Session, sessionmaker

from core.settings import REFUSED_PROJECTS
from db.models.apps import App, Project
from db.queries import runs as run_queries
from db.queries.runs import RunQuery
from db.repositories.projects import monitored_project
from tests.integration.traces.conftest import patch, post
from traces import ingest

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)


@pytest.fixture
def filled(sessions: sessionmaker[Session]) -> sessionmaker[Session]:
    """Three runs: `quick` succeeded, `slow` failed, `open` has not ended."""
    quick = post(NOW, name="quick", tags=["live", "beta"], extra={"metadata": {"region": "emea", "k": 4}})
    slow = post(NOW - timedelta(hours=1), name="slow", run_type="llm", extra={"metadata": {"region": "apac"}})
    pending = post(NOW - timedelta(days=2), name="open", extra={"metadata": {"session_id": "t1"}})
    ends = [
        patch(quick, outputs={"usage_metadata": {"total_tokens": 10}}),
        patch(slow, after=timedelta(seconds=9), error="ProviderTimeout: 100% late"),
    ]
    upload = ingest.from_batch({"post": [quick, slow, pending], "patch": ends}, now=NOW)
    for run, key, score in ((quick, "fact", 0.9), (quick, "guard", 0.1), (slow, "fact", 0.2)):
        upload.add_feedback({"run_id": run["id"], "key": key, "score": score}, key, now=NOW)
    ingest.store(sessions, upload, now=NOW)
    return sessions


@pytest.mark.parametrize("column", ["filters", "trace_filters", "tree_filters"])
def test_filters_select_what_they_say(filled: sessionmaker[Session], column: str) -> None:
    """On roots the three kinds of filter mean the same."""
    cases = {
        'eq(name, "quick")': {"quick"},
        'neq(name, "quick")': {"slow", "open"},
        'eq(status, "error")': {"slow"},
        "eq(error, null)": {"quick", "open"},
        "neq(error, null)": {"slow"},
        "gt(latency, 5)": {"slow"},
        "lte(latency, 1)": {"quick"},
        'eq(run_type, "LLM")': {"slow"},
        'in(name, ["slow", "open"])': {"slow", "open"},
        'has(tags, "beta")': {"quick"},
        'has(metadata, \'{"region": "emea", "k": 4}\')': {"quick"},
        'and(eq(metadata_key, "region"), eq(metadata_value, "apac"))': {"slow"},
        'and(eq(metadata_key, "k"), eq(metadata_value, 4))': {"quick"},
        'eq(metadata_key, "region")': {"quick", "slow"},
        'search("100% late")': {"slow"},
        'search("%")': {"slow"},
        'gte(start_time, "2026-06-15T11:30:00Z")': {"quick"},
        'gt(end_time, "2026-06-15T12:00:00Z")': {"quick"},
        "gt(total_tokens, 5)": {"quick"},
        'eq(thread_id, "t1")': {"open"},
        # key and score on one and the same feedback: quick's guard is low, its fact is not
        'and(eq(feedback_key, "fact"), lt(feedback_score, 0.5))': {"slow"},
        'and(eq(feedback_key, "fact"), gt(feedback_score, 0.5))': {"quick"},
        'not(has(tags, "beta"))': {"slow", "open"},
        'or(eq(name, "quick"), and(eq(is_root, true), eq(status, "pending")))': {"quick", "open"},
    }
    with filled() as session:
        found = {
            expression: {
                record.name for record in run_queries.query(session, RunQuery(**{column: [expression]}), limit=10)[0]
            }
            for expression in cases
        }
    assert found == cases


@pytest.mark.parametrize("ascending", [False, True])
def test_pages_follow_each_other_without_gap_or_repeat(filled: sessionmaker[Session], ascending: bool) -> None:
    """Runs that start at the same moment too."""
    same = [post(NOW, name=f"n{number}") for number in range(7)]
    ingest.store(filled, ingest.from_batch({"post": same}, now=NOW), now=NOW)
    seen: list[UUID] = []
    cursor = None
    with filled() as session:
        while True:
            page, cursor = run_queries.query(session, RunQuery(ascending=ascending), limit=3, cursor=cursor)
            seen += [record.id for record in page]
            if cursor is None:
                break
        whole, _ = run_queries.query(session, RunQuery(ascending=ascending), limit=100)
    assert seen == [record.id for record in whole]
    assert len(seen) == 10


def test_the_system_does_not_monitor_itself(filled: sessionmaker[Session]) -> None:
    """Our own project, the evaluators' and experiments are refused, even with traffic in them and an app on them."""
    bodies = [post(NOW, project) for project in (*REFUSED_PROJECTS, "experiment")]
    ingest.store(filled, ingest.from_batch({"post": bodies}, now=NOW), now=NOW)
    with filled.begin() as session:
        session.query(Project).filter_by(name="experiment").update({"reference_dataset_id": UUID(int=7)})
        found = {
            name: monitored_project(session, App(name="x", project=name, sla_ms=1))
            for name in (*REFUSED_PROJECTS, "experiment", "not-traced-yet", "fa-ai")
        }
        assert found.pop("fa-ai") is not None
    assert set(found.values()) == {None}
