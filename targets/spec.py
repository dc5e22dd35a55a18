"""The `target` of an app: how a candidate is run, as JSON, checked when it is read."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from core.errors import PermanentError
from targets.answers import Target


class InvalidTargetError(PermanentError):
    """The app's target cannot be used. The message names the field."""


class PythonTarget(BaseModel):
    """A function that is called as `callable(inputs, config)` in a sandbox of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["python"]
    callable: str = Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$", description="module:function")
    env: dict[str, str] = Field(default_factory=dict)
    """The whole environment besides PATH, HOME, TMPDIR and LANG. A file that it names may be read, with its folder."""
    path: list[str] = Field(default_factory=list)
    """Folders that are put before `sys.path`."""
    read: list[str] = Field(default_factory=list)
    """Further files and folders that may be read."""
    network: bool = False
    timeout_s: float = Field(default=30, gt=0, le=300)
    start_timeout_s: float = Field(default=30, gt=0, le=120)
    memory_mb: int = Field(default=1024, ge=64, le=65_536)
    processes: int = Field(default=64, ge=4, le=4096)


class HttpTarget(BaseModel):
    """A URL that is posted to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["http"]
    url: str = Field(pattern=r"^https?://")
    headers: dict[str, str] = Field(default_factory=dict)
    body: Any = Field(default_factory=lambda: {"inputs": "{inputs}", "config": "{config}"})
    """JSON. A text that is `{inputs}`, `{config}` or `{inputs.name}` becomes that value, inside a text its text."""
    timeout_s: float = Field(default=30, gt=0, le=300)


Spec = PythonTarget | HttpTarget
_ADAPTER: TypeAdapter[Spec] = TypeAdapter(Annotated[Spec, Field(discriminator="kind")])


def parse_target(target: Any) -> Spec:
    """Return the typed target.

    Raises:
        InvalidTargetError: there is none, or a field is wrong.
    """
    if not target:
        raise InvalidTargetError(
            'the app has no target: set one, such as {"kind": "python", "callable": "my_app:answer"} '
            'or {"kind": "http", "url": "https://…"}'
        )
    try:
        return _ADAPTER.validate_python(target)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"][1:]) or "kind"
        raise InvalidTargetError(f"the app's target is wrong at {where}: {first['msg']}") from None


def open_target(spec: Spec) -> Target:
    """Return a target that can be asked. Nothing runs before the first question."""
    if isinstance(spec, PythonTarget):
        from targets.python import PythonRunner

        return PythonRunner(spec)
    from targets.http import HttpRunner

    return HttpRunner(spec)
