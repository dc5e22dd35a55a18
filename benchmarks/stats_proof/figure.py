"""The picture in docs/statistics.md: how often rules roll back a candidate that is exactly as good as the baseline."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.stats_proof import arms
from benchmarks.stats_proof.rollouts import ROWS, WORLDS

NAMES = {
    "5-minute windows": "5 % threshold, each 5 minutes",
    "estimate > 5 %": "5 % threshold, all data so far",
    "z test, peeked": "t-test, looked at every 5 minutes",
    "sequential, pooled": "sequential test, stages pooled",
    "metamon": "metamon",
}
SHOWN = {"10 %": "constant share of 10 %", "ramp, daily cycle": "10, 50, 90 % during a daily cycle"}
LEFT, WIDTH, ROW, TOP = 262, 400, 52, 80

STYLE = """
  text { font: 14px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328; }
  .title { font-weight: 600; font-size: 16px; } .small { font-size: 12px; fill: #59636e; }
  .a { fill: #d1892e; } .b { fill: #b5443a; } .ours .a { fill: #3f9a76; } .ours .b { fill: #22735a; }
  .ours text.name { font-weight: 600; } line { stroke: #8b949e; } .back { fill: #ffffff; }
  .goal { stroke-dasharray: 4 3; }
  .number { paint-order: stroke; stroke: #ffffff; stroke-width: 4px; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; } .small { fill: #9198a1; } .back { fill: #0d1117; }
    .a { fill: #e3a857; } .b { fill: #e5776c; } .ours .a { fill: #6fcfa4; } .ours .b { fill: #3fa67f; }
    .number { stroke: #0d1117; }
  }
"""


def rates(seed: int, rollouts: int = 600) -> dict[str, list[float]]:
    """Return by rule its false rollbacks in each world that is shown."""
    found: dict[str, list[float]] = {name: [] for name in NAMES}
    for number, world in enumerate(SHOWN):
        hits: dict[str, list[np.ndarray]] = {name: [] for name in NAMES}
        for chunk in range(0, rollouts, 200):
            of = WORLDS[world](np.random.default_rng([seed, 70, number, chunk]), min(200, rollouts - chunk))
            for name in NAMES:
                hits[name].append(arms.RULES[name](of))
        for name in NAMES:
            found[name].append(float(np.concatenate(hits[name]).mean()))
    return found


def draw(path: Path, *, seed: int) -> None:
    """Simulate, and write the SVG; light and dark, whatever the reader's page is."""
    found = rates(seed)
    bottom = TOP + ROW * len(NAMES)
    goal = LEFT + 0.05 * WIDTH
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 70} {bottom + 56}" role="img" '
        f'aria-label="False rollbacks of five rules">',
        f"<style>{STYLE}</style>",
        '<rect class="back" width="100%" height="100%" rx="8"/>',
        '<text class="title" x="20" y="28">Rollbacks of a candidate that is exactly as good</text>',
        f'<text class="small" x="20" y="50">share of rollouts within one day of {ROWS:,} units; seed {seed}</text>',
        # Below the labels, so that none is struck through.
        f'<line class="goal" x1="{goal}" y1="{TOP - 8}" x2="{goal}" y2="{bottom - 8}"/>',
    ]
    for row, (name, label) in enumerate(NAMES.items()):
        y = TOP + ROW * row
        parts.append(f'<g class="{"ours" if name == "metamon" else "other"}">')
        parts.append(f'<text class="name" x="{LEFT - 12}" y="{y + 22}" text-anchor="end">{label}</text>')
        for bar, (kind, rate) in enumerate(zip("ab", found[name], strict=True)):
            width, top = max(rate * WIDTH, 1.5), y + 1 + 17 * bar
            shown = f"{rate:.1%}" if rate < 0.1 else f"{rate:.0%}"
            parts.append(f'<rect class="{kind}" x="{LEFT}" y="{top}" width="{width:.1f}" height="15" rx="2"/>')
            parts.append(f'<text class="small number" x="{LEFT + width + 6:.1f}" y="{top + 12}">{shown}</text>')
        parts.append("</g>")
    parts += [
        f'<line x1="{LEFT}" y1="{TOP - 8}" x2="{LEFT}" y2="{bottom - 8}"/>',
        f'<text class="small" x="{goal + 4}" y="{TOP - 10}">5 % promised</text>',
    ]
    for place, (kind, world) in enumerate(zip("ab", SHOWN.values(), strict=True)):
        x = 20 + 260 * place
        parts.append(f'<rect class="{kind}" x="{x}" y="{bottom + 18}" width="15" height="15" rx="2"/>')
        parts.append(f'<text class="small" x="{x + 22}" y="{bottom + 30}">{world}</text>')
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*parts, "</svg>", ""]), encoding="utf-8")
