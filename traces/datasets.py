"""A dataset of LangSmith as golden cases: inputs as they are, reference outputs as checks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from core.errors import MetamonError
from core.settings import Settings

METRIC = "fact_accuracy"
TOLERANCE = 0.01
"""A number may differ by a hundredth of itself."""


class DatasetError(MetamonError):
    """The dataset cannot be read."""


def cases(name: str, settings: Settings) -> Iterator[str]:
    """Yield a dataset's examples as lines of a golden file.

    A number of the reference outputs becomes a numeric check, anything else an exact one, at its own place. An example
    without reference outputs has nothing that could be checked, and is refused with its id.

    Raises:
        DatasetError: no key, no such dataset, or an example without reference outputs.
    """
    from langsmith import Client
    from langsmith.utils import LangSmithError

    if settings.langsmith_api_key is None:
        raise DatasetError(f"the dataset {name!r} is in LangSmith: set LANGSMITH_API_KEY to read it")
    client = Client(
        api_url=settings.langsmith_endpoint,
        api_key=settings.langsmith_api_key.get_secret_value(),
        auto_batch_tracing=False,
        timeout_ms=30_000,
    )
    try:
        for example in client.list_examples(dataset_name=name):
            expected = dict(example.outputs or {})
            if not expected:
                raise DatasetError(f"example {example.id} of {name!r} has no reference outputs: nothing to check")
            tags = {
                key: value
                for key, value in (example.metadata or {}).items()
                if isinstance(value, str | int | float | bool) and not key.startswith("dataset_")
            }
            case = {
                "key": str(example.id),
                "inputs": dict(example.inputs or {}),
                "checks": [_check(path, value) for path, value in expected.items()],
                "tags": tags,
            }
            yield json.dumps(case, ensure_ascii=False, default=str)
    except LangSmithError as error:
        raise DatasetError(f"the dataset {name!r} cannot be read: {type(error).__name__}") from None


def _check(path: str, value: Any) -> dict[str, Any]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return {"type": "numeric", "metric": METRIC, "path": path, "expected": value, "tolerance": TOLERANCE}
    return {"type": "exact", "metric": METRIC, "path": path, "expected": value}
