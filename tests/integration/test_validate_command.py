"""The command line and the API of validation: what a person sees, what a build server gets."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session, sessionmaker
from typer.testing import CliRunner, Result

import db.session
from api.app import _metamon_problem
from api.routes import golden as golden_routes
from api.routes import validations as validation_routes
from cli import golden as golden_cli
from cli import validate as validate_cli
from core.errors import MetamonError
from core.states import Scope
from db.models.apps import App
from db.repositories import golden, tokens
from targets.golden import parse_lines
from tests.integration.test_validation_loop import ALLOWED, CONFIG, TARGET, lines, work


@pytest.fixture
def fleet(sessions: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch) -> sessionmaker[Session]:
    """An app with sixty cases, in the database that the commands speak to."""
    monkeypatch.setattr(db.session, "session_factory", lambda: sessions)
    with sessions.begin() as session:
        app = App(name="fa-ai", project="fa-ai", sla_ms=1000, target=TARGET, config=CONFIG, allowed=ALLOWED)
        session.add(app)
        session.flush()
        golden.import_set(session, app.id, "default", parse_lines(lines()))
    return sessions


@pytest.fixture
def worker(fleet: sessionmaker[Session]) -> Iterator[None]:
    """A validation worker in a thread."""
    stop = threading.Event()

    def loop() -> None:
        while not stop.wait(0.1):
            work(fleet)

    thread = threading.Thread(target=loop)
    thread.start()
    yield
    stop.set()
    thread.join()


def validate(*arguments: str) -> Result:
    """Run `metamon validate`."""
    return CliRunner().invoke(validate_cli.app, list(arguments))


@pytest.mark.usefixtures("worker")
def test_a_safe_change_exits_with_0_and_one_document(fleet: sessionmaker[Session]) -> None:
    """Stdout is the JSON document alone; what it takes and how far it is go to stderr."""
    result = validate("run", "--app", "fa-ai", "--set", "sleep_ms=2", "--watch", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert (document["verdict"], document["cases"], document["regressions"]) == ("pass", 60, 0)
    assert document["changed"] == {"sleep_ms": {"from": 1, "to": 2}}
    assert "60 cases × 2 arms × 1" in result.stderr
    assert "Detects a loss of" in result.stderr
    assert "120/120 ok 120 failed 0" in result.stderr
    assert "\x1b" not in result.output


@pytest.mark.usefixtures("worker")
def test_a_regression_exits_with_1_and_names_the_cases(fleet: sessionmaker[Session], tmp_path: Path) -> None:
    """The JUnit report has a failure per case that got worse, the JSON file the whole result."""
    junit, document = tmp_path / "out.xml", tmp_path / "out.json"
    result = validate("run", "--app", "fa-ai", "--set", "breaks=emea", "--junit", str(junit), "--json", str(document))
    assert result.exit_code == 1, result.output
    suite = ET.parse(junit).getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("60", "15", "0")
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert "fact_accuracy 1 → 0" in (failure.text or "")
    assert json.loads(document.read_text())["verdict"] == "fail"
    shown = validate("show", "1")
    assert "Validation 1: FAIL" in shown.stdout
    assert "15 cases got worse" in shown.stdout


def test_a_time_out_exits_with_124(fleet: sessionmaker[Session]) -> None:
    """Nobody works here: the wait ends, the run stays, and how to watch on is said."""
    result = validate("run", "--app", "fa-ai", "--set", "sleep_ms=2", "--timeout", "1")
    assert result.exit_code == 124
    assert "metamon validate watch 1" in result.stderr


def test_a_dry_run_leaves_nothing_behind(fleet: sessionmaker[Session]) -> None:
    """It says what it would take."""
    result = validate("run", "--app", "fa-ai", "--set", "sleep_ms=2", "--dry-run", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["executions"] == 120
    assert json.loads(validate("list", "--json").stdout) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--proposal", "9999"], "there is no proposal 9999"),
        (["--app", "nobody", "--set", "a=1"], "there is no app 'nobody'; there is: fa-ai"),
        (["--app", "fa-ai"], "at least one --set"),
        (["--app", "fa-ai", "--set", "sleep"], "KEY=VALUE"),
        (["--app", "fa-ai", "--set", "slep_ms=3"], "'slep_ms' is no configuration key"),
        (["--app", "fa-ai", "--set", "sleep_ms=1"], "nothing to compare"),
        (["--app", "fa-ai", "--set", "sleep_ms=2", "--golden-set", "other"], "no golden set named 'other'"),
        ([], "name either --app"),
        (["--app", "fa-ai", "--set", "sleep_ms=2", "out.json"], "goes with --json"),
    ],
)
def test_usage_errors_exit_with_2_and_say_what_would_be_right(
    fleet: sessionmaker[Session], arguments: list[str], said: str
) -> None:
    """One sentence on stderr, no traceback."""
    result = validate("run", *arguments)
    assert result.exit_code == 2, result.output
    assert said in " ".join(result.stderr.split())
    assert result.stdout == ""


def test_a_cancelled_run_exits_with_4(fleet: sessionmaker[Session]) -> None:
    """Whoever watches it learns that there is no verdict."""
    validate("run", "--app", "fa-ai", "--set", "sleep_ms=2")
    assert validate("cancel", "1").exit_code == 0
    assert validate("watch", "1").exit_code == 4


@pytest.mark.parametrize("command", ["watch", "show", "cancel", "cases"])
def test_a_build_never_takes_an_error_for_a_regression(
    database_url: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], command: str
) -> None:
    """1 is what the cases say. A number that nobody has is a mistake of the caller, a fleet that is away is neither."""
    process = [sys.executable, "-m", "cli", "validate", command, "9999", "--state", str(tmp_path)]
    nobody = {**os.environ, "METAMON_DATABASE_URL": database_url}
    assert subprocess.run(process, env=nobody, check=False, timeout=60).returncode == 2
    assert "there is no validation 9999" in capfd.readouterr().err
    assert subprocess.run(process, check=False, timeout=60).returncode == 4
    assert "start one with `metamon up`" in capfd.readouterr().err


def test_a_golden_file_is_imported_listed_and_exported(fleet: sessionmaker[Session], tmp_path: Path) -> None:
    """Export gives back what import took; the same file again is the same version; few cases are warned of."""
    run = CliRunner().invoke
    file = tmp_path / "few.jsonl"
    file.write_text("\n".join(lines(12)))
    first = run(golden_cli.app, ["import", str(file), "--app", "fa-ai", "--json"])
    again = run(golden_cli.app, ["import", str(file), "--app", "fa-ai", "--json"])
    assert json.loads(first.stdout)["version"] == json.loads(again.stdout)["version"] == 2
    assert "fact_accuracy has 12 cases" in first.stderr
    exported = run(golden_cli.app, ["export", "--app", "fa-ai"])
    assert [json.loads(line)["key"] for line in exported.stdout.splitlines()] == [f"case-{n:03}" for n in range(12)]
    listed = json.loads(run(golden_cli.app, ["list", "--json"]).stdout)
    assert [(entry["version"], entry["cases"]) for entry in listed] == [(2, 12), (1, 60)]
    file.write_text('{"key": "x"}')
    with pytest.raises(MetamonError, match=r"few\.jsonl: line 1: inputs: Field required"):
        run(golden_cli.app, ["import", str(file), "--app", "fa-ai"], catch_exceptions=False)


@pytest.fixture
def client(fleet: sessionmaker[Session]) -> Iterator[TestClient]:
    """The two route modules behind the API's own error handling, as a reviewer."""
    app = FastAPI()
    app.state.sessions = fleet
    app.state.bearers = {}
    app.include_router(validation_routes.router)
    app.include_router(golden_routes.router)
    app.add_exception_handler(MetamonError, _metamon_problem)
    with fleet.begin() as session:
        token = tokens.create(session, name="test", scope=Scope.REVIEWER, by="test")
    with TestClient(app, headers={"x-api-key": token}) as http:
        yield http


