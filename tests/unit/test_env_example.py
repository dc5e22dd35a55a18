"""`.env.example` and the settings say the same."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import AliasChoices
from pydantic_core import PydanticUndefined

from core.settings import Settings

EXAMPLE = Path(__file__).parents[2] / ".env.example"
COMPOSE = Path(__file__).parents[2] / "docker-compose.yml"


def variables() -> dict[str, str]:
    """Return the variables that the example documents, with the values it states."""
    return dict(re.findall(r"^# ((?:METAMON|LANGSMITH|OPENAI)_[A-Z_]+)=(.*)$", EXAMPLE.read_text(), re.MULTILINE))


def expected() -> dict[str, str]:
    """Return every setting's variable with its default; nothing where there is none."""
    found = {}
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        variable = str(alias.choices[0]) if isinstance(alias, AliasChoices) else f"METAMON_{name.upper()}"
        default = "" if field.default in (None, PydanticUndefined) else field.default
        found[variable] = str(default).lower() if isinstance(default, bool) else str(default)
    return found


def test_the_example_documents_every_setting_and_its_default() -> None:
    """A setting that is added, renamed or gets another default must be told to the users."""
    assert variables() == expected()


def test_compose_passes_every_setting_on() -> None:
    """What the example explains must have an effect in a container too; where a container keeps things is its own."""
    passed_on = re.compile(r"^    ((?:METAMON|LANGSMITH|OPENAI)_[A-Z_]+): \$\{\1:-", re.MULTILINE)
    composed = set(passed_on.findall(COMPOSE.read_text()))
    own = {"METAMON_STATE", "METAMON_API_HOST", "METAMON_API_PORT", "METAMON_FLOWER_HOST", "METAMON_FLOWER_PORT"}
    assert composed == expected().keys() - own


def test_the_example_changes_nothing_when_it_is_copied() -> None:
    """All of it is commented out: an empty value would count as one."""
    assert [line for line in EXAMPLE.read_text().splitlines() if line.strip() and not line.startswith("#")] == []
