"""How fast a rollout may go. The demo is quicker; the gates of the guard are the same."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True)
class Cadence:
    """Times of a rollout."""

    settle: timedelta
    """How long after a run's end its feedback is waited for."""
    transition: timedelta
    """Runs that started this soon after a change of the share are left out: the app may still have the old variant."""
    stage_time: timedelta
    """Least time in a stage."""
    stage_units: int
    """Least number of units in each arm of a stage."""
    impact_window: timedelta
    """How long the hold-back stays after 100 %."""
    impact_units: int
    """Least number of units in each arm before an impact is written down."""
    retry: timedelta
    """When to look again at what could not be done yet."""


PRODUCTION = Cadence(
    settle=timedelta(seconds=60),
    transition=timedelta(seconds=10),
    stage_time=timedelta(minutes=30),
    stage_units=100,
    impact_window=timedelta(hours=24),
    impact_units=200,
    retry=timedelta(minutes=10),
)

DEMO = Cadence(
    settle=timedelta(seconds=3),
    transition=timedelta(seconds=2),
    stage_time=timedelta(seconds=8),
    stage_units=30,
    impact_window=timedelta(seconds=20),
    impact_units=30,
    retry=timedelta(seconds=3),
)


def cadence(*, demo: bool) -> Cadence:
    """Return the cadence of the demo or of production."""
    return DEMO if demo else PRODUCTION
