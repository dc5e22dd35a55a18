"""Debian's Chromium on the built dashboard, the real API and a real Postgres with a day of FA AI in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from sqlalchemy.orm import Session, sessionmaker

from core.clock import utc_now
from db.session import make_engine, make_sessions
from tests.api_server import PASSWORD, served_api
from tests.browser.seed import ADMIN, RAE, RON, VERA, World, seed
from tests.databases import Databases

DIST = Path(__file__).parents[2] / "dashboard" / "dist"
REQUIRED = os.environ.get("BROWSER_TESTS") == "required"
"""Set where a missing browser is a failure: in `.ci/run`."""
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
PATIENCE_MS = 20_000

SignIn = Callable[..., Page]


def chromium() -> str | None:
    """Return the machine's browser."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def _missing(what: str) -> None:
    if REQUIRED:
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """The machine's Chromium, without a window."""
    path = chromium()
    if path is None:
        _missing("there is no Chromium: apt-get install chromium")
    if not (DIST / "index.html").exists():
        _missing("the dashboard is not built: npm ci && npm run build in dashboard/")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture(scope="package")
def day(databases: Databases) -> Iterator[sessionmaker[Session]]:
    """A database of all browser tests."""
    with databases.fresh() as url:
        engine = make_engine(url)
        yield make_sessions(engine)
        engine.dispose()


@pytest.fixture(scope="package")
def world(day: sessionmaker[Session]) -> World:
    """What is in it."""
    return seed(day, utc_now())


@pytest.fixture(scope="package")
def url(day: sessionmaker[Session], world: World) -> Iterator[str]:
    """The API with the dashboard."""
    with served_api(day) as served:
        yield served


@pytest.fixture(scope="package")
def cookies(url: str) -> dict[str, str]:
    """A session of everybody: a password takes its time, so each is asked for once."""
    found = {}
    for email in (ADMIN, RAE, RON, VERA):
        answer = httpx.post(f"{url}/api/v1/session", json={"email": email, "password": PASSWORD}, timeout=30)
        assert answer.status_code == 200, answer.text
        found[email] = answer.cookies["metamon_session"]
    return found


@pytest.fixture
def signed_in(browser: Browser, url: str, cookies: dict[str, str]) -> Iterator[SignIn]:
    """Open a page as somebody; what it says on the console or throws fails the test in the end."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def open_(email: str = ADMIN, *, phone: bool = False, dark: bool = False) -> Page:
        context = browser.new_context(
            base_url=url,
            viewport={"width": 390, "height": 844} if phone else {"width": 1440, "height": 900},
            color_scheme="dark" if dark else "light",
        )
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        context.add_cookies([{"name": "metamon_session", "value": cookies[email], "url": url}])
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda said: (
                complaints.append(said.text)
                if "Content Security Policy" in said.text and "/page" not in said.location["url"]
                else None
            ),
        )
        return page

    yield open_
    for context in contexts:
        context.close()
    assert not complaints
