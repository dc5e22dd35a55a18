"""The pace of the traffic bends to the machine."""

from __future__ import annotations

from demo.traffic import RATE, SLOWEST, WINDOW, WORKERS, Pace


def late(pace: Pace, seconds: float) -> None:
    """Let a window of sleeps be late by so much."""
    pace.late.extend([seconds] * WINDOW)


def test_a_machine_that_wakes_late_gets_fewer_requests_and_recovers() -> None:
    """Down quickly, up slowly, never beyond the target."""
    pace = Pace()
    late(pace, 0.2)
    assert pace.adapt(0) == RATE * 0.7
    late(pace, 0.001)
    assert RATE * 0.7 < pace.adapt(0) < RATE
    for _ in range(20):
        late(pace, 0.001)
        pace.adapt(0)
    assert pace.rate == RATE


def test_a_queue_that_grows_slows_it_too() -> None:
    """Even where no sleep was late: something else holds the requests up."""
    pace = Pace()
    for _ in range(40):
        pace.adapt(2 * WORKERS)
    assert pace.rate == SLOWEST


def test_a_few_late_sleeps_change_nothing() -> None:
    """One hiccup in ten is no overload."""
    pace = Pace()
    pace.late.extend([0.5] * 4 + [0.001] * WINDOW)
    assert pace.adapt(0) == RATE


def test_sleeping_takes_its_time_and_is_measured() -> None:
    """The provider's sleep is the probe."""
    pace = Pace()
    pace.sleep(0.01)
    assert len(pace.late) == 1
    assert pace.late[0] >= 0
