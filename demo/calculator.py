"""Arithmetic for the assistant: an expression over named figures. No eval: four operators, numbers, names."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from functools import lru_cache

OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
LONGEST = 200


class CalculatorError(ValueError):
    """The expression is not arithmetic over known figures, or divides by zero."""


def calculate(expression: str, figures: Mapping[str, float]) -> float:
    """Return the value of an expression such as `(revenue - revenue_prior) / revenue_prior * 100`.

    Raises:
        CalculatorError: anything but + − × ÷ over numbers and the given figures; a division by zero.
    """
    try:
        return _value(_parse(expression), figures)
    except ZeroDivisionError as error:
        raise CalculatorError(f"{expression!r} divides by zero") from error


@lru_cache(maxsize=64)
def _parse(expression: str) -> ast.expr:
    if len(expression) > LONGEST:
        raise CalculatorError(f"an expression has at most {LONGEST} characters, this one {len(expression)}")
    try:
        return ast.parse(expression, mode="eval").body
    except SyntaxError as error:
        raise CalculatorError(f"{expression!r} is no arithmetic") from error


def _value(node: ast.expr, figures: Mapping[str, float]) -> float:
    match node:
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            return OPERATORS[type(op)](_value(left, figures), _value(right, figures))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, figures)
        case ast.Constant(value=bool()):
            raise CalculatorError("a truth value is no number")
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.Name(id=name) if name in figures:
            return float(figures[name])
        case ast.Name(id=name):
            raise CalculatorError(f"the figure {name!r} was not retrieved")
        case _:
            raise CalculatorError(f"{ast.unparse(node)!r} is not allowed in an expression")
