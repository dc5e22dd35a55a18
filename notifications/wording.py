"""How figures, moments and other people's text are written in a mail."""

from __future__ import annotations

import re
import unicodedata
from datetime import date, datetime, timedelta, tzinfo

TEXT_CAP = 400
"""Characters of any one text in a mail: a megabyte of traceback is evidence, not prose."""

_SPACES = re.compile(" +")  # a no-break space between a figure and its unit stays
_PERCENT = frozenset({"error_rate", "sla_compliance", "error_free", "sla_met"})
_SECONDS = frozenset({"latency_p50", "latency_p95", "latency_p99"})
_LOWER_IS_BETTER = frozenset(
    {
        "error_rate",
        "latency_ms",
        "latency_p50",
        "latency_p95",
        "latency_p99",
        "cost",
        "cost_per_1k",
        "cost_per_run",
        "tokens",
        "tokens_per_run",
    }
)
NBSP = "\N{NO-BREAK SPACE}"
MINUS = "−"


def plain(text: str, cap: int = TEXT_CAP) -> str:
    """Return foreign text fit for one line: no control or direction characters, single spaces, capped.

    Direction marks go because they can make a line read other than it is.
    """
    visible = "".join(
        " " if unicodedata.category(char) in ("Cc", "Zl", "Zp") else char
        for char in text[: 4 * cap]
        if unicodedata.category(char) not in ("Cf", "Cs", "Co")
    )
    line = _SPACES.sub(" ", visible).strip()
    return line if len(line) <= cap else line[: cap - 1].rstrip() + "…"


_LABELS = {
    "error_rate": "Error rate",
    "error_free": "Error-free",
    "sla_compliance": "SLA compliance",
    "sla_met": "SLA met",
    "latency_ms": "Latency",
    "latency_p95": "p95 latency",
    "cost_per_1k": "Cost / 1k runs",
    "cost_per_run": "Cost per run",
    "tokens_per_run": "Tokens per run",
    "quality": "Quality score",
}


def label(metric: str) -> str:
    """Return what a metric is called in a table."""
    words = plain(metric.replace("_", " "), 40)
    return _LABELS.get(metric) or words[:1].upper() + words[1:]


def lower_is_better(metric: str) -> bool:
    """Tell whether less of the metric is good news."""
    return metric in _LOWER_IS_BETTER


def figure(metric: str, value: float | None, *, fine: bool = False) -> str:
    """Return a value of a metric with its unit: `0.71`, `12.3 %`, `2.8 s`, `$4.12`.

    Args:
        fine: three decimals where two are usual: in a table, where small differences are compared.
    """
    if value is None:
        return "no data"
    if metric in _PERCENT:
        return _number(value * 100) + f"{NBSP}%"
    if metric in _SECONDS:
        return f"{_number(value * 1000)}{NBSP}ms" if abs(value) < 0.1 else f"{value:.2g}{NBSP}s"
    if metric == "latency_ms":
        return f"{_number(value)}{NBSP}ms"
    if metric == "cost_per_run":
        return f"${value:.2g}"
    if metric in ("cost", "cost_per_1k"):
        return f"${value:,.2f}"
    if metric in ("volume", "tokens", "tokens_per_run", "runs") or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 10 else f"{value:.3f}" if fine else f"{value:.2f}"


def change(metric: str, delta: float | None, *, fine: bool = False, unit: bool = True) -> str:
    """Return a difference of two values of a metric, signed: `−0.01`, `+1.2 pt`, `+130 ms`; `±0` where it is none."""
    if delta is None:
        return "–"
    said = figure(metric, abs(delta), fine=fine)
    if said == "0.00":
        said = f"{abs(delta):.3f}"
    if metric in _PERCENT:
        said = f"{_number(abs(delta) * 100)}{NBSP}pt"
    if not any(digit in said for digit in "123456789"):
        return "±0"
    sign = "+" if delta > 0 else MINUS
    return sign + (said if unit else said.partition(NBSP)[0])


def percent(value: float | None) -> str:
    """Return a relative change in percent, signed: `+12 %`."""
    if value is None:
        return "–"
    return f"{'+' if value > 0 else MINUS if value < 0 else '±'}{_number(abs(value))}{NBSP}%"


def span(metric: str, low: float, high: float) -> str:
    """Return a range in the metric's unit, the unit once: `0.93–0.97`, `0.2–1.1 %`."""
    first, second = figure(metric, low), figure(metric, high)
    number, _, unit = second.partition(NBSP)
    if unit and first.endswith(NBSP + unit):
        first = first.removesuffix(NBSP + unit)
    return f"{first}–{number}{NBSP + unit if unit else ''}"


def expected(metric: str, value: float | None, low: float | None, high: float | None) -> str | None:
    """Return what was expected, as a range where one is known; None where nothing is."""
    if low is not None and high is not None:
        return span(metric, low, high)
    if value is not None:
        return f"about {figure(metric, value)}"
    if low is not None:
        return f"at least {figure(metric, low)}"
    return None if high is None else f"at most {figure(metric, high)}"


def clock(at: datetime, zone: tzinfo) -> str:
    """Return the time of day in the zone."""
    return f"{at.astimezone(zone):%H:%M}"


def moment(at: datetime, zone: tzinfo) -> str:
    """Return day and time in the zone, with the zone's name where that is a short one."""
    local = at.astimezone(zone)
    return f"{local:%a} {local.day} {local:%b %H:%M} {local:%Z}"


def long_date(day: date) -> str:
    """Return a date as people say it."""
    return f"{day:%A} {day.day} {day:%B %Y}"


def duration(length: timedelta) -> str:
    """Return a length of time in its two largest units: `2 h 5 min`."""
    seconds = max(0, round(length.total_seconds()))
    for size, unit, smaller, small_unit in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if seconds >= size:
            whole, rest = divmod(seconds, size)
            part = rest // smaller
            return f"{whole}{NBSP}{unit}" + (f" {part}{NBSP}{small_unit}" if part else "")
    return f"{seconds}{NBSP}s"


def count(number: int, noun: str, plural: str | None = None) -> str:
    """Return a counted noun: `1 alert`, `2 alerts`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def _number(value: float) -> str:
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.3g}" if size >= 1 else f"{value:.2g}" if size else "0"
