"""The LangSmith cloud as the poll sees it: root runs, feedback, a project; its errors as ours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from types import TracebackType
from typing import Any
from uuid import UUID

import langsmith
from langsmith.schemas import TracerSessionResult
from langsmith.types.run_select_field import RunSelectField
from langsmith.utils import (
    LangSmithAPIError,
    LangSmithAuthError,
    LangSmithConnectionError,
    LangSmithNotFoundError,
    LangSmithRateLimitError,
    LangSmithRequestTimeout,
)
from pydantic import SecretStr
from requests import RequestException

from core.errors import PermanentError, TransientError

PAGE_SIZE = 1000
TIMEOUT_S = 30.0

SELECTS: list[RunSelectField] = [
    "ID", "NAME", "RUN_TYPE", "STATUS", "START_TIME", "END_TIME", "ERROR", "TAGS", "METADATA", "TRACE_ID",
    "DOTTED_ORDER", "REFERENCE_EXAMPLE_ID", "PROMPT_TOKENS", "COMPLETION_TOKENS", "TOTAL_TOKENS", "TOTAL_COST",
]  # fmt: skip
PAYLOAD_SELECTS: list[RunSelectField] = ["ID", "START_TIME", "TRACE_ID", "DOTTED_ORDER", "INPUTS", "OUTPUTS"]


class SourceAwayError(TransientError):
    """The LangSmith cloud did not answer, or asked to slow down."""


class SourceRefusedError(PermanentError):
    """The LangSmith cloud refuses us: the key is wrong, or may not read this."""


class LangSmithApi:
    """A connection for the length of a block.

    Args:
        endpoint: root of the API, with or without `/api/v1`.
        api_key: a key that may read runs and feedback.
    """

    def __init__(self, endpoint: str, api_key: SecretStr) -> None:
        root = endpoint.rstrip("/").removesuffix("/v1").removesuffix("/api")
        key = api_key.get_secret_value()
        self._v1 = langsmith.Client(
            api_url=endpoint.rstrip("/"), api_key=key, auto_batch_tracing=False, timeout_ms=int(TIMEOUT_S * 1000)
        )
        # The same package's generated client: the public, synchronous way to the v2 query.
        self._v2 = langsmith.Langsmith(base_url=root, api_key=key, timeout=TIMEOUT_S, max_retries=3)

    def __enter__(self) -> LangSmithApi:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._v2.close()
        self._v1.close(timeout=0)

    def project(self, name: str) -> TracerSessionResult | None:
        """Return a project, or None where nothing was traced into it yet."""
        with _as_ours():
            try:
                found: TracerSessionResult = self._v1.read_project(project_name=name)
            except LangSmithNotFoundError:
                return None
            return found

    def roots(self, project_id: UUID, start: datetime, end: datetime, **more: Any) -> Iterator[dict[str, Any]]:
        """Yield root runs that started in [start, end) without their payloads, as v1 posts them."""
        yield from self._query(project_id, start, SELECTS, max_start_time=end, is_root=True, **more)

    def payloads(self, project_id: UUID, ids: Sequence[UUID], start: datetime) -> Iterator[dict[str, Any]]:
        """Yield runs with nothing but inputs and outputs."""
        yield from self._query(project_id, start, PAYLOAD_SELECTS, ids=[str(run_id) for run_id in ids])

    def feedback(self, **filters: Any) -> Iterator[dict[str, Any]]:
        """Yield feedback as v1 posts it. `filters` are the query's parameters; they must have an upper time bound."""
        with _as_ours():
            for row in self._v1.list_feedback(**filters):
                form = row.model_dump(mode="json")
                yield {key: value for key, value in form.items() if key != "session_id"}

    def _query(
        self, project_id: UUID, start: datetime, selects: list[RunSelectField], **more: Any
    ) -> Iterator[dict[str, Any]]:
        with _as_ours():
            pages = self._v2.runs.query(
                project_ids=[str(project_id)],
                min_start_time=start,
                page_size=PAGE_SIZE,
                selects=selects,
                # only roots are polled, so their tokens must stand for the whole trace
                include_subtree_usage=True,
                **more,
            )
            for run in pages:
                form = run.model_dump(mode="json", exclude_none=True)
                if "metadata" in form:
                    form["extra"] = {"metadata": form.pop("metadata")}
                if "run_type" in form:
                    form["run_type"] = form["run_type"].lower()
                yield form


@contextmanager
def _as_ours() -> Iterator[None]:
    try:
        yield
    except (LangSmithAuthError, langsmith.AuthenticationError, langsmith.PermissionDeniedError) as error:
        raise SourceRefusedError(
            f"LangSmith refuses the key: check LANGSMITH_API_KEY ({type(error).__name__})"
        ) from None
    except (
        LangSmithRateLimitError, LangSmithConnectionError, LangSmithRequestTimeout, LangSmithAPIError,
        langsmith.RateLimitError, langsmith.APIConnectionError, langsmith.InternalServerError, RequestException,
    ) as error:  # fmt: skip
        raise SourceAwayError(f"LangSmith did not answer, or asked to slow down: {type(error).__name__}") from None
