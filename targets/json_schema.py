"""The part of JSON Schema that a check may use. An unknown keyword is an error, not a check that silently passes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MAX_DEPTH = 20
KEYWORDS = frozenset(
    {
        "type", "enum", "const", "properties", "required", "additionalProperties", "items", "minItems", "maxItems",
        "minimum", "maximum", "minLength", "maxLength", "title", "description",
    }
)  # fmt: skip
TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "null": (type(None),),
}


def check_schema(schema: Any, where: str = "schema", depth: int = 0) -> None:
    """Accept a schema, or say what of it is not understood.

    Raises:
        ValueError: an unknown keyword or type, a wrong shape, or more than 20 levels.
    """
    if depth > MAX_DEPTH:
        raise ValueError(f"{where} is nested more than {MAX_DEPTH} levels deep")
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict):
        raise ValueError(f"{where} must be an object")  # noqa: TRY004 - pydantic turns this one into a field error
    unknown = sorted(set(schema) - KEYWORDS)
    if unknown:
        raise ValueError(
            f"{where} uses {unknown[0]!r}, which is not supported; supported: {', '.join(sorted(KEYWORDS))}"
        )
    types = schema.get("type", [])
    for name in [types] if isinstance(types, str) else types:
        if name not in TYPES:
            raise ValueError(f"{where}.type is {name!r}; it may be one of {', '.join(TYPES)}")
    for name, inner in schema.get("properties", {}).items():
        check_schema(inner, f"{where}.properties.{name}", depth + 1)
    for name in ("items", "additionalProperties"):
        if name in schema:
            check_schema(schema[name], f"{where}.{name}", depth + 1)


def violation(value: Any, schema: Any, where: str = "answer") -> str | None:
    """Return the first way in which the value misses the schema, or None where it meets it."""
    if isinstance(schema, bool):
        return None if schema else f"{where} must not be there"
    if "type" in schema and not _is_a(value, schema["type"]):
        return f"{where} is not of type {schema['type']}"
    if "enum" in schema and value not in schema["enum"]:
        return f"{where} is none of {schema['enum']}"
    if "const" in schema and value != schema["const"]:
        return f"{where} is not {schema['const']!r}"
    if isinstance(value, int | float) and not isinstance(value, bool):
        if "minimum" in schema and not value >= schema["minimum"]:
            return f"{where} is below {schema['minimum']}"
        if "maximum" in schema and not value <= schema["maximum"]:
            return f"{where} is above {schema['maximum']}"
    if isinstance(value, str):
        return _size(len(value), schema, "minLength", "maxLength", where)
    if isinstance(value, list):
        inner = (violation(item, schema["items"], f"{where}[{i}]") for i, item in enumerate(value) if "items" in schema)
        return _size(len(value), schema, "minItems", "maxItems", where) or next((v for v in inner if v), None)
    if isinstance(value, dict):
        return _object(value, schema, where)
    return None


def _object(value: dict[str, Any], schema: Mapping[str, Any], where: str) -> str | None:
    for name in schema.get("required", ()):
        if name not in value:
            return f"{where}.{name} is missing"
    known = schema.get("properties", {})
    rest = schema.get("additionalProperties", True)
    for name, item in value.items():
        found = violation(item, known.get(name, rest), f"{where}.{name}")
        if found:
            return found
    return None


def _size(size: int, schema: Mapping[str, Any], least: str, most: str, where: str) -> str | None:
    if size < schema.get(least, 0):
        return f"{where} has {size} entries, fewer than {schema[least]}"
    if most in schema and size > schema[most]:
        return f"{where} has {size} entries, more than {schema[most]}"
    return None


def _is_a(value: Any, types: str | list[str]) -> bool:
    for name in [types] if isinstance(types, str) else types:
        if isinstance(value, bool) and name in ("number", "integer"):
            continue
        if isinstance(value, TYPES[name]) or (name == "integer" and isinstance(value, float) and value.is_integer()):
            return True
    return False
