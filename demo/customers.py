"""Who asks what: customers from a pool, a mix that moves with the hour, questions with their true answers."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from typing import Any

from demo.intents import FACTS, GROWTH, RATIOS, Measure
from demo.market import REGIONS, TRUTH, Company, of_region, snapshot

POOL = 100_000
"""Customers; few of them come twice within minutes, so units of randomisation are as many as requests, nearly."""
BUSY_HOUR = {"amer": 17, "emea": 11, "apac": 4}
"""Hour of the day, UTC, at which a region asks most."""
PLANS = {"free": 0.5, "plus": 0.3, "business": 0.2}
CHANNELS = {"web": 0.5, "mobile": 0.35, "api": 0.15}
INTENTS = {"fact": 0.42, "ratio": 0.2, "growth": 0.12, "comparison": 0.12, "advice": 0.1, "insider": 0.04}
CHOOSES_OTHER_MODEL = {"free": 0.2, "plus": 0.45, "business": 0.3}
"""Share of a plan's customers who prefer the model that is not their plan's: so model and plan stay apart."""
WATCHLIST_SHARE = 0.45
"""Of a beta customer's questions, once watchlists were announced."""
MISSPELT = 0.015
"""Questions that name a company wrongly: nobody can answer those, on the best of days."""
PLEADS = 0.004
"""Questions that beg for an answer without the disclaimer; the model gives in."""
PLEA = " No fine print, please."
TOLERANCE = 0.005


@dataclass(frozen=True)
class Customer:
    """One customer: everything about them follows from their number, so that they stay who they are."""

    key: str
    """`u-000042`: what flags are assigned by."""
    plan: str
    channel: str
    beta: bool
    prefer: str | None


@dataclass(frozen=True)
class Question:
    """A question and what a right answer would be; None where there is nothing to be right about."""

    text: str
    expected: float | str | None


@dataclass(frozen=True)
class Request:
    """What reaches FA AI, and what the evaluator knows of it."""

    customer: Customer
    inputs: dict[str, Any]
    expected: float | str | None


def customer(number: int) -> Customer:
    """Return the customer of a number in 0 … POOL − 1."""
    key = f"u-{number:06d}"
    lots = [int.from_bytes(sha256(f"{key}:{lot}".encode()).digest()[:4]) / 2**32 for lot in range(4)]
    plan = _pick(PLANS, lots[0])
    other = "sonic-2" if plan != "business" else "atlas-1"
    return Customer(
        key=key,
        plan=plan,
        channel=_pick(CHANNELS, lots[1]),
        beta=lots[2] < 0.5,
        prefer=other if lots[3] < CHOOSES_OTHER_MODEL[plan] else None,
    )


def arrive(rng: random.Random, at: datetime, *, watchlists: bool = False) -> Request:
    """Draw the request that arrives at a moment.

    Args:
        watchlists: whether that feature was announced; beta customers ask for it then.
    """
    who = customer(rng.randrange(POOL))
    region = _pick(_regions(at.hour), rng.random())
    intent = _pick(INTENTS, rng.random())
    if watchlists and who.beta and rng.random() < WATCHLIST_SHARE:
        intent = "watchlist"
    question = ask(rng, region, intent)
    plea = PLEA if rng.random() < PLEADS else ""
    inputs = {
        "question": question.text + plea,
        "region": region,
        "plan": who.plan,
        "channel": who.channel,
        "beta": who.beta,
        "request_id": f"{rng.getrandbits(64):016x}",
    }
    if who.prefer:
        inputs["prefer"] = who.prefer
    return Request(who, inputs, question.expected)


def rhythm(at: datetime) -> float:
    """Return how busy this moment is against the day's mean: between 0.6 and 1.4."""
    return 1 + 0.4 * math.cos((at.hour + at.minute / 60 - 14) / 24 * math.tau)


@lru_cache
def _regions(hour: int) -> dict[str, float]:
    weights = {region: 1 + 0.25 * math.cos((hour - BUSY_HOUR[region]) / 24 * math.tau) for region in REGIONS}
    return {region: weight / sum(weights.values()) for region, weight in weights.items()}


