"""A detector's memory as plain data: it survives JSON, npz files and databases bit by bit."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]


class DetectorStateError(ValueError):
    """A stored state cannot be used. The detector has to learn anew: make a fresh one."""


def packed(kind: str, version: int, arrays: Arrays) -> dict[str, Any]:
    """Return a flat dict of strings and one number that holds the arrays exactly; equal for equal arrays."""
    state: dict[str, Any] = {"kind": kind, "version": version}
    for name, values in arrays.items():
        buffer = io.BytesIO()
        np.save(buffer, np.ascontiguousarray(values), allow_pickle=False)
        state[name] = base64.b64encode(buffer.getvalue()).decode("ascii")
    return state


def checked(state: Mapping[str, Any], kind: str, version: int) -> None:
    """See whether a state belongs to this detector.

    Raises:
        DetectorStateError: it is of another detector or of another version.
    """
    try:
        # an npz file gives every entry back as an array without dimensions
        found_kind, found = str(state["kind"]), int(state["version"])
    except (KeyError, TypeError, ValueError) as error:
        raise DetectorStateError("this is no state of a detector: it needs kind and version") from error
    if found_kind != kind:
        raise DetectorStateError(f"this is the state of a {found_kind!r} detector, not of a {kind!r} detector")
    if found != version:
        raise DetectorStateError(
            f"this state is of version {found}; this detector reads version {version} only and has to learn anew"
        )


def array(state: Mapping[str, Any], name: str) -> NDArray[Any]:
    """Return one array of a state, as `packed` put it in or as JSON or npz gave it back.

    Raises:
        DetectorStateError: it is missing or damaged.
    """
    try:
        data = base64.b64decode(str(state[name]), validate=True)
        found: NDArray[Any] = np.load(io.BytesIO(data), allow_pickle=False)
    except (KeyError, ValueError, OSError, EOFError) as error:
        raise DetectorStateError(f"this state is damaged: {name} is missing or cannot be read") from error
    return found


def array_like(state: Mapping[str, Any], name: str, like: NDArray[Any]) -> NDArray[Any]:
    """Return one array, which must have the shape and type that the detector uses."""
    found = array(state, name)
    if found.shape != like.shape or found.dtype != like.dtype:
        raise DetectorStateError(
            f"this state is damaged: {name} is {found.dtype}{list(found.shape)}, not {like.dtype}{list(like.shape)}"
        )
    return found
