"""The retriever: one index per region, passages of a few figures each, the best k for a question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from demo.intents import Ask
from demo.market import Company, of_region

TOPICS = {
    "income": ("revenue", "revenue_prior", "net_income"),
    "balance": ("debt", "equity"),
    "people": ("employees", "founded"),
    "market": ("dividend", "price"),
}


@dataclass(frozen=True)
class Passage:
    """A few figures of one company, as an index version states them."""

    source: str
    """`emea-2026-10:CORV/income`: what an answer cites."""
    company: Company
    figures: tuple[str, ...]


@lru_cache
def index(region: str, version: str) -> dict[str, tuple[Passage, ...]]:
    """Build a region's index: the passages by ticker.

    Raises:
        UnknownSnapshotError: no snapshot has this version.
    """
    return {
        company.ticker: tuple(
            Passage(f"{region}-{version}:{company.ticker}/{topic}", company, figures)
            for topic, figures in TOPICS.items()
        )
        for company in of_region(version, region)
    }


def retrieve(ask: Ask, *, region: str, version: str, k: int) -> list[Passage]:
    """Return the k best passages: those of the companies asked for, the needed figures first.

    With k too small a comparison or a ratio over two topics lacks what it needs, as it would in life.
    """
    wanted = set(ask.measure.figures) if ask.measure else set()
    passages = index(region, version)
    found = [passage for ticker in ask.tickers for passage in passages.get(ticker, ())]
    return sorted(found, key=lambda passage: -len(wanted.intersection(passage.figures)))[:k]


def figures_of(passages: Sequence[Passage], ticker: str) -> dict[str, float]:
    """Return the figures of one company that were retrieved."""
    return {
        figure: passage.company.figures[figure]
        for passage in passages
        if passage.company.ticker == ticker
        for figure in passage.figures
    }
