"""Where golden cases come from besides a file: a production run that failed, a dataset of LangSmith."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from fastapi import FastAPI, HTTPException, Request
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker
from typer.testing import CliRunner, Result

import db.session
from cli import alerts as alerts_cli
from cli import golden as golden_cli
from core.clock import utc_now
from core.settings import settings
from core.states import AlertState
from db.models.alerts import MonitoringAlert
from db.models.apps import App
from db.models.mail import Email
from db.queries.alerts import show_alert
from db.repositories import golden
from notifications.announce import announce
from targets.golden import parse_lines
from tests.fakes.openai_server import OpenAIServer, openai_server
from tests.integration.notifications.rows import NOW, SETTINGS, add_alert
from tests.integration.test_validation_loop import lines
from tests.integration.traces.conftest import served_app
from traces import ingest
from traces.datasets import DatasetError

CHECK = '{"type": "numeric", "metric": "fact_accuracy", "path": "value", "expected": 41.2, "tolerance": 0.01}'


@pytest.fixture
def fleet(sessions: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch) -> sessionmaker[Session]:
    """An app with three cases, in the database that the commands speak to."""
    monkeypatch.setattr(db.session, "session_factory", lambda: sessions)
    with sessions.begin() as session:
        app = App(name="fa-ai", project="fa-ai", sla_ms=1000)
        session.add(app)
        session.flush()
        golden.import_set(session, app.id, "default", parse_lines(lines(3)))
    return sessions


def run(*arguments: str) -> Result:
    """Run `metamon golden`."""
    return CliRunner().invoke(golden_cli.app, list(arguments))


def exported() -> list[dict[str, Any]]:
    """Return the newest version's cases."""
    return [json.loads(line) for line in run("export", "--app", "fa-ai").stdout.splitlines()]


def failed_run(sessions: sessionmaker[Session]) -> str:
    """Trace a run that failed."""
    run_id, now = str(uuid4()), utc_now()
    upload = ingest.from_batch(
        {
            "post": [
                {
                    "id": run_id,
                    "trace_id": run_id,
                    "dotted_order": f"{now:%Y%m%dT%H%M%S%fZ}{run_id}",
                    "session_name": "fa-ai",
                    "name": "answer",
                    "run_type": "chain",
                    "start_time": now.isoformat(),
                    "end_time": now.isoformat(),
                    "inputs": {"question": "What did Aldermoor earn?"},
                    "error": "IndexError: stale",
                    "extra": {"metadata": {"region": "emea", "targeting_key": "customer-7"}},
                }
            ]
        },
        now=now,
    )
    ingest.store(sessions, upload, now=now)
    return run_id


def test_a_failed_run_becomes_a_case_of_a_new_version(fleet: sessionmaker[Session]) -> None:
    """Its inputs are the question, its attributes the tags; the version before stays as it was."""
    run_id = failed_run(fleet)
    added = run("add", "--app", "fa-ai", "--from-run", run_id, "--check", CHECK, "--yes", "--json")
    assert added.exit_code == 0, added.output
    assert (json.loads(added.stdout)["version"], json.loads(added.stdout)["cases"]) == (2, 4)
    case = exported()[-1]
    assert case["key"] == f"run-{run_id}"
    assert case["inputs"] == {"question": "What did Aldermoor earn?"}
    assert case["tags"] == {"region": "emea"}
    assert case["checks"] == [json.loads(CHECK)]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--from-run", "12", "--check", CHECK, "--yes"], "is no run id"),
        (["--from-run", str(uuid4()), "--check", CHECK, "--yes"], "no run"),
    ],
)
def test_a_run_that_is_not_there_is_named(fleet: sessionmaker[Session], arguments: list[str], told: str) -> None:
    """Usage errors, and no new version."""
    result = run("add", "--app", "fa-ai", *arguments)
    assert result.exit_code == 2
    assert told in " ".join(result.stderr.split())
    assert len(exported()) == 3


