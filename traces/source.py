"""What the agents read runs through, whether they were collected here or polled from the LangSmith cloud."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from core.states import RunStatus


@dataclass(frozen=True)
class TraceRun:
    """One root run as the agents see it. Everything in it is untrusted text from the app."""

    id: UUID
    start_time: datetime
    latency_s: float | None
    """End minus start, never negative; None while the run has not ended."""
    status: RunStatus
    error: str | None
    attributes: Mapping[str, str] = field(default_factory=dict)
    """`name`, every scalar of the metadata by its key, and `tag:<tag>` = "true" for every tag.

    Booleans are "true"/"false". Nothing is filtered: what research does not localise over, a rollout needs.
    """
    scores: Mapping[str, float] = field(default_factory=dict)
    """Mean of the finite scores by feedback key, over all feedback of the trace."""
    inputs: Any = None
    outputs: Any = None
    url: str = ""


@dataclass(frozen=True)
class Pulled:
    """What one `pull` did."""

    runs: int = 0
    feedback: int = 0
    abandoned: int = 0


class TraceSource(Protocol):
    """A place where runs come from."""

    def pull(self, app_id: int, now: datetime) -> Pulled:
        """Bring the store up to date with what the app's source has; cheap where nothing has to be fetched.

        Raises:
            TransientError: the source did not answer or asked to slow down; the same call may succeed later.
        """
        ...

    def runs(
        self,
        project_id: UUID,
        start: datetime,
        end: datetime,
        *,
        only_errors: bool = False,
        limit: int = 10_000,
        with_payload: bool = False,
    ) -> list[TraceRun]:
        """Return root runs that started in [start, end), newest first, at most `limit`."""
        ...

    def run_url(self, project_id: UUID, run_id: UUID) -> str:
        """Return where a person can look at the run."""
        ...
