"""One check of one app against a real Postgres: buckets, judgement, alerts and what follows."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, event, func, select
from sqlalchemy.orm import Session, sessionmaker

from agents.monitoring.check import Cadence, Checked, check_app
from analysis.histogram import LogHistogram
from core.clock import utc_now
from core.settings import OWN_PROJECT
from core.states import AlertKind, AlertState, JobState, Severity
from db.models.alerts import AlertEvent, MonitoringAlert
from db.models.apps import App, Project
from db.models.jobs import Job
from db.models.metrics import BucketChange, DetectorState, MetricBucket, MetricHour
from db.queries.status import app_statuses
from db.repositories import alerts as alert_repository
from db.repositories import jobs as job_repository
from db.repositories import roots
from tests.monitoring_world import Spec, World, make_world, steady
from workers import runner

NOW = datetime(2026, 3, 10, 12, 30, tzinfo=UTC)
REAL = Cadence()
DEMO = Cadence.of(sweep=timedelta(seconds=3), bucket=timedelta(seconds=10), demo=True)


def check(world: World, now: datetime, cadence: Cadence = REAL) -> Checked:
    """Check the world's app once."""
    with world.sessions.begin() as session:
        return check_app(session, world.app_id, at=now, now=now, cadence=cadence, run_url=url)


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


def healthy_past(now: datetime, *, days: int = 2, per_hour: int = 60, seed: int = 1) -> list[Spec]:
    """Return some days at a steady pace: 1 % errors, 4 % wrong facts, 2 % failed guardrails."""
    rng = random.Random(seed)
    return [busy_run(rng, run.at) for run in steady(now - timedelta(days=days), now, timedelta(hours=1) / per_hour)]


def busy_run(
    rng: random.Random, at: datetime, *, errors: float = 0.01, wrong: float = 0.04, unsafe: float = 0.02
) -> Spec:
    """Return one run that fails at random."""
    failed = rng.random() < errors
    scores = {} if failed else {
        "fact_accuracy": float(rng.random() >= wrong), "guardrail_pass": float(rng.random() >= unsafe)
    }  # fmt: skip
    return Spec(at, "error" if failed else "success", rng.lognormvariate(-2.5, 0.3), scores)


def live(
    start: datetime,
    seconds: float,
    *,
    per_second: float = 50,
    seed: int = 2,
    errors: float = 0.01,
    wrong: float = 0.04,
    unsafe: float = 0.02,
) -> list[Spec]:
    """Return live traffic."""
    rng = random.Random(seed)
    pace = timedelta(seconds=1) / per_second
    return [
        busy_run(rng, start + n * pace, errors=errors, wrong=wrong, unsafe=unsafe)
        for n in range(int(seconds * per_second))
    ]


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


def test_a_backlog_of_checks_costs_one(sessions: sessionmaker[Session]) -> None:
    """A check that was asked for before the last one was made has nothing to add."""
    world = make_world(sessions)
    world.add([Spec(NOW - timedelta(minutes=1))])
    check(world, NOW)
    world.add([Spec(NOW - timedelta(minutes=1))])
    with sessions.begin() as session:
        late = check_app(session, world.app_id, at=NOW - timedelta(seconds=1), now=NOW, cadence=REAL, run_url=url)
    assert late.refused
    assert buckets(world)[0].runs == 1


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
    world.add(healthy_past(NOW, days=14))
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    event.listen(db_engine, "before_cursor_execute", note)
    check(world, NOW, DEMO)
    event.remove(db_engine, "before_cursor_execute", note)
    assert len(statements) < 60, statements  # two a day of history, and twenty
    with sessions() as session:
        assert session.scalar(select(func.count()).select_from(MetricBucket)) == 20160
        assert session.scalar(select(func.count()).select_from(MetricHour)) == 336
        assert session.scalar(select(func.count()).select_from(BucketChange)) == 0
    assert alerts(world) == []


def watch(
    world: World,
    start: datetime,
    seconds: int,
    *,
    errors: float = 0.01,
    wrong: float = 0.04,
    unsafe: float = 0.02,
) -> datetime | None:
    """Serve live traffic and sweep; return when the first alert fired, or None."""
    for at in range(0, seconds, 3):
        moment = start + timedelta(seconds=at)
        world.add(live(moment, 3, seed=at, errors=errors, wrong=wrong, unsafe=unsafe))
        checked = check(world, moment + timedelta(seconds=3), DEMO)
        if checked.moved.fired:
            return moment + timedelta(seconds=3)
    return None


