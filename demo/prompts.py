"""The prompt's versions, and what a model that reads one lets itself be told by it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

FOLDER = Path(__file__).parent / "prompts"


class UnknownPromptError(LookupError):
    """The configuration names a prompt version that was never written."""


@dataclass(frozen=True)
class Prompt:
    """One version: its text, and the instructions the simulated model finds in that text."""

    version: str
    text: str
    tasks: frozenset[str]
    """Intents the text documents; anything else the model declines."""
    closing: str | None
    """Sentence the text asks every answer to end with."""
    forbids_directives: bool


@lru_cache
def load(version: str) -> Prompt:
    """Return a version of the prompt.

    Raises:
        UnknownPromptError: there is no such version.
    """
    path = FOLDER / f"{version}.txt"
    if path.parent != FOLDER or not path.is_file():
        known = ", ".join(sorted(file.stem for file in FOLDER.glob("*.txt")))
        raise UnknownPromptError(f"there is no prompt {version!r}; there are {known}")
    return read(version, path.read_text())


def read(version: str, text: str) -> Prompt:
    """Find the instructions in a prompt's text, as a model does that follows it to the letter."""
    closing = re.search(r'end every answer with: "([^"]+)"', text, re.IGNORECASE)
    tasks = text.partition("Tasks you may do:")[2].partition("\n\n")[0]
    return Prompt(
        version=version,
        text=text,
        tasks=frozenset(re.findall(r"^- (\w+):", tasks, re.MULTILINE)),
        closing=closing.group(1) if closing else None,
        forbids_directives=bool(re.search(r"never tell a customer to buy", text, re.IGNORECASE)),
    )
