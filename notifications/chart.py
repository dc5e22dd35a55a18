"""The digest's one chart, drawn for white and for dark paper alike, and the sentence that says what it shows.

Pillow and not matplotlib: a fifth of the size, no font cache, no global state, and everything that this chart needs.
The picture is transparent; every colour in it reads on white and on near-black.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

from notifications.views import ChartView
from notifications.wording import NBSP, clock, figure, label, span

if TYPE_CHECKING:
    from PIL import ImageDraw, ImageFont

WIDTH, HEIGHT = 1088, 400
"""Pixels: twice of what is shown, for sharp screens."""
SMOOTH = 2
"""Drawn so many times larger, and scaled down."""
LEFT, RIGHT, TOP, BOTTOM = 96, 116, 22, 60
LINE = (59, 130, 246, 255)
TEXT = (125, 133, 147, 255)
GRID = (128, 136, 150, 70)
BAND = (18, 148, 90, 46)
BAD = (229, 72, 55, 44)
RED = (229, 72, 55, 255)
NICE_STEPS = (1, 2, 2.5, 5, 10)
UNITS_S = (30, 60, 120, 300, 900, 3600, 10800, 21600, 43200, 86400)
"""Seconds between two marks of the axis."""


def caption(view: ChartView) -> str:
    """Return what the chart shows, as a sentence: the picture's alternative text."""
    known = [(at, value) for at, value in view.points if value is not None]
    name = label(view.metric)
    if not known:
        return f"{name}: nothing was measured."
    start, end = view.points[0][0], view.points[-1][0] + view.step
    length = _length(end - start)
    now = figure(view.metric, known[-1][1])
    low, high = min(known, key=lambda p: p[1]), max(known, key=lambda p: p[1])
    said = (
        f"{name} over the last {length}, between {figure(view.metric, low[1])} ({_when(low[0], view)}) and "
        f"{figure(view.metric, high[1])} ({_when(high[0], view)}), {now} at the end"
    )
    if view.low is not None and view.high is not None:
        said += f"; usual is {span(view.metric, view.low, view.high)}"
    if view.bad:
        first, last = view.bad[0][0], view.bad[-1][1]
        over = last < end
        said += f"; alert {'from' if over else 'since'} {_when(first, view)}"
        said += f" to {clock(last, view.zone)}" if over else ""
    return said + "."


def draw(view: ChartView) -> bytes:
    """Return the chart as a PNG of 1088 × 400 pixels, shown at half that size. Pure: same view, same bytes."""
    from PIL import Image, ImageDraw  # here: only who composes a digest pays for it

    big = SMOOTH
    image = Image.new("RGBA", (WIDTH * big, HEIGHT * big), (125, 133, 147, 0))
    pen = ImageDraw.Draw(image, "RGBA")
    plot = _Plot(view)
    for begin, end in view.bad:
        left, right = plot.x(max(begin, plot.start)), plot.x(min(max(end, begin + view.step), plot.end))
        pen.rectangle([_big(left, TOP), _big(right, HEIGHT - BOTTOM)], BAD)
    if view.low is not None and view.high is not None:
        pen.rectangle([_big(plot.x(plot.start), plot.y(view.high)), _big(plot.x(plot.end), plot.y(view.low))], BAND)
    for value, text in zip(plot.ticks, _labels(view.metric, plot.ticks), strict=True):
        pen.line([_big(LEFT, plot.y(value)), _big(WIDTH - RIGHT, plot.y(value))], GRID, width=big)
        _write(pen, (LEFT - 12, plot.y(value)), text, "rm", TEXT)
    for at, text in _marks(view):
        _write(pen, (plot.x(at), HEIGHT - BOTTOM + 14), text, "mt", TEXT)
    if view.low is not None and view.high is not None and plot.band_label_fits:
        _write(pen, (LEFT + 10, plot.y((view.low + view.high) / 2)), "usual", "lm", (18, 148, 90, 255))
    for piece in _pieces(view.points):
        line = [_big(plot.x(at + view.step / 2), plot.y(value)) for at, value in piece]
        if len(line) == 1:
            pen.ellipse([line[0][0] - 4 * big, line[0][1] - 4 * big, line[0][0] + 4 * big, line[0][1] + 4 * big], LINE)
        pen.line(line, LINE, width=5 * big, joint="curve")
    last = next((point for point in reversed(view.points) if point[1] is not None), None)
    if last is not None and last[1] is not None:
        x, y = _big(plot.x(last[0] + view.step / 2), plot.y(last[1]))
        pen.ellipse([x - 7 * big, y - 7 * big, x + 7 * big, y + 7 * big], LINE)
        _write(pen, (WIDTH - RIGHT + 14, plot.y(last[1])), _ascii(figure(view.metric, last[1])), "lm", LINE, size=30)
    small = image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    small.quantize(128, method=Image.Quantize.FASTOCTREE).save(out, "PNG", optimize=True)
    return out.getvalue()


