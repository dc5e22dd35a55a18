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
def index(region: str, version: str) -> tuple[Passage, ...]:
    """Build a region's index.

    Raises:
        UnknownSnapshotError: no snapshot has this version.
    """
    return tuple(
        Passage(f"{region}-{version}:{company.ticker}/{topic}", company, figures)
        for company in of_region(version, region)
        for topic, figures in TOPICS.items()
    )


def retrieve(ask: Ask, *, region: str, version: str, k: int) -> list[Passage]:
    """Return the k best passages: those of the companies asked for, the needed figures first.

    With k too small a comparison or a ratio over two topics lacks what it needs, as it would in life.
    """
    wanted = ask.measure.figures if ask.measure else ()

    def score(passage: Passage) -> int:
        if passage.company.ticker not in ask.tickers:
            return 0
        return 1 + 2 * len(set(wanted) & set(passage.figures))

    ranked = sorted(index(region, version), key=score, reverse=True)  # stable: the index' order breaks ties
    return [passage for passage in ranked[:k] if score(passage)]


def figures_of(passages: Sequence[Passage], ticker: str) -> dict[str, float]:
    """Return the figures of one company that were retrieved."""
    return {
        figure: passage.company.figures[figure]
        for passage in passages
        if passage.company.ticker == ticker
        for figure in passage.figures
    }
