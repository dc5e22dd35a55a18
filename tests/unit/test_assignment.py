"""Who gets the candidate."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.assignment import gets_candidate, position


def test_a_unit_keeps_its_place_for_ever() -> None:
    """The formula is a contract: another process, language or year gives the same answer."""
    assert position("a", "b") == pytest.approx(40.43523740656047, abs=1e-12)


def test_growing_shares_are_nested() -> None:
    """A unit that has the candidate at 10 % has it at 50 % and 90 % too."""
    units = [f"u-{number}" for number in range(2000)]
    ten, fifty, ninety = ({unit for unit in units if gets_candidate("salt", unit, percent)} for percent in (10, 50, 90))
    assert ten < fifty < ninety < set(units)


def test_shares_are_what_they_say_and_salts_are_independent() -> None:
    """4,000 units at 50 %: within five standard errors, alone and crossed with another rollout."""
    units = [f"u-{number}" for number in range(4000)]
    first = np.array([gets_candidate("one", unit, 50) for unit in units])
    second = np.array([gets_candidate("two", unit, 50) for unit in units])
    assert abs(first.mean() - 0.5) < 5 * 0.5 / 4000**0.5
    assert abs((first & second).mean() - 0.25) < 5 * (0.25 * 0.75 / 4000) ** 0.5


def test_nobody_at_zero_and_everybody_at_a_hundred() -> None:
    """The ends of the line are exact."""
    units = [f"u-{number}" for number in range(500)]
    assert not any(gets_candidate("s", unit, 0) for unit in units)
    assert all(gets_candidate("s", unit, 100) for unit in units)
