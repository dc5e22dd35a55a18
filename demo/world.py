"""What befalls the assistant from outside: a JSON file named by `FA_AI_WORLD`, read again when it changes.

Such a file reads `{"slow": {"sonic-2": {"share": 0.4, "extra_ms": [260, 400]}}, "released": ["watchlist"]}`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

VARIABLE = "FA_AI_WORLD"


@dataclass(frozen=True)
class Slowness:
    """A provider in trouble: this share of a model's calls takes so much longer."""

    share: float
    extra_ms: tuple[float, float]


@dataclass(frozen=True)
class World:
    """The state of the world. The default is a healthy day."""

    slow: Mapping[str, Slowness] = field(default_factory=dict)
    released: frozenset[str] = frozenset()
    """Features that were announced to customers: they start asking for them."""


HEALTHY = World()
_read: dict[str, tuple[int, World]] = {}


def current() -> World:
    """Return the world as its file states it now; a healthy one where none is named or none exists."""
    name = os.environ.get(VARIABLE)
    return read(Path(name)) if name else HEALTHY


def read(path: Path) -> World:
    """Return the world that a file describes. Parsed again only when the file was replaced."""
    try:
        stamp = path.stat().st_mtime_ns
    except OSError:
        return HEALTHY
    cached = _read.get(str(path))
    if cached is None or cached[0] != stamp:
        cached = _read[str(path)] = (stamp, parse(json.loads(path.read_text())))
    return cached[1]


def parse(document: Mapping[str, object]) -> World:
    """Read the file's content; what is missing is healthy."""
    slow = document.get("slow")
    released = document.get("released")
    return World(
        slow={
            str(model): Slowness(float(entry["share"]), (float(entry["extra_ms"][0]), float(entry["extra_ms"][1])))
            for model, entry in (slow.items() if isinstance(slow, dict) else ())
        },
        released=frozenset(str(name) for name in released) if isinstance(released, list) else frozenset(),
    )


def document(path: Path) -> dict[str, object]:
    """Return the file's content as it is; nothing where there is none."""
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    return content if isinstance(content, dict) else {}


def write(path: Path, document: Mapping[str, object]) -> None:
    """Replace the file in one step, so that no reader ever sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(document, indent=2))
    fresh.replace(path)