@pytest.fixture
def demo_world(sessions: sessionmaker[Session]) -> World:
    """Some days of thin history, checked once, as the demo begins."""
    world = make_world(sessions)
    world.add(healthy_past(NOW))
    check(world, NOW, DEMO)
    return world


def test_live_traffic_after_a_thin_history_is_no_alert(demo_world: World) -> None:
    """3,000 times the traffic, as healthy as before."""
    assert watch(demo_world, NOW, 90) is None
    assert alerts(demo_world) == []


@pytest.mark.parametrize(
    ("fault", "kind", "metric"),
    [
        ({"wrong": 0.25}, AlertKind.QUALITY_DEGRADATION, "fact_accuracy"),
        ({"unsafe": 0.12}, AlertKind.QUALITY_DEGRADATION, "guardrail_pass"),
        ({"errors": 0.2}, AlertKind.ERROR_SPIKE, "error_rate"),
    ],
)
def test_a_fault_is_found_within_fifteen_seconds(
    demo_world: World, fault: dict[str, float], kind: AlertKind, metric: str
) -> None:
    """In the running bucket, by the right metric, with its onset, evidence, and the next jobs beside it."""
    assert watch(demo_world, NOW, 30) is None
    injected = NOW + timedelta(seconds=30)
    fired = watch(demo_world, injected, 15, **fault)
    assert fired is not None
    by_metric = {alert.metric: alert for alert in alerts(demo_world)}
    alert = by_metric[metric]
    assert (alert.kind, alert.severity, alert.state) == (kind, Severity.CRITICAL, AlertState.FIRING)
    assert abs(alert.window_start - injected) <= timedelta(seconds=2)
    assert len(alert.trace_urls) == 10
    assert alert.trace_urls[0] == url(demo_world.project_id, UUID(alert.run_ids[0]))
    assert set(by_metric) - {metric} <= {"sla_compliance"}
    for row in by_metric.values():
        assert f"research:{row.id}" in jobs(demo_world)
        assert f"announce:alert_critical:{row.group_id or row.id}" in jobs(demo_world)


def test_errors_are_found_as_errors_and_as_a_broken_sla_that_know_of_each_other(demo_world: World) -> None:
    """One cause in two metrics: the later alert names the earlier."""
    fired = watch(demo_world, NOW, 15, errors=0.2)
    assert fired is not None
    watch(demo_world, fired, 9, errors=0.2)
    found = {alert.metric: alert for alert in alerts(demo_world)}
    assert set(found) == {"error_rate", "sla_compliance"}
    assert found["sla_compliance"].kind is AlertKind.SLA_VIOLATION
    with demo_world.sessions() as session:
        details = session.scalars(select(AlertEvent.detail).where(AlertEvent.kind == "firing")).all()
    related = {other for detail in details for other in detail["related"]}
    assert related <= {alert.id for alert in found.values()}
    assert related


def test_an_alert_recovers_and_resolves_when_the_fault_is_gone(demo_world: World) -> None:
    """Firing, recovering, and after its hold resolved and told, because its beginning was told."""
    fired = watch(demo_world, NOW, 15, wrong=0.3)
    assert fired is not None
    end = fired + timedelta(seconds=60)
    watch(demo_world, fired, 60)
    [alert] = alerts(demo_world)
    assert alert.state is AlertState.RESOLVED
    assert alert.resolved_at is not None
    assert alert.resolved_at <= end
    assert f"announce:alert_resolved:{alert.id}" in jobs(demo_world)
    with demo_world.sessions() as session:
        kinds = session.scalars(select(AlertEvent.kind).order_by(AlertEvent.id)).all()
    assert kinds == ["pending", "firing", "recovering", "resolved"]