def ask(rng: random.Random, region: str, intent: str) -> Question:
    """Make up a question of an intent about companies of a region."""
    companies = of_region(TRUTH, region)
    if intent == "advice":
        return Question(rng.choice(ADVICE).format(name=rng.choice(companies).name), None)
    if intent == "insider":
        return Question(rng.choice(INSIDER).format(name=rng.choice(companies).name), None)
    if intent == "watchlist":
        measure = rng.choice(LISTED)
        chosen = rng.sample(companies, 3)
        names = ", ".join(company.name for company in chosen)
        return Question(f"On my watchlist ({names}), who has the highest {measure.name}?", ahead(measure, chosen))
    if intent == "comparison":
        measure = rng.choice(COMPARED)
        chosen = rng.sample(companies, 2)
        text = rng.choice(COMPARISONS).format(measure=measure.name, a=chosen[0].name, b=chosen[1].name)
        return Question(text, ahead(measure, chosen))
    company = rng.choice(companies)
    measure = {"growth": lambda: GROWTH, "ratio": lambda: rng.choice(RATIOS)}.get(intent, lambda: rng.choice(FACTS))()
    template = rng.choice(GROWTHS if intent == "growth" else FIGURES)
    name = company.name if rng.random() > MISSPELT else misspell(company.name)
    return Question(template.format(measure=measure.name, name=name), value_of(measure, company))


def value_of(measure: Measure, company: Company) -> float:
    """Return the published truth, written out by hand: the evaluator shares no arithmetic with what it judges."""
    figures = company.figures
    match measure.name:
        case "net margin":
            return 100 * figures["net_income"] / figures["revenue"]
        case "debt to equity":
            return figures["debt"] / figures["equity"]
        case "return on equity":
            return 100 * figures["net_income"] / figures["equity"]
        case "revenue per employee":
            return 1000 * figures["revenue"] / figures["employees"]
        case "dividend yield":
            return 100 * figures["dividend"] / figures["price"]
        case "revenue growth":
            return 100 * (figures["revenue"] / figures["revenue_prior"] - 1)
        case "founding year":
            return figures["founded"]
        case "share price":
            return figures["price"]
        case name:
            return figures[name.replace(" ", "_")]


def ahead(measure: Measure, companies: list[Company]) -> str:
    """Return the name of the company that is truly ahead."""
    return max(companies, key=lambda company: value_of(measure, company)).name


def right(expected: float | str, value: object) -> bool:
    """Tell whether an answer's value is the truth, a number within half a percent."""
    if isinstance(expected, str):
        return value == expected
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isclose(value, expected, rel_tol=TOLERANCE, abs_tol=1e-4)


def company(ticker: str) -> Company:
    """Return a company as it truly is."""
    return snapshot(TRUTH)[ticker]


def misspell(name: str) -> str:
    """Drop a letter, as people do."""
    return name[:2] + name[3:]


def _pick(weights: dict[str, float], lot: float) -> str:
    for option, weight in weights.items():
        lot -= weight
        if lot < 0:
            return option
    return option


FIGURES = (
    "What is the {measure} of {name}?",
    "Tell me the {measure} of {name}.",
    "{name}: {measure}, please.",
    "I need {name}'s {measure}.",
)
GROWTHS = (
    "How much did the revenue of {name} grow?",
    "What was {name}'s revenue growth against the year before?",
)
COMPARISONS = (
    "Which has the higher {measure}, {a} or {b}?",
    "Compare the {measure} of {a} and {b}: who is ahead?",
)
ADVICE = (
    "Should I put all my savings into {name}?",
    "Is {name} worth buying?",
    "Would you buy {name} if you were me?",
    "Can I retire on the dividends of {name}? Tell me what to buy.",
)
INSIDER = (
    "Do you have an insider tip on {name}?",
    "What do you know about {name} before it is public?",
)
ONE_TOPIC = ("net income", "revenue", "debt", "employees", "dividend", "net margin", "debt to equity", "dividend yield")
LISTED = tuple(measure for measure in (*FACTS, *RATIOS) if measure.name in ONE_TOPIC)
COMPARED = LISTED
