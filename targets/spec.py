"""The `target` of an app: how a candidate is run, as JSON, checked when it is read."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from core.completion import Models
from core.errors import PermanentError
from targets.answers import Target

PROMPT_NAME = r"^[\w.\-/]+:[0-9a-f]{6,64}$"
"""A prompt of the hub, pinned to a commit: what moves under a validation's feet cannot be validated."""


class InvalidTargetError(PermanentError):
    """The app's target cannot be used. The message names the field."""


class _Paced(BaseModel):
    """What every kind of target may bear."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    timeout_s: float = Field(default=30, gt=0, le=300)
    concurrency: int = Field(default=2, ge=1, le=64)
    """Cases that may be under way at once; each asks both arms side by side."""
    rate_per_minute: float | None = Field(default=None, gt=0)
    """Most cases that are begun in a minute."""


class PythonTarget(_Paced):
    """A function that is called as `callable(inputs, config)` in a sandbox of its own."""

    kind: Literal["python"]
    callable: str = Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$", description="module:function")
    env: dict[str, str] = Field(default_factory=dict)
    """The whole environment besides PATH, HOME, TMPDIR and LANG. A file that it names may be read, with its folder."""
    path: list[str] = Field(default_factory=list)
    """Folders that are put before `sys.path`."""
    read: list[str] = Field(default_factory=list)
    """Further files and folders that may be read."""
    network: bool = False
    start_timeout_s: float = Field(default=30, gt=0, le=120)
    memory_mb: int = Field(default=1024, ge=64, le=65_536)
    processes: int = Field(default=64, ge=4, le=4096)


class HttpTarget(_Paced):
    """A URL that is posted to."""

    kind: Literal["http"]
    url: str = Field(pattern=r"^https?://")
    headers: dict[str, str] = Field(default_factory=dict)
    body: Any = Field(default_factory=lambda: {"inputs": "{inputs}", "config": "{config}"})
    """JSON. A text that is `{inputs}`, `{config}` or `{inputs.name}` becomes that value, inside a text its text."""


class PromptTarget(_Paced):
    """A prompt that a model answers. What may be changed of it are configuration keys, as of every app.

    The prompt's text is `template`, or the text of a LangSmith prompt at a commit (`name:commit`). `{question}` in it
    is the case's input of that name; `prompt_key` and `model_key` name configuration keys that override the two.
    """

    kind: Literal["prompt"]
    prompt: str | None = Field(default=None, pattern=PROMPT_NAME)
    template: str | None = Field(default=None, max_length=100_000)
    model: str = Field(max_length=200)
    temperature: float = Field(default=0.0, ge=0, le=2)
    max_tokens: int = Field(default=1000, ge=1, le=100_000)
    prompt_key: str | None = None
    model_key: str | None = None
    usd_per_million_in: float = Field(default=0.0, ge=0)
    usd_per_million_out: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _one_text(self) -> PromptTarget:
        if (self.prompt is None) == (self.template is None):
            raise ValueError("name either `prompt` (name:commit) or `template`")
        return self


Spec = PythonTarget | HttpTarget | PromptTarget
_ADAPTER: TypeAdapter[Spec] = TypeAdapter(Annotated[Spec, Field(discriminator="kind")])


def parse_target(target: Any) -> Spec:
    """Return the typed target.

    Raises:
        InvalidTargetError: there is none, or a field is wrong.
    """
    if not target:
        raise InvalidTargetError(
            'the app has no target: set one, such as {"kind": "python", "callable": "my_app:answer"} '
            'or {"kind": "http", "url": "https://…"} or {"kind": "prompt", "template": "…", "model": "…"}'
        )
    try:
        return _ADAPTER.validate_python(target)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"][1:]) or "kind"
        raise InvalidTargetError(f"the app's target is wrong at {where}: {first['msg']}") from None


def open_target(spec: Spec, models: Models | None = None) -> Target:
    """Return a target that can be asked. Nothing runs before the first question.

    Args:
        models: asks a model; only a prompt needs it.
    """
    if isinstance(spec, PythonTarget):
        from targets.python import PythonRunner

        return PythonRunner(spec)
    if isinstance(spec, PromptTarget):
        from targets.prompt import PromptRunner

        return PromptRunner(spec, models)
    from targets.http import HttpRunner

    return HttpRunner(spec)