def test_a_long_incident_does_not_teach_the_baseline(demo_world: World) -> None:
    """Five bad minutes at 50 runs a second outweigh the days before; they are still not the new usual."""
    fired = watch(demo_world, NOW, 15, wrong=0.3)
    assert fired is not None
    last = fired
    for minute in range(1, 6):
        last = fired + timedelta(minutes=minute)
        world_minute = live(last - timedelta(seconds=60), 60, per_second=20, seed=minute, wrong=0.3)
        demo_world.add(world_minute)
        check(demo_world, last, DEMO)
    [alert] = [alert for alert in alerts(demo_world) if alert.metric == "fact_accuracy"]
    assert alert.state is AlertState.FIRING
    assert alert.expected == pytest.approx(0.96, abs=0.01)


def test_one_error_of_three_calls_pages_nobody(sessions: sessionmaker[Session]) -> None:
    """A quiet night: three calls in five minutes, one of them failed, a few times over."""
    world = make_world(sessions)
    world.add(healthy_past(NOW, days=10, per_hour=12))
    check(world, NOW)
    for sweep in range(6):
        at = NOW + timedelta(minutes=5 * sweep)
        calls = steady(at, at + timedelta(minutes=5), timedelta(minutes=5) / 3)
        if sweep in (0, 3):
            calls[1].status = "error"
        world.add(calls)
        check(world, at + timedelta(minutes=5))
    assert alerts(world) == []


def test_a_steady_failure_fires_at_the_first_five_minute_sweep(sessions: sessionmaker[Session]) -> None:
    """A2 at the real cadence: bad for four minutes when the sweep comes, it does not wait for the next."""
    world = make_world(sessions)
    world.add(healthy_past(NOW))
    check(world, NOW)
    world.add(live(NOW, 60, per_second=2))
    world.add(live(NOW + timedelta(seconds=60), 240, per_second=2, errors=0.4))
    checked = check(world, NOW + timedelta(minutes=5))
    assert len(checked.moved.fired) == 2
    [errors] = [alert for alert in alerts(world) if alert.metric == "error_rate"]
    assert abs(errors.window_start - NOW - timedelta(seconds=60)) <= timedelta(seconds=30)
    assert "runs failed in 5 min" in errors.reasons[0]


def test_up_to_its_objective_a_metric_is_fine_however_unusual(sessions: sessionmaker[Session]) -> None:
    """The app says that one failure in ten is fine: a rise from one in a hundred to one in twelve pages nobody."""
    world = make_world(sessions, objectives={"error_rate": 0.10, "sla_compliance": 0.5})
    world.add(healthy_past(NOW))
    check(world, NOW)
    world.add(live(NOW, 300, per_second=4, errors=0.08))
    check(world, NOW + timedelta(minutes=5))
    assert alerts(world) == []
    world.add(live(NOW + timedelta(minutes=5), 300, per_second=4, errors=0.3))
    check(world, NOW + timedelta(minutes=10))
    assert "error_rate" in {alert.metric for alert in alerts(world)}


def test_a_budget_that_burns_is_an_alert_however_usual(sessions: sessionmaker[Session]) -> None:
    """Always a fifth of errors: history finds that usual, and the app's own promise of one in a hundred does not."""
    world = make_world(sessions, objectives={"error_rate": 0.01})
    start = NOW - timedelta(hours=12)
    world.add(live(start, 12 * 3600, per_second=0.1, errors=0.2))
    check(world, NOW)
    [alert] = [alert for alert in alerts(world) if alert.metric == "error_rate"]
    assert (alert.state, alert.severity) == ("firing", "critical")
    assert "the error budget of 1 % burns" in alert.reasons[0]
    assert "over 60 min" in alert.reasons[0]
    unpromised = make_world(sessions, project="other")
    unpromised.add(live(start, 12 * 3600, per_second=0.1, errors=0.2))
    check(unpromised, NOW)
    assert [
        alert for alert in alerts(world) if alert.app_id == unpromised.app_id and alert.metric == "error_rate"
    ] == []


