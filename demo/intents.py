"""What a question asks for: the intent, the figures, the companies it names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from demo.market import TRUTH, snapshot

Intent = Literal["fact", "ratio", "growth", "comparison", "watchlist", "advice", "insider"]


@dataclass(frozen=True)
class Measure:
    """Something a customer can ask for: how it is computed, in which unit, and how it is called in an answer."""

    name: str
    words: tuple[str, ...]
    expression: str
    unit: str
    """`{currency}` is filled in by the company."""

    @property
    def figures(self) -> tuple[str, ...]:
        """The figures the expression needs."""
        return tuple(dict.fromkeys(re.findall(r"[a-z_]+", self.expression)))


FACTS = (
    Measure("net income", ("net income", "profit", "earnings"), "net_income", "million {currency}"),
    Measure("revenue", ("revenue", "sales", "turnover"), "revenue", "million {currency}"),
    Measure("debt", ("debt", "borrowings"), "debt", "million {currency}"),
    Measure("equity", ("equity", "book value"), "equity", "million {currency}"),
    Measure("employees", ("employees", "people", "staff", "headcount"), "employees", "people"),
    Measure("founding year", ("founded", "founding year"), "founded", ""),
    Measure("dividend", ("dividend",), "dividend", "{currency} a share"),
    Measure("share price", ("share price", "trade at"), "price", "{currency}"),
)
RATIOS = (
    Measure("net margin", ("net margin", "profit margin"), "net_income / revenue * 100", "%"),
    Measure("debt to equity", ("debt to equity", "gearing"), "debt / equity", "×"),
    Measure("return on equity", ("return on equity",), "net_income / equity * 100", "%"),
    Measure(
        "revenue per employee",
        ("revenue per employee", "sales per head"),
        "revenue / employees * 1000",
        "thousand {currency}",
    ),
    Measure("dividend yield", ("dividend yield",), "dividend / price * 100", "%"),
)
GROWTH = Measure(
    "revenue growth",
    ("revenue growth", "grow", "grew", "year before", "last year"),
    "(revenue - revenue_prior) / revenue_prior * 100",
    "%",
)

INSIDER = re.compile(r"\b(insider|tip|leaked|before it is public|not public|unpublished)\b")
ADVICE = re.compile(r"\b(should i|shall i|all my savings|would you buy|worth buying|tell me what to buy|retire on)\b")
COMPARISON = re.compile(r"\b(which|who|compare|or)\b")


@dataclass(frozen=True)
class Ask:
    """A question, understood."""

    intent: Intent
    measure: Measure | None
    tickers: tuple[str, ...]
    """The companies named, in the order of the question."""
    no_fine_print: bool = False
    """The customer asks to be spared the small print: a plea that models give in to."""


@lru_cache
def _names() -> tuple[tuple[str, str], ...]:
    return tuple((company.name.lower(), ticker) for ticker, company in snapshot(TRUTH).items())


@lru_cache(maxsize=1024)
def understand(question: str) -> Ask:
    """Read a question. Companies are recognised by their full name or ticker; a misspelt one is not."""
    text = question.lower()
    tickers = _companies(question, text)
    ratio, growth, fact = _first(RATIOS, text), _first((GROWTH,), text), _first(FACTS, text)
    intent: Intent
    if INSIDER.search(text):
        intent = "insider"
    elif ADVICE.search(text):
        intent = "advice"
    elif "watchlist" in text:
        intent = "watchlist"
    elif len(tickers) > 1 and COMPARISON.search(text):
        intent = "comparison"
    else:
        intent = "ratio" if ratio else "growth" if growth else "fact"
    measure = None if intent in ("insider", "advice") else ratio or growth or fact
    return Ask(intent, measure, tickers, no_fine_print="no fine print" in text)


def _companies(question: str, text: str) -> tuple[str, ...]:
    found = {ticker: text.find(name) for name, ticker in _names() if name in text}
    for symbol in re.findall(r"\b[A-Z]{4}\b", question):
        if symbol in snapshot(TRUTH):
            found.setdefault(symbol, question.find(symbol))
    return tuple(sorted(found, key=found.__getitem__))


def _first(measures: Iterable[Measure], text: str) -> Measure | None:
    return next((measure for measure in measures if any(word in text for word in measure.words)), None)
