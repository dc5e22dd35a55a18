"""Localisation: the injected slice is named, and nothing is named where nothing is wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from analysis.localise import localise
from benchmarks.localise_worlds import Generator, world

Columns = dict[str, list[str | None]]


def traffic(seed: int = 0, n: int = 4000) -> tuple[Columns, np.ndarray[Any, Any], np.random.Generator]:
    """Four attributes of three values each; the last third of the runs is the bad window."""
    rng = np.random.default_rng(seed)
    columns: Columns = {name: rng.choice(["x", "y", "z"], n).tolist() for name in ("a", "b", "c", "d")}
    return columns, np.arange(n) >= 2 * n // 3, rng


def fails(rng: np.random.Generator, where: np.ndarray[Any, Any], rate: float = 0.5) -> list[bool]:
    """2 % of all runs fail, and `rate` of those in `where`."""
    return [bool(flag) for flag in rng.random(len(where)) < np.where(where, rate, 0.02)]


def holds(columns: Columns, **conditions: str) -> np.ndarray[Any, Any]:
    """Return which runs have these values."""
    masks = [np.array(columns[name]) == value for name, value in conditions.items()]
    return np.asarray(np.logical_and.reduce(masks))


@pytest.mark.parametrize("conditions", [{"a": "x"}, {"a": "x", "b": "y"}, {"a": "x", "b": "y", "d": "z"}])
def test_a_slice_of_any_order_is_named_exactly(conditions: dict[str, str]) -> None:
    """One, two and three attributes; what is reported adds up."""
    columns, bad, rng = traffic(n=12_000)
    inside = holds(columns, **conditions) & bad
    [cause] = localise(columns, fails(rng, inside), bad.tolist())
    assert cause.conditions == conditions
    assert cause.runs == inside.sum()
    assert cause.precision == pytest.approx(0.5, abs=0.15)
    assert cause.excess == pytest.approx(cause.failures - cause.expected)
    assert 0.8 < cause.explained <= 1
    assert cause.p_value < 1e-6


def test_two_faults_are_two_causes() -> None:
    """Neither hides the other."""
    columns, bad, rng = traffic()
    first, second = holds(columns, a="x"), holds(columns, b="y", c="z")
    causes = localise(columns, fails(rng, (first | second) & bad), bad.tolist())
    assert sorted((cause.conditions for cause in causes), key=len) == [{"a": "x"}, {"b": "y", "c": "z"}]


def test_a_global_drift_is_called_global() -> None:
    """Every run fails more: no value is to blame."""
    columns, bad, rng = traffic()
    causes = localise(columns, fails(rng, bad, 0.15), bad.tolist())
    assert [cause.conditions for cause in causes] == [{}]


def test_a_newly_deployed_value_is_preferred_among_its_aliases() -> None:
    """Version v2 went to exactly the users on plan beta: the value that is new is the likelier cause."""
    columns, bad, rng = traffic()
    beta = rng.random(len(bad)) < 0.4
    columns["plan"] = np.where(beta, "beta", "free").tolist()
    columns["version"] = np.where(beta & bad, "v2", "v1").tolist()
    [cause] = localise(columns, fails(rng, beta & bad), bad.tolist())
    assert cause.conditions == {"version": "v2"}
    assert {"plan": "beta"} in cause.aliases


def test_the_same_runs_under_two_names_are_aliases() -> None:
    """The data cannot tell the two apart, and says so."""
    columns, bad, rng = traffic()
    columns["same"] = [f"{value}!" for value in columns["a"]]
    [cause] = localise(columns, fails(rng, holds(columns, a="x") & bad), bad.tolist())
    assert [cause.conditions, *cause.aliases][:2] == [{"a": "x"}, {"same": "x!"}]


def test_traffic_that_shifts_to_a_bad_value_is_no_cause() -> None:
    """A value that always fails more grows threefold: the failures grow, the value is what it was."""
    rng = np.random.default_rng(0)
    n = 6000
    bad = np.arange(n) >= 4000
    heavy = rng.random(n) < np.where(bad, 0.6, 0.2)
    columns: Columns = {
        "kind": np.where(heavy, "heavy", "light").tolist(),
        "other": rng.choice(["x", "y"], n).tolist(),
    }
    assert localise(columns, (rng.random(n) < np.where(heavy, 0.2, 0.02)).tolist(), bad.tolist()) == []


@pytest.mark.parametrize("generator", ["noisy-or", "odds"])
def test_simulated_faults_are_found_and_null_worlds_stay_silent(generator: Generator) -> None:
    """A slice of the benchmark, so that a change which spoils it is seen at once."""
    seen = right = 0
    for seed in range(500, 524):
        here = world(seed, "fault", generator, runs=2000)
        if here.detectable:
            causes = localise(here.attributes, here.outcome, here.bad)
            seen += 1
            right += bool(causes) and causes[0].conditions == here.truths[0]
    assert seen >= 8
    assert right >= seen - 1
    silent = [world(seed, "null", generator, runs=2000) for seed in range(500, 520)]
    assert sum(bool(localise(here.attributes, here.outcome, here.bad)) for here in silent) <= 1


@pytest.mark.parametrize("unit", ["seconds", "datetimes"])
def test_the_onset_comes_in_the_type_of_the_times(unit: str) -> None:
    """The fault began where the bad window begins."""
    columns, bad, rng = traffic()
    start = datetime(2026, 11, 26, tzinfo=UTC)
    times: Any = list(range(len(bad)))
    if unit == "datetimes":
        times = [start + timedelta(seconds=second) for second in times]
    [cause] = localise(columns, fails(rng, holds(columns, a="x") & bad), bad.tolist(), times=times)
    low, high = cause.onset_interval or (None, None)
    assert low is not None
    assert high is not None
    truth = times[int(np.argmax(bad))]
    assert low <= cause.onset <= high
    slack: Any = 40 if unit == "seconds" else timedelta(seconds=40)
    assert low - slack <= truth <= high + slack


def test_a_heavy_tailed_latency_is_localised() -> None:
    """A third of one slice's runs take four times as long."""
    columns, bad, rng = traffic()
    seconds = np.exp(rng.normal(0, 0.7, len(bad)))
    seconds[holds(columns, a="x", b="y") & bad & (rng.random(len(bad)) < 0.33)] *= 6
    [cause] = localise(columns, seconds.tolist(), bad.tolist(), worse="higher")
    assert cause.conditions == {"a": "x", "b": "y"}


