"""The dashboard's promises D1 to D8, each in a browser against the real API."""

from __future__ import annotations

import re
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Request, Route, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeoutError
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from core.clock import utc_now
from core.settings import Settings
from core.states import ProposalStatus
from db.models.alerts import AlertEvent
from db.models.evaluation import ImprovementImpact
from db.models.proposals import ImprovementProposal
from db.repositories import user_sessions
from notifications.trial import preview_digest
from tests.api_server import PASSWORD
from tests.browser.client import COMMITTED, DASHBOARD, GENERATOR, generated
from tests.browser.conftest import PATIENCE_MS, REQUIRED, SignIn
from tests.browser.seed import EVIL, RAE, RON, VERA, World

AXE = DASHBOARD / "node_modules" / "axe-core" / "axe.min.js"
REQUESTS_BEFORE_VERDICT = 6
WATCH = """
const asked = [], ask = window.fetch;
window.fetch = (...all) => { asked.push(all[0].url ?? String(all[0])); return ask(...all); };
new MutationObserver(() => {
  if (!window.before && document.querySelector('h1')?.innerText.trim()) window.before = [...asked];
}).observe(document, {childList: true, subtree: true});
"""
"""Notes which requests had been made when the first heading appeared."""
POINTS_CAP = 2000


expect.set_options(timeout=PATIENCE_MS)


def paths(world: World) -> list[str]:
    """Return one address of every page."""
    return [
        "/", "/alerts", f"/alerts/{world.alert}", "/proposals", f"/proposals/{world.waiting}", "/validations",
        f"/validations/{world.validation}", "/rollouts", f"/rollouts/{world.rollout}", "/evaluations", "/impact",
        "/jobs", f"/jobs/{world.dead_job}", "/mail", f"/mail/{world.mail}", "/settings",
    ]  # fmt: skip


def asked(page: Page) -> list[str]:
    """Return the list of API requests that the page makes from now on."""
    found: list[str] = []

    def note(request: Request) -> None:
        if "/api/" in request.url:
            found.append(f"{request.method} {request.url.partition('/api/')[2]}")

    page.on("request", note)
    return found


def needs(tool: Path) -> None:
    """Skip, or fail in CI, where the developer's packages of npm are not installed; without Node there are none."""
    if shutil.which("node") is None:
        pytest.skip("there is no Node on this machine")
    if not tool.exists():
        (pytest.fail if REQUIRED else pytest.skip)("run `npm ci` in dashboard/")


def test_d1_the_verdict_waits_for_no_chart(signed_in: SignIn) -> None:
    """A slow series holds up its own room on the page, and nothing else."""
    page = signed_in()
    held: list[Route] = []
    page.route("**/api/v1/metrics/**", lambda route: held.append(route))  # noqa: PLW0108
    page.goto("/")
    expect(page.get_by_role("heading", level=1)).to_have_text("fa-ai is in trouble")
    expect(page.get_by_role("heading", name="Needs you")).to_be_visible()
    for route in held:
        route.abort()


def test_d2_a_stream_that_is_silent_for_five_seconds_is_called_stale(signed_in: SignIn) -> None:
    """A page that does not move says whether that is good news; meanwhile it asks for itself."""
    page = signed_in()
    page.goto("/")
    expect(page.locator("[data-live=live]").first).to_be_attached()
    page.close()
    page = signed_in()
    page.route("**/api/v1/events", lambda route: route.abort())
    requests = asked(page)
    page.goto("/")
    expect(page.get_by_test_id("stale")).to_contain_text("Stale", timeout=PATIENCE_MS)
    requests.clear()
    with page.expect_request("**/api/v1/overview"):
        pass
    page.unroute("**/api/v1/events")
    expect(page.get_by_test_id("stale")).to_be_hidden()


