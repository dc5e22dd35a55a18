"""What becomes one mail, and what mutes what, with the clock in hand."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.alert_groups import REMEMBERED, Told, Valve, admit, inhibited_by
from agents.alert_life import Timing
from core.states import AlertKind, AlertState

START = datetime(2026, 3, 10, 22, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
TIMING = Timing()


def pour(*looks: tuple[int, int]) -> list[Told]:
    """Return how alerts are told that come as (minute, number)."""
    valve, told, following = Valve(), [], 1
    for minute, number in looks:
        news = list(range(following, following + number))
        following += number
        valve, how = admit(Valve.from_json(valve.as_json()), news, now=START + minute * MINUTE, timing=TIMING)
        if number:
            told.append(how)
    return told


def test_few_alerts_are_told_one_by_one() -> None:
    """Five within ten minutes pass."""
    assert pour(*((minute, 1) for minute in range(0, 10, 2))) == [Told.EACH] * 5


def test_a_sixth_within_ten_minutes_is_a_storm_and_the_next_are_folded_in() -> None:
    """A11: from there on one mail stands for all."""
    assert pour(*((minute, 1) for minute in range(8))) == [Told.EACH] * 5 + [Told.STORM, Told.FOLDED, Told.FOLDED]


def test_six_in_an_hour_are_no_storm() -> None:
    """The window slides."""
    assert pour(*((minute, 1) for minute in range(0, 60, 10))) == [Told.EACH] * 6


def test_a_storm_is_over_after_ten_calm_minutes() -> None:
    """What comes then is news again."""
    assert pour((0, 6), (5, 1), (14, 1), (24, 1)) == [Told.STORM, Told.FOLDED, Told.FOLDED, Told.EACH]


def test_what_one_look_finds_is_told_together() -> None:
    """A10: one mail for three, one mail for thirty."""
    assert pour((0, 3)) == [Told.TOGETHER]
    assert pour((0, 30)) == [Told.STORM]


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 40)), max_size=60))
def test_no_hour_has_more_than_a_handful_of_mails(steps: list[tuple[int, int]]) -> None:
    """However alerts pour in: the limit and one storm in any ten minutes, and the valve's memory is bounded."""
    valve, now, mails, following = Valve(), START, [], 1
    for minutes, number in steps:
        now += minutes * MINUTE
        valve, how = admit(valve, list(range(following, following + number)), now=now, timing=TIMING)
        following += number
        assert len(valve.began) <= REMEMBERED
        if number and how is not Told.FOLDED:
            mails.append(now)
    for first in mails:
        assert sum(first <= at < first + TIMING.storm_window for at in mails) <= TIMING.storm_limit + 1


@dataclass
class Other:
    """An open alert."""

    id: int = 7
    kind: AlertKind = AlertKind.ERROR_SPIKE
    state: AlertState = AlertState.FIRING
    observed: float | None = 0.8


@pytest.mark.parametrize("kind", [AlertKind.QUALITY_DEGRADATION, AlertKind.SLA_VIOLATION, AlertKind.ANOMALY])
def test_a_provider_that_is_down_mutes_what_it_causes(kind: AlertKind) -> None:
    """A9."""
    assert inhibited_by(kind, [Other()]) == ("provider_down", 7)


@pytest.mark.parametrize(
    "other",
    [Other(observed=0.2), Other(observed=None), Other(state=AlertState.PENDING), Other(kind=AlertKind.SLA_VIOLATION)],
    ids=["some errors", "unknown", "not sure yet", "no error"],
)
def test_nothing_less_mutes(other: Other) -> None:
    """A fifth of the runs failing explains no bad answer."""
    assert inhibited_by(AlertKind.QUALITY_DEGRADATION, [other]) is None


def test_a_provider_that_is_down_does_not_mute_itself_or_missing_data() -> None:
    """The cause is told, and so is silence."""
    assert inhibited_by(AlertKind.ERROR_SPIKE, [Other()]) is None
    assert inhibited_by(AlertKind.NO_DATA, [Other()]) is None
