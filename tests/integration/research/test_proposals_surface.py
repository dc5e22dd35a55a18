"""Proposals as people meet them: command line and API."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from api import app as api_app
from api.routes import proposals as routes
from cli import proposals as area
from core.errors import MetamonError
from core.states import PROPOSAL, ProposalStatus, Scope
from db.models.proposals import ImprovementProposal
from db.repositories import tokens
from tests.integration.research.conftest import World
from tests.integration.research.test_investigate import run_research, small
from tests.unit.demo_traffic import Traffic

Make = Callable[[Traffic], World]


@pytest.fixture
def failing(world: Make, monkeypatch: pytest.MonkeyPatch) -> World:
    """An app whose slow provider has two proposals; commands find its database."""
    here = world(small("provider"))
    run_research(here, here.alert("error_rate"), monkeypatch)
    monkeypatch.setattr("db.session.session_factory", lambda: here.sessions)
    return here


@pytest.fixture
def http(failing: World) -> Callable[[Scope], TestClient]:
    """Return a maker of API clients by scope."""
    app = FastAPI()
    app.state.sessions = failing.sessions
    app.state.bearers = {}
    app.include_router(routes.router, prefix="/api/v1")
    app.add_exception_handler(MetamonError, api_app._metamon_problem)

    def make(scope: Scope) -> TestClient:
        with failing.sessions.begin() as session:
            token = tokens.create(session, name=scope, scope=scope, by="test")
        return TestClient(app, headers={"authorization": f"Bearer {token}"})

    return make


def awaiting(here: World) -> int:
    """Bring the second proposal to where a person decides."""
    with here.sessions.begin() as session:
        row = session.get_one(ImprovementProposal, 2)
        row.status = PROPOSAL.check(row.status, ProposalStatus.VALIDATING)
        row.status = PROPOSAL.check(row.status, ProposalStatus.AWAITING_APPROVAL)
        return row.id


def run(*arguments: str) -> Any:
    """Run the area's command."""
    return CliRunner().invoke(area.app, list(arguments))


def test_the_list_is_one_json_array_with_stable_fields(failing: World) -> None:
    """What is judged from outside keeps its names."""
    rows = json.loads(run("list", "--json").stdout)
    assert [row["id"] for row in rows] == [2, 1]
    row = rows[1]
    wanted = {"id", "alert_id", "status", "title", "change", "cause", "predicted_pct", "predicted_interval",
              "effort_hours", "impact"}  # fmt: skip
    assert wanted <= row.keys()
    assert row["cause"]["conditions"] == {"model": "sonic-2"}
    low, high = row["predicted_interval"]
    assert low < row["predicted_pct"] < high


def test_show_reads_like_an_incident_review(failing: World) -> None:
    """What, since when, who, evidence, ruled out, change, prediction, effort, risk, next."""
    shown = run("show", "1").stdout
    for heading in ("What happened", "Since when", "Who is hit", "Evidence", "Change", "Prediction", "Effort", "Risk"):
        assert f"\n{heading}\n" in shown
    assert "model = sonic-2" in shown
    assert "ProviderTimeout" in shown
    assert "-provider.timeout_ms = 250\n" in shown.replace("  -", "-")
    assert "metamon validate run --proposal 1 --watch" in shown


def test_the_same_review_comes_as_html_and_text_of_traces_stays_text(
    failing: World, http: Callable[[Scope], TestClient]
) -> None:
    """Every section, links to runs, and nothing that a trace wrote becomes markup."""
    with failing.sessions.begin() as session:
        row = session.get_one(ImprovementProposal, 1)
        evidence = json.loads(json.dumps(row.evidence))
        evidence["errors"][0]["template"] = "<script>alert(1)</script>\x1b[2J"
        evidence["exemplars"][0]["url"] = "javascript:alert(1)"
        row.evidence = evidence
        row.hypotheses = [*row.hypotheses, {"kind": "revert", "title": "Revert x", "rejected": "<b>too old</b>"}]
    page = http(Scope.VIEWER).get("/api/v1/proposals/1").json()["review_html"]
    headings = ("What happened", "Since when", "Who is hit", "Evidence", "Ruled out", "Change", "Prediction", "Effort")
    assert [page.index(f"<h2>{heading}</h2>") for heading in headings] == sorted(
        page.index(f"<h2>{heading}</h2>") for heading in headings
    )
    assert "&lt;script&gt;alert(1)" in page
    assert "&lt;b&gt;too old" in page
    assert "<script" not in page
    assert "\x1b" not in page
    assert 'href="javascript' not in page
    assert page.count('<a href="http') == 5
    assert "-provider.timeout_ms = 250" in page


def test_diff_shows_the_change(failing: World) -> None:
    """Two lines that can be read."""
    assert '-route.sonic-2 = "sonic-2"\n+route.sonic-2 = "atlas-1"' in run("diff", "2").stdout


def test_an_unknown_proposal_is_named(failing: World) -> None:
    """The error says what was wrong and where to look."""
    result = run("show", "9999")
    assert "there is no proposal 9999" in str(result.exception)


def test_approving_needs_a_yes_without_a_terminal(failing: World) -> None:
    """Nothing changes by accident in a script."""
    proposal = awaiting(failing)
    refused = run("approve", str(proposal))
    assert refused.exit_code == 2
    assert "--yes" in refused.stderr
    assert run("approve", str(proposal), "--yes", "--reason", "fine").exit_code == 0
    row = json.loads(run("show", str(proposal), "--json").stdout)
    assert row["status"] == "approved"
    assert row["approved_hash"] == row["change_hash"]


def test_the_api_shows_to_viewers_and_decides_for_reviewers(
    failing: World, http: Callable[[Scope], TestClient]
) -> None:
    """Roles, a 404, and a 409 that names who was first."""
    proposal = awaiting(failing)
    viewer, reviewer = http(Scope.VIEWER), http(Scope.REVIEWER)
    assert [row["id"] for row in viewer.get("/api/v1/proposals").json()["items"]] == [2, 1]
    assert viewer.get("/api/v1/proposals/1").json()["hypotheses"]
    assert viewer.get("/api/v1/proposals/9999").status_code == 404
    assert viewer.post(f"/api/v1/proposals/{proposal}/approve", json={"change_hash": "x"}).status_code == 403
    looked_at = viewer.get(f"/api/v1/proposals/{proposal}").json()["change_hash"]
    other = reviewer.post(f"/api/v1/proposals/{proposal}/approve", json={"reason": "fine", "change_hash": "another"})
    assert other.status_code == 409
    assert "another change" in other.json()["detail"]
    seen = {"change_hash": looked_at}
    approved = reviewer.post(f"/api/v1/proposals/{proposal}/approve", json={"reason": "fine", **seen})
    assert (approved.status_code, approved.json()["status"]) == (200, "approved")
    again = reviewer.post(f"/api/v1/proposals/{proposal}/reject", json={"reason": "late", **seen})
    assert again.status_code == 409
    assert again.json()["decided_by"] == approved.json()["reviewed_by"]
    assert again.json()["decision"] == "approved"
    assert again.json()["decided_at"]
