"""The one thing a language model adds: prose about evidence that is already decided."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Explanation:
    """A model's prose, kept to its packet."""

    text: str
    by: str
    """Name of the model."""
