"""Pictures of every page of a running installation, for looking at and for the documentation.

    python -m tests.browser.pictures --url http://127.0.0.1:8600 --email admin@localhost --out docs/images/pages

The password is read from standard input. Each page becomes one sheet: desktop and phone, light and dark.
"""

from __future__ import annotations

import argparse
import getpass
import sys
from io import BytesIO
from pathlib import Path

import httpx
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.conftest import FLAGS, chromium

DESKTOP, PHONE = (1280, 860), (390, 860)
GAP = 16
LONGEST = 2400
"""A page that is longer is cut, in pixels."""
PAGES = {
    "overview": "/",
    "alerts": "/alerts",
    "alert": "/alerts/{alerts}",
    "proposals": "/proposals",
    "proposal": "/proposals/{proposals}",
    "validations": "/validations",
    "validation": "/validations/{validations}",
    "rollouts": "/rollouts",
    "rollout": "/rollouts/{rollouts}",
    "trends": "/evaluations",
    "impact": "/impact",
    "jobs": "/jobs",
    "job": "/jobs/{jobs}",
    "mail": "/mail",
    "letter": "/mail/{mail}",
    "settings": "/settings",
}


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True)
    parser.add_argument("--email", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*", choices=[*PAGES, "login"], help="only these pages")
    args = parser.parse_args()
    password = getpass.getpass() if sys.stdin.isatty() else sys.stdin.readline().strip()
    with httpx.Client(base_url=args.url, timeout=60) as client:
        answer = client.post("/api/v1/session", json={"email": args.email, "password": password})
        answer.raise_for_status()
        cookie = answer.cookies["metamon_session"]
        ids = {
            name: _newest(client, name) for name in ("alerts", "proposals", "validations", "rollouts", "jobs", "mail")
        }
    args.out.mkdir(parents=True, exist_ok=True)
    wanted = {"login": "/login", **PAGES}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        for name in args.only or wanted:
            path = wanted[name].format_map(ids)
            if "None" in path:
                sys.stderr.write(f"{name}: there is none to show\n")
                continue
            sheet(browser, args.url, path, cookie if name != "login" else None).save(
                args.out / f"{name}.webp", quality=82, method=6
            )
            sys.stderr.write(f"{name}\n")
        browser.close()


def _newest(client: httpx.Client, name: str) -> int | None:
    """Return the id of the row that has most to show: the newest whose story is told, else the newest."""
    rows = client.get(f"/api/v1/{name}", params={"limit": 50}).json()["items"]
    told = [row for row in rows if row.get("state") in ("rolled_back", "finished") or row.get("kind") == "critical"]
    waiting = [row for row in rows if row.get("status") == "awaiting_approval"]
    first = (waiting or told or rows or [{"id": None}])[0]
    return None if first["id"] is None else int(first["id"])


def sheet(browser: Browser, url: str, path: str, cookie: str | None) -> Image.Image:
    """Return one picture of a page at both widths in both schemes, side by side."""
    shots = [
        _shot(browser, url, path, cookie, size=size, dark=dark) for size in (DESKTOP, PHONE) for dark in (False, True)
    ]
    width, height = sum(shot.width for shot in shots) + GAP * (len(shots) - 1), max(shot.height for shot in shots)
    picture = Image.new("RGB", (width, height), "#8a8f98")
    left = 0
    for shot in shots:
        picture.paste(shot, (left, 0))
        left += shot.width + GAP
    return picture


def _shot(
    browser: Browser, url: str, path: str, cookie: str | None, *, size: tuple[int, int], dark: bool
) -> Image.Image:
    context = browser.new_context(
        base_url=url,
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce",
    )
    if cookie is not None:
        context.add_cookies([{"name": "metamon_session", "value": cookie, "url": url}])
    page = context.new_page()
    page.goto(path)
    settled(page)
    # A window as long as the page: what sticks to its edges stands where it belongs.
    height = page.evaluate("document.documentElement.scrollHeight")
    page.set_viewport_size({"width": size[0], "height": min(max(int(height), size[1]), LONGEST)})
    settled(page)
    picture = Image.open(BytesIO(page.screenshot())).convert("RGB")
    context.close()
    return picture


def settled(page: Page) -> None:
    """Wait until the page has its heading and shows no placeholder any more."""
    page.locator("h1").first.wait_for()
    expect(page.locator(".skeleton, [role=status][aria-label=Loading]")).to_have_count(0, timeout=30_000)


if __name__ == "__main__":
    main()
