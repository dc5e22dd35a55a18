"""COPY in Postgres' binary format: what a batch insert costs least in."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime
from operator import itemgetter
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy.orm import Session

_SIGNATURE = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_END = b"\xff\xff"
_NULL = b"\xff\xff\xff\xff"
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(2000, 1, 1)
_TEXT_OID = 25

_int = struct.Struct(">i").pack
_count = struct.Struct(">h").pack
_int_field = struct.Struct(">ii").pack
_long_field = struct.Struct(">iq").pack
_double_field = struct.Struct(">id").pack
_array_head = struct.Struct(">iiiii").pack


def _bytes(value: bytes) -> bytes:
    return _int(len(value)) + value


def _text(value: str) -> bytes:
    raw = value.encode()
    return _int(len(raw)) + raw


def _moment(value: datetime) -> bytes:
    since = value - _EPOCH
    return _long_field(8, since.days * 86_400_000_000 + since.seconds * 1_000_000 + since.microseconds)


def _texts(value: list[str]) -> bytes:
    if not value:
        return _bytes(struct.pack(">iii", 0, 0, _TEXT_OID))
    return _bytes(_array_head(1, 0, _TEXT_OID, len(value), 1) + b"".join(map(_text, value)))


_FORMS: dict[str, Callable[[Any], bytes]] = {
    "uuid": lambda value: b"\x00\x00\x00\x10" + value.bytes,
    "text": _text,
    "text[]": _texts,
    "bytea": _bytes,
    "jsonb": lambda value: _bytes(b"\x01" + value.encode()),
    "bool": lambda value: b"\x00\x00\x00\x01\x01" if value else b"\x00\x00\x00\x01\x00",
    "int8": lambda value: _long_field(8, value),
    "float8": lambda value: _double_field(8, value),
    "timestamptz": _moment,
    "date": lambda value: _int_field(4, (value - _EPOCH_DAY).days),
}


def copy_rows(session: Session, table: str, kinds: Mapping[str, str], rows: Iterable[Mapping[str, Any]]) -> bool:
    """Copy rows into a table, all or none.

    Args:
        table: where to; the name is ours.
        kinds: Postgres type by column, at least two.
        rows: values by column; JSON as its text.

    Returns: False where Postgres refused them, a key that is there already above all; the transaction is void then.
    """
    forms = [_FORMS[kind] for kind in kinds.values()]
    values = itemgetter(*kinds)
    count = _count(len(forms))
    chunks = [_SIGNATURE]
    for row in rows:
        chunks.append(count)
        chunks += [_NULL if value is None else form(value) for form, value in zip(forms, values(row), strict=True)]
    chunks.append(_END)
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, kinds))
    )
    driver = session.connection().connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            copy.write(b"".join(chunks))
    except psycopg.Error:
        return False
    return True
