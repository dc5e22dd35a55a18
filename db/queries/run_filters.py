"""Filter expressions over runs, compiled to SQL from an allow-list of fields. Values are bound, never written out."""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, exists, func, literal, not_, or_, select

from core.states import RunStatus
from db.models.traces import Feedback, Run
from db.queries.filter_language import Comparison, FilterError, Group, Node, Value, parse

LATENCY = func.extract("epoch", Run.end_time - Run.start_time)

FIELDS: dict[str, tuple[Any, Callable[[Value], Any]]] = {}
"""Comparable fields: the column and how a value is read."""

_ORDER: dict[str, Callable[[Any, Any], Any]] = {
    "eq": operator.eq, "neq": operator.ne, "gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le,
}  # fmt: skip
_ON_FEEDBACK = ("feedback_key", "feedback_score", "feedback_source")
_ON_METADATA = ("metadata_key", "metadata_value")


def compile_filter(expression: str) -> ColumnElement[bool]:
    """Return the condition on `Run` that a filter expression states.

    Raises:
        FilterError: it is no filter expression, or names a field or an operator that is not supported.
    """
    return _compile(parse(expression))


def _compile(node: Node) -> ColumnElement[bool]:
    if isinstance(node, Group):
        if node.operator == "not":
            return not_(func.coalesce(_compile(node.members[0]), False))
        if node.operator == "or":
            return or_(*(_compile(member) for member in node.members))
        return _conjunction(node.members)
    return _conjunction((node,))


def _conjunction(members: tuple[Node, ...]) -> ColumnElement[bool]:
    """Join conditions; those on feedback must hold for one and the same row of feedback, likewise key and value."""
    plain, feedback, metadata = [], [], []
    for member in members:
        if isinstance(member, Comparison) and member.field in _ON_FEEDBACK:
            feedback.append(member)
        elif isinstance(member, Comparison) and member.field in _ON_METADATA:
            metadata.append(member)
        else:
            plain.append(_comparison(member) if isinstance(member, Comparison) else _compile(member))
    if feedback:
        plain.append(_on_feedback(feedback))
    if metadata:
        plain.append(_on_metadata(metadata))
    return and_(*plain)


def _comparison(node: Comparison) -> ColumnElement[bool]:
    if node.operator == "search":
        return _search(node)
    if node.operator == "has":
        return _has(node)
    if node.field not in FIELDS:
        known = ", ".join([*FIELDS, "tags", "metadata", *_ON_METADATA, *_ON_FEEDBACK])
        raise FilterError(f"the filter field {node.field!r} is not supported; supported: {known}")
    column, read = FIELDS[node.field]
    if node.operator == "in":
        if not isinstance(node.value, list):
            raise FilterError(f'in({node.field}, …) takes a list, such as ["a", "b"]')
        return column.in_([read(value) for value in node.value])  # type: ignore[no-any-return]
    if node.value is None:
        if node.operator not in ("eq", "neq"):
            raise FilterError(f"{node.operator}({node.field}, null) says nothing; use eq or neq")
        return column.is_(None) if node.operator == "eq" else column.is_not(None)  # type: ignore[no-any-return]
    return _ORDER[node.operator](column, read(node.value))  # type: ignore[no-any-return]


def _search(node: Comparison) -> ColumnElement[bool]:
    if node.field not in ("", "name", "error") or not isinstance(node.value, str):
        raise FilterError('search takes words, search("time out"), and looks in name and error')
    columns = {"name": [Run.name], "error": [Run.error]}.get(node.field, [Run.name, Run.error])
    return or_(*(column.icontains(node.value, autoescape=True) for column in columns))


def _has(node: Comparison) -> ColumnElement[bool]:
    if node.field == "tags":
        return Run.tags.contains([_text(node.value)])
    if node.field == "metadata":
        try:
            wanted = json.loads(_text(node.value))
        except ValueError:
            wanted = None
        if not isinstance(wanted, dict):
            raise FilterError('has(metadata, …) takes a JSON object as text: has(metadata, \'{"region": "emea"}\')')
        return Run.run_metadata.contains(wanted)
    raise FilterError(f"has(…) is for tags and metadata, not {node.field!r}")


