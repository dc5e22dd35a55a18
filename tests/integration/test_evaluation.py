"""The day's score, from real buckets."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from agents import evaluation
from analysis.histogram import LogHistogram
from core.errors import NotFoundError
from db.models.evaluation import MetaEvaluationRun
from db.models.jobs import Job
from db.models.metrics import MetricBucket
from db.queries.evaluations import list_evaluations, show_evaluation
from db.repositories import jobs
from tests.rollout_world import add_app, shell_on
from workers.runner import run

NOW = datetime(2026, 3, 10, 15, tzinfo=UTC)


def add_bucket(
    sessions: sessionmaker[Session], app_id: int, at: datetime, *, runs: int = 100, errors: int = 1, right: int = 95
) -> None:
    """Add one bucket with some feedback."""
    with sessions.begin() as session:
        session.merge(
            MetricBucket(
                app_id=app_id,
                bucket=at,
                revision=1,
                runs=runs,
                finished=runs,
                errors=errors,
                pending=0,
                abandoned=0,
                sla_met=runs - errors,
                latency=LogHistogram.of([0.1] * runs).as_json(),
                scores={"fact_accuracy": {"n": runs, "sum": right, "sumsq": right}},
                cost=0.5,
            )
        )


def tick(sessions: sessionmaker[Session], name: str) -> None:
    """Run `evaluation.daily` as beat has it run."""
    from tasks.evaluation import daily

    with sessions.begin() as session:
        job_id = jobs.enqueue(session, key=name, kind="evaluation.daily", args={"scheduled_for": NOW.isoformat()})
    assert job_id is not None
    run(job_id, daily.handler, owner=name, sessions=sessions)
    with sessions() as session:
        assert session.get_one(Job, job_id).error is None


def due(sessions: sessionmaker[Session], now: datetime = NOW) -> list[date]:
    """Return the days that are to be scored."""
    with sessions() as session:
        return [entry.day for entry in evaluation.due(session, now=now)]


def score(sessions: sessionmaker[Session], app_id: int, day: date) -> MetaEvaluationRun:
    """Score a day and return its row."""
    with sessions.begin() as session:
        evaluation.write_day(session, evaluation.score_day(session, app_id, day))
    with sessions() as session:
        return session.scalars(select(MetaEvaluationRun).where(MetaEvaluationRun.day == day)).one()


def test_every_ended_day_with_data_is_due_and_today_is_not(sessions: sessionmaker[Session]) -> None:
    """A day without data gets no invented score; a fortnight back is far enough."""
    app_id = add_app(sessions)
    for days_ago in (0, 1, 3, 20):
        add_bucket(sessions, app_id, NOW - timedelta(days=days_ago))
    assert due(sessions) == [date(2026, 3, 7), date(2026, 3, 9)]


def test_a_day_ends_where_the_app_lives(sessions: sessionmaker[Session]) -> None:
    """At 15:00 UTC the 10th is over in Auckland, and a run at 12:00 UTC belongs to the 11th there."""
    app_id = add_app(sessions, timezone="Pacific/Auckland")
    add_bucket(sessions, app_id, datetime(2026, 3, 10, 10, tzinfo=UTC))
    add_bucket(sessions, app_id, datetime(2026, 3, 10, 12, tzinfo=UTC))
    assert due(sessions) == [date(2026, 3, 10)]
    assert score(sessions, app_id, date(2026, 3, 10)).runs == 100


def test_a_day_across_the_clock_change_has_its_own_length() -> None:
    """23 hours in spring, 25 in autumn."""
    for day, hours in ((date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 6, 1), 24)):
        low, high = (moment.astimezone(UTC) for moment in evaluation.bounds(day, "Europe/Berlin"))
        assert high - low == timedelta(hours=hours)


def test_scoring_is_level_triggered_and_late_data_restates_the_day(sessions: sessionmaker[Session]) -> None:
    """Two ticks score once; a bucket that is written again is scored again, in the same row."""
    app_id = add_app(sessions)
    at = datetime.now(UTC) - timedelta(days=1)
    add_bucket(sessions, app_id, at)
    tick(sessions, "a")
    assert due(sessions, datetime.now(UTC)) == []
    with sessions.begin() as session:
        bucket = session.scalars(select(MetricBucket)).one()
        bucket.errors, bucket.revision = 50, 2
    tick(sessions, "b")
    with sessions() as session:
        (record,) = list_evaluations(session)
    assert record.error_rate == pytest.approx(0.5)


def test_a_day_is_compared_with_the_day_before_and_the_week_before(sessions: sessionmaker[Session]) -> None:
    """Values, differences and intervals; a fall beyond chance is marked and said."""
    app_id = add_app(sessions)
    for days_ago in range(2, 10):
        add_bucket(sessions, app_id, NOW - timedelta(days=days_ago), runs=1000, errors=10, right=950)
    add_bucket(sessions, app_id, NOW - timedelta(days=1), runs=1000, errors=10, right=850)
    row = score(sessions, app_id, date(2026, 3, 9))
    fallen = row.vs_previous_day["fact_accuracy"]
    assert fallen["value"] == pytest.approx(0.95)
    assert fallen["delta"] == pytest.approx(-0.1)
    assert fallen["interval"][0] < -0.1 < fallen["interval"][1] < 0
    assert fallen["significant"]
    assert not row.vs_previous_day["error_free"]["significant"]
    assert row.vs_baseline["fact_accuracy"]["value"] == pytest.approx(0.95)
    assert row.latency_p95_s == pytest.approx(0.1, rel=0.02)
    # 0.4·0.85 + 0.2·0.99 + 0.1·0.99 over the 0.7 that is measured: there is no guardrail feedback
    assert row.quality_score == pytest.approx((0.4 * 0.85 + 0.3 * 0.99) / 0.7)
    assert "fact_accuracy -0.100" in row.summary


def test_a_day_without_data_says_so_when_it_is_asked_for(sessions: sessionmaker[Session]) -> None:
    """No score, no comparison, no division by nothing."""
    row = score(sessions, add_app(sessions), date(2026, 3, 9))
    assert (row.quality_score, row.runs, row.summary) == (None, 0, "No finished run on this day.")


def test_an_unknown_app_or_evaluation_is_named(sessions: sessionmaker[Session]) -> None:
    """With what there is instead."""
    add_app(sessions)
    with sessions() as session:
        with pytest.raises(NotFoundError, match="there are: fa-ai"):
            evaluation.app_named(session, "nobody")
        with pytest.raises(NotFoundError, match="evaluation 9999"):
            show_evaluation(session, 9999)


def test_the_command_scores_a_day_and_lists_it(
    sessions: sessionmaker[Session], database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`metamon evaluate run` and `metamon evaluations list`: one JSON document each."""
    from cli import evaluate, evaluations

    add_bucket(sessions, add_app(sessions), NOW - timedelta(days=1))
    with shell_on(database_url, monkeypatch) as shell:
        done = shell.invoke(evaluate.app, ["run", "--app", "fa-ai", "--day", "2026-03-09", "--json"])
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)["runs"] == 100
        listed = shell.invoke(evaluations.app, ["list", "--json"])
        assert [entry["day"] for entry in json.loads(listed.stdout)] == ["2026-03-09"]
        shown = shell.invoke(evaluations.app, ["show", str(json.loads(listed.stdout)[0]["id"])])
        assert "fact_accuracy" in shown.stdout
        future = shell.invoke(evaluate.app, ["run", "--app", "fa-ai", "--day", "2999-01-01"])
        assert future.exit_code == 2
