"""The ordinary, unmodified SDK against the collector: what an app does to be monitored."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from langsmith import Client, RunTree, traceable, tracing_context
from langsmith.utils import LangSmithConflictError, LangSmithNotFoundError
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from db.models.apps import App, Project
from db.models.metrics import BucketChange
from db.models.traces import Feedback, Run
from traces.embedded import EmbeddedSource

NOW = datetime.now(UTC)


@pytest.fixture
def source(sessions: sessionmaker[Session]) -> EmbeddedSource:
    """What the agents read through."""
    return EmbeddedSource(sessions, "http://api")


def project_id(sessions: sessionmaker[Session], name: str) -> uuid.UUID:
    """Return the id of a project."""
    with sessions() as session:
        return session.scalars(select(Project.id).where(Project.name == name)).one()


def test_a_traced_function_arrives_with_its_children_and_its_usage(
    client: Client, sessions: sessionmaker[Session], source: EmbeddedSource
) -> None:
    """`@traceable` alone: root and child, metadata, tags, tokens; the root counts, the child does not."""

    @traceable(run_type="llm", name="model")
    def model(question: str) -> dict[str, Any]:
        return {"text": question.upper(), "usage_metadata": {"input_tokens": 7, "output_tokens": 5, "total_tokens": 12}}

    @traceable(name="answer", metadata={"region": "emea", "beta": True}, tags=["live"])
    def answer(question: str) -> str:
        return str(model(question)["text"])

    with tracing_context(enabled=True, client=client, project_name="fa-ai"):
        assert answer("who?") == "WHO?"
    client.flush()

    found = source.runs(
        project_id(sessions, "fa-ai"), NOW - timedelta(hours=1), NOW + timedelta(hours=1), with_payload=True
    )
    assert [run.attributes["name"] for run in found] == ["answer"]
    root = found[0]
    assert (root.attributes["region"], root.attributes["beta"], root.attributes["tag:live"]) == ("emea", "true", "true")
    assert (root.inputs, root.outputs, root.status) == ({"question": "who?"}, {"output": "WHO?"}, "success")
    assert root.latency_s is not None
    assert root.latency_s < 5
    with sessions() as session:
        child = session.scalars(select(Run).where(Run.run_type == "llm")).one()
    assert (child.trace_id, child.parent_run_id, child.is_root, child.total_tokens) == (root.id, root.id, False, 12)


def test_an_exception_is_an_error_with_its_text(
    client: Client, sessions: sessionmaker[Session], source: EmbeddedSource
) -> None:
    """What the function raises is what the run says."""

    @traceable
    def answer() -> str:
        raise TimeoutError("the provider took too long")

    with tracing_context(enabled=True, client=client, project_name="fa-ai"), pytest.raises(TimeoutError):
        answer()
    client.flush()
    window = (NOW - timedelta(hours=1), NOW + timedelta(hours=1))
    (run,) = source.runs(project_id(sessions, "fa-ai"), *window, only_errors=True)
    assert run.error is not None
    assert "the provider took too long" in run.error


def test_history_lands_in_its_own_days(client: Client, sessions: sessionmaker[Session], source: EmbeddedSource) -> None:
    """A run tree with a past start lies in the partition and the bucket of that past."""
    past = NOW - timedelta(days=13)
    for hours in (0, 30):
        tree = RunTree(
            name="answer",
            inputs={"q": 1},
            start_time=past + timedelta(hours=hours),
            project_name="fa-ai",
            ls_client=client,
        )
        tree.post()
        tree.end(outputs={"a": 1}, end_time=tree.start_time + timedelta(seconds=2))
        tree.patch()
    client.flush()
    with sessions() as session:
        days = session.scalars(select(Run.day).order_by(Run.day)).all()
        buckets = session.scalars(select(BucketChange.bucket)).all()
    assert days == [past.date(), (past + timedelta(hours=30)).date()]
    assert past.replace(second=0, microsecond=0) in buckets
    (run,) = source.runs(project_id(sessions, "fa-ai"), past - timedelta(hours=1), past + timedelta(hours=1))
    assert run.latency_s == pytest.approx(2.0)


@pytest.mark.filterwarnings("ignore::langsmith.utils.LangSmithWarning")
@pytest.mark.parametrize("batched", [True, False])
def test_feedback_is_scored_on_its_trace(
    client: Client, sessions: sessionmaker[Session], source: EmbeddedSource, batched: bool
) -> None:
    """With a trace id it travels in the multipart body, without one as a request of its own, ahead of its run."""
    tree = RunTree(name="answer", project_name="fa-ai", ls_client=client)
    trace_id = tree.id if batched else None
    for key, score in (("fact_accuracy", 0.25), ("guardrail_pass", True)):
        client.create_feedback(tree.id, key, score=score, comment="checked", trace_id=trace_id)
    tree.post()
    tree.end(outputs={"a": 1})
    tree.patch()
    client.flush()
    window = (NOW - timedelta(hours=1), NOW + timedelta(hours=1))
    (run,) = source.runs(project_id(sessions, "fa-ai"), *window)
    assert run.scores == {"fact_accuracy": 0.25, "guardrail_pass": 1.0}
    with sessions() as session:
        rows = session.scalars(select(Feedback)).all()
    assert {(row.trace_id, row.project_id) for row in rows} == {(tree.id, project_id(sessions, "fa-ai"))}


@pytest.mark.filterwarnings("ignore::langsmith.utils.LangSmithWarning", "ignore::DeprecationWarning")
def test_what_was_sent_is_read_back_through_v1_and_v2(client: Client, http: httpx.Client) -> None:
    """`read_run`, `list_runs`, feedback calls and `client.runs.query` see what the cloud would show."""
    with tracing_context(enabled=True, client=client, project_name="fa-ai"):
        ids = []
        for number in range(3):
            tree = RunTree(
                name=f"q{number}", run_type="tool", inputs={"n": number}, project_name="fa-ai", ls_client=client
            )
            tree.post()
            tree.end(outputs={"n": number}, error="bad" if number == 2 else None)
            tree.patch()
            ids.append(tree.id)
    client.flush()
    run = client.read_run(ids[1])
    assert (run.name, run.inputs, run.outputs, run.status) == ("q1", {"n": 1}, {"n": 1}, "success")
    assert run.url is not None
    assert str(ids[1]) in run.url
    assert {run.name for run in client.list_runs(project_name="fa-ai", error=True)} == {"q2"}
    assert [run.name for run in client.list_runs(project_name="fa-ai", filter='eq(name, "q0")')] == ["q0"]

    async def v2() -> list[Any]:
        pages = client.runs.query(
            project_ids=[str(run.session_id)], selects=["NAME", "STATUS", "INPUTS", "RUN_TYPE"], page_size=2
        )
        found = [item async for item in pages]
        await client.runs._client.close()
        return found

    items = asyncio.run(v2())
    assert [(item.name, item.status) for item in items] == [("q2", "ERROR"), ("q1", "SUCCESS"), ("q0", "SUCCESS")]
    assert items[0].inputs == {"n": 2}

    one = http.get(f"/api/v2/runs/{ids[1]}", params={"selects": ["NAME", "OUTPUTS"]}).json()
    assert (one["name"], one["outputs"]) == ("q1", {"n": 1})
    assert http.get(f"/api/v2/runs/{ids[1]}/url").json()["url"].endswith(f"/api/v1/runs/{ids[1]}")
    assert http.get(f"/api/v2/runs/{uuid.uuid4()}").status_code == 404

    made = client.create_feedback(ids[0], "fact_accuracy", score=0.5, value={"label": "so so"})
    client.update_feedback(made.id, score=None, comment="wrong judge")
    row = client.read_feedback(made.id)
    assert (row.score, row.comment, row.value) == (None, "wrong judge", {"label": "so so"})
    assert [item.id for item in client.list_feedback(run_ids=[ids[0]])] == [made.id]
    client.delete_feedback(made.id)
    assert list(client.list_feedback(run_ids=[ids[0]])) == []
    with pytest.raises(LangSmithNotFoundError):
        client.read_run(uuid.uuid4())


def test_projects_are_made_listed_closed_and_deleted(client: Client) -> None:
    """The life of a project, and the conflict that `evaluate()` relies on."""
    made = client.create_project("experiment-1", metadata={"k": "v"}, reference_dataset_id=uuid.uuid4())
    with pytest.raises(LangSmithConflictError):
        client.create_project("experiment-1")
    assert client.read_project(project_name="experiment-1").id == made.id
    assert [project.name for project in client.list_projects(metadata={"k": "v"})] == ["experiment-1"]
    assert client.update_project(made.id, end_time=NOW).end_time == NOW
    client.delete_project(project_id=str(made.id))
    assert not client.has_project("experiment-1")


def test_an_app_s_project_stays_in_sight(client: Client, http: httpx.Client, sessions: sessionmaker[Session]) -> None:
    """A key that may send runs must not be able to end the monitoring of what it sends."""
    project = client.create_project("fa-ai")
    with sessions.begin() as session:
        session.add(App(name="assistant", project="fa-ai", sla_ms=1000))
    wishes = [
        http.post(
            "/sessions", params={"upsert": True}, json={"name": "fa-ai", "reference_dataset_id": str(uuid.uuid4())}
        ),
        http.patch(f"/sessions/{project.id}", json={"name": "elsewhere"}),
        http.delete(f"/sessions/{project.id}"),
    ]
    assert [answer.status_code for answer in wishes] == [409] * 3
    assert all("watched as the app assistant" in answer.text for answer in wishes)
    assert http.post("/sessions", params={"upsert": True}, json={"name": "fa-ai", "description": "x"}).is_success
    with sessions.begin() as session:
        session.scalars(select(App)).one().enabled = False
    assert http.delete(f"/sessions/{project.id}").is_success


def test_an_id_that_is_another_project_s_is_a_conflict(client: Client, http: httpx.Client) -> None:
    """Upsert goes by the name; the id of another project is a mistake of the caller, not of the server."""
    project = client.create_project("one")
    answer = http.post("/sessions", params={"upsert": True}, json={"name": "two", "id": str(project.id)})
    assert answer.status_code == 409
    assert "is called 'one'" in answer.text
    assert not client.has_project("two")
