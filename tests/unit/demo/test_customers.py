"""Traffic: a mix in which each fault can be told from the rest, and a truth to judge by."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime

import pytest

from demo.app import answer, route
from demo.config import CONFIG
from demo.customers import POOL, Request, arrive, customer, misspell, rhythm, right

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


def crowd(count: int = 3000, *, watchlists: bool = False) -> list[Request]:
    """Draw requests."""
    rng = random.Random(5)
    return [arrive(rng, NOON, watchlists=watchlists) for _ in range(count)]


def test_a_customer_stays_who_they_are() -> None:
    """Plan, channel and beta follow from the number alone."""
    assert customer(42) == customer(42)
    assert len({customer(number).key for number in range(1000)}) == 1000


def test_units_are_nearly_as_many_as_requests() -> None:
    """Guards count customers, so one customer must not make the traffic."""
    assert len({request.customer.key for request in crowd()}) > 2900


def test_model_and_plan_and_slot_are_told_apart() -> None:
    """Were one an alias of another, no research could name the right one."""
    requests = crowd()
    pairs = Counter((request.customer.plan, route(request.inputs, CONFIG).model) for request in requests)
    assert len(pairs) == 6
    assert min(pairs.values()) > 100
    sonic = sum(count for (_, model), count in pairs.items() if model == "sonic-2")
    assert 0.33 < sonic / len(requests) < 0.47
    beta = sum(request.customer.beta for request in requests)
    assert 0.45 < beta / len(requests) < 0.55


def test_healthy_answers_are_nearly_all_right_and_nearly_all_pass() -> None:
    """A little goes wrong on any day: names are misspelt, customers beg for no small print, calls hang."""
    facts, passes, errors = [], [], 0
    for request in crowd(4000):
        try:
            result = answer(request.inputs, CONFIG, sleep=lambda _: None)
        except Exception:
            errors += 1
            continue
        passes.append(result["guardrail"]["passed"])
        if request.expected is not None:
            facts.append(right(request.expected, result["value"]))
    assert 0.97 < sum(facts) / len(facts) < 1
    assert 0.985 < sum(passes) / len(passes) < 1
    assert 0 < errors < 30


def test_watchlists_are_asked_for_by_beta_customers_once_announced() -> None:
    """A good share of them, lest the guard waits for ever."""
    assert not any("watchlist" in str(request.inputs["question"]) for request in crowd())
    requests = crowd(watchlists=True)
    asking = [request for request in requests if "watchlist" in str(request.inputs["question"])]
    assert all(request.customer.beta for request in asking)
    assert 0.17 < len(asking) / len(requests) < 0.28
    served = [answer(request.inputs, {"prompt.b": "v13"}, sleep=lambda _: None) for request in asking[:50]]
    assert all(right(request.expected or "", result["value"]) for request, result in zip(asking, served, strict=False))


@pytest.mark.parametrize(
    ("expected", "value", "is_right"),
    [
        (100.0, 100.4, True),
        (100.0, 101.0, False),
        (100.0, None, False),
        (1.0, True, False),
        ("A", "A", True),
        ("A", "B", False),
    ],
)
def test_the_evaluator_allows_half_a_percent(expected: float | str, value: object, is_right: bool) -> None:
    """Rounding is no mistake; the wrong figure is."""
    assert right(expected, value) is is_right


def test_a_misspelt_name_is_another_name() -> None:
    """One letter is enough to be not found."""
    assert misspell("Karsa Textiles") == "Kasa Textiles"


def test_the_day_has_a_rhythm_around_one() -> None:
    """Busy at two in the afternoon UTC, quiet at night, 1 on average."""
    levels = [rhythm(NOON.replace(hour=hour)) for hour in range(24)]
    assert sum(levels) / 24 == pytest.approx(1)
    assert (max(levels), min(levels)) == (levels[14], levels[2])
    assert POOL == 100_000