def _on_feedback(members: list[Comparison]) -> ColumnElement[bool]:
    columns: dict[str, Any] = {
        "feedback_key": Feedback.key,
        "feedback_score": Feedback.score,
        "feedback_source": Feedback.source["type"].astext,
    }
    conditions = []
    for member in members:
        read = _number if member.field == "feedback_score" else _text
        if member.operator == "in" and isinstance(member.value, list):
            conditions.append(columns[member.field].in_([read(value) for value in member.value]))
        elif member.operator in _ORDER:
            conditions.append(_ORDER[member.operator](columns[member.field], read(member.value)))
        else:
            raise FilterError(f"{member.operator}({member.field}, …) is not supported")
    return exists(select(literal(1)).where(Feedback.run_id == Run.id, *conditions).correlate(Run))


def _on_metadata(members: list[Comparison]) -> ColumnElement[bool]:
    keys = [member for member in members if member.field == "metadata_key"]
    values = [member for member in members if member.field == "metadata_value"]
    if len(keys) != 1 or keys[0].operator != "eq" or any(member.operator not in ("eq", "neq") for member in values):
        raise FilterError('write and(eq(metadata_key, "region"), eq(metadata_value, "emea"))')
    key = _text(keys[0].value)
    conditions: list[ColumnElement[bool]] = [Run.run_metadata.has_key(key)]
    conditions += [_ORDER[member.operator](Run.run_metadata[key].astext, _json_text(member.value)) for member in values]
    return and_(*conditions)


def _text(value: Value) -> str:
    if not isinstance(value, str) or "\x00" in value:
        raise FilterError(f"a text was expected in the filter, not {value!r}")
    return value


def _json_text(value: Value) -> str:
    return _text(value) if isinstance(value, str) else json.dumps(value)


def _number(value: Value) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise FilterError(f"a number was expected in the filter, not {value!r}")
    return float(value)


def _flag(value: Value) -> bool:
    if not isinstance(value, bool):
        raise FilterError(f"true or false was expected in the filter, not {value!r}")
    return value


def _id(value: Value) -> UUID:
    try:
        return UUID(_text(value))
    except ValueError:
        raise FilterError(f"a UUID was expected in the filter, not {value!r}") from None


def _time(value: Value) -> datetime:
    try:
        at = datetime.fromisoformat(_text(value))
    except ValueError:
        raise FilterError(f"a time in ISO 8601 was expected in the filter, not {value!r}") from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at


def _status(value: Value) -> RunStatus:
    try:
        return RunStatus(_text(value).lower())
    except ValueError:
        raise FilterError(f"a status is one of {', '.join(RunStatus)}, not {value!r}") from None


def _lower(value: Value) -> str:
    return _text(value).lower()


_THREAD = func.coalesce(*(Run.run_metadata[key].astext for key in ("session_id", "thread_id", "conversation_id")))

FIELDS |= {
    "id": (Run.id, _id),
    "name": (Run.name, _text),
    "run_type": (func.lower(Run.run_type), _lower),
    "status": (Run.status, _status),
    "error": (Run.error, _text),
    "is_root": (Run.is_root, _flag),
    "trace_id": (Run.trace_id, _id),
    "parent_run_id": (Run.parent_run_id, _id),
    "reference_example_id": (Run.reference_example_id, _id),
    "thread_id": (_THREAD, _text),
    "start_time": (Run.start_time, _time),
    "end_time": (Run.end_time, _time),
    "latency": (LATENCY, _number),
    "prompt_tokens": (Run.prompt_tokens, _number),
    "completion_tokens": (Run.completion_tokens, _number),
    "total_tokens": (Run.total_tokens, _number),
    "total_cost": (Run.total_cost, _number),
}