@pytest.mark.parametrize(
    ("place", "button", "effect"),
    [
        ("waiting", "Approve", "starts at once"),
        ("waiting", "Reject", "never rolled out"),
        ("rollout", "Pause", "nobody new gets the candidate"),
        ("rollout", "Roll back", "Everybody has the old configuration again"),
        ("rollout", "Promote", "without waiting for the evidence"),
        ("jobs", "Pause", "No job of this queue is started"),
        ("dead_job", "Retry", "fresh set of attempts"),
    ],
)
def test_d3_what_changes_something_asks_first_and_esc_cancels(
    signed_in: SignIn, world: World, place: str, button: str, effect: str
) -> None:
    """Nobody moves production by a slip of the finger."""
    page = signed_in()
    writes: list[str] = []
    page.on("request", lambda request: writes.append(request.url) if request.method not in ("GET", "HEAD") else None)
    page.goto(
        {
            "waiting": f"/proposals/{world.waiting}",
            "rollout": f"/rollouts/{world.rollout}",
            "dead_job": f"/jobs/{world.dead_job}",
            "jobs": "/jobs",
        }[place]
    )
    page.get_by_role("button", name=re.compile(f"^{button}")).first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(effect)
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    assert writes == []


def test_d4_the_second_reviewer_is_told_who_decided(
    signed_in: SignIn, world: World, day: sessionmaker[Session]
) -> None:
    """Two people decide at once: one decision counts, and the other person learns whose."""
    rae, ron = signed_in(RAE), signed_in(RON)
    for page in (rae, ron):
        page.goto(f"/proposals/{world.contested}")
        expect(page.get_by_role("button", name="Approve")).to_be_visible()
    ron.keyboard.press("r")
    ron.get_by_label("Reason").fill("not today")
    rae.keyboard.press("a")
    rae.get_by_label("Reason").fill("looks right")
    rae.get_by_role("dialog").get_by_role("button", name="Approve").click()
    expect(rae.get_by_role("dialog")).to_have_count(0)
    ron.get_by_role("dialog").get_by_role("button", name="Reject").click()
    expect(ron.get_by_role("alert").filter(has_text="was first")).to_contain_text(f"{RAE} was first: approved")
    with day() as session:
        proposal = session.get_one(ImprovementProposal, world.contested)
        assert proposal.status is ProposalStatus.APPROVED
        assert proposal.review_reason == "looks right"


def test_d5_a_chart_draws_at_most_2000_points_and_reads_no_runs(signed_in: SignIn, world: World) -> None:
    """More buckets than points lie in the range, and not one raw run in the database: percentiles show all the same."""
    page = signed_in()
    counts: dict[str, int] = {}

    def note(response: Any) -> None:
        if "/api/v1/metrics/" in response.url:
            counts[response.url] = len(response.json()["points"])

    page.on("response", note)
    page.goto("/?range=7d")
    charts = page.locator("[data-points]")
    expect(charts.first).to_be_visible()
    latency = page.get_by_role("img", name=re.compile("^Latency p95 over time"))
    expect(latency).to_be_visible()
    drawn = [int(each.get_attribute("data-points") or 0) for each in charts.all()]
    assert drawn
    assert all(0 < each <= POINTS_CAP for each in drawn)
    assert all(0 < each <= POINTS_CAP for each in counts.values())


