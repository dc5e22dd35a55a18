"""The filter expressions of LangSmith's protocol, `and(eq(run_type, "llm"), gt(latency, 2))`, parsed into a tree."""

from __future__ import annotations

import re
from dataclasses import dataclass

from core.errors import MetamonError

MAX_CHARS = 10_000
MAX_NODES = 200
MAX_DEPTH = 20

Value = str | int | float | bool | None | list["Value"]

COMPARISONS = ("eq", "neq", "gt", "gte", "lt", "lte", "in", "has", "search")
CONNECTIVES = ("and", "or", "not")

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<punct>[(),\[\]])
      | (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w-]))
      | (?P<word>[A-Za-z_][\w.\-:]*)
    )""",
    re.VERBOSE,
)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


class FilterError(MetamonError):
    """A filter cannot be understood, or asks for what is not supported."""


@dataclass(frozen=True)
class Comparison:
    """`eq(run_type, "llm")`; for `search("words")` the field is empty."""

    operator: str
    field: str
    value: Value


@dataclass(frozen=True)
class Group:
    """`and(…)`, `or(…)`, `not(…)`."""

    operator: str
    members: tuple[Comparison | Group, ...]


Node = Comparison | Group


def parse(expression: str) -> Node:
    """Return the expression as a tree.

    Raises:
        FilterError: it is no filter expression; the message says where and what was expected.
    """
    if len(expression) > MAX_CHARS:
        raise FilterError(f"the filter has {len(expression)} characters; {MAX_CHARS} are the limit")
    parser = _Parser(_tokens(expression))
    node = parser.node(0)
    parser.end()
    return node


def _tokens(expression: str) -> list[tuple[str, str]]:
    tokens = []
    position = 0
    stripped = expression.rstrip()
    while position < len(stripped):
        found = _TOKEN.match(stripped, position)
        if found is None:
            raise FilterError(f"the filter is not understood at {stripped[position : position + 30]!r}")
        tokens.append((str(found.lastgroup), found.group(str(found.lastgroup))))
        position = found.end()
    return tokens


class _Parser:
    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self.tokens = tokens
        self.at = 0
        self.nodes = 0

    def node(self, depth: int) -> Node:
        self.nodes += 1
        if depth > MAX_DEPTH or self.nodes > MAX_NODES:
            raise FilterError(f"the filter is too large: {MAX_NODES} comparisons, {MAX_DEPTH} levels are the limit")
        operator = self._take("word", "an operator such as eq or and")
        if operator in CONNECTIVES:
            return self._group(operator, depth)
        if operator not in COMPARISONS:
            known = ", ".join(CONNECTIVES + COMPARISONS)
            raise FilterError(f"the filter operator {operator!r} is not supported; supported: {known}")
        self._punctuation("(")
        if operator == "search" and self._peek()[0] == "string":
            field = ""
        else:
            field = self._take("word", f"a field in {operator}(…)")
            self._punctuation(",")
        value = self._value(depth)
        self._punctuation(")")
        return Comparison(operator, field, value)

    def end(self) -> None:
        if self.at != len(self.tokens):
            raise FilterError(f"the filter goes on after its end: {self._peek()[1]!r}")

    def _group(self, operator: str, depth: int) -> Group:
        self._punctuation("(")
        members = [self.node(depth + 1)]
        while self._peek()[1] == ",":
            self.at += 1
            members.append(self.node(depth + 1))
        self._punctuation(")")
        if operator == "not" and len(members) != 1:
            raise FilterError("not(…) takes one member")
        return Group(operator, tuple(members))

    def _value(self, depth: int) -> Value:
        if depth > MAX_DEPTH:
            raise FilterError(f"the filter is too deep: {MAX_DEPTH} levels are the limit")
        kind, word = self._peek()
        self.at += 1
        if kind == "string":
            return _ESCAPED.sub(r"\1", word[1:-1])
        if kind == "number":
            return float(word) if any(sign in word for sign in ".eE") else int(word)
        if kind == "word":
            constants = {"true": True, "false": False, "null": None, "none": None}
            return constants.get(word.lower(), word)
        if word == "[":
            values: list[Value] = []
            while self._peek()[1] != "]":
                values.append(self._value(depth + 1))
                if self._peek()[1] == ",":
                    self.at += 1
                elif self._peek()[1] != "]":
                    raise FilterError("a list in the filter is not closed")
            self.at += 1
            return values
        raise FilterError(f"a value was expected in the filter, not {word or 'its end'!r}")

    def _peek(self) -> tuple[str, str]:
        return self.tokens[self.at] if self.at < len(self.tokens) else ("end", "")

    def _take(self, kind: str, expected: str) -> str:
        found, token = self._peek()
        if found != kind:
            raise FilterError(f"{expected} was expected in the filter, not {token or 'its end'!r}")
        self.at += 1
        return token

    def _punctuation(self, sign: str) -> None:
        if self._peek()[1] != sign:
            raise FilterError(f"{sign!r} was expected in the filter, not {self._peek()[1] or 'its end'!r}")
        self.at += 1