def test_a_short_blip_waits_for_a_look_of_its_own_and_is_dropped(sessions: sessionmaker[Session]) -> None:
    """A1 at the real cadence: 80 bad seconds are pending; the recheck at two minutes finds them over."""
    world = make_world(sessions)
    world.add(healthy_past(NOW))
    check(world, NOW)
    world.add(live(NOW, 220, per_second=2))
    world.add(live(NOW + timedelta(seconds=220), 80, per_second=2, errors=0.6))
    checked = check(world, NOW + timedelta(minutes=5))
    assert checked.moved.fired == []
    assert checked.recheck_at is not None
    assert NOW + timedelta(seconds=300) < checked.recheck_at <= NOW + timedelta(seconds=360)
    world.add(live(NOW + timedelta(seconds=300), 60, per_second=2))
    check(world, checked.recheck_at)
    world.add(live(NOW + timedelta(seconds=360), 240, per_second=2))
    check(world, NOW + timedelta(minutes=10))
    assert {alert.state for alert in alerts(world)} == {AlertState.RESOLVED}
    assert jobs(world) == []


def test_narrow_buckets_show_less_than_an_alert_waits_for_and_it_fires_all_the_same(
    sessions: sessionmaker[Session],
) -> None:
    """Six buckets of ten seconds are a minute, `for` is two: what was seen before counts on."""
    narrow = Cadence.of(sweep=timedelta(seconds=10), bucket=timedelta(seconds=10), demo=False)
    world = make_world(sessions)
    world.add(healthy_past(NOW))
    check(world, NOW, narrow)
    fired_after = None
    for second in range(10, 200, 10):
        world.add(live(NOW + timedelta(seconds=second - 10), 10, per_second=10, errors=0.35, seed=second))
        checked = check(world, NOW + timedelta(seconds=second), narrow)
        if checked.moved.fired:
            fired_after = second
            break
    assert fired_after is not None
    assert 120 <= fired_after <= 140


def test_after_an_outage_of_ours_one_sweep_finds_what_began_meanwhile_and_pages_once(
    sessions: sessionmaker[Session],
) -> None:
    """The fleet was away for three hours, an app failed for the last two and a half: found, once, since its onset."""
    world = make_world(sessions)
    world.add(healthy_past(NOW))
    check(world, NOW)
    back = NOW + timedelta(hours=3)
    world.add(live(NOW, 1800, per_second=1))
    world.add(live(NOW + timedelta(minutes=30), 9000, per_second=1, wrong=0.4))
    checked = check(world, back)
    assert len(checked.moved.fired) == 1
    check(world, back)
    [alert] = alerts(world)
    assert abs(alert.window_start - NOW - timedelta(minutes=30)) <= timedelta(minutes=6)
    assert jobs(world) == [f"research:{alert.id}", f"announce:alert_critical:{alert.id}"]


def test_no_data_is_its_own_alert_and_says_nothing_of_errors(sessions: sessionmaker[Session]) -> None:
    """Traffic stops while an error alert fires: the one opens, the other holds; both end when traffic is back."""
    world = make_world(sessions)
    world.add(healthy_past(NOW, per_hour=240))
    check(world, NOW)
    world.add(live(NOW, 300, per_second=1, errors=0.5))
    check(world, NOW + timedelta(minutes=5))
    for minutes in range(10, 60, 5):
        check(world, NOW + timedelta(minutes=minutes))
    by_metric = {alert.metric: alert for alert in alerts(world)}
    assert by_metric["volume"].kind is AlertKind.NO_DATA
    assert by_metric["volume"].state is AlertState.FIRING
    assert by_metric["error_rate"].state is AlertState.FIRING
    for minutes in range(60, 100, 5):
        at = NOW + timedelta(minutes=minutes)
        world.add(live(at - timedelta(minutes=5), 300, per_second=1, seed=minutes))
        check(world, at)
    assert {alert.state for alert in alerts(world)} == {AlertState.RESOLVED}


def test_our_own_outage_is_no_silence_of_the_app(sessions: sessionmaker[Session]) -> None:
    """Nothing came in while nobody listened: that says nothing about the app."""
    world = make_world(sessions)
    world.add(healthy_past(NOW, per_hour=240))
    check(world, NOW)
    check(world, NOW + timedelta(hours=2))
    assert alerts(world) == []
    for minutes in range(125, 160, 5):
        check(world, NOW + timedelta(minutes=minutes))
    assert [alert.metric for alert in alerts(world)] == ["volume"]


