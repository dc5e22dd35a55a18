"""Untrusted values become values that Postgres and JSON can hold."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from traces.clean import (
    BadFieldError,
    clean,
    cost_or_none,
    count_or_none,
    document,
    score_or_none,
    text,
    time_or_none,
    uuid_or_none,
)

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(alphabet=st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(ANY_JSON)
def test_whatever_python_can_send_can_be_stored(value: Any) -> None:
    """Python's own encoder writes NaN, Infinity, lone surrogates and huge integers: what is stored has none of them."""
    parsed, raw = document(json.dumps(value).encode(), "it")
    orjson.loads(raw)
    stored = orjson.dumps(clean(parsed))
    assert b"\\u0000" not in stored


@given(st.binary(max_size=200))
def test_any_bytes_are_a_document_or_a_clear_error(raw: bytes) -> None:
    """Nothing else is raised."""
    with suppress(BadFieldError):
        document(raw, "inputs")


def test_bottomless_depth_is_an_error_not_a_crash() -> None:
    """A hundred thousand brackets."""
    with pytest.raises(BadFieldError):
        document(b"[" * 100_000, "inputs")


@given(st.text(alphabet=st.characters(), max_size=300), st.integers(min_value=10, max_value=200))
def test_text_is_cut_and_clean(value: str, limit: int) -> None:
    """Never longer than asked, never a NUL, always UTF-8."""
    cut = text(value, limit)
    if cut is not None:
        assert len(cut) <= limit
        assert "\x00" not in cut
        cut.encode()


def test_a_cut_text_says_so() -> None:
    """A reader must not take the beginning for the whole."""
    assert str(text("x" * 500, 100)).endswith("500 characters in all]")
    assert text({"a": 1}, 100) == '{"a":1}'
    assert text("", 100) is None


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2026-06-15T12:00:00Z", datetime(2026, 6, 15, 12, tzinfo=UTC)),
        ("2026-06-15T12:00:00", datetime(2026, 6, 15, 12, tzinfo=UTC)),
        ("2026-06-15T14:00:00+02:00", datetime(2026, 6, 15, 12, tzinfo=timezone(timedelta(0)))),
        (1781524800000, datetime(2026, 6, 15, 12, tzinfo=UTC)),
        (1781524800, datetime(2026, 6, 15, 12, tzinfo=UTC)),
        (None, None),
    ],
)
def test_times_of_both_sdks_are_read(value: Any, moment: datetime | None) -> None:
    """ISO 8601 from Python, milliseconds from JavaScript."""
    assert time_or_none(value, "start_time") == moment


@pytest.mark.parametrize("value", ["yesterday", 1e300, math.nan, math.inf, True, [1], {}, "0000-00-00"])
def test_what_is_no_time_is_refused_by_name(value: Any) -> None:
    """The field is named."""
    with pytest.raises(BadFieldError, match="start_time"):
        time_or_none(value, "start_time")


@pytest.mark.parametrize("value", ["7", 7, [], {}, "g" * 32])
def test_what_is_no_uuid_is_refused_by_name(value: Any) -> None:
    """The field is named."""
    with pytest.raises(BadFieldError, match="trace_id"):
        uuid_or_none(value, "trace_id")


def test_scores_are_finite_numbers_or_nothing() -> None:
    """A boolean is a score, a word is not."""
    assert [score_or_none(value) for value in (True, 0, 0.5, None)] == [1.0, 0.0, 0.5, None]
    assert [score_or_none(value) for value in (math.nan, math.inf, 10**400)] == [None, None, None]
    with pytest.raises(BadFieldError, match="score"):
        score_or_none("high")


def test_usage_is_taken_where_it_is_usable() -> None:
    """Nonsense in a token count is no reason to lose a run."""
    assert [count_or_none(value) for value in (7, 7.0, True, -1, "7", math.nan, 2**60)] == [7, 7, *[None] * 5]
    assert [cost_or_none(value) for value in (0.5, "0.5", True, -1, "x", math.inf)] == [0.5, 0.5, *[None] * 4]
