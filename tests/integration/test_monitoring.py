"""One check of one app against a real Postgres: buckets, judgement, alerts and what follows."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import Engine, event, func, select
from sqlalchemy.orm import Session, sessionmaker

from agents.monitoring.check import Cadence, Checked, check_app
from analysis.histogram import LogHistogram
from core.settings import OWN_PROJECT
from core.states import AlertKind, AlertState, Severity
from db.models.alerts import AlertEvent, MonitoringAlert
from db.models.apps import App, Project
from db.models.jobs import Job
from db.models.metrics import BucketChange, MetricBucket, MetricHour
from tests.monitoring_world import Spec, World, make_world, steady

NOW = datetime(2026, 3, 10, 12, 30, tzinfo=UTC)
REAL = Cadence()
DEMO = Cadence.of(sweep=timedelta(seconds=3), bucket=timedelta(seconds=10), demo=True)


def check(world: World, now: datetime, cadence: Cadence = REAL) -> Checked:
    """Check the world's app once."""
    with world.sessions.begin() as session:
        return check_app(session, world.app_id, now=now, cadence=cadence, run_url=url)


def url(project_id: UUID, run_id: UUID) -> str:
    """Return where a run would be shown."""
    return f"http://metamon.test/runs/{run_id}"


def alerts(world: World) -> list[MonitoringAlert]:
    """Return all alerts, oldest first."""
    with world.sessions() as session:
        return list(session.scalars(select(MonitoringAlert).order_by(MonitoringAlert.id)))


def jobs(world: World) -> list[str]:
    """Return the keys of all jobs."""
    with world.sessions() as session:
        return list(session.scalars(select(Job.key).order_by(Job.id)))


def buckets(world: World) -> list[MetricBucket]:
    """Return all buckets, oldest first."""
    with world.sessions() as session:
        return list(session.scalars(select(MetricBucket).order_by(MetricBucket.bucket)))


def healthy_fortnight(now: datetime, *, per_hour: int = 60, seed: int = 1) -> list[Spec]:
    """Return two weeks at a steady pace: 1 % errors, 4 % wrong facts, 2 % failed guardrails."""
    rng = random.Random(seed)
    return [busy_run(rng, run.at) for run in steady(now - timedelta(days=14), now, timedelta(hours=1) / per_hour)]


def busy_run(
    rng: random.Random, at: datetime, *, errors: float = 0.01, wrong: float = 0.04, unsafe: float = 0.02
) -> Spec:
    """Return one run that fails at random."""
    failed = rng.random() < errors
    scores = {} if failed else {
        "fact_accuracy": float(rng.random() >= wrong), "guardrail_pass": float(rng.random() >= unsafe)
    }  # fmt: skip
    return Spec(at, "error" if failed else "success", rng.lognormvariate(-2.5, 0.3), scores)


def live(start: datetime, seconds: float, *, per_second: int = 50, seed: int = 2, **rates: float) -> list[Spec]:
    """Return live traffic."""
    rng = random.Random(seed)
    pace = timedelta(seconds=1) / per_second
    return [busy_run(rng, start + n * pace, **rates) for n in range(int(seconds * per_second))]


def test_a_bucket_counts_what_happened_in_it(sessions: sessionmaker[Session]) -> None:
    """Every figure of a bucket against the runs it was made of; pending and abandoned stay apart from errors."""
    world = make_world(sessions)
    at = NOW - timedelta(minutes=4)
    world.add(
        [
            Spec(at, seconds=0.1, scores={"fact_accuracy": 1.0}),
            Spec(at, seconds=0.2, scores={"fact_accuracy": 0.5}),
            Spec(at, seconds=0.9),
            Spec(at, "error", 0.01),
            Spec(at, "pending"),
            Spec(at, "abandoned", tokens=None),
        ]
    )
    check(world, NOW)
    [bucket] = buckets(world)
    assert (bucket.runs, bucket.finished, bucket.errors, bucket.pending, bucket.abandoned) == (6, 4, 1, 1, 1)
    assert (bucket.sla_met, bucket.tokens, bucket.revision) == (2, 50, 1)
    assert bucket.scores == {"fact_accuracy": {"n": 2, "sum": 1.5, "sumsq": 1.25}}
    assert bucket.latency == LogHistogram.of([0.1, 0.2, 0.9]).as_json()