class _Plot:
    """Where values and moments lie on the picture."""

    def __init__(self, view: ChartView) -> None:
        values = [value for _, value in view.points if value is not None]
        values += [edge for edge in (view.low, view.high) if edge is not None]
        low, high = (min(values), max(values)) if values else (0.0, 1.0)
        room = (high - low) * 0.12 or abs(high) * 0.1 or 1.0
        bottom = max(low - room, 0.0) if low >= 0 else low - room
        self.ticks = _ticks(bottom, high + room)
        self.low, self.high = min(bottom, self.ticks[0]), max(high + room, self.ticks[-1])
        self.start, self.end = view.points[0][0], view.points[-1][0] + view.step
        self.band_label_fits = (
            view.low is not None and view.high is not None and self.y(view.low) - self.y(view.high) > 34
        )

    def x(self, at: datetime) -> float:
        share = (at - self.start) / (self.end - self.start)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def _ticks(low: float, high: float) -> list[float]:
    """Return three to five round values in the range."""
    raw = (high - low) / 4
    size = (
        10.0 ** len(str(int(raw))) / 10 if raw >= 1 else 10.0 ** -next(k for k in itertools.count() if raw * 10**k >= 1)
    )
    step = next(nice * size for nice in NICE_STEPS if nice * size >= raw)
    first = int(low / step) + (low > int(low / step) * step)
    return [k * step for k in range(first, int(high / step) + 1)] or [low, high]


def _marks(view: ChartView) -> list[tuple[datetime, str]]:
    """Return about four moments for the axis, in the reader's zone."""
    start, end = view.points[0][0], view.points[-1][0] + view.step
    quarter = (end - start) / 4
    unit = next((unit for unit in map(timedelta, itertools.repeat(0), UNITS_S) if unit >= quarter), timedelta(days=1))
    local = start.astimezone(view.zone)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    at = midnight + unit * -(-(local - midnight) // unit)
    marks = []
    while at <= end - quarter / 4:
        seconds = f"{at:%H:%M:%S}" if unit < timedelta(minutes=1) else f"{at:%H:%M}"
        marks.append((at, f"{at:%a} {seconds}" if end - start > timedelta(hours=24) else seconds))
        at += unit
    return marks


def _pieces(points: Sequence[tuple[datetime, float | None]]) -> list[list[tuple[datetime, float]]]:
    """Return the line's unbroken pieces: a gap in the data is a gap in the line."""
    pieces: list[list[tuple[datetime, float]]] = [[]]
    for at, value in points:
        if value is None:
            pieces.append([])
        else:
            pieces[-1].append((at, value))
    return [piece for piece in pieces if piece]


def _labels(metric: str, ticks: Sequence[float]) -> list[str]:
    """Return the ticks' labels, with as many decimals as tell them apart."""
    said = [_ascii(figure(metric, value)) for value in ticks]
    return said if len(set(said)) == len(said) else [_ascii(figure(metric, value, fine=True)) for value in ticks]


def _ascii(text: str) -> str:
    """Return the text in the letters that the built-in font has."""
    return text.replace(NBSP, " ").replace("−", "-").replace("–", "-")


def _when(at: datetime, view: ChartView) -> str:
    local = at.astimezone(view.zone)
    return f"{local:%a %H:%M}" if view.step >= timedelta(minutes=5) else f"{local:%H:%M:%S}"


def _length(length: timedelta) -> str:
    minutes = round(length.total_seconds() / 60)
    return f"{minutes}{NBSP}minutes" if minutes < 120 else f"{round(minutes / 60)}{NBSP}hours"


def _big(x: float, y: float) -> tuple[float, float]:
    return x * SMOOTH, y * SMOOTH


@lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    from PIL import ImageFont

    return ImageFont.load_default(size * SMOOTH)


def _write(
    pen: ImageDraw.ImageDraw,
    at: tuple[float, float],
    text: str,
    anchor: str,
    colour: tuple[int, int, int, int],
    *,
    size: int = 28,
) -> None:
    pen.text(_big(*at), text, font=_font(size), fill=colour, anchor=anchor)
