"""The OpenAPI document: what FastAPI knows, and the one form that every error has."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

PROBLEM = {
    "title": "Problem",
    "description": "An error in the form of RFC 9457; more members say more.",
    "type": "object",
    "required": ["type", "status", "title", "detail"],
    "properties": {
        "type": {"type": "string"},
        "status": {"type": "integer"},
        "title": {"type": "string"},
        "detail": {"type": "string", "description": "What was wrong, and what would be right."},
        "errors": {"type": "array", "items": {"type": "object"}, "description": "422: every field that is wrong."},
        "decided_by": {"type": ["string", "null"], "description": "409: who was first."},
        "decided_at": {"type": ["string", "null"], "format": "date-time"},
        "decision": {"type": ["string", "null"], "enum": ["approved", "rejected", None]},
    },
}
MEANINGS = {
    "4XX": "400 and 422 not valid, 401 sign in, 403 not allowed, 404 not there, 409 overtaken, 429 too often",
    "503": "The database is away; `Retry-After` says when to come again.",
}
METHODS = frozenset({"get", "post", "put", "patch", "delete"})


def describe(app: FastAPI) -> None:
    """Let the application's document tell its errors."""
    plain = app.openapi

    def told() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = with_problems(plain())
        return app.openapi_schema

    app.openapi = told  # type: ignore[method-assign]


def with_problems(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document with every operation's errors, all of one form."""
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Problem"] = PROBLEM
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for path in document["paths"].values():
        for method in METHODS & path.keys():
            responses = path[method]["responses"]
            responses.pop("422", None)
            responses |= {status: {"description": text, "content": content} for status, text in MEANINGS.items()}
    return document
