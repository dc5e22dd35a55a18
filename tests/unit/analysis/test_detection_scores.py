"""The benchmark's two ways of scoring, on cases that can be counted by hand."""

from __future__ import annotations

import numpy as np

from benchmarks.detection import nab
from benchmarks.detection.events import Judge, Labelled


def labelled(*events: tuple[int, int], size: int = 1000, start: int = 100) -> Judge:
    """Return a judge of one series of 5-minute points with events from … until."""
    labels = np.zeros(size, dtype=bool)
    for first, end in events:
        labels[first:end] = True
    return Judge(Labelled([np.zeros(size)], [labels], [start], [300]))


def alarms(*points: int, size: int = 1000) -> list[np.ndarray]:
    """Return scores of one at these points."""
    scores = np.zeros(size)
    scores[list(points)] = 1.0
    return [scores]


def test_an_event_is_hit_within_or_ten_minutes_after() -> None:
    """Two points of grace, not three; what is before the start does not count."""
    judge = labelled((50, 52), (200, 203), (400, 403), (600, 603))
    assert judge.events == 3
    found = judge.judge(alarms(202, 404, 605), 1.0)
    assert found["recall"] == round(2 / 3, 4)
    assert found["precision"] == round(2 / 3, 4)


def test_false_alarms_within_an_hour_are_one_episode() -> None:
    """Told every five minutes it is still one."""
    judge = labelled((200, 203))
    found = judge.judge(alarms(201, 500, 505, 517, 530), 1.0)
    assert found["precision"] == round(1 / 3, 4)
    assert found["false_a_week"] == round(2 / (900 * 300 / 604_800), 4)


def file(*windows: tuple[int, int], size: int = 1000) -> nab.File:
    """Return a file of five-minute points with windows of (first, last)."""
    times = np.datetime64("2024-01-01T00:00:00") + 300 * np.arange(size).astype("timedelta64[s]")
    return nab.File("a", times, np.zeros(size), list(windows))


def test_nab_gives_nothing_for_silence_and_all_for_the_first_point_of_every_window() -> None:
    """The two ends of the scale, in every profile."""
    files = [file((300, 399), (600, 699)), file()]
    silent = [np.zeros(1000, bool)] * 2
    assert nab.score(files, silent) == {"standard": 0.0, "low_fp": 0.0, "low_fn": 0.0}
    perfect = [alarms(300, 600)[0] > 0, silent[1]]
    assert nab.score(files, perfect) == {"standard": 100.0, "low_fp": 100.0, "low_fn": 100.0}


def test_nab_counts_the_best_detection_in_a_window_and_each_outside() -> None:
    """Late is worth less, more is worth no more, far outside costs its weight, the probation nothing."""
    files = [file((500, 599))]
    early, late = nab.score(files, [alarms(510)[0] > 0]), nab.score(files, [alarms(590)[0] > 0])
    assert 0 < late["standard"] < early["standard"] < 100
    assert nab.score(files, [alarms(510, 520, 530)[0] > 0]) == early
    assert nab.score(files, [alarms(20, 140, 510)[0] > 0]) == early
    wrong = nab.score(files, [alarms(200, 510)[0] > 0])
    assert wrong["standard"] == round(early["standard"] - 100 * 0.11 / 2, 2)
    assert wrong["low_fp"] == round(early["low_fp"] - 100 * 0.22 / 2, 2)
    behind = nab.score(files, [alarms(510, 605)[0] > 0])
    assert wrong["standard"] < behind["standard"] < early["standard"]