def test_late_data_restates_its_bucket_and_only_it(sessions: sessionmaker[Session]) -> None:
    """A run that arrives late lands in the bucket it started in, and the revision says so."""
    world = make_world(sessions)
    early, later = NOW - timedelta(minutes=34), NOW - timedelta(minutes=4)
    world.add([Spec(early), Spec(later)])
    check(world, NOW)
    world.add([Spec(early, "error")])
    check(world, NOW + timedelta(minutes=5))
    assert [(row.runs, row.errors, row.revision) for row in buckets(world)] == [(2, 1, 2), (1, 0, 1)]


def test_feedback_that_comes_after_its_run_is_counted_in_the_runs_bucket(sessions: sessionmaker[Session]) -> None:
    """The score belongs to when the answer was given, and several scores of one trace are one."""
    world = make_world(sessions)
    run = Spec(NOW - timedelta(minutes=34))
    world.add([run])
    check(world, NOW)
    world.score([run, run], "fact_accuracy", 1.0)
    world.score([run], "fact_accuracy", 0.4)
    check(world, NOW + timedelta(minutes=5))
    [bucket] = buckets(world)
    assert bucket.scores["fact_accuracy"] == {"n": 1, "sum": pytest.approx(0.8), "sumsq": pytest.approx(0.64)}


def test_a_second_check_writes_nothing(sessions: sessionmaker[Session]) -> None:
    """Delivered twice, the second finds no note and no news."""
    world = make_world(sessions)
    world.add(steady(NOW - timedelta(hours=2), NOW, timedelta(minutes=1)))
    assert check(world, NOW).restated > 0
    assert check(world, NOW).restated == 0
    assert alerts(world) == []


def test_two_apps_on_one_project_both_see_a_change(sessions: sessionmaker[Session]) -> None:
    """The notes are the project's: whoever takes them restates for everybody."""
    world = make_world(sessions)
    with sessions.begin() as session:
        strict = App(name="strict", project="shop", sla_ms=50)
        session.add(strict)
        session.flush()
        strict_id = strict.id
    world.add([Spec(NOW - timedelta(minutes=4), seconds=0.1)])
    check(world, NOW)
    assert {(row.app_id, row.sla_met) for row in buckets(world)} == {(world.app_id, 1), (strict_id, 0)}


def test_an_app_that_is_added_later_adopts_its_history(sessions: sessionmaker[Session]) -> None:
    """Notes of a project without an app stay until there is one."""
    world = make_world(sessions, enabled=False)
    world.add(steady(NOW - timedelta(hours=3), NOW, timedelta(minutes=1)))
    assert check(world, NOW).refused
    with sessions.begin() as session:
        session.get_one(App, world.app_id).enabled = True
    check(world, NOW)
    assert sum(row.runs for row in buckets(world)) == 180


@pytest.mark.parametrize("project", [OWN_PROJECT, "evaluators"])
def test_the_system_does_not_monitor_itself(sessions: sessionmaker[Session], project: str) -> None:
    """An app on our own project is refused, whatever its runs look like."""
    world = make_world(sessions, project=project)
    world.add(steady(NOW - timedelta(hours=1), NOW, timedelta(seconds=10), status="error"))
    assert check(world, NOW).refused
    assert buckets(world) == []
    assert alerts(world) == []
    assert jobs(world) == []


def test_an_experiment_is_not_monitored(sessions: sessionmaker[Session]) -> None:
    """A project that evaluates a dataset is no traffic."""
    world = make_world(sessions)
    with sessions.begin() as session:
        session.get_one(Project, world.project_id).reference_dataset_id = world.project_id
    world.add([Spec(NOW - timedelta(minutes=4), "error")])
    assert check(world, NOW).refused
    assert buckets(world) == []


def test_the_first_sweep_after_a_backfill_is_set_based_and_quiet(
    sessions: sessionmaker[Session], db_engine: Engine
) -> None:
    """20,000 runs over a fortnight make 20,000 buckets of ten seconds in a handful of statements, and no alert."""
    world = make_world(sessions)
    world.add(healthy_fortnight(NOW))
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    event.listen(db_engine, "before_cursor_execute", note)
    check(world, NOW, DEMO)
    event.remove(db_engine, "before_cursor_execute", note)
    assert len(statements) < 30, statements
    with sessions() as session:
        assert session.scalar(select(func.count()).select_from(MetricBucket)) == 20160
        assert session.scalar(select(func.count()).select_from(MetricHour)) == 336
        assert session.scalar(select(func.count()).select_from(BucketChange)) == 0
    assert alerts(world) == []