def test_a_score_that_falls_is_found_without_being_told_the_direction() -> None:
    """Lower is worse here; the data show which way it moved."""
    columns, bad, rng = traffic()
    score = rng.beta(8, 2, len(bad))
    hit = holds(columns, c="z") & bad
    score[hit] *= 0.6
    [cause] = localise(columns, score.tolist(), bad.tolist())
    assert cause.conditions == {"c": "z"}


def test_missing_values_and_outcomes_are_left_out() -> None:
    """A gap is no value, and a run without an outcome no run."""
    columns, bad, rng = traffic()
    outcome: list[Any] = fails(rng, holds(columns, a="x") & bad)
    for row in range(0, len(outcome), 7):
        outcome[row] = None
    for row in range(0, len(outcome), 5):
        columns["b"][row] = None
    [cause] = localise(columns, outcome, bad.tolist())
    assert cause.conditions == {"a": "x"}


def test_an_attribute_that_is_the_outcome_explains_nothing() -> None:
    """`status = error` names the failing runs in the baseline too."""
    columns, bad, rng = traffic()
    outcome = fails(rng, holds(columns, a="x") & bad)
    columns["status"] = ["error" if failed else "ok" for failed in outcome]
    columns["error_type"] = ["Timeout" if failed else None for failed in outcome]
    [cause] = localise(columns, outcome, bad.tolist())
    assert cause.conditions == {"a": "x"}


def test_ten_thousand_values_of_one_attribute_do_no_harm() -> None:
    """Nearly every run has a value of its own: nothing to count, nothing to blame."""
    columns, bad, rng = traffic(n=12_000)
    columns["request"] = [f"r{int(value)}" for value in rng.integers(0, 10_000, len(bad))]
    [cause] = localise(columns, fails(rng, holds(columns, a="x") & bad), bad.tolist())
    assert cause.conditions == {"a": "x"}


@pytest.mark.parametrize(
    ("outcome", "bad"),
    [([], []), ([1], [True]), ([1] * 40, [False] * 20 + [True] * 20), ([0] * 40, [False] * 20 + [True] * 20),
     ([1] * 20, [True] * 20), ([0] * 20 + [1] * 20, [False] * 40), ([None] * 9, [True] * 9)],
)  # fmt: skip
def test_where_there_is_nothing_to_compare_there_is_no_cause(outcome: list[Any], bad: list[bool]) -> None:
    """No runs, one run, all fail, none fail, no baseline, no bad window, no outcome."""
    assert localise({"a": ["x"] * len(outcome)}, outcome, bad) == []


def test_all_runs_failing_at_once_is_global() -> None:
    """From 2 % to everything, everywhere."""
    columns, bad, rng = traffic(n=600)
    causes = localise(columns, fails(rng, bad, 1.0), bad.tolist())
    assert [cause.conditions for cause in causes] == [{}]


def test_lengths_that_differ_are_refused_by_name() -> None:
    """The message says which column is short."""
    with pytest.raises(ValueError, match="'a' has 2 entries, the outcome 3"):
        localise({"a": ["x", "y"]}, [0, 1, 0], [True, False, True])
    with pytest.raises(ValueError, match="max_order"):
        localise({}, [0], [True], max_order=0)


def test_the_answer_is_always_the_same() -> None:
    """No randomness: the same runs, the same cause, to the last digit."""
    columns, bad, rng = traffic()
    outcome = fails(rng, holds(columns, a="x", c="y") & bad)
    assert localise(columns, outcome, bad.tolist()) == localise(columns, outcome, bad.tolist())
