"""The checks of a golden case, as JSON, typed and bounded: they come from outside."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import regex  # type: ignore[import-untyped]
from pydantic import BaseModel, ConfigDict, Field, field_validator

from targets.json_schema import check_schema

MAX_PATTERN = 500
MAX_LABELS = 50
Metric = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z][\w.\-]*$")]
Path = Annotated[str, Field(max_length=200)]


class _Check(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Numeric(_Check):
    """A number at `path`; without a path, any number in the text of the answer."""

    type: Literal["numeric"]
    metric: Metric
    path: Path | None = None
    expected: float
    tolerance: float = Field(default=0.0, ge=0)
    relative: bool = True
    """Whether the tolerance is a share of what is expected, or in its unit."""


class Contains(_Check):
    """A text that must, or must not, be in the answer; upper and lower case alike unless said otherwise."""

    type: Literal["contains", "not_contains"]
    metric: Metric
    path: Path | None = None
    value: str | list[str]
    """Of several, each must be there, or none may."""
    case_sensitive: bool = False

    @field_validator("value")
    @classmethod
    def _something(cls, value: str | list[str]) -> str | list[str]:
        texts = [value] if isinstance(value, str) else value
        if not texts or not all(texts):
            raise ValueError("must name at least one text, and no empty one")
        return value


class Regex(_Check):
    """A pattern that must be found in the answer."""

    type: Literal["regex"]
    metric: Metric
    path: Path | None = None
    pattern: str = Field(min_length=1, max_length=MAX_PATTERN)

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            regex.compile(pattern)
        except (regex.error, OverflowError, RecursionError) as error:
            raise ValueError(f"is no regular expression: {error}") from None
        return pattern


class Exact(_Check):
    """A value that must be at `path`, or be the answer; numbers by value, texts without white space around."""

    type: Literal["exact"]
    metric: Metric
    path: Path | None = None
    expected: Any


class JsonSchema(_Check):
    """A JSON schema (a subset, see `targets.json_schema`) that the answer must meet."""

    type: Literal["json_schema"]
    metric: Metric
    path: Path | None = None
    schema_: dict[str, Any] = Field(alias="schema")

    @field_validator("schema_")
    @classmethod
    def _supported(cls, schema: dict[str, Any]) -> dict[str, Any]:
        check_schema(schema)
        return schema


class Latency(_Check):
    """A time the answer must come in."""

    type: Literal["latency"]
    metric: Metric = "sla_met"
    max_ms: float = Field(gt=0)


class Label(_Check):
    """What a person says of one answer by the check's criteria."""

    answer: str = Field(min_length=1, max_length=8000)
    meets: bool = Field(strict=True)


class Graded(_Check):
    """Criteria that a model judges the answer by. Where it cannot, or contradicts itself, nothing is concluded."""

    type: Literal["model"]
    metric: Metric
    path: Path | None = None
    criteria: str = Field(min_length=10, max_length=2000)
    """What a right answer does, in words: "names the risk, gives no advice to buy"."""
    reference: str | None = Field(default=None, max_length=8000)
    """A right answer, to compare with."""
    labels: list[Label] = Field(default_factory=list, max_length=MAX_LABELS)
    """Answers that people judged, right ones and wrong ones: what the model is measured by."""

    @field_validator("labels")
    @classmethod
    def _once(cls, labels: list[Label]) -> list[Label]:
        if len({label.answer for label in labels}) < len(labels):
            raise ValueError("must name each answer once: the same one twice says nothing new")
        return labels


Check = Annotated[
    Numeric | Contains | Regex | Exact | JsonSchema | Latency | Graded,
    Field(discriminator="type"),
]
