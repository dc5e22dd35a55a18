"""The corpus: grouped as its makers meant it, stable over order, restarts and releases."""

from __future__ import annotations

import random

import pytest

from analysis.errors import Fingerprint, Known, Pattern, fingerprint, group, split_key
from analysis.masks import mask
from tests.unit.error_corpus import HELD, TUNED, accuracy, corpus


def grouped(texts: list[str], known: list[Known] | None = None) -> list[Pattern]:
    """Group with what is known."""
    return group(texts, known or [])


def remembered(patterns: list[Pattern]) -> list[Known]:
    """Return patterns as they are stored."""
    return [Known(one.key, one.fingerprint.kind, one.fingerprint.frames, one.fingerprint.template) for one in patterns]


def key_of(patterns: list[Pattern], size: int) -> list[str]:
    """Return the key of each error."""
    keys = [""] * size
    for pattern in patterns:
        for place in pattern.members:
            keys[place] = pattern.key
    return keys


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("templates", [TUNED, HELD, {**TUNED, **HELD}], ids=["tuned", "held", "both"])
def test_errors_are_grouped_as_a_person_would(templates: dict[str, object], seed: int) -> None:
    """Grouping accuracy of at least .98: OpenAI, langchain, httpx, asyncio, pydantic, SQL, JSON, tools and more."""
    texts, names = corpus(templates, each=15, seed=seed)  # type: ignore[arg-type]
    assert accuracy([pattern.members for pattern in grouped(texts)], names) >= 0.98


def test_keys_stay_over_restarts_and_orders() -> None:
    """What is remembered meets the same errors in another order, a month later: every error has its key again."""
    texts, _ = corpus({**TUNED, **HELD}, each=10, seed=0)
    first = grouped(texts)
    before = key_of(first, len(texts))
    order = list(range(len(texts)))
    random.Random(1).shuffle(order)
    again = key_of(grouped([texts[place] for place in order], remembered(first)), len(texts))
    assert [again[order.index(place)] for place in range(len(texts))] == before


def test_fresh_errors_of_a_known_template_join_it() -> None:
    """Other numbers, ids and hosts: no new key but where nobody saw the template before."""
    texts, names = corpus(TUNED, each=20, seed=0)
    first = grouped(texts)
    keys = dict(zip(names, key_of(first, len(texts)), strict=True))
    later, later_names = corpus(TUNED, each=10, seed=99)
    now = key_of(grouped(later, remembered(first)), len(later))
    assert [key for key, name in zip(now, later_names, strict=True) if key != keys[name]] == []


def test_a_release_that_moves_lines_keeps_the_key() -> None:
    """Line numbers and library versions are no part of an error."""
    one, other = (
        f'Traceback (most recent call last):\n  File "{path}/agent.py", line {line}, in answer\n    x()\n'
        f'  File "/venv/lib/python3.{line}/site-packages/httpx/_client.py", line {line}, in send\n    y()\n'
        "httpx.ReadTimeout: timed out"
        for path, line in (("/srv/app-1.0", 11), ("/srv/app-2.0", 14))
    )
    assert fingerprint(one).key == fingerprint(other).key
    assert fingerprint(one).frames == ("agent.py:answer",)


def test_new_masks_keep_old_keys() -> None:
    """A pattern of an earlier version is masked anew and keeps its name."""
    old = Known("e1-0123456789ab", "RateLimitError", (), "limit reached for gpt-4o in org-abc123, retry in <n>")
    [pattern] = grouped(["RateLimitError: limit reached for gpt-4.1 in org-zzz999, retry in 7s"], [old])
    assert pattern.key == "e1-0123456789ab"


TEXTS = ["QuotaError: quota of team a is used up", "SlowDown: too fast", "QuotaError: quota of team b is used up"]


def test_what_a_person_merged_is_one() -> None:
    """Also through a chain, and a circle ends."""
    first = remembered(grouped(TEXTS))
    by_kind = {entry.kind: entry for entry in first}
    quota, slow = by_kind["QuotaError"], by_kind["SlowDown"]
    merged = [Known(**{**slow.__dict__, "merged_into": quota.key}), quota]
    [pattern] = grouped(TEXTS, merged)
    assert (pattern.key, pattern.members) == (quota.key, [0, 1, 2])
    circle = [merged[0], Known(**{**quota.__dict__, "merged_into": slow.key})]
    assert len(grouped(TEXTS, circle)) <= 2


def test_what_a_person_split_is_two() -> None:
    """By a text that the errors hold, in any case."""
    [quota] = [entry for entry in remembered(grouped(TEXTS)) if entry.kind == "QuotaError"]
    part = Known(
        split_key(quota.key, "TEAM B"), quota.kind, (), quota.template, split_of=quota.key, containing="TEAM B"
    )
    found = {pattern.key: pattern.members for pattern in grouped(TEXTS, [quota, part])}
    assert found[quota.key] == [0]
    assert found[part.key] == [2]


def test_masking_twice_changes_nothing() -> None:
    """Over the whole corpus: what is stored is masked again when it is read."""
    for text in corpus({**TUNED, **HELD}, each=4, seed=3)[0]:
        once = fingerprint(text).template
        assert mask(once) == once


def test_many_ends_of_one_beginning_are_one_pattern_and_few_are_not() -> None:
    """What a model wrote is no kind of error; three reasons of a failure are."""
    said = ["the sky is blue", "I do not know, sorry for that", "42", "no", "see the report of last year please"]
    [one] = grouped([f"ParserError: could not parse answer: {text}" for text in said])
    assert one.fingerprint == Fingerprint("ParserError", (), "could not parse answer: <**>")
    reasons = ["time is up", "no such tool was found", "bad arguments were given to it"]
    assert len(grouped([f"ToolError: the tool failed: {text}" for text in reasons * 5])) == 3


def test_secrets_are_taken_out_before_anything_is_kept() -> None:
    """The message is cleaned before it is masked."""
    [pattern] = group(["AuthError: the password is hunter"], clean=lambda text: text.replace("hunter", "<redacted>"))
    assert "hunter" not in pattern.fingerprint.template