def test_nothing_is_added_unseen(fleet: sessionmaker[Session]) -> None:
    """Without a terminal and without --yes it refuses; with a check that is no JSON it says so."""
    run_id = failed_run(fleet)
    assert run("add", "--app", "fa-ai", "--from-run", run_id, "--check", CHECK).exit_code == 2
    assert run("add", "--app", "fa-ai", "--from-run", run_id, "--check", "{", "--yes").exit_code == 2
    assert len(exported()) == 3


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """A server that serves one dataset as LangSmith does; its examples may be changed."""
    dataset, now = str(uuid4()), utc_now().isoformat()
    examples: list[dict[str, Any]] = []
    app = FastAPI()

    @app.get("/info")
    def info() -> dict[str, Any]:
        return {}

    @app.get("/datasets")
    def datasets(request: Request) -> list[dict[str, Any]]:
        if request.query_params.get("name") != "support":
            raise HTTPException(404)
        return [{"id": dataset, "name": "support", "created_at": now, "data_type": "kv"}]

    @app.get("/examples")
    def listed(request: Request) -> list[dict[str, Any]]:
        offset = int(request.query_params.get("offset", 0))
        return examples[offset:]

    def example(inputs: Any, outputs: Any, metadata: Any = None) -> dict[str, Any]:
        return {"id": str(uuid4()), "dataset_id": dataset, "inputs": inputs, "outputs": outputs, "metadata": metadata,
                "created_at": now, "modified_at": now}  # fmt: skip

    examples.append(example({"q": "How many?"}, {"value": 7, "unit": "shares"}, {"region": "emea"}))
    examples.append(example({"q": "Really?"}, {"value": True}))
    with served_app(app) as url:
        monkeypatch.setenv("LANGSMITH_API_KEY", "a key")
        monkeypatch.setenv("METAMON_LANGSMITH_ENDPOINT", url)
        settings.cache_clear()
        yield examples
    settings.cache_clear()


def test_a_dataset_is_imported_with_its_outputs_as_checks(
    fleet: sessionmaker[Session], hub: list[dict[str, Any]]
) -> None:
    """Numbers with a tolerance, everything else exactly; ids stay, so that the same again is the same version."""
    made = run("import", "--langsmith", "support", "--app", "fa-ai", "--json")
    assert made.exit_code == 0, made.output
    first, second = exported()
    assert first["key"] == hub[0]["id"]
    assert first["tags"] == {"region": "emea"}
    assert {check["type"] for check in first["checks"]} == {"numeric", "exact"}
    assert second["checks"] == [{"type": "exact", "metric": "fact_accuracy", "path": "value", "expected": True}]


