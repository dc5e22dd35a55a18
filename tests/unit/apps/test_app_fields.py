"""What may be said of an app, and how it is said at the command line."""

from __future__ import annotations

from typing import Any

import pytest

from agents.apps import InvalidAppError, check_config, check_fields, parse_assignments


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"sla_ms": 0}, "sla_ms"),
        ({"sla_ms": "soon"}, "sla_ms"),
        ({"source": "elsewhere"}, "source"),
        ({"notify": ["nobody"]}, "no mail address"),
        ({"timezone": "Mars/Olympus"}, "Europe/Berlin"),
        ({"project": "fa-ai-meta-monitoring"}, "never monitors itself"),
        ({"project": "evaluators"}, "never monitors itself"),
        ({"colour": "red"}, "config.KEY"),
        ({"target": {"kind": "spoon"}}, "target"),
        ({"allowed": {"prompt.a": {"type": "anything"}}}, "prompt.a.type"),
    ],
)
def test_a_wrong_field_is_named_with_what_would_be_right(fields: dict[str, Any], says: str) -> None:
    """Nobody should have to guess which field was meant."""
    with pytest.raises(InvalidAppError, match=says):
        check_fields(fields)


def test_only_what_was_given_comes_back() -> None:
    """A field that was not said is not touched."""
    assert check_fields({"sla_ms": 800, "notify": []}) == {"sla_ms": 800, "notify": []}


@pytest.mark.parametrize("config", [{"a": {"b": 1}}, {"a": [1]}, {"a b": 1}, {"a": None}, {"a": float("nan")}, {"": 1}])
def test_a_configuration_is_flat(config: dict[str, Any]) -> None:
    """Flags serve scalars by dotted key and nothing else."""
    with pytest.raises(InvalidAppError):
        check_config(config)


def test_assignments_are_json_where_they_can_be() -> None:
    """`250` is a number, `v13` a text, `"250"` a text again, null removes."""
    fields, config = parse_assignments(
        ["sla_ms=800", "enabled=false", "notify=a@x.org, b@x.org", "config.k=4", "config.prompt.a=v13", 'config.s="4"',
         "config.gone=null", "config.eq=a=b"]
    )  # fmt: skip
    assert fields == {"sla_ms": 800, "enabled": False, "notify": ["a@x.org", "b@x.org"]}
    assert config == {"k": 4, "prompt.a": "v13", "s": "4", "gone": None, "eq": "a=b"}


@pytest.mark.parametrize("assignment", ["sla_ms", "=3", ""])
def test_what_is_no_assignment_is_refused(assignment: str) -> None:
    """The message shows the form."""
    with pytest.raises(InvalidAppError, match="KEY=VALUE"):
        parse_assignments([assignment])