def test_d6_a_trace_is_not_told_where_it_was_opened_from(signed_in: SignIn, world: World) -> None:
    """An address of ours, which may name a customer's incident, never reaches another host."""
    page = signed_in()
    for path in (f"/alerts/{world.alert}", f"/proposals/{world.blocked}", f"/validations/{world.validation}", "/jobs"):
        page.goto(path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        if path != "/jobs":
            expect(page.locator("a[target=_blank]").first).to_be_visible()
        for link in page.locator("a[target=_blank], a[href^='http']").all():
            assert "noreferrer" in (link.get_attribute("rel") or ""), link.get_attribute("href")
    page.goto(f"/alerts/{world.alert}")
    page.context.route("https://traces.example/**", lambda route: route.fulfill(body="a trace"))
    asking = page.context.expect_event("request", lambda request: "traces.example" in request.url)
    with asking as request, page.context.expect_page() as opened:
        page.locator("a[href='https://traces.example/runs/1']").click()
    assert "referer" not in request.value.headers
    assert opened.value.evaluate("document.referrer") == ""


def test_d7_the_committed_client_is_what_the_api_describes() -> None:
    """A route that changed without its client fails here and not in somebody's browser."""
    needs(GENERATOR)
    assert COMMITTED.read_text() == generated(), "run `uv run python -m tests.browser.client` and commit the result"


def test_d1_d8_every_page_says_its_verdict_first_and_axe_finds_nothing_serious(signed_in: SignIn, world: World) -> None:
    """Whoever opens a page learns how things are before anything else is loaded, in at most six requests.

    In light and dark and on a phone, for people who see little or hear the page, and nothing runs over.
    """
    needs(AXE)
    page = signed_in()
    page.add_init_script(WATCH)
    source = AXE.read_text()
    for path in paths(world):
        page.set_viewport_size({"width": 1440, "height": 900})
        page.emulate_media(color_scheme="light", reduced_motion="reduce")
        page.goto(path)
        heading = page.locator("h1").first
        expect(heading).to_be_visible()
        before = page.evaluate("window.before")
        assert 0 < len(before) <= REQUESTS_BEFORE_VERDICT, (path, before)
        assert page.locator("h1, h2, h3, h4").first.evaluate("node => node.tagName") == "H1", path
        assert heading.inner_text().strip(), path
        expect(page.get_by_role("status", name=re.compile("^Loading"))).to_have_count(0)
        page.evaluate(source)
        assert serious(page) == [], path
        page.emulate_media(color_scheme="dark", reduced_motion="reduce")
        assert serious(page, "color-contrast") == [], (path, "dark")
        page.set_viewport_size({"width": 390, "height": 844})
        assert serious(page) == [], (path, "phone")
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, (path, wide)


def serious(page: Page, *rules: str) -> list[tuple[str, list[str]]]:
    """Return what axe finds: (rule, the first elements that break it)."""
    options: dict[str, Any] = {"resultTypes": ["violations"], "iframes": False}
    if rules:
        options["runOnly"] = list(rules)
    found = page.evaluate("options => axe.run(document, options)", options)
    return [
        (rule["id"], [node["html"][:200] for node in rule["nodes"][:3]])
        for rule in found["violations"]
        if rule["impact"] in ("serious", "critical")
    ]


def test_d8_a_proposal_is_found_and_approved_by_keyboard_alone(
    signed_in: SignIn, world: World, day: sessionmaker[Session]
) -> None:
    """From the list to the decision without a mouse; the keys are shown on `?`."""
    page = signed_in(RAE)
    page.goto("/proposals?state=awaiting_approval")
    expect(page.locator("[data-row]").first).to_be_visible()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    rows = page.locator("[data-row]")
    wanted = next(index for index, row in enumerate(rows.all()) if "atlas-1" in row.inner_text())
    for _ in range(wanted + 1):
        page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Set route.sonic-2 to atlas-1")
    page.keyboard.press("a")
    expect(page.get_by_label("Reason")).to_be_focused()
    page.keyboard.type("seen with my own keys")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("dialog")).to_have_count(0)
    with day() as session:
        assert session.get_one(ImprovementProposal, world.waiting).review_reason == "seen with my own keys"


def test_from_the_digest_to_the_decision_it_takes_two_clicks(
    signed_in: SignIn, world: World, day: sessionmaker[Session], url: str
) -> None:
    """The mail's link opens the question with its effect stated, and decides nothing; the second click answers it."""
    with day() as session:
        settings = Settings(public_url=url)
        mail = preview_digest(session, "fa-ai", now=utc_now(), settings=settings)
    page = signed_in(RAE)
    page.set_content(mail.html)
    page.locator(f"a[href$='/proposals/{world.mailed}#decide']").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("The rollout of")
    with day() as session:
        assert session.get_one(ImprovementProposal, world.mailed).status is ProposalStatus.AWAITING_APPROVAL
    dialog.get_by_role("button", name="Approve").click()
    expect(dialog).to_have_count(0)
    with day() as session:
        assert session.get_one(ImprovementProposal, world.mailed).status is ProposalStatus.APPROVED


def test_d8_the_skip_link_leads_past_the_navigation(signed_in: SignIn) -> None:
    """The first key press offers it."""
    page = signed_in()
    page.goto("/alerts")
    expect(page.locator("h1")).to_be_visible()
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()