def test_an_example_without_outputs_is_refused_by_its_id(
    fleet: sessionmaker[Session], hub: list[dict[str, Any]]
) -> None:
    """Half a set would pass for a whole one."""
    hub[1]["outputs"] = None
    with pytest.raises(DatasetError, match=hub[1]["id"]):
        CliRunner().invoke(
            golden_cli.app, ["import", "--langsmith", "support", "--app", "fa-ai"], catch_exceptions=False
        )
    assert len(exported()) == 3


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    """A model that says yes to everything."""
    with openai_server() as server:
        server.content = {"reason": "It does.", "first_meets": True, "second_meets": True}
        monkeypatch.setenv("METAMON_OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("METAMON_OPENAI_API_KEY", "none")
        settings.cache_clear()
        yield server
    settings.cache_clear()


def labelled_set(tmp_path: Path, answers: dict[str, bool]) -> str:
    """Import a set whose one case has labelled answers; return its number."""
    check = {"type": "model", "metric": "tone", "criteria": "It gives a number and no advice."}
    labels = [{"answer": answer, "meets": meets} for answer, meets in answers.items()]
    file = tmp_path / "labelled.jsonl"
    file.write_text(json.dumps({"key": "a", "inputs": {"q": "?"}, "checks": [{**check, "labels": labels}]}))
    return str(json.loads(run("import", str(file), "--app", "fa-ai", "--name", "labelled", "--json").stdout)["id"])


def test_the_judge_is_measured_by_what_people_said(
    fleet: sessionmaker[Session], judge: OpenAIServer, tmp_path: Path
) -> None:
    """A judge that passes everything agrees with most, and not beyond chance: that is what κ is for."""
    set_id = labelled_set(tmp_path, {"7": True, "8": True, "9": True, "Buy!": False})
    shown = run("agreement", set_id)
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.splitlines()[1].split()[:5] == ["tone", "4", "4", "75.0", "%"]
    assert "people say it does not meet the criteria, the model says it meets them: Buy!" in shown.stdout
    assert len(judge.requests) == 8
    report = json.loads(run("agreement", set_id, "--json").stdout)
    assert (report["all"]["agreement"], report["all"]["kappa"]) == (0.75, 0.0)
    assert report["all"]["kappa_interval"][0] < 0 < report["all"]["kappa_interval"][1]
    assert " local:" in report["judge"]


def test_an_agreement_without_labels_or_without_grades_is_no_figure(
    fleet: sessionmaker[Session], judge: OpenAIServer, tmp_path: Path
) -> None:
    """No labels is a usage error that shows their form; a judge that is down is an error of its own."""
    none = run("agreement", "1")
    assert none.exit_code == 2
    assert '"meets": true' in " ".join(none.stderr.split())
    judge.behaviour = "garbage"
    away = run("agreement", labelled_set(tmp_path, {"7": True}))
    assert away.exit_code == 4
    assert "1 not judged" in away.stderr
    assert run("agreement", "99").exit_code != 0


def incident(sessions: sessionmaker[Session], **fields: Any) -> int:
    """Add an alert of the app that is over."""
    with sessions.begin() as session:
        app = session.scalars(select(App)).one()
        given = {"state": AlertState.RESOLVED, "resolved_at": NOW, "trace_urls": []}
        return add_alert(session, app, **{"fingerprint": str(uuid4()), **given, **fields}).id


def offered(sessions: sessionmaker[Session], alert_id: int) -> str | None:
    """Return the run that is offered as a case."""
    with sessions() as session:
        exemplar = show_alert(session, alert_id, now=utc_now()).exemplar
    return None if exemplar is None else str(exemplar)


def test_a_run_of_what_is_over_is_offered_until_it_is_a_case(fleet: sessionmaker[Session]) -> None:
    """The first that is still there; the command shows it, says how to state a right answer, and adds it once told."""
    run_id = failed_run(fleet)
    over = incident(fleet, run_ids=["no id", str(uuid4()), run_id])
    assert offered(fleet, over) == run_id
    shown = CliRunner().invoke(alerts_cli.app, ["show", str(over)])
    assert f"golden add --app fa-ai --from-run {run_id}" in " ".join(shown.stdout.split())
    looked_at = run("add", "--app", "fa-ai", "--from-run", run_id)
    assert looked_at.exit_code == 2
    assert "What did Aldermoor earn?" in looked_at.stderr
    assert "IndexError: stale" in looked_at.stderr
    assert "--check '{" in looked_at.stderr
    assert len(exported()) == 3
    assert run("add", "--app", "fa-ai", "--from-run", run_id, "--check", CHECK, "--yes").exit_code == 0
    assert offered(fleet, over) is None


def test_no_run_is_offered_of_volume_of_what_goes_on_or_of_what_is_gone(fleet: sessionmaker[Session]) -> None:
    """No answer was wrong where none came; and nobody makes cases in the middle of an incident."""
    run_id = failed_run(fleet)
    assert offered(fleet, incident(fleet, run_ids=[run_id], metric="volume")) is None
    assert offered(fleet, incident(fleet, run_ids=[run_id], state=AlertState.FIRING, resolved_at=None)) is None
    assert offered(fleet, incident(fleet, run_ids=[str(uuid4())])) is None
    assert offered(fleet, incident(fleet, run_ids=[])) is None


def test_the_mail_that_it_is_over_offers_the_run(fleet: sessionmaker[Session]) -> None:
    """One line that can be pasted; none where there is no run to look at."""
    run_id = failed_run(fleet)
    for run_ids in ([run_id], []):
        alert_id = incident(fleet, run_ids=run_ids, state=AlertState.FIRING, resolved_at=None)
        with fleet.begin() as session:
            session.scalars(select(App)).one().notify = ["ada@example.com"]
            announce(session, "alert_critical", alert_id, now=NOW, settings=SETTINGS)
            alert = session.get_one(MonitoringAlert, alert_id)
            alert.state, alert.resolved_at = AlertState.RESOLVED, NOW
        with fleet.begin() as session:
            (mail_id,) = announce(session, "alert_resolved", alert_id, now=NOW, settings=SETTINGS)
            text = session.get_one(Email, mail_id).text_body
        assert (f"metamon golden add --app fa-ai --from-run {run_id}" in text) is bool(run_ids)
