"""Which configuration a customer gets: asked of OFREP through OpenFeature, as any app with its SDK would."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.flag_evaluation import Reason
from requests.adapters import HTTPAdapter

from demo.config import APP, CONFIG, FLAG

TIMEOUT_S = 0.5
"""A customer does not wait longer for a flag: the last known configuration serves."""
REST_S = 1.0
"""After a failure nobody asks for so long, lest every request waits for the time-out."""
CONNECTIONS = 32


@dataclass(frozen=True)
class Variant:
    """A configuration, and what the flag says of it; the latter travels in the run's metadata."""

    config: Mapping[str, Any]
    metadata: Mapping[str, str | int | float | bool]


class Variants:
    """Asks for the flag `fa-ai.config`. Never raises: without an answer the last known configuration serves.

    Args:
        base_url: where the API listens.
        token: an ingest token.
        timeout_s: how long an answer is waited for.
        clock: monotonic seconds.
    """

    def __init__(
        self, base_url: str, token: str, *, timeout_s: float = TIMEOUT_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        provider = OFREPProvider(
            base_url, headers_factory=lambda: {"Authorization": f"Bearer {token}"}, timeout=timeout_s
        )
        provider.session.mount("http://", HTTPAdapter(pool_maxsize=CONNECTIONS))
        provider.session.mount("https://", HTTPAdapter(pool_maxsize=CONNECTIONS))
        api.set_provider_and_wait(provider, domain=APP)
        # Its own logger reports each failed evaluation with a traceback; the rest above makes one a second of that.
        logging.getLogger("openfeature").setLevel(logging.CRITICAL)
        self.client = api.get_client(domain=APP)
        self.clock = clock
        self.known: Mapping[str, Any] = dict(CONFIG)
        self.rests_until = 0.0

    def of(self, unit: str, **attributes: str) -> Variant:
        """Return what a randomisation unit gets."""
        if self.clock() < self.rests_until:
            return Variant(self.known, {})
        context = EvaluationContext(targeting_key=unit, attributes=dict(attributes))
        details = self.client.get_object_details(FLAG, dict(self.known), context)
        if details.error_code is not None or details.reason == Reason.ERROR or not isinstance(details.value, Mapping):
            self.rests_until = self.clock() + REST_S
            return Variant(self.known, {})
        metadata = dict(details.flag_metadata)
        if "candidate" not in metadata.values():
            self.known = dict(details.value)
        return Variant(details.value, metadata)
