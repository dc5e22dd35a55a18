"""Requests that nobody would think of: no 5xx, and every answer as the schema says.

FUZZ_EXAMPLES is the number of requests for each operation; 4 by default, hundreds before a release.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from sqlalchemy.orm import Session, sessionmaker

from core.states import ProposalStatus, Scope
from tests.api_server import add_user, bearer, served_api
from tests.rollout_world import add_app, add_proposal

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "4"))
CHECKS = [not_a_server_error, response_schema_conformance, content_type_conformance, status_code_conformance]
LEFT_OUT = {"/api/v1/events", "/api/v1/session"}
"""A stream does not end; signing in is throttled, which is its own test."""


def valid_or_not(operation: Any) -> Any:
    """Return requests as the schema wants them, and requests as it does not."""
    return st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in GenerationMode))


@pytest.fixture
def url(sessions: sessionmaker[Session]) -> Iterator[str]:
    """A served API with a little of everything."""
    app_id = add_app(sessions)
    add_proposal(sessions, app_id, status=ProposalStatus.AWAITING_APPROVAL)
    add_user(sessions)
    with served_api(sessions) as served:
        yield served


def test_no_request_brings_it_down(url: str, sessions: sessionmaker[Session]) -> None:
    """Every operation of the schema, with what its parameters allow and with what they do not."""
    headers = bearer(sessions, Scope.ADMIN)
    schema = schemathesis.openapi.from_dict(httpx.get(f"{url}/api/openapi.json", timeout=60).json())
    schema.config.update(base_url=url)
    asked, faults = 0, []
    for result in schema.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()
        if (
            operation.path in LEFT_OUT
            or not operation.path.startswith("/api/v1/")
            or "collector" in operation.definition.raw.get("tags", [])
        ):
            continue

        @given(case=valid_or_not(operation))
        @settings(
            max_examples=EXAMPLES, deadline=None, database=None, derandomize=EXAMPLES < 10,
            suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate],
        )  # fmt: skip
        def ask(case: Any) -> None:
            nonlocal asked
            asked += 1
            answer = case.call(headers=headers, timeout=60)
            case.validate_response(answer, checks=CHECKS)

        try:
            ask()
        except Exception as error:
            faults.append(f"{operation.method.upper()} {operation.path}\n{error}")
    assert asked >= EXAMPLES * 20
    assert not faults, "\n\n".join(faults)
