"""The detectors in the sweep against a real Postgres: what they add, and what they remember."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session, sessionmaker

from agents.monitoring.check import Cadence
from agents.monitoring.metrics import QUALITY_METRICS_CAP
from analysis.detection import SeriesDetector
from core.states import AlertKind, AlertState
from db.models.metrics import DetectorState
from db.queries.metrics import series
from db.queries.status import app_statuses
from tests.integration.test_monitoring import alerts, check
from tests.monitoring_world import Spec, World, make_world

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
WIDTH = timedelta(minutes=5)
REAL = Cadence()


def traffic(
    start: datetime, end: datetime, *, per_bucket: int, seed: int, errors: float = 0.01, tokens: int = 1000
) -> list[Spec]:
    """Return some runs a bucket, evenly spread, with as many errors as chance gives."""
    rng = random.Random(seed)
    pace = WIDTH / per_bucket
    return [
        Spec(
            start + n * pace,
            "error" if rng.random() < errors else "success",
            rng.lognormvariate(-2.5, 0.3),
            tokens=round(tokens * rng.lognormvariate(0, 0.2)),
        )
        for n in range(int((end - start) / pace))
    ]


def go_on(world: World, runs: Sequence[Spec], start: datetime, end: datetime, *, every: timedelta = WIDTH) -> None:
    """Let the runs happen, with a check every so often."""
    at = start
    while at < end:
        world.add([run for run in runs if at <= run.at < at + every])
        at += every
        check(world, at)


def memories(world: World) -> dict[str, tuple[datetime, list[str], dict[str, object]]]:
    """Return what the detectors remember, by name."""
    with world.sessions() as session:
        rows = session.scalars(select(DetectorState).where(DetectorState.app_id == world.app_id))
        return {row.name: (row.settled_until, row.metrics, row.state) for row in rows}


def test_a_leak_at_three_runs_a_window_is_found_although_no_window_shows_it(sessions: sessionmaker[Session]) -> None:
    """Errors rise from 1 % to 12 % where three runs come in five minutes: half an hour proves nothing, hours do."""
    world = make_world(sessions)
    world.add(traffic(NOW - timedelta(days=2), NOW, per_bucket=3, seed=1))
    check(world, NOW)
    assert alerts(world) == []
    leak, half = timedelta(hours=6), timedelta(minutes=30)
    go_on(world, traffic(NOW, NOW + leak, per_bucket=3, seed=2, errors=0.12), NOW, NOW + leak, every=half)
    [alert] = [row for row in alerts(world) if row.metric == "error_rate"]
    assert alert.kind is AlertKind.ERROR_SPIKE
    assert alert.fired_at is not None
    assert "the running test of small counts alarms" in alert.reasons[0]
    assert alert.p_value is not None
    assert alert.p_value <= 1e-5
    assert alert.window_start >= NOW - WIDTH
    assert alert.observed is not None
    assert 0.06 <= alert.observed <= 0.25
    assert len(alert.run_ids) >= 3

    later = NOW + leak
    go_on(world, traffic(later, later + leak, per_bucket=3, seed=3, errors=0.0), later, later + leak, every=half)
    assert alerts(world)[0].state is AlertState.RESOLVED


def test_a_prompt_that_triples_the_tokens_is_an_alert(sessions: sessionmaker[Session]) -> None:
    """Tokens a run are watched like latency; the evidence names the runs, the chart around it has the same unit."""
    world = make_world(sessions)
    world.add(traffic(NOW - timedelta(hours=6), NOW, per_bucket=20, seed=1))
    check(world, NOW)
    end = NOW + timedelta(minutes=20)
    go_on(world, traffic(NOW, end, per_bucket=20, seed=2, tokens=3000), NOW, end)
    [alert] = alerts(world)
    assert (alert.kind, alert.metric) == (AlertKind.ANOMALY, "tokens_per_run")
    assert alert.observed == pytest.approx(3000, rel=0.2)
    assert alert.expected == pytest.approx(1000, rel=0.25)
    assert alert.window_start == NOW
    assert alert.fired_at is not None
    assert alert.fired_at <= NOW + 2 * WIDTH
    assert alert.run_ids
    with world.sessions() as session:
        around = series(
            session, app="shop", metric="tokens_per_run", start=NOW, end=NOW + WIDTH, bucket_s=300, points=2
        )
    assert around.unit == "tokens"
    assert around.points[0].value == pytest.approx(3000, rel=0.2)
    over = end + timedelta(minutes=30)
    go_on(world, traffic(end, over, per_bucket=20, seed=3), end, over)
    [alert] = alerts(world)
    assert alert.state is AlertState.RESOLVED


@pytest.mark.parametrize(
    ("hours", "usual", "left", "expected"), [(8, 60, 18, "anomaly:volume"), (26, 10, 0, "no_data:volume")]
)
def test_a_part_of_the_traffic_and_all_of_it_are_alerts_of_their_own(
    sessions: sessionmaker[Session], hours: int, usual: int, left: int, expected: str
) -> None:
    """Where two thirds of the traffic go away it is an anomaly of volume; where all goes, only the missing data."""
    world = make_world(sessions)
    world.add(traffic(NOW - timedelta(hours=hours), NOW, per_bucket=usual, seed=1))
    check(world, NOW)
    end = NOW + timedelta(minutes=20)
    go_on(world, traffic(NOW, end, per_bucket=left, seed=2) if left else [], NOW, end)
    assert [alert.fingerprint for alert in alerts(world)] == [expected]


def test_twelve_checks_and_one_after_an_outage_teach_the_same(
    sessions: sessionmaker[Session],
) -> None:
    """Whether an hour was looked at as it came or after an outage of ours, every number that is remembered is equal."""
    past = traffic(NOW - timedelta(hours=8), NOW, per_bucket=40, seed=1)
    hour = traffic(NOW, NOW + timedelta(hours=1), per_bucket=40, seed=2, errors=0.05)
    told = []
    for project in ("steady", "outage"):
        world = make_world(sessions, project=project)
        world.add([Spec(run.at, run.status, run.seconds, tokens=run.tokens) for run in past])
        check(world, NOW)
        if project == "steady":
            go_on(world, hour, NOW, NOW + timedelta(hours=1))
        else:
            world.add([Spec(run.at, run.status, run.seconds, tokens=run.tokens) for run in hour])
            check(world, NOW + timedelta(hours=1))
        told.append(memories(world))
    steady, outage = told
    assert steady["rates"] == outage["rates"]
    assert steady["series"][:2] == outage["series"][:2]
    first, second = (SeriesDetector.from_state(each["series"][2]).memory() for each in told)
    for name in set(first) - {"setup", "cadence"}:
        # The volume of an outage of ours may be our own doing: it is the one thing that is not believed afterwards.
        assert np.array_equal(first[name][..., :3], second[name][..., :3], equal_nan=True), name
    hours = (steady["series"][0] - NOW) / timedelta(hours=1) + 8
    assert first["seen"][:2] == pytest.approx(12 * hours, abs=1)  # latency and tokens of every step were taught
    assert steady["rates"][0] == NOW + timedelta(minutes=30)


def test_a_second_check_of_the_same_moment_teaches_nothing(sessions: sessionmaker[Session]) -> None:
    """A task that is delivered twice leaves the memory as it was."""
    world = make_world(sessions)
    world.add(traffic(NOW - timedelta(hours=8), NOW, per_bucket=20, seed=1))
    check(world, NOW)
    before = memories(world)
    check(world, NOW)
    assert memories(world) == before


def test_late_runs_count_until_their_bucket_is_settled(sessions: sessionmaker[Session]) -> None:
    """Failures that arrive twenty minutes late teach as if they had been on time; after the half hour they do not."""
    told = []
    for project, delay in (("on-time", 0), ("late", 4), ("too-late", 8)):
        world = make_world(sessions, project=project)
        world.add(traffic(NOW - timedelta(hours=8), NOW, per_bucket=20, seed=1))
        check(world, NOW)
        runs = traffic(NOW, NOW + timedelta(minutes=50), per_bucket=20, seed=2)
        late = [Spec(NOW + timedelta(seconds=n), "error", 0.1) for n in range(3)]
        at = NOW
        for sweep in range(10):
            world.add([run for run in runs if at <= run.at < at + WIDTH] + (late if sweep == delay else []))
            at += WIDTH
            check(world, at)
        told.append(memories(world)["rates"])
    assert told[0] == told[1]
    assert told[0] != told[2]


def test_a_memory_of_another_version_is_learnt_anew_and_that_is_said(sessions: sessionmaker[Session]) -> None:
    """A state that cannot be read stops no check: the detectors learn from what is stored, and `status` tells why."""
    world = make_world(sessions)
    world.add(traffic(NOW - timedelta(hours=8), NOW, per_bucket=20, seed=1))
    check(world, NOW)
    fresh = memories(world)
    with sessions.begin() as session:
        session.execute(update(DetectorState).values(state={**fresh["series"][2], "version": 0}))
    at = NOW + WIDTH
    world.add(traffic(NOW, at, per_bucket=20, seed=2))
    check(world, at)
    again = memories(world)
    assert again["rates"][1] == fresh["rates"][1]
    assert again["series"][2]["version"] == fresh["series"][2]["version"]
    with sessions() as session:
        [app] = app_statuses(session, now=at)
        [later] = app_statuses(session, now=at + timedelta(days=2))
    assert len(app.notes) == 2
    assert "the detector of rates learns anew since 2026-03-10 12:05 UTC" in app.notes[0] + app.notes[1]
    assert "version 0" in app.notes[0] + app.notes[1]
    assert later.notes == []


def test_a_key_per_run_makes_no_memory_per_run(sessions: sessionmaker[Session]) -> None:
    """A thousand feedback keys from a misbehaving app: the detectors keep as many as are judged."""
    world = make_world(sessions)
    runs = traffic(NOW - timedelta(hours=2), NOW, per_bucket=50, seed=1)
    for number, run in enumerate(runs):
        run.scores = {f"key-{number}": 1.0, f"usual-{number % 30}": 1.0}
    world.add(runs)
    check(world, NOW)
    check(world, NOW + WIDTH)
    assert 2 <= len(memories(world)["rates"][1]) <= QUALITY_METRICS_CAP + 2
