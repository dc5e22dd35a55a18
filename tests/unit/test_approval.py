"""Who decides about what passed validation: rules, the first that applies, and what they may never do."""

from __future__ import annotations

from typing import Any

import pytest

from agents.approval import DEFAULT, Action, Decision, InvalidPolicyError, characters_changed, decide, parse, words
from agents.change import Change
from core.states import Verdict


def change(kind: str = "parameter", *, old: Any = 4, new: Any = 6) -> Change:
    """Return a change of one key."""
    return Change.model_validate({"type": kind, "key": "k", "from": old, "to": new})


@pytest.mark.parametrize(
    ("impact", "verdict", "auto", "found"),
    [
        ("low", Verdict.PASS, False, Decision(Action.APPROVE, "low-impact")),
        ("low", Verdict.PASS, True, Decision(Action.APPROVE, "low-impact")),
        ("high", Verdict.PASS, False, Decision(Action.ASK, "default")),
        ("high", Verdict.PASS, True, Decision(Action.APPROVE, "auto-approve")),
        *((impact, verdict, True, None) for impact in ("low", "high") for verdict in Verdict if verdict != "pass"),
    ],
)
def test_without_a_policy_low_impact_is_approved_and_the_rest_asks(
    impact: str, verdict: Verdict, auto: bool, found: Decision | None
) -> None:
    """What did not pass is nobody's to approve, whatever is set for the whole fleet."""
    assert parse([]) == DEFAULT
    assert decide(DEFAULT, change=change(), impact=impact, verdict=verdict, auto_approve=auto) == found


POLICY = [
    {"name": "routes", "change": ["routing"], "then": "ask"},
    {"name": "small-prompts", "change": ["prompt"], "max_characters": 3, "then": "approve"},
    {"name": "unsure", "change": ["prompt"], "impact": "high", "verdict": "inconclusive", "then": "ask"},
    {"name": "cheap", "impact": "low", "then": "approve"},
]


@pytest.mark.parametrize(
    ("made", "impact", "verdict", "found"),
    [
        (change("routing"), "low", Verdict.PASS, Decision(Action.ASK, "routes")),
        (change("prompt", old="v12", new="v13"), "high", Verdict.PASS, Decision(Action.APPROVE, "small-prompts")),
        (change("prompt", old="", new="long"), "low", Verdict.PASS, Decision(Action.APPROVE, "cheap")),
        (change("prompt", old="", new="long"), "high", Verdict.PASS, Decision(Action.APPROVE, "auto-approve")),
        (change("prompt"), "high", Verdict.INCONCLUSIVE, Decision(Action.ASK, "unsure")),
        (change("prompt"), "low", Verdict.INCONCLUSIVE, None),
        (change("prompt"), "high", Verdict.FAIL, None),
        (change("prompt"), "high", Verdict.ERROR, None),
    ],
)
def test_the_first_rule_that_applies_decides(
    made: Change, impact: str, verdict: Verdict, found: Decision | None
) -> None:
    """A rule that asks stands even where the fleet approves what no rule speaks of."""
    assert decide(parse(POLICY), change=made, impact=impact, verdict=verdict, auto_approve=True) == found


@pytest.mark.parametrize(
    ("old", "new", "size"),
    [
        ("v12", "v13", 1),
        ("v12", "v12", 0),
        (None, "abc", 3),
        ("abc", "", 3),
        ("aaa", "aaaa", 1),
        ("aaaa", "aaa", 1),
        ("aba", "aca", 1),
        ("x and y", "1 and 2", 7),
        (250, 400, 2),
        (4, 10, 2),
        (True, False, 4),
        ("same", "some same", 5),
    ],
)
def test_the_size_of_a_change_is_what_lies_between_its_first_and_last_difference(old: Any, new: Any, size: int) -> None:
    """Two edits far apart are no small change, and a common letter counts once."""
    assert characters_changed(change(old=old, new=new)) == size
    assert characters_changed(change(old=new, new=old)) == size


def test_the_size_of_a_long_prompt_is_found_at_once() -> None:
    """The texts come from outside: no measure whose time grows with the square of them."""
    assert characters_changed(change("prompt", old="ab" * 500_000, new="ab" * 499_999 + "xb")) == 1


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        ({"name": "a", "then": "ask"}, "list of rules.* no object"),
        ("ask", "no text"),
        ([["ask"]], "rule 1 is an object, no list"),
        ([{"name": "a", "then": "maybe"}], "rule 1: then: .*'approve' or 'ask'"),
        ([{"name": "a", "then": "ask"}, {"name": "b"}], "rule 2: then: Field required"),
        ([{"name": "a", "then": "ask"}, {"name": "a", "then": "ask"}], "rule 2: name: 'a' is the name of an earlier"),
        ([{"name": "A b", "then": "ask"}], "rule 1: name"),
        ([{"name": "auto-approve", "then": "ask"}], "the system's own"),
        ([{"name": "a", "then": "ask", "size": 3}], "rule 1: size: .*; a rule has: name, change, impact"),
        ([{"name": "a", "then": "ask", "change": ["code"]}], "rule 1: change.0: .*'prompt', 'parameter' or 'routing'"),
        ([{"name": "a", "then": "ask", "change": []}], "rule 1: change"),
        ([{"name": "a", "then": "ask", "impact": "medium"}], "rule 1: impact: .*'low' or 'high'"),
        ([{"name": "a", "then": "ask", "max_characters": -1}], "rule 1: max_characters"),
        ([{"name": "a", "then": "ask", "max_characters": True}], "rule 1: max_characters"),
        ([{"name": "a", "then": "ask", "verdict": "fail"}], "rule 1: verdict: .*'pass' or 'inconclusive'"),
        ([{"name": "a", "then": "approve", "verdict": "inconclusive"}], "rule 1: then: only what passed"),
        ([{"name": f"r{n}", "then": "ask"} for n in range(51)], "51 rules; 50"),
    ],
)
def test_a_wrong_policy_is_named_rule_and_field(policy: Any, says: str) -> None:
    """A policy that is read wrongly would approve what nobody wanted."""
    with pytest.raises(InvalidPolicyError, match=says):
        parse(policy)


def test_a_rule_reads_as_a_line() -> None:
    """People see in `apps show` what is in force, the default too."""
    assert [words(rule) for rule in parse(POLICY)] == [
        "routes: routing, pass → ask",
        "small-prompts: prompt, at most 3 characters, pass → approve",
        "unsure: prompt, high impact, inconclusive → ask",
        "cheap: low impact, pass → approve",
    ]
    assert [words(rule) for rule in DEFAULT] == ["low-impact: low impact, pass → approve"]
