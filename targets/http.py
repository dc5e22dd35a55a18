"""A target behind a URL: the question is posted, the answer is JSON or text."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from typing import Any

import httpx

from core.states import CaseOutcome
from targets.answers import MAX_OUTPUT, Answer, answered
from targets.spec import HttpTarget

OUTAGE_STATUSES = frozenset({429, 502, 503, 504})
"""The target was not reached, or not let in: no word about the candidate."""
CONNECT_TIMEOUT_S = 5.0
_NAME = re.compile(r"\{(inputs|config)(?:\.([\w.\-]+))?\}")


class HttpRunner:
    """Posts cases to a URL over one connection.

    A refused connection or an outage is `not_run`: it says nothing about the candidate. Any other error status, or no
    answer in time once connected, is the target's own failure.
    """

    def __init__(self, spec: HttpTarget, transport: httpx.BaseTransport | None = None) -> None:
        self.spec = spec
        self._client = httpx.Client(
            timeout=httpx.Timeout(spec.timeout_s, connect=min(CONNECT_TIMEOUT_S, spec.timeout_s)),
            headers=spec.headers,
            transport=transport,
            trust_env=False,
        )

    def ask(self, inputs: Mapping[str, Any], config: Mapping[str, Any]) -> Answer:
        """Ask one question."""
        body = fill(self.spec.body, inputs=inputs, config=config)
        started = time.perf_counter()
        deadline = started + self.spec.timeout_s
        content = bytearray()
        try:
            with self._client.stream("POST", self.spec.url, json=body) as response:
                for chunk in response.iter_bytes():
                    content += chunk
                    if len(content) > 4 * MAX_OUTPUT:
                        return self._failed(started, f"the answer exceeds {4 * MAX_OUTPUT} bytes")
                    if time.perf_counter() > deadline:
                        return self._failed(started, f"no whole answer within {self.spec.timeout_s:g} s")
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            return Answer(CaseOutcome.NOT_RUN, error=f"{self.spec.url} cannot be reached: {type(error).__name__}")
        except httpx.TimeoutException:
            return self._failed(started, f"no answer within {self.spec.timeout_s:g} s")
        except httpx.HTTPError as error:
            return self._failed(started, f"{type(error).__name__}: {error}")
        latency = (time.perf_counter() - started) * 1000
        if response.status_code in OUTAGE_STATUSES:
            return Answer(CaseOutcome.NOT_RUN, error=f"{self.spec.url} answered {response.status_code}: an outage")
        text = content.decode(errors="replace")
        if not response.is_success:
            return Answer(CaseOutcome.FAILED, latency_ms=latency, error=f"status {response.status_code}: {text[:500]}")
        try:
            output = json.loads(text)
        except (ValueError, RecursionError):
            output = text
        return answered(output, latency)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _failed(self, started: float, error: str) -> Answer:
        return Answer(CaseOutcome.FAILED, latency_ms=(time.perf_counter() - started) * 1000, error=error)


def fill(template: Any, *, inputs: Mapping[str, Any], config: Mapping[str, Any]) -> Any:
    """Return the template with its placeholders filled.

    A text that is one placeholder becomes the value itself, whatever its type; inside a text it becomes the value's
    text. A name that is missing becomes null, or nothing inside a text.
    """
    if isinstance(template, Mapping):
        return {key: fill(value, inputs=inputs, config=config) for key, value in template.items()}
    if isinstance(template, list):
        return [fill(item, inputs=inputs, config=config) for item in template]
    if not isinstance(template, str):
        return template

    def value_of(match: re.Match[str]) -> Any:
        source: Any = inputs if match[1] == "inputs" else config
        if match[2] is None:
            return dict(source)
        if match[2] in source:  # configuration keys have dots of their own
            return source[match[2]]
        for part in match[2].split("."):
            source = source.get(part) if isinstance(source, Mapping) else None
        return source

    whole = _NAME.fullmatch(template)
    if whole:
        return value_of(whole)

    def text_of(match: re.Match[str]) -> str:
        value = value_of(match)
        return "" if value is None else value if isinstance(value, str) else json.dumps(value)

    return _NAME.sub(text_of, template)