def test_a_cookie_that_expires_in_the_middle_of_an_approval_loses_no_word(
    signed_in: SignIn, world: World, day: sessionmaker[Session]
) -> None:
    """Sign in, be back where you were, and what you typed is there."""
    page = signed_in(RON)
    page.goto(f"/proposals/{world.expiring}")
    page.get_by_role("button", name="Approve").click()
    page.get_by_label("Reason").fill("checked against the runbook")
    with day.begin() as session:
        user = user_sessions.user_of(session, RON)
        assert user is not None
        user_sessions.revoke_all(session, user.id, now=utc_now())
    page.context.clear_cookies()
    with suppress(PlaywrightTimeoutError):  # the page may have noticed by itself, and ask already
        page.get_by_role("dialog").get_by_role("button", name="Approve").click(timeout=3000)
    page.get_by_label("Email").fill(RON)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_label("Reason")).to_have_value("checked against the runbook")
    page.get_by_role("dialog").get_by_role("button", name="Approve").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    with day() as session:
        assert session.get_one(ImprovementProposal, world.expiring).reviewed_by == f"user:{RON}"


def test_whoever_is_not_signed_in_comes_back_to_the_page_that_was_asked_for(signed_in: SignIn, world: World) -> None:
    """A link from a mail leads to its item after the sign-in; a wrong password says so and nothing more."""
    page = signed_in(VERA)
    page.context.clear_cookies()
    page.goto(f"/proposals/{world.blocked}")
    page.get_by_label("Email").fill(VERA)
    page.get_by_label("Password").fill("wrong password here")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("do not belong together")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Set provider.timeout_ms to 1000")


def test_a_viewer_sees_everything_and_can_decide_nothing(signed_in: SignIn, world: World) -> None:
    """What may not be done is not offered, and what may not be seen says so."""
    page = signed_in(VERA)
    page.goto(f"/proposals/{world.evil}")
    expect(page.get_by_text("Reviewers decide")).to_be_visible()
    expect(page.get_by_role("button", name="Approve")).to_have_count(0)
    page.keyboard.press("a")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.goto("/settings?tab=audit")
    expect(page.get_by_text("Only admins see this")).to_be_visible()


def test_a_proposal_says_what_the_quick_screen_saw(signed_in: SignIn, world: World) -> None:
    """It is told apart from the validation that blocked the change."""
    page = signed_in(VERA)
    page.goto(f"/proposals/{world.blocked}")
    expect(page.get_by_text("16 cases, 5 better, 0 worse")).to_be_visible()


def test_a_title_with_a_script_stays_a_title(signed_in: SignIn, world: World) -> None:
    """Text from models is shown, never run."""
    page = signed_in()
    page.goto(f"/proposals/{world.evil}")
    expect(page.get_by_role("heading", level=1)).to_have_text(EVIL)
    assert page.evaluate("window.pwned") is None


def test_a_models_words_are_marked_and_never_run(signed_in: SignIn, world: World, day: sessionmaker[Session]) -> None:
    """Beside an alert without a proposal of its own, and beside what was measured: with who wrote them, escaped."""
    by = "fake, prompt local"
    with day.begin() as session:
        detail = {"explanation": EVIL, "explained_by": by}
        session.add(AlertEvent(alert_id=world.alert, at=utc_now(), kind="researched", detail=detail))
        impact = session.scalars(select(ImprovementImpact)).one()
        impact.explanation, impact.explained_by = EVIL, by
        pages = {f"/alerts/{world.alert}": "what was detected", f"/proposals/{impact.proposal_id}": "these figures"}
    page = signed_in(VERA)
    for path, basis in pages.items():
        page.goto(path)
        quoted = page.locator("blockquote", has_text=f"written by {by} from {basis}; it decides nothing")
        expect(quoted.locator("p")).to_have_text(EVIL)
        assert page.evaluate("window.pwned") is None


def test_a_mail_is_shown_shut_in(signed_in: SignIn, world: World) -> None:
    """Its script does not run, and its picture of another host is not asked for."""
    page = signed_in()
    tracked: list[Route] = []
    page.context.route("**tracker.invalid/**", lambda route: tracked.append(route))  # noqa: PLW0108
    page.goto(f"/mail/{world.mail}")
    expect(page.frame_locator("iframe").locator("#hello")).to_have_text("Error rate is 14.7 %")
    assert page.evaluate("window.pwned") is None
    assert tracked == []


def test_all_that_a_browser_loads_is_under_250_kb() -> None:
    """Counted compressed, over all pages."""
    needs(DASHBOARD / "scripts" / "size.mjs")
    subprocess.run(["node", "scripts/size.mjs"], cwd=DASHBOARD, check=True, capture_output=True)
