"""The bar under a critical alert's verdict: the expected band, and where the observation lies. No image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from notifications.views import AlertView
from notifications.wording import figure


@dataclass(frozen=True)
class Segment:
    """A piece of the scale that shows an observation beside its expected band."""

    width: int
    """Percent of the whole."""
    kind: Literal["gap", "band", "mark"]


def scale(alert: AlertView, band: str | None) -> dict[str, Any] | None:
    """Return the bar under a critical alert's verdict: the expected band and where the observation lies."""
    if alert.observed is None or alert.low is None or alert.high is None or alert.high < alert.low:
        return None
    below = alert.observed < (alert.low + alert.high) / 2
    seen = {"text": f"now {figure(alert.metric, alert.observed)}", "tone": "alarm"}
    usual = {"text": f"expected {band}", "tone": "good"}
    return {
        "cells": segments(alert.observed, alert.low, alert.high),
        "left": seen if below else usual,
        "right": usual if below else seen,
    }


def segments(observed: float, low: float, high: float) -> list[Segment]:
    """Return the scale's pieces from left to right; their widths add up to 100 percent."""
    least, most = min(observed, low), max(observed, high)
    room = (most - least) * 0.12 or 1.0
    start, width = least - room, most - least + 2 * room

    def place(value: float) -> int:
        return round((value - start) / width * 100)

    mark = min(max(place(observed), 1), 99)
    kinds: list[Literal["gap", "band", "mark"]] = ["gap"] * 100
    first, last = place(low), max(place(high), place(low) + 2)
    for at in range(max(first, 0), min(last, 100)):
        kinds[at] = "band"
    kinds[mark - 1] = kinds[mark] = "mark"
    pieces: list[Segment] = []
    for kind in kinds:
        if pieces and pieces[-1].kind == kind:
            pieces[-1] = Segment(pieces[-1].width + 1, kind)
        else:
            pieces.append(Segment(1, kind))
    return pieces