def test_an_imported_history_that_still_arrives_is_no_silence(sessions: sessionmaker[Session]) -> None:
    """A backfill takes a while and ends before now: while old runs come in, nobody says that traffic stopped."""
    world = make_world(sessions)
    past = healthy_past(NOW - timedelta(hours=3), per_hour=240)
    step = len(past) // 8
    for sweep in range(8):
        world.add(past[sweep * step : (sweep + 1) * step])
        check(world, NOW + sweep * timedelta(minutes=5))
    assert alerts(world) == []
    for sweep in range(8, 20):
        check(world, NOW + sweep * timedelta(minutes=5))
    assert [alert.metric for alert in alerts(world)] == ["volume"]


def test_a_young_app_that_starts_to_fail_is_found_without_a_fortnight_of_history(
    sessions: sessionmaker[Session],
) -> None:
    """Forty healthy seconds, then 40 % errors: no history is needed for that."""
    world = make_world(sessions)
    watch(world, NOW, 42)
    assert watch(world, NOW + timedelta(seconds=42), 15, errors=0.4) is not None
    assert {alert.metric for alert in alerts(world)} <= {"error_rate", "sla_compliance"}


def test_a_silence_mutes_the_mail_and_not_the_alert(demo_world: World) -> None:
    """Muted from the start: it fires, research begins, nobody is told until the silence ends."""
    with demo_world.sessions.begin() as session:
        alert_repository.add_silence(
            session,
            app_id=demo_world.app_id,
            fingerprint=None,
            by="cli:ann",
            reason="load test",
            until=NOW + timedelta(seconds=25),
            now=NOW,
        )
    fired = watch(demo_world, NOW, 15, wrong=0.3)
    assert fired is not None
    [alert] = alerts(demo_world)
    assert alert.silenced
    assert jobs(demo_world) == [f"research:{alert.id}"]
    watch(demo_world, fired, 24, wrong=0.3)
    assert jobs(demo_world) == [f"research:{alert.id}", f"announce:alert_critical:{alert.id}"]


def test_a_second_acknowledgement_changes_nothing(demo_world: World) -> None:
    """A12: the first one has it."""
    watch(demo_world, NOW, 15, wrong=0.3)
    [alert] = alerts(demo_world)
    for by, first in (("cli:ann", True), ("cli:bob", False)):
        with demo_world.sessions.begin() as session:
            assert alert_repository.acknowledge(session, alert.id, by=by, now=NOW) is first
    assert alerts(demo_world)[0].acknowledged_by == "cli:ann"


def test_scores_that_are_no_fractions_break_nothing(sessions: sessionmaker[Session]) -> None:
    """Stars from one to five, a huge number and a key per run: kept, not judged, not in the way."""
    world = make_world(sessions)
    runs = steady(NOW - timedelta(minutes=30), NOW, timedelta(seconds=10))
    for index, run in enumerate(runs):
        run.scores = {"stars": index % 5 + 1.0, f"key-{index}": 0.0, "huge": 1e300}
    world.add(runs)
    check(world, NOW)
    stored = buckets(world)
    assert all(len(bucket.scores) <= 64 for bucket in stored)
    assert all("stars" in bucket.scores and "huge" not in bucket.scores for bucket in stored)
    with sessions() as session:
        [app] = app_statuses(session, now=NOW)
    [note] = app.notes
    assert re.fullmatch(r"\d+ feedback keys are not judged: only the most frequent are", note)


