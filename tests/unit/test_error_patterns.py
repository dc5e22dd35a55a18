"""Errors are grouped as a person would group them."""

from __future__ import annotations

import traceback

import pytest

from analysis.errors import fingerprint, group
from analysis.masks import mask


def raised(error: Exception) -> str:
    """Return what the langsmith SDK sends of an exception: its repr and the traceback."""
    try:
        raise error
    except Exception as caught:
        return f"{caught!r}{traceback.format_exc()}"


def test_the_same_place_and_type_is_one_pattern_whatever_the_message() -> None:
    """With own frames the place identifies the error."""
    first, second = raised(TimeoutError("no answer in 250 ms")), raised(TimeoutError("user ann gave up"))
    assert fingerprint(first).key == fingerprint(second).key
    assert fingerprint(first).kind == "TimeoutError"
    assert fingerprint(first).frames == ("test_error_patterns.py:raised",)
    assert fingerprint(first).key != fingerprint(raised(ValueError("no answer in 250 ms"))).key


def test_the_last_exception_of_a_chain_counts() -> None:
    """What was raised in the end is what the app saw."""
    try:
        try:
            dict[str, int]()["missing"]
        except KeyError as cause:
            raise RuntimeError("no such company") from cause
    except RuntimeError:
        text = traceback.format_exc()
    assert fingerprint(text).kind == "RuntimeError"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("openai.RateLimitError: Error code: 429 - limit 30000, used 29871, requested 812. Try again in 1.4s",
         "openai.RateLimitError: Error code: 429 - limit 30000, used 30000, requested 7. Try again in 20s"),
        ("httpx.ConnectTimeout: timed out connecting to 10.0.3.7:443",
         "httpx.ConnectTimeout: timed out connecting to 10.0.9.81:443"),
        ("json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)",
         "json.decoder.JSONDecodeError: Expecting value: line 7 column 32 (char 211)"),
        ("BadRequestError: This model's maximum context length is 8192 tokens, however you requested 9001 tokens",
         "BadRequestError: This model's maximum context length is 8192 tokens, however you requested 12345 tokens"),
        ("psycopg.errors.UniqueViolation: duplicate key, id=3f1c7c2e-9d1b-4f0e-8d55-0a1b2c3d4e5f",
         "psycopg.errors.UniqueViolation: duplicate key, id=99999999-9d1b-4f0e-8d55-0a1b2c3d4e5f"),
        ("tool search failed for query='apple' after 3 tries", "tool search failed for query='a b c' after 12 tries"),
    ],
)  # fmt: skip
def test_what_varies_does_not_split_a_pattern(one: str, other: str) -> None:
    """Numbers, addresses, ids, quoted values and times are masked."""
    [pattern] = group([one, other])
    assert pattern.count == 2
    assert pattern.members == [0, 1]


def test_different_errors_stay_apart() -> None:
    """A type, or a message of another kind, is another pattern."""
    patterns = group(
        [
            "RateLimitError: too many requests",
            "RateLimitError: too many requests",
            "APITimeoutError: too many requests",
            "ValueError: could not convert string to float",
            "",
        ]
    )
    assert [(pattern.fingerprint.kind, pattern.count) for pattern in patterns] == [
        ("RateLimitError", 2),
        ("APITimeoutError", 1),
        ("ValueError", 1),
    ]


@pytest.mark.parametrize(
    "text", ["x" * 5_000_000, "\udcff broken \ud800", "(" * 50_000, "Traceback (most recent call last)" * 9]
)
def test_absurd_texts_are_survived(text: str) -> None:
    """Megabytes, lone surrogates, brackets without end: a fingerprint all the same."""
    assert len(fingerprint(text).template) <= 2000
    assert group([text, text])[0].count == 2


def test_masking_is_stable() -> None:
    """A masked message masks to itself, so that a fingerprint survives being stored and read."""
    once = mask(
        "run 7 of key=sk-abcd1234 at 2026-11-26T12:00:00Z took 31ms, see https://x.y/z?q=1 and /var/log/app.log"
    )
    assert mask(once) == once
    assert "2026" not in once
    assert "sk-abcd" not in once
