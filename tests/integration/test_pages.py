"""The dashboard's files as the API serves them."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session, sessionmaker

from api.app import create_app
from api.pages import mount


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A built page with one asset, and a secret beside it."""
    folder = tmp_path / "dist"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html><title>page</title>")
    (folder / "assets" / "app-1a2b.js").write_text("console.log(1)")
    (folder / ".inputs").write_text("hash")
    (tmp_path / "secret.txt").write_text("secret")
    return folder


def serve(*places: Path) -> TestClient:
    """Return a client of an app that has nothing but the pages."""
    app = FastAPI()
    mount(app, places)
    return TestClient(app)


def test_a_link_in_a_mail_opens_its_own_page_in_a_browser(sessions: sessionmaker[Session]) -> None:
    """The page that ends a digest is no page of the dashboard, which would know nothing of it."""
    client = TestClient(create_app(sessions))
    opened = client.get("/unsubscribe/cut.short", headers={"sec-fetch-mode": "navigate"})
    assert opened.text == client.get("/unsubscribe/cut.short").text
    assert opened.text != client.get("/proposals/1", headers={"sec-fetch-mode": "navigate"}).text


def test_hashed_assets_last_for_ever_and_the_page_is_always_asked_for(built: Path) -> None:
    """A new release shows at the next reload, and nothing is loaded twice."""
    client = serve(built)
    assert "immutable" in client.get("/assets/app-1a2b.js").headers["cache-control"]
    assert client.get("/").headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("path", ["/", "/proposals/12", "/login"])
def test_every_page_of_the_dashboard_is_the_one_page(built: Path, path: str) -> None:
    """A link from a mail opens its item without the page having been loaded before."""
    answer = serve(built).get(path)
    assert answer.status_code == 200
    assert "<title>page</title>" in answer.text


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/api/v3", "/assets/gone-9f.js", "/ofrep/v2/x"])
def test_what_the_api_does_not_know_is_not_found_and_never_the_page(built: Path, path: str) -> None:
    """A client that mistypes a route is told so instead of parsing HTML."""
    assert serve(built).get(path).status_code == 404


@pytest.mark.parametrize(
    "path", ["/../secret.txt", "/%2e%2e/secret.txt", "/assets/..%2f..%2f..%2fsecret.txt", "/.inputs", "/%00"]
)
def test_nothing_beside_the_page_and_nothing_hidden_is_served(built: Path, path: str) -> None:
    """A path that leads out of the folder ends at the page or at nothing."""
    answer = serve(built).get(path)
    assert "secret" not in answer.text
    assert answer.text != "hash"


def test_the_policy_allows_no_script_but_the_pages_own(built: Path) -> None:
    """A script in a proposal's title cannot run even where it were not escaped."""
    policy = serve(built).get("/").headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


def test_a_client_that_takes_gzip_gets_gzip(built: Path) -> None:
    """The page's budget is counted compressed: it has to arrive so."""
    client = serve(built)
    assert client.get("/assets/app-1a2b.js", headers={"accept-encoding": "gzip"}).headers["content-encoding"] == "gzip"
    assert "content-encoding" not in client.get("/assets/app-1a2b.js", headers={"accept-encoding": "identity"}).headers


def test_a_clone_without_a_build_says_how_to_make_one(tmp_path: Path) -> None:
    """Where npm failed, metamon works and the page names the command."""
    client = serve(tmp_path / "dist")
    assert "npm run build" in client.get("/").text
    (tmp_path / "build.log").write_text("no registry")
    assert "build.log" in client.get("/").text


def test_somebody_who_opens_an_address_gets_the_page_where_the_collector_has_the_same_path(built: Path) -> None:
    """`/settings` is a route of the SDK and a page of the dashboard: who asks decides."""
    app = FastAPI()
    app.get("/settings")(lambda: {"tenant": "one"})
    mount(app, (built,))
    client = TestClient(app)
    assert client.get("/settings").json() == {"tenant": "one"}
    assert "<title>page</title>" in client.get("/settings", headers={"sec-fetch-mode": "navigate"}).text


def test_the_real_app_answers_an_unknown_api_path_with_a_problem() -> None:
    """The page is mounted behind every other route."""
    answer = TestClient(create_app()).get("/api/v1/no-such-route")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