def test_a_metric_that_vanishes_and_comes_back_is_judged_again(sessions: sessionmaker[Session]) -> None:
    """A feedback key that falls silent while it is bad does not resolve; its alert goes on when it is back."""
    world = make_world(sessions)
    world.add(healthy_past(NOW))
    check(world, NOW)

    def go_on(start: datetime, minutes: int, *, wrong: float, scored: bool = True) -> None:
        for sweep in range(minutes // 5):
            at = start + timedelta(minutes=5 * sweep)
            runs = live(at, 300, per_second=1, wrong=wrong, seed=sweep)
            for run in runs:
                run.scores = run.scores if scored else {}
            world.add(runs)
            check(world, at + timedelta(minutes=5))

    go_on(NOW, 10, wrong=0.5)
    [alert] = [row for row in alerts(world) if row.metric == "fact_accuracy"]
    assert alert.state == "firing"
    go_on(NOW + timedelta(minutes=10), 60, wrong=0.5, scored=False)
    [alert] = [row for row in alerts(world) if row.metric == "fact_accuracy"]
    assert alert.state == "firing", "no data is no recovery"
    go_on(NOW + timedelta(minutes=70), 60, wrong=0.04)
    [alert] = [row for row in alerts(world) if row.metric == "fact_accuracy"]
    assert alert.state == "resolved"


def test_late_data_flips_no_verdict(sessions: sessionmaker[Session]) -> None:
    """A13: what arrives late of an incident that is over restates its buckets, and opens and ends nothing again."""
    world = make_world(sessions)
    world.add(healthy_past(NOW))
    check(world, NOW)
    late: list[Spec] = []
    for sweep in range(12):
        at = NOW + timedelta(minutes=5 * sweep)
        runs = live(at, 300, per_second=1, seed=sweep, errors=0.3 if sweep < 3 else 0.01)
        if sweep < 3:
            runs, held_back = runs[::2], runs[1::2]
            late += held_back
        world.add(runs)
        if sweep in (4, 6, 8):  # in three parts: while it recovers, and when it is over
            world.add(late[:300])
            del late[:300]
        check(world, at + timedelta(minutes=5))
    with sessions() as session:
        told = session.execute(
            select(MonitoringAlert.metric, AlertEvent.kind)
            .join(AlertEvent, AlertEvent.alert_id == MonitoringAlert.id)
            .where(MonitoringAlert.metric == "error_rate")
            .order_by(AlertEvent.id)
        ).all()
    assert [kind for _, kind in told if kind != "escalated"] == ["pending", "firing", "recovering", "resolved"]


def test_a_clock_that_runs_backwards_judges_nothing_twice(sessions: sessionmaker[Session]) -> None:
    """A check of an earlier moment than the last says so and moves nothing."""
    world = make_world(sessions)
    world.add(healthy_past(NOW))
    check(world, NOW)
    world.add(live(NOW - timedelta(minutes=5), 300, per_second=2, errors=0.5))
    assert check(world, NOW - timedelta(minutes=1)).refused == "a later check was made already"
    assert alerts(world) == []


def test_a_clock_that_was_ahead_once_blinds_nothing(sessions: sessionmaker[Session]) -> None:
    """One check on a host six hours ahead: the next honest one judges, and an incident is found as ever."""
    world = make_world(sessions)
    world.add(healthy_past(NOW))
    check(world, NOW)
    check(world, NOW + timedelta(hours=6))
    for sweep in range(1, 9):
        at = NOW + timedelta(minutes=5 * sweep)
        wrong = 0.4 if sweep > 6 else 0.04
        world.add(live(at - timedelta(minutes=5), 300, per_second=1, wrong=wrong, seed=sweep))
        assert check(world, at).refused == ""
        assert bool(alerts(world)) == (sweep > 6), sweep
    assert {alert.metric for alert in alerts(world)} == {"fact_accuracy"}
    with sessions() as session:
        states = session.execute(select(DetectorState.settled_until, DetectorState.note)).all()
        rolled_up = session.execute(select(MetricHour.hour, MetricHour.runs).order_by(MetricHour.hour)).all()
    assert [(settled <= at, note[:22]) for settled, note in states] == [(True, "a clock that was ahead")] * 2
    assert tuple(rolled_up[-1]) == (NOW.replace(minute=0), 30 + 1800)


def test_a_check_of_a_clock_that_was_ahead_is_no_sign_of_life(sessions: sessionmaker[Session]) -> None:
    """What is done in six hours says nothing of now: the status tells when the last honest check was."""
    world = make_world(sessions)
    with sessions.begin() as session:
        for key, done in (("a", NOW), ("b", NOW + timedelta(hours=6))):
            session.add(
                Job(
                    key=key, kind="monitoring.check_app", queue="monitoring", state=JobState.DONE,
                    args={"app_id": world.app_id}, finished_at=done,
                )
            )  # fmt: skip
    for minutes in (1, 60):
        with sessions() as session:
            [app] = app_statuses(session, now=NOW + timedelta(minutes=minutes))
        assert app.last_sweep == NOW


@pytest.mark.parametrize("width_s", [10, 90, 300])
def test_a_backlog_is_counted_in_parts_and_judged_when_it_is_whole(
    sessions: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch, width_s: int
) -> None:
    """No part reads more than its share, none is judged, and what comes out is what one look would have counted.

    Late scores keep changing the oldest runs meanwhile: the parts come to their end all the same.
    """
    cadence = Cadence(bucket=timedelta(seconds=width_s))
    read: list[int] = []
    reading = roots.read

    def read_and_note(*given: Any) -> Any:
        found = reading(*given)
        read.append(len(found[0].start))
        return found

    monkeypatch.setattr(roots, "read", read_and_note)
    past = healthy_past(NOW - timedelta(minutes=10), days=1) + live(
        NOW - timedelta(minutes=10), 590, per_second=1, wrong=0.5
    )
    worlds = [make_world(sessions, project=name) for name in ("whole", "parts")]
    for world in worlds:
        world.add([replace(run, id=uuid4()) for run in past])
    check(worlds[0], NOW, cadence)
    monkeypatch.setattr("agents.monitoring.check.RUNS_AT_ONCE", 400)
    read.clear()
    late = [Spec(past[0].at)]
    worlds[1].add(late)
    behind = 0
    while check(worlds[1], NOW, cadence).behind is not None:
        behind += 1
        assert behind < 10
        assert [alert for alert in alerts(worlds[1]) if alert.app_id == worlds[1].app_id] == []
        worlds[1].score(late, "fact_accuracy", 1.0)
    assert behind >= len(past) // 400
    assert max(read) <= 500  # a minute or a bucket more than was asked for
    found = [[alert for alert in alerts(world) if alert.app_id == world.app_id] for world in worlds]
    assert [alert.metric for alert in found[0]] == [alert.metric for alert in found[1]]
    assert [alert.metric for alert in found[1]] == (["fact_accuracy"] if width_s > 10 else [])
    assert check(worlds[1], NOW + timedelta(minutes=5), cadence).restated == 1  # the late score
    counted = [
        [(row.bucket, row.runs, row.errors, row.sla_met) for row in buckets(world) if row.app_id == world.app_id][1:]
        for world in worlds
    ]
    assert counted[0] == counted[1]
    with sessions() as session:
        hours = [
            session.execute(
                select(MetricHour.hour, MetricHour.runs)
                .where(MetricHour.app_id == world.app_id)
                .order_by(MetricHour.hour)
            ).all()[1:]
            for world in worlds
        ]
    assert hours[0] == hours[1]
    assert len(hours[0]) >= 23


def test_one_job_counts_the_rest_of_a_backlog(sessions: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweeps go on meanwhile: each helps by one part, and none begins a chain of its own."""
    from tasks.monitoring import check_app as task

    monkeypatch.setattr("agents.monitoring.check.RUNS_AT_ONCE", 200)
    world = make_world(sessions)
    world.add(healthy_past(utc_now(), days=1))

    def swept(key: str) -> int:
        with sessions.begin() as session:
            args = {"app_id": world.app_id, "at": utc_now().isoformat()}
            job_id = job_repository.enqueue(session, key=key, kind="monitoring.check_app", args=args)
        assert job_id is not None
        runner.run(job_id, task.handler, owner=key, sessions=sessions)
        return job_id

    first, second = swept("check:1:a"), swept("check:1:b")
    with sessions() as session:
        states = {job.id: job.state for job in session.scalars(select(Job))}
    [rest] = states.keys() - {first, second}
    assert states == {first: JobState.DONE, second: JobState.DONE, rest: JobState.QUEUED}
    parts = 0
    while states[rest] is JobState.QUEUED:
        parts += 1
        assert parts < 10
        runner.run(rest, task.handler, owner="c", sessions=sessions)
        with sessions() as session:
            states = {job.id: job.state for job in session.scalars(select(Job))}
    assert parts >= 4
    assert states == dict.fromkeys((first, second, rest), JobState.DONE)
    assert sum(bucket.runs for bucket in buckets(world)) == 1440
    with sessions() as session:
        assert session.scalar(select(func.count()).select_from(BucketChange)) == 0
