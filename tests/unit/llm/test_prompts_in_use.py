"""No prompt lies about unused: each is asked for by name somewhere outside the library that holds it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from agents.research.explain import rounded
from llm.library import NAMES, local

ROOT = Path(__file__).parents[3]


def _literals(path: Path) -> set[str]:
    return {
        node.value
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


@pytest.fixture(scope="module")
def named() -> set[str]:
    """Every text that stands in the code of agents and of what they ask models with."""
    paths = [path for package in ("agents", "llm") for path in (ROOT / package).rglob("*.py")]
    return set().union(*(_literals(path) for path in paths if path != ROOT / "llm" / "library.py"))


@pytest.mark.parametrize("name", NAMES)
def test_every_prompt_is_asked_for(named: set[str], name: str) -> None:
    """A prompt that nobody asks for is a promise that nobody keeps."""
    assert name in named
    assert local(name).text


def test_no_prompt_is_shipped_that_has_no_name() -> None:
    """Files and names are the same six."""
    assert sorted(path.stem for path in (ROOT / "llm" / "prompts").glob("*.md")) == sorted(NAMES)


def test_figures_are_told_as_readers_see_them() -> None:
    """A model may quote what its packet holds, so the packet holds no digits that nobody would write."""
    assert rounded({"a": [0.123456, (14.0, 1234.5678)], "b": 98765.4, "c": None, "d": True, "e": 7}) == {
        "a": [0.1235, [14, 1235]],
        "b": 98765,
        "c": None,
        "d": True,
        "e": 7,
    }
    assert [type(rounded(value)) for value in (14.0, 98765.4)] == [int, int]
    assert rounded([float("nan"), float("inf"), -1e-9]) == [None, None, -1e-9]
