"""Filter expressions, parsed."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.queries.filter_language import Comparison, FilterError, Group, Node, parse
from db.queries.run_filters import compile_filter


@pytest.mark.parametrize(
    ("expression", "tree"),
    [
        ('eq(run_type, "llm")', Comparison("eq", "run_type", "llm")),
        ("gt(latency, -1.5e1)", Comparison("gt", "latency", -15.0)),
        ("eq(is_root, true)", Comparison("eq", "is_root", True)),
        ("neq(error, null)", Comparison("neq", "error", None)),
        ("in(status, ['error', \"success\"])", Comparison("in", "status", ["error", "success"])),
        ('search("time out")', Comparison("search", "", "time out")),
        (r'eq(name, "say \"hi\"")', Comparison("eq", "name", 'say "hi"')),
        ("has(tags, 'a')", Comparison("has", "tags", "a")),
        (
            ' and( eq(a,1) , or(lt(b,2), not(eq(c,"x"))) ) ',
            Group(
                "and",
                (
                    Comparison("eq", "a", 1),
                    Group("or", (Comparison("lt", "b", 2), Group("not", (Comparison("eq", "c", "x"),)))),
                ),
            ),
        ),
    ],
)
def test_an_expression_becomes_a_tree(expression: str, tree: Node) -> None:
    """The forms that the SDK's documentation shows."""
    assert parse(expression) == tree


@given(st.text(alphabet="eq(),and[]\"'\\ 1.-xnot", max_size=60) | st.text(max_size=60))
def test_any_text_is_a_filter_or_a_clear_error(expression: str) -> None:
    """Nothing else is raised, and nothing is guessed."""
    with suppress(FilterError):
        compile_filter(expression)


def test_a_value_is_bound_and_never_written_into_the_statement() -> None:
    """The filter comes from outside."""
    condition = compile_filter('eq(name, "x\' OR 1=1 --")')
    assert "OR 1=1" not in str(condition)
