"""Lists in pages. A cursor names the last row that was seen, so rows that come or go meanwhile shift nothing."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import Any, Generic, TypeVar, TypeVarTuple
from uuid import UUID

import orjson
from pydantic import BaseModel
from sqlalchemy import ColumnElement, Select, and_, or_, tuple_
from sqlalchemy.orm import InstrumentedAttribute

from core.errors import MetamonError

Item = TypeVar("Item")
Columns = TypeVarTuple("Columns")

Key = tuple[Any, ...]
"""What a row is ordered by, the last part unique."""

DESCENDING, ASCENDING = True, False


class CursorError(MetamonError):
    """A cursor that this server did not give out for this list."""


class Page(BaseModel, Generic[Item]):
    """Part of a list."""

    items: list[Item]
    next_cursor: str | None
    """Send it as `cursor` for what follows; null where nothing does."""


def encode(key: Key) -> str:
    """Return a key as text that travels in a URL."""
    return base64.urlsafe_b64encode(orjson.dumps(key)).decode().rstrip("=")


def decode(cursor: str, *kinds: type) -> Key:
    """Return the key that a cursor stands for.

    Args:
        kinds: int, str, bool, date, datetime or UUID for every part.

    Raises:
        CursorError: it is none of ours, or one of another list.
    """
    try:
        parts = orjson.loads(base64.urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)))
        if not isinstance(parts, list):
            raise CursorError("a cursor is a list")
        return tuple(_part(part, kind) for part, kind in zip(parts, kinds, strict=True))
    except (ValueError, TypeError, binascii.Error, AttributeError, CursorError):
        raise CursorError("the cursor is not one of this list's; leave it out to begin anew") from None


def _part(part: Any, kind: type) -> Any:
    if kind in (date, datetime):
        return kind.fromisoformat(part)
    if kind is UUID:
        return UUID(part)
    if type(part) is not kind or not isinstance(part, bool | int | str):
        raise CursorError("a part of the cursor has another type")
    if isinstance(part, str) and "\0" in part:
        raise CursorError("no text that is stored holds a NUL")
    if isinstance(part, int) and not -(2**63) <= part < 2**63:
        raise CursorError("no number that is stored is as large")
    return part


def page(
    fetch: Callable[[Key | None, int], Sequence[Item]],
    *,
    cursor: str | None,
    limit: int,
    key: Callable[[Item], Key],
    kinds: tuple[type, ...] = (int,),
) -> Page[Item]:
    """Return one page.

    Args:
        fetch: given the key of the last row seen (None: from the beginning) and a number, returns so many that follow.
        key: of an item.

    Raises:
        CursorError: the cursor is none of this list's.
    """
    found = list(fetch(None if cursor is None else decode(cursor, *kinds), limit + 1))
    shown = found[:limit]
    return Page(items=shown, next_cursor=encode(key(shown[-1])) if len(found) > limit else None)


def after(
    statement: Select[*Columns],
    *order: tuple[InstrumentedAttribute[Any] | ColumnElement[Any], bool],
    key: Key | None,
    limit: int,
) -> Select[*Columns]:
    """Return the statement ordered, cut, and begun behind a key.

    Args:
        order: (column, DESCENDING or ASCENDING); together they are unique.
    """
    if key is not None and len({descending for _, descending in order}) == 1:  # what an index can begin at
        row = tuple_(*(column for column, _ in order))
        statement = statement.where(row < key if order[0][1] else row > key)
    elif key is not None:
        beyond = []
        for index, (column, descending) in enumerate(order):
            same = [other == value for (other, _), value in zip(order[:index], key[:index], strict=True)]
            beyond.append(and_(*same, column < key[index] if descending else column > key[index]))
        statement = statement.where(or_(*beyond))
    return statement.order_by(*(column.desc() if descending else column.asc() for column, descending in order)).limit(
        limit
    )
