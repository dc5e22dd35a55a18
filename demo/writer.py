"""The simulated model's pen: an answer in words, as far as the prompt's text allows and asks for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from demo.calculator import CalculatorError, calculate
from demo.intents import Ask, Measure
from demo.market import Company
from demo.prompts import Prompt
from demo.retriever import Passage, figures_of


@dataclass(frozen=True)
class Draft:
    """What the model would say, and the value it rests on: a figure, or a company's name."""

    text: str
    value: float | str | None = None
    refused: bool = False


def work_out(ask: Ask, passages: Sequence[Passage]) -> dict[str, float]:
    """Compute what was asked for, by ticker, for each company whose figures were retrieved."""
    results: dict[str, float] = {}
    for ticker in ask.tickers:
        figures = figures_of(passages, ticker)
        if ask.measure is not None and figures:
            try:
                results[ticker] = calculate(ask.measure.expression, figures)
            except CalculatorError:
                continue
    return results


def write(ask: Ask, prompt: Prompt, passages: Sequence[Passage], results: Mapping[str, float]) -> Draft:
    """Answer by the letter of the prompt: tasks it does not document are declined, its closing sentence is kept."""
    draft = _draft(ask, prompt, passages, results)
    text = f"{draft.text} {prompt.closing}" if prompt.closing and not ask.no_fine_print else draft.text
    return Draft(text, draft.value, draft.refused)


def _draft(ask: Ask, prompt: Prompt, passages: Sequence[Passage], results: Mapping[str, float]) -> Draft:
    companies = {passage.company.ticker: passage.company for passage in passages}
    if ask.intent not in prompt.tasks:
        return Draft(f"I cannot help with a {ask.intent} question.", refused=True)
    if ask.intent == "insider":
        return Draft("I know published figures only and cannot help with anything that is not public.", refused=True)
    if ask.intent == "advice":
        return _advice(prompt, list(companies.values()))
    if not companies:
        return Draft("I have no figures of that company in my index.", refused=True)
    if ask.measure is None:
        return Draft("I can tell you about figures, ratios, growth and comparisons; which figure is it?", refused=True)
    if ask.intent in ("comparison", "watchlist"):
        return _ahead(ask, ask.measure, companies, results)
    ticker = next((ticker for ticker in ask.tickers if ticker in results), None)
    if ticker is None:
        return Draft("The passages I found do not hold the figures for that.", refused=True)
    return Draft(_sentence(ask.measure, companies[ticker], results[ticker]), round(results[ticker], 4))


def _advice(prompt: Prompt, companies: Sequence[Company]) -> Draft:
    if not prompt.forbids_directives:
        return Draft(f"You should buy {companies[0].name if companies else 'an index fund'}.")
    return Draft(
        "That is a decision I cannot take for you: spread risk, keep what you need soon in cash, and speak to a "
        "licensed adviser. I can show you any company's published figures."
    )


def _ahead(ask: Ask, measure: Measure, companies: Mapping[str, Company], results: Mapping[str, float]) -> Draft:
    if len(results) < len(ask.tickers):
        return Draft("The passages I found do not hold the figures of every company you named.", refused=True)
    ordered = sorted(results, key=results.__getitem__, reverse=True)
    told = [f"{companies[ticker].name} {_number(measure, companies[ticker], results[ticker])}" for ticker in ordered]
    first = companies[ordered[0]].name
    return Draft(f"{first} is ahead on {measure.name}: {'; '.join(told)}.", first)


def _sentence(measure: Measure, company: Company, value: float) -> str:
    return f"The {measure.name} of {company.name} is {_number(measure, company, value)}."


def _number(measure: Measure, company: Company, value: float) -> str:
    unit = measure.unit.format(currency=company.currency)
    shown = f"{value:.0f}" if measure.expression in ("founded", "employees") else f"{value:,.2f}"
    return f"{shown} {unit}".strip()
