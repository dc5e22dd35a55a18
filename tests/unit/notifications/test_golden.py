"""Every mail as it was looked at and found good. `UPDATE_GOLDEN=1 pytest …` writes them anew: then look again.

One HTML serves light, dark and phone, so one snapshot holds all three; that they look as they should in a browser is
asked of a real one.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from notifications import render
from notifications.views import Rendered
from tests.unit.notifications.views import NOW, alert, busy, chart, digest, event, hourly, silence, storm

GOLDEN = Path(__file__).parent / "golden"
UPDATE = "UPDATE_GOLDEN"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CASE = "metamon golden add --app fa-ai --from-run 0199c0de-0000-7000-8000-000000000001"
UNSUBSCRIBE = "https://metamon.example/unsubscribe/token"

MAILS: dict[str, Callable[[], Rendered]] = {
    "digest": lambda: render.digest(busy(), unsubscribe=UNSUBSCRIBE),
    "quiet": lambda: render.digest(digest(), unsubscribe=UNSUBSCRIBE),
    "critical": lambda: render.critical(event()),
    "update": lambda: render.updated(event(before=0.86), base_subject="[fa-ai] critical: fact_accuracy 0.86"),
    "resolved": lambda: render.resolved(event(alert=alert(resolved_at=NOW), case=CASE)),
    "approval": lambda: render.approval(event(rollout=None, impact=None)),
    "blocked": lambda: render.blocked(event(rollout=None, impact=None)),
    "rollback": lambda: render.rolled_back(event(validation=None, impact=None)),
    "implemented": lambda: render.implemented(event(validation=None)),
    "hourly": lambda: render.hourly(hourly()),
    "storm": lambda: render.storm(storm()),
    "dead_man": lambda: render.dead_man(silence()),
    "test": lambda: render.test(event()),
}


@pytest.mark.parametrize("name", MAILS)
def test_a_mail_is_as_it_was_looked_at(name: str) -> None:
    """Subject, text and HTML; the chart's own bytes may differ from one drawing library to the next."""
    mail = MAILS[name]()
    assert mail == MAILS[name]()  # pure
    html = re.sub(r"cid:[0-9a-f]{24}@metamon", "cid:chart", mail.html)
    for suffix, content in (("txt", f"Subject: {mail.subject}\n\n{mail.text}"), ("html", html)):
        file = GOLDEN / f"{name}.{suffix}"
        if os.environ.get(UPDATE):
            GOLDEN.mkdir(exist_ok=True)
            file.write_text(content, encoding="utf-8")
        assert content == file.read_text(encoding="utf-8")


def picture(html: str, folder: Path, *, width: int, dark: bool) -> Image.Image:
    """Return what a real browser shows."""
    assert CHROMIUM is not None
    page, png = folder / "mail.html", folder / "mail.png"
    page.write_text(html, encoding="utf-8")
    subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-quic",
            "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
            f"--user-data-dir={folder / 'profile'}", f"--window-size={width},2200", f"--screenshot={png}",
            *(["--blink-settings=preferredColorScheme=0"] if dark else []), page.as_uri(),
        ],
        check=True, capture_output=True, timeout=200,
    )  # fmt: skip
    return Image.open(png).convert("RGB")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: Debian's package `chromium` has it")
@pytest.mark.parametrize(
    ("width", "dark", "ground", "card"),
    [
        (680, False, (240, 242, 245), (255, 255, 255)),
        (680, True, (15, 17, 21), (26, 29, 36)),
        (500, False, (240, 242, 245), (255, 255, 255)),
    ],
    ids=["light", "dark", "phone"],
)
def test_the_digest_fits_light_dark_and_a_phone(
    width: int, dark: bool, ground: tuple[int, int, int], card: tuple[int, int, int], tmp_path: Path
) -> None:
    """Ground and cards have their colours, and nothing runs over the right edge."""
    seen = picture(MAILS["digest"]().html, tmp_path, width=width, dark=dark)
    assert seen.getpixel((2, 2)) == ground
    assert {seen.getpixel((seen.width - 2, y)) for y in range(0, 1800, 7)} == {ground}
    assert seen.getpixel((width // 2, 62)) == card


def test_a_chart_is_the_same_picture_each_time() -> None:
    """Two shown pixels for one of the mail, transparent, small, whatever the data does."""
    from notifications.chart import caption, draw

    flat = chart(points=tuple((at, 0.0) for at, _ in chart().points), low=None, high=None, bad=())
    gaps = chart(points=tuple((at, None if k % 3 else value) for k, (at, value) in enumerate(chart().points)))
    huge = chart(points=tuple((at, (value or 0) * 1e9) for at, value in chart().points), low=None, high=None)
    nothing = chart(points=tuple((at, None) for at, _ in chart().points), low=None, high=None, bad=())
    for view in (chart(), flat, gaps, huge, nothing, replace(chart(), metric="latency_p95")):
        assert draw(view) == draw(view)
        assert len(draw(view)) < 30_000
        assert caption(view).endswith(".")
    assert caption(nothing) == "Fact accuracy: nothing was measured."
