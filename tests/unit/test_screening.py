"""Which cases a screen asks, what they say, and who goes first: pure choices."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.screening import Candidate, Floats, batch, compare, order

REGIONS = ("amer", "emea", "apac", "anz")
CASES = [(n, {"region": REGIONS[n % 4], "topic": ("fact", "ratio")[n // 4 % 2]}) for n in range(100)]


def arm(wins: int, losses: int = 0, *, of: int = 16, failing: int = 8) -> Floats:
    """Scores of a candidate where the baseline fails the first `failing` cases: so many won, so many lost."""
    scores = baseline(of, failing)
    scores[:wins] = 1.0
    scores[failing : failing + losses] = 0.0
    return scores


def baseline(of: int = 16, failing: int = 8) -> Floats:
    """Scores of the configuration in force."""
    return np.concatenate([np.zeros(failing), np.ones(of - failing)])


def test_three_quarters_match_the_cause_and_the_rest_is_spread() -> None:
    """Where it went wrong a change can show that it helps; elsewhere that it does no harm."""
    chosen, matching = batch(CASES, [{"region": "emea"}], size=16)
    tags = dict(CASES)
    assert (len(chosen), len(set(chosen)), matching) == (16, 16, 12)
    assert sum(tags[case]["region"] == "emea" for case in chosen) == 12
    assert {tags[case]["region"] for case in chosen} == set(REGIONS)
    assert {tags[case]["topic"] for case in chosen if tags[case]["region"] == "emea"} == {"fact", "ratio"}


def test_the_batch_does_not_depend_on_the_order_of_the_set() -> None:
    """The same set gives the same cases: nothing is drawn."""
    assert batch(CASES, [{"region": "emea"}], size=16) == batch(CASES[::-1], [{"region": "emea"}], size=16)


def test_a_screen_that_ends_early_saw_both_kinds() -> None:
    """Half the batch holds half of each."""
    chosen, _ = batch(CASES, [{"region": "emea"}], size=16)
    tags = dict(CASES)
    assert sum(tags[case]["region"] == "emea" for case in chosen[:8]) == 6


def test_several_causes_take_turns() -> None:
    """The second cause is not left out because the first one has cases enough."""
    chosen, matching = batch(CASES, [{"region": "emea"}, {"region": "apac"}], size=16)
    counts = [sum(dict(CASES)[case]["region"] == region for case in chosen) for region in ("emea", "apac")]
    assert matching == 12
    assert counts == [6, 6]


@pytest.mark.parametrize(
    ("causes", "matching"), [([{"region": "mars"}], 0), ([{}], 16), ([{"region": "emea", "topic": "ratio"}], 12)]
)
def test_what_the_cause_cannot_fill_the_others_do(causes: list[dict[str, str]], matching: int) -> None:
    """A cause that no case is tagged with still gets a batch, and a global one is matched by all."""
    chosen, found = batch(CASES, causes, size=16)
    assert (len(chosen), found) == (16, matching)


def test_a_small_set_is_asked_whole() -> None:
    """There is no more than there is."""
    chosen, matching = batch(CASES[:5], [{"region": "emea"}], size=16)
    assert (sorted(chosen), matching) == ([0, 1, 2, 3, 4], 1)
    assert batch([], [{}], size=16) == ([], 0)


def test_a_case_without_an_answer_says_nothing() -> None:
    """It counts neither for nor against."""
    candidate = arm(5)
    candidate[:2] = np.nan
    found = compare(baseline(), candidate)
    assert (found.cases, found.better, found.worse) == (14, 3, 0)


def test_a_tie_keeps_the_order_of_the_prediction() -> None:
    """Both mend the same cases: nothing new was learnt about which is better."""
    assert order([Candidate("a", "c", arm(6)), Candidate("b", "c", arm(6))], baseline()) == ["a", "b"]


def test_a_difference_that_chance_makes_keeps_the_order() -> None:
    """One case more is no evidence."""
    assert order([Candidate("a", "c", arm(5)), Candidate("b", "c", arm(6))], baseline()) == ["a", "b"]


def test_the_one_that_is_clearly_better_goes_first() -> None:
    """The first idea changes nothing, the second mends all."""
    assert order([Candidate("a", "c", arm(0)), Candidate("b", "c", arm(8))], baseline()) == ["b", "a"]


def test_clear_harm_falls_behind_and_is_not_dropped() -> None:
    """Also behind one that changes nothing, for whatever cause."""
    candidates = [Candidate("a", "c", arm(0, 6)), Candidate("b", "d", arm(0)), Candidate("e", "c", arm(1))]
    assert order(candidates, baseline()) == ["b", "e", "a"]


def test_rivals_are_compared_within_their_cause() -> None:
    """How many cases of which cause are in the batch is our choice, not the traffic's."""
    assert order([Candidate("a", "c", arm(0)), Candidate("b", "d", arm(8))], baseline()) == ["a", "b"]


def test_who_was_not_screened_keeps_its_place() -> None:
    """An outage of the first one is no evidence against it; the others are sorted among themselves."""
    candidates = [
        Candidate("away", "c", None),
        Candidate("a", "c", arm(0, 8)),
        Candidate("late", "c", None),
        Candidate("b", "c", arm(8)),
    ]
    assert order(candidates, baseline()) == ["away", "b", "late", "a"]
    assert order(candidates, None) == ["away", "a", "late", "b"]


def test_a_slower_candidate_is_the_worse_one() -> None:
    """For latency, less is better."""
    slow, fast = np.full(12, 900.0), np.arange(12, dtype=np.float64) + 200.0
    now = np.arange(12, dtype=np.float64) + 400.0
    candidates = [Candidate("slow", "c", slow), Candidate("fast", "c", fast)]
    assert order(candidates, now, lower_is_better=True) == ["fast", "slow"]
    assert compare(now, slow, lower_is_better=True).worse == 12
