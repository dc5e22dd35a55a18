"""Cleaning untrusted values: what Postgres and JSON cannot hold is replaced, what is too long is cut."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

import orjson

from core.errors import MetamonError

MAX_DEPTH = 100
EPOCH_MS_FROM = 1e11
"""A number above this is milliseconds since the epoch (the JS SDK's), below it seconds."""


class BadFieldError(MetamonError):
    """A field cannot be understood. The message names the field and what it takes."""


def text(value: Any, limit: int) -> str | None:
    """Return a string without NUL bytes and lone surrogates, cut to `limit` characters; None for none or empty."""
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        value = value if isinstance(value, int | float) else orjson.dumps(clean(value)).decode()
        value = str(value)
    if len(value) > limit:
        note = f"… [cut: {len(value)} characters in all]"
        value = value[: limit - len(note)] + note if limit > 2 * len(note) else value[:limit]
    if "\x00" in value:
        value = value.replace("\x00", "")
    return value if value.isascii() else str(value.encode(errors="replace").decode())


def clean(value: Any, depth: int = 0) -> Any:
    """Return a JSON value that Postgres can hold: no NUL, lone surrogate, NaN or infinity, and not too deep."""
    if isinstance(value, str):
        return value.replace("\x00", "").encode(errors="replace").decode()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        return str(value)[:50]
    if isinstance(value, dict | list) and depth >= MAX_DEPTH:
        return "… [too deep]"
    if isinstance(value, dict):
        return {clean(str(key)): clean(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [clean(item, depth + 1) for item in value]
    return value


def document(raw: bytes, what: str) -> tuple[Any, bytes]:
    """Parse JSON that was sent by anybody; return it and its bytes as they can be stored.

    NaN and Infinity, which Python's own encoder writes, become null.

    Raises:
        BadFieldError: it is no JSON.
    """
    try:
        return orjson.loads(raw), raw
    except orjson.JSONDecodeError as error:
        first = str(error)
    try:
        value = clean(json.loads(raw))
    except (ValueError, RecursionError):
        raise BadFieldError(f"{what} is no JSON: {first[:200]}") from None
    return value, orjson.dumps(value)


def stored_json(value: Any) -> bytes:
    """Return a JSON value as bytes that can be stored."""
    try:
        return orjson.dumps(value)
    except TypeError:  # a surrogate or a huge integer
        return orjson.dumps(clean(value))


def uuid_or_none(value: Any, what: str) -> UUID | None:
    """Return a UUID.

    Raises:
        BadFieldError: something is given that is none.
    """
    if value is None:
        return None
    try:
        return _uuid(value)
    except (ValueError, AttributeError, TypeError):
        raise BadFieldError(f"{what} must be a UUID, not {str(value)[:60]!r}") from None


@lru_cache(maxsize=8192)
def _uuid(value: str) -> UUID:
    return UUID(value)  # cached: one run states its own id and its trace's again and again


def time_or_none(value: Any, what: str) -> datetime | None:
    """Return a moment from ISO 8601 (UTC where it states no zone) or from a number since the epoch.

    Raises:
        BadFieldError: something is given that is neither.
    """
    if value is None or value == "":
        return None
    try:
        if isinstance(value, str):
            at = datetime.fromisoformat(value)
            return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value / 1000 if value > EPOCH_MS_FROM else value, UTC)
    except (ValueError, OverflowError, OSError):
        pass
    raise BadFieldError(f"{what} must be a time in ISO 8601, not {str(value)[:60]!r}")


def score_or_none(value: Any) -> float | None:
    """Return a finite score; None for none, NaN and infinity.

    Raises:
        BadFieldError: something is given that is no number.
    """
    if value is None:
        return None
    if not isinstance(value, int | float):
        raise BadFieldError(f"score must be a number or a boolean, not {str(value)[:60]!r}; put words into value")
    try:
        score = float(value)
    except OverflowError:
        return None
    return score if math.isfinite(score) else None


def count_or_none(value: Any) -> int | None:
    """Return a count of tokens, or None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return int(value) if 0 <= value < 2**53 else None


def cost_or_none(value: Any) -> float | None:
    """Return a cost, or None for what is none. A decimal may travel as a string."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        cost = float(value)
    except (ValueError, OverflowError):
        return None
    return cost if math.isfinite(cost) and cost >= 0 else None
