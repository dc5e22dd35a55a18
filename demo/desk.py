"""FA AI in service: takes a request, asks for its variant, answers, traces what happened and scores it."""

from __future__ import annotations

import random
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from langsmith import Client, RunTree

from demo.app import BadRequestError, Kind, Note, Span, answer, route
from demo.config import APP
from demo.customers import Request, right
from demo.variants import Variant

DETAILED = 0.2
"""Share of traces that carry their steps; a failed one always does. Fewer would hide, more would only cost."""


@dataclass
class Step:
    """One step of an answer, as it is traced."""

    name: str
    kind: Kind
    inputs: dict[str, Any]
    started: datetime
    ended: datetime | None = None
    outputs: dict[str, Any] = field(default_factory=dict)
    error: str | None = None


@dataclass
class Tally:
    """What the desk has done so far."""

    served: int = 0
    failed: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, *, failed: bool) -> None:
        """Count one request."""
        with self.lock:
            self.served += 1
            self.failed += failed


class Desk:
    """Serves requests. Safe to call from many threads.

    Args:
        client: the langsmith client whose endpoint is the collector.
        variant_of: which configuration a request gets.
        project_id: the tracing project's id; feedback names it.
        sleep: how time passes in the provider.
    """

    def __init__(
        self,
        client: Client,
        variant_of: Callable[[Request], Variant],
        *,
        project_id: UUID,
        sleep: Callable[[float], None],
    ) -> None:
        self.client = client
        self.variant_of = variant_of
        self.project_id = project_id
        self.sleep = sleep
        self.tally = Tally()

    def serve(self, request: Request) -> None:
        """Answer one request; whatever becomes of it is in its trace and its feedback."""
        variant = self.variant_of(request)
        root = RunTree(
            name=APP,
            run_type="chain",
            inputs=dict(request.inputs),
            project_name=APP,
            client=self.client,
            extra={"metadata": describe(request, variant)},
            tags=[],
        )
        steps: list[Step] = []
        result: dict[str, Any] | None = None
        try:
            result = answer(request.inputs, variant.config, span=recorder(steps), sleep=self.sleep)
        except Exception as error:  # noqa: BLE001 - an app's failure belongs into its trace, whatever it is
            root.end(error=f"{error!r}\n\n{traceback.format_exc()}")
        else:
            root.end(outputs=result)
        self._post(root, steps, result)
        if result is not None:
            for key, score in scores(request, result).items():
                self.client.create_feedback(
                    run_id=root.id,
                    trace_id=root.trace_id,
                    session_id=self.project_id,
                    start_time=root.start_time,
                    key=key,
                    score=score,
                )
        self.tally.count(failed=result is None)

    def _post(self, root: RunTree, steps: list[Step], result: dict[str, Any] | None) -> None:
        detailed = result is None or random.random() < DETAILED
        # Tokens are summed over a trace: they stand on the step that used them, on the root where steps are left out.
        if result is not None and not detailed:
            root.set(usage_metadata=usage_of(result))
        root.post()
        if not detailed:
            return
        for step in steps:
            child = root.create_child(
                step.name,
                step.kind,
                inputs=step.inputs,
                start_time=step.started,
            )
            if step.name == "llm" and result is not None:
                child.set(usage_metadata=usage_of(result))
            child.end(outputs=step.outputs, error=step.error, end_time=step.ended)
            child.post()


def describe(request: Request, variant: Variant) -> dict[str, Any]:
    """Return a run's metadata: the attributes that research localises over, and the variant the run belongs to.

    Where the request cannot even be routed, what is known of the customer is all there is.
    """
    try:
        way = route(request.inputs, variant.config)
    except BadRequestError:
        return {"targeting_key": request.customer.key, **variant.metadata}
    return {
        "region": way.region,
        "model": way.model,
        "prompt_version": way.prompt_version,
        "channel": way.channel,
        "plan": way.plan,
        "intent": way.intent,
        "targeting_key": request.customer.key,
        **variant.metadata,
    }


def scores(request: Request, result: Mapping[str, Any]) -> dict[str, float]:
    """Judge an answer: against the published figures where there is a truth, and against the policy always."""
    found = {"guardrail_pass": float(result["guardrail"]["passed"])}
    if request.expected is not None:
        found["fact_accuracy"] = float(right(request.expected, result["value"]))
    return found


def usage_of(result: Mapping[str, Any]) -> Any:
    """Return tokens and cost in the SDK's words."""
    return {**result["usage"], "total_cost": result["cost"]}


def recorder(steps: list[Step]) -> Span:
    """Return a span that notes each step with its times, to be traced once it is known whether they are wanted."""

    @contextmanager
    def span(name: str, kind: Kind, inputs: dict[str, Any]) -> Iterator[Note]:
        step = Step(name, kind, inputs, datetime.now(UTC))
        steps.append(step)

        def note(**outputs: Any) -> None:
            step.outputs.update(outputs)

        try:
            yield note
        except Exception as error:
            step.error = f"{error!r}\n\n{traceback.format_exc()}"
            raise
        finally:
            step.ended = datetime.now(UTC)

    return span
