"""The hundred golden cases: right on a healthy day, and each fault breaks its own and no others."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from core.states import CaseOutcome
from demo import app, world
from demo.config import CONFIG, SLA_MS
from demo.customers import right, value_of
from demo.faults import FAULTS
from demo.intents import understand
from demo.market import TRUTH, snapshot
from demo.setup import GOLDEN
from targets.answers import Answer
from targets.evaluators import judge
from targets.golden import GoldenCaseIn, parse_lines

STALE, OVERLOAD, RELEASE = FAULTS


@cache
def cases() -> list[GoldenCaseIn]:
    """The committed set, read as the importer reads it."""
    return parse_lines(GOLDEN.read_text().splitlines())


@pytest.fixture
def world_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that `FA_AI_WORLD` names."""
    path = tmp_path / "world.json"
    monkeypatch.setenv(world.VARIABLE, str(path))
    return path


def failures(config: dict[str, Any]) -> dict[str, set[str]]:
    """Return the keys of the cases that score 0, by metric. Time passes by counting, not by waiting."""
    failed: dict[str, set[str]] = {}
    for case in cases():
        slept: list[float] = []
        try:
            output = app.answer(case.inputs, {**CONFIG, **config}, sleep=slept.append)
            answer = Answer(CaseOutcome.OK, output, sum(slept) * 1000)
        except Exception as error:
            answer = Answer(CaseOutcome.FAILED, None, sum(slept) * 1000, repr(error))
        for metric, score in judge(answer, case.checks, sla_ms=SLA_MS).scores.items():
            if score < 1:
                failed.setdefault(metric, set()).add(case.key)
    return failed


def keys(**tags: str) -> set[str]:
    """Return the keys of the cases with these tags."""
    return {case.key for case in cases() if tags.items() <= case.tags.items()}


def test_there_are_a_hundred_cases_spread_over_what_can_break() -> None:
    """Half read slot b, 40 ask sonic-2, every region and plan is there; watchlists are newer than the set."""
    assert len(cases()) == 100
    for tag, least in (("region", 30), ("plan", 25), ("channel", 25)):
        counts = Counter(case.tags[tag] for case in cases())
        assert len(counts) == 3
        assert min(counts.values()) >= least
    assert len(keys(slot="b")) == 50
    assert len(keys(model="sonic-2")) == 40
    for case in cases():
        way = app.route(case.inputs, CONFIG)
        assert (way.region, way.plan, way.channel, way.model) == tuple(
            case.tags[tag] for tag in ("region", "plan", "channel", "model")
        )
        assert bool(case.inputs["beta"]) is (case.tags["slot"] == "b")
        assert way.intent != "watchlist"


def test_no_two_cases_ask_the_same() -> None:
    """A hundred cases are a hundred questions."""
    assert len({case.inputs["question"] for case in cases()}) == 100


def test_what_is_expected_is_what_the_companies_published() -> None:
    """Each expected figure follows from the table, by arithmetic that is not the app's."""
    checked = 0
    for case in cases():
        for check in case.checks:
            if check.type == "numeric":
                ask = understand(case.inputs["question"])
                company = snapshot(TRUTH)[ask.tickers[0]]
                assert ask.measure is not None
                assert right(value_of(ask.measure, company), check.expected), case.key
                checked += 1
    assert checked == 70


def test_all_pass_on_a_healthy_day() -> None:
    """The baseline is clean."""
    assert failures({}) == {}


def test_the_stale_index_breaks_answers_of_its_region_and_reverting_mends_them() -> None:
    """Fault 1: wrong figures in emea, nothing else anywhere."""
    failed = failures(STALE.deploys)
    assert set(failed) == {"fact_accuracy"}
    assert failed["fact_accuracy"] <= keys(region="emea")
    assert len(failed["fact_accuracy"]) >= 18


def test_the_overload_breaks_calls_of_its_model(world_file: Path) -> None:
    """Fault 2: errors for sonic-2. A longer time-out trades them for late answers; another route mends them."""
    world.write(world_file, OVERLOAD.world)
    failed = failures({})
    assert failed["error_free"] <= keys(model="sonic-2")
    assert len(failed["error_free"]) >= 10
    assert set.union(*failed.values()) == failed["error_free"]
    patient = failures({"provider.timeout_ms": 1000})
    assert set(patient) == {"sla_met"}
    assert failed["error_free"] < patient["sla_met"] <= keys(model="sonic-2")
    assert failures({"route.sonic-2": "atlas-1"}) == {}


def test_the_release_breaks_the_disclaimer_of_its_slot_and_reverting_passes(world_file: Path) -> None:
    """Fault 3: slot b loses the disclaimer. The set is older than watchlists, so the revert looks flawless here."""
    world.write(world_file, RELEASE.world)
    failed = failures(RELEASE.deploys)
    assert failed == {"guardrail_pass": keys(slot="b")}
    assert failures({"prompt.b": "v12"}) == {}


def test_with_all_three_at_once_enough_cases_are_right_for_a_verdict(world_file: Path) -> None:
    """A margin of 5 % of a poor baseline is small: with over 40 of 100 wrong in both arms no tie could pass."""
    world.write(world_file, {**OVERLOAD.world, **RELEASE.world})
    reverted = failures({**STALE.deploys, "prompt.b": "v12"})
    assert 30 < len(reverted["fact_accuracy"]) <= 38
    assert all("fact_accuracy" in {check.metric for check in case.checks} for case in cases())
