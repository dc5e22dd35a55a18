"""The picture in docs/detection.md: a generated service metric, what was expected of it, and what alarmed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np

from analysis.detection import SeriesDetector

STEP = timedelta(minutes=5)
DAY = 288
DAYS = 15
SHOWN = 3
START = np.datetime64("2026-03-02T00:00:00")
LEFT, TOP, WIDTH, HEIGHT = 56, 84, 820, 250

STYLE = """
  text { font: 14px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328; }
  .title { font-weight: 600; font-size: 16px; } .small { font-size: 12px; fill: #59636e; }
  .back { fill: #ffffff; } .band { fill: #3f9a76; fill-opacity: .22; } .line { fill: none; stroke: #1f2328; }
  .alarm { fill: none; stroke: #b5443a; stroke-width: 2; } .away { fill: #d1892e; } line { stroke: #8b949e; }
  .note { text-anchor: middle; paint-order: stroke; stroke: #ffffff; stroke-width: 4px; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; } .small { fill: #9198a1; } .back { fill: #0d1117; } .line { stroke: #e6edf3; }
    .alarm { stroke: #e5776c; } .away { fill: #e3a857; } .note { stroke: #0d1117; }
  }
"""


def traffic(seed: int) -> np.ndarray:
    """Return requests a minute: days and nights, a nightly job, noise, and on the last days what may go wrong."""
    rng = np.random.default_rng(seed)
    t = np.arange(DAYS * DAY)
    hour = t % DAY / 12
    values = 60 + 38 * np.sin((hour - 9) / 24 * 2 * np.pi) + 8 * np.sin((hour - 4) / 12 * 2 * np.pi)
    values += np.where((hour >= 3) & (hour < 3.5), 34.0, 0.0)
    values += rng.normal(0, 1.3, t.size) * np.sqrt(np.maximum(values, 10) / 60)
    first = (DAYS - SHOWN) * DAY
    for at, length, by in ((11.5, 1, 30), (15, 6, -32), (24 + 10, 2, -22), (48 + 3, 6, -34), (48 + 12, 144, -24)):
        begin = first + int(at * 12)
        values[begin : begin + length] += by
    return np.maximum(values, 0.0)


@dataclass(frozen=True)
class Told:
    """What the detector said of the shown days; each of shape (points,)."""

    values: np.ndarray
    low: np.ndarray
    high: np.ndarray
    alarm: np.ndarray
    away: np.ndarray


def told(seed: int) -> Told:
    """Stream the series and keep the last days."""
    values = traffic(seed)
    detector = SeriesDetector(1, step=STEP, bounds=(0.0, None))
    rows = []
    for index, value in enumerate(values):
        found = detector.update([value], START + np.timedelta64(300 * index, "s"))
        low, high, away = found.low, found.high, found.away
        assert low is not None
        assert high is not None
        assert away is not None
        rows.append((low[0], high[0], found.alarm[0], away[0]))
    low_, high_, alarm_, away_ = (np.array(column)[-SHOWN * DAY :] for column in zip(*rows, strict=True))
    return Told(values[-SHOWN * DAY :], low_, high_, alarm_.astype(bool), away_.astype(bool))


def draw(path: Path, *, seed: int) -> None:
    """Write the SVG; light and dark, whatever the reader's page is."""
    seen = told(seed)
    size = seen.values.size
    top = float(max(seen.high.max(), seen.values.max())) * 1.08

    def x(index: float) -> float:
        return LEFT + WIDTH * index / size

    def y(value: float) -> float:
        return TOP + HEIGHT * (1 - value / top)

    upper = " ".join(f"{x(i):.1f},{y(v):.1f}" for i, v in enumerate(seen.high))
    lower = " ".join(f"{x(i):.1f},{y(v):.1f}" for i, v in reversed(list(enumerate(seen.low))))
    bottom = TOP + HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 24} {bottom + 76}" role="img" '
        'aria-label="A metric, its band and its alarms over three days">',
        f"<style>{STYLE}</style>",
        '<rect class="back" width="100%" height="100%" rx="8"/>',
        '<text class="title" x="20" y="28">Three days of a metric, what was expected of it, and what alarmed</text>',
        '<text class="small" x="20" y="50">requests a minute in steps of 5 minutes, after twelve days of learning; '
        f"generated, seed {seed}</text>",
        f'<polygon class="band" points="{upper} {lower}"/>',
        '<polyline class="line" points="'
        + " ".join(f"{x(i):.1f},{y(v):.1f}" for i, v in enumerate(seen.values))
        + '"/>',
    ]
    parts += [
        f'<rect class="away" x="{x(i):.1f}" y="{bottom + 6}" width="{WIDTH / size + 0.3:.2f}" height="7"/>'
        for i in np.flatnonzero(seen.away)
    ]
    parts += [
        f'<circle class="alarm" cx="{x(i):.1f}" cy="{y(seen.values[i]):.1f}" r="5"/>'
        for i in np.flatnonzero(seen.alarm)
    ]
    for day in range(SHOWN + 1):
        parts.append(f'<line x1="{x(day * DAY):.1f}" y1="{TOP}" x2="{x(day * DAY):.1f}" y2="{bottom}" opacity=".35"/>')
    for value in range(0, int(top), 25):
        parts.append(f'<text class="small" x="{LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value}</text>')
    for hours, height, note in (
        (11.5, 1.0, "one point"), (15.2, 0.38, "half an hour"), (34, 0.3, "ten minutes"),
        (50.5, 0.56, "the job of 3:00 is missing"), (64.5, 0.2, "a level that stays"),
    ):  # fmt: skip
        parts.append(
            f'<text class="small note" x="{x(hours * 12):.1f}" y="{bottom - HEIGHT * height:.1f}">{note}</text>'
        )
    parts += [
        f'<line x1="{LEFT}" y1="{bottom}" x2="{LEFT + WIDTH}" y2="{bottom}"/>',
        f'<circle class="alarm" cx="{LEFT + 6}" cy="{bottom + 42}" r="5"/>',
        f'<text class="small" x="{LEFT + 18}" y="{bottom + 46}">alarm</text>',
        f'<rect class="band" x="{LEFT + 90}" y="{bottom + 35}" width="22" height="14"/>',
        f'<text class="small" x="{LEFT + 120}" y="{bottom + 46}">band: outside of it the next value alarms</text>',
        f'<rect class="away" x="{LEFT + 400}" y="{bottom + 38}" width="22" height="7"/>',
        f'<text class="small" x="{LEFT + 430}" y="{bottom + 46}">away from its level, not yet accepted</text>',
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*parts, "</svg>", ""]), encoding="utf-8")