def test_the_api_enqueues_shows_and_lists(client: TestClient, fleet: sessionmaker[Session]) -> None:
    """The same records as the command line's, and the executions page by page."""
    made = client.post("/validations", json={"app": "fa-ai", "changes": {"breaks": "emea"}})
    assert made.status_code == 202
    assert made.json()["plan"]["executions"] == 120
    work(fleet)
    number = made.json()["id"]
    shown = client.get(f"/validations/{number}").json()
    assert (shown["verdict"], shown["regressions"]) == ("fail", 15)
    assert shown["comparison"]["latency_ms"]["binary"] is False
    cases: list[dict[str, Any]] = client.get(f"/validations/{number}/cases?arm=candidate").json()["items"]
    assert len(cases) == 60
    assert client.get("/validations").json()["items"][0]["proposal_id"] is None
    assert client.get(f"/validations/{number}/progress").json()["done"] == 120


def test_the_api_refuses_in_words(client: TestClient) -> None:
    """Unknown numbers are 404, contradictions 422, unknown keys 400."""
    assert client.get("/validations/9999").status_code == 404
    assert client.get("/validations/9999/cases").status_code == 404
    assert client.post("/validations", json={"proposal_id": 9999}).status_code == 404
    assert client.post("/validations", json={}).status_code == 422
    refused = client.post("/validations", json={"app": "fa-ai", "changes": {"nope": 1}})
    assert refused.status_code == 400
    assert "no configuration key" in refused.json()["detail"]
    assert client.get("/validations", headers={"x-api-key": "wrong"}).status_code == 401


def test_the_api_imports_golden_sets(client: TestClient) -> None:
    """JSON lines in, a version out; a bad line is named."""
    made = client.post("/golden?app=fa-ai", content="\n".join(lines(59)))
    assert (made.status_code, made.json()["version"]) == (201, 2)
    assert len(client.get(f"/golden/{made.json()['id']}/cases").json()["items"]) == 59
    bad = client.post("/golden?app=fa-ai", content='{"key": 1}')
    assert bad.status_code == 400
    assert "line 1: key" in bad.json()["detail"]


def test_an_unknown_app_has_no_sets(client: TestClient) -> None:
    """The names that exist are offered."""
    answer = client.get("/golden?app=nobody")
    assert answer.status_code == 404
    assert "fa-ai" in answer.json()["detail"]


@pytest.mark.usefixtures("worker")
def test_the_pipeline_of_the_documentation_runs(
    fleet: sessionmaker[Session], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command as it is printed, but for the key that is set; it leaves both reports and the verdict's code."""
    page = (Path(__file__).parents[2] / "docs" / "validation.md").read_text()
    steps = [line.strip().removeprefix("- run: ") for line in page.split("```yaml")[1].splitlines()]
    (command,) = [shlex.split(step) for step in steps if step.startswith("metamon validate ")]
    monkeypatch.chdir(tmp_path)
    result = validate(*[word.replace("retrieval.k=6", "sleep_ms=2") for word in command[2:]])
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "validation.json").read_text())["verdict"] == "pass"
    assert ET.parse(tmp_path / "validation.xml").getroot().get("tests") == "60"
