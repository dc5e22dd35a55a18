"""The three faults: when they come, that they come once, and what they leave in the audit log."""

from __future__ import annotations

from datetime import datetime, timedelta
from unittest.mock import ANY

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session, sessionmaker

from core.clock import utc_now
from core.states import AlertKind, AlertState, RolloutState, Severity
from db.models import App, AuditEntry, ImprovementProposal, MetricBucket, MonitoringAlert, Rollout
from demo import setup, world
from demo.config import CONFIG
from demo.faults import ACTION, BREATH, FIRST_AFTER, LIMIT, PATIENCE, Director, injected
from demo.setup import Place


@pytest.fixture
def app_id(sessions: sessionmaker[Session], place: Place) -> int:
    """The demo's app, registered."""
    return setup.ensure_app(sessions, place)


@pytest.fixture
def start() -> datetime:
    """The moment the traffic begins."""
    return utc_now()


def director(sessions: sessionmaker[Session], app_id: int, place: Place, start: datetime) -> Director:
    """A director as the process makes one at its start."""
    return Director(sessions, app_id, place.world, traffic_since=start)


def watch(sessions: sessionmaker[Session], app_id: int, at: datetime) -> None:
    """Let monitoring have judged a bucket."""
    with sessions.begin() as session:
        session.add(
            MetricBucket(app_id=app_id, bucket=at, runs=1, finished=1, errors=0, pending=0, abandoned=0, sla_met=1)
        )


def fire(sessions: sessionmaker[Session], app_id: int, at: datetime) -> None:
    """Let an alert fire."""
    with sessions.begin() as session:
        session.add(
            MonitoringAlert(
                app_id=app_id, fingerprint="f", kind=AlertKind.ERROR_SPIKE, severity=Severity.HIGH,
                state=AlertState.FIRING, metric="error_rate", title="t", window_start=at, window_end=at, opened_at=at,
                fired_at=at,
            )
        )  # fmt: skip


def number(director: Director, at: datetime) -> int | None:
    """Step, and return which fault came."""
    fault = director.step(at)
    return fault.number if fault else None


def date_back(sessions: sessionmaker[Session], at: datetime) -> None:
    """Pretend the faults so far were injected at a moment: the row takes the database's clock."""
    with sessions.begin() as session:
        session.execute(update(AuditEntry).where(AuditEntry.action == ACTION).values(at=at))


def test_the_first_fault_comes_after_ten_seconds_of_traffic_as_a_deployment(
    sessions: sessionmaker[Session], app_id: int, place: Place, start: datetime
) -> None:
    """Research finds it in the audit log like any other change of configuration."""
    one = director(sessions, app_id, place, start)
    assert number(one, start + FIRST_AFTER) is None, "monitoring has not even seen the traffic"
    watch(sessions, app_id, start + timedelta(seconds=1))
    assert number(one, start + FIRST_AFTER - timedelta(seconds=1)) is None
    assert number(one, start + FIRST_AFTER) == 1
    with sessions() as session:
        assert session.get_one(App, app_id).config == {**CONFIG, "index.emea": "2026-11"}
        entry = session.scalars(select(AuditEntry).where(AuditEntry.action == "app.config")).one()
        assert (entry.subject, entry.detail) == ("app:fa-ai", {"key": "index.emea", "from": "2026-10", "to": "2026-11"})
        assert injected(session) == {1: ANY}


def roll(sessions: sessionmaker[Session], app_id: int, key: str, percent: int, state: RolloutState) -> None:
    """Have a rollout of a key get so far."""
    change = {"type": "parameter", "key": key, "from": "x", "to": "y", "note": ""}
    with sessions.begin() as session:
        row = session.scalars(select(Rollout).where(Rollout.change["key"].astext == key)).one_or_none()
        if row is None:
            proposal = ImprovementProposal(
                app_id=app_id, title="t", root_cause="c", cause={}, change=change, change_hash=key, metric="m",
                predicted_pct=1, predicted_low=0, predicted_high=2, effort_hours=1, effort_hours_p80=2, impact="low",
            )  # fmt: skip
            session.add(proposal)
            session.flush()
            row = Rollout(app_id=app_id, proposal_id=proposal.id, change=change, salt="s", stage_started_at=utc_now())
            session.add(row)
        row.percent, row.state = percent, state


def test_the_next_fault_waits_until_the_remedies_are_far_enough(
    sessions: sessionmaker[Session], app_id: int, place: Place, start: datetime
) -> None:
    """The second waits until the first story's change has reached all, the third for the second's beginning too."""
    watch(sessions, app_id, start)
    one = director(sessions, app_id, place, start)
    one.step(start + FIRST_AFTER)
    at = start + FIRST_AFTER
    date_back(sessions, at)
    roll(sessions, app_id, "index.emea", 50, RolloutState.RUNNING)
    assert number(one, at + BREATH) is None
    roll(sessions, app_id, "index.emea", 100, RolloutState.HOLDBACK)
    assert number(one, at + BREATH - timedelta(seconds=1)) is None
    assert number(one, at + BREATH) == 2
    assert set(world.read(place.world).slow) == {"sonic-2"}
    date_back(sessions, at)
    assert number(one, at + BREATH) is None
    roll(sessions, app_id, "route.sonic-2", 10, RolloutState.RUNNING)
    assert number(one, at + BREATH) == 3
    assert world.read(place.world).released == {"watchlist"}
    assert set(world.read(place.world).slow) == {"sonic-2"}, "the demo never mends what it broke"


def test_patience_ends_once_the_fault_was_noticed_and_runs_out_in_any_case(
    sessions: sessionmaker[Session], app_id: int, place: Place, start: datetime
) -> None:
    """Without a person's approval there may be no rollout at all; the show goes on."""
    watch(sessions, app_id, start)
    one = director(sessions, app_id, place, start)
    one.step(start + FIRST_AFTER)
    at = start + FIRST_AFTER
    date_back(sessions, at)
    assert number(one, at + PATIENCE) is None, "nobody has noticed the first"
    fire(sessions, app_id, at + timedelta(seconds=5))
    assert number(one, at + PATIENCE - timedelta(seconds=1)) is None
    assert number(one, at + PATIENCE) == 2
    later = at + timedelta(seconds=60)
    date_back(sessions, later)
    assert number(one, later + LIMIT - timedelta(seconds=1)) is None, "that alert is of the first"
    assert number(one, later + LIMIT) == 3


def test_a_restart_goes_on_and_repeats_nothing(
    sessions: sessionmaker[Session], app_id: int, place: Place, start: datetime
) -> None:
    """The audit log remembers; a new process waits for its own traffic first."""
    director(sessions, app_id, place, start).step(start + LIMIT)
    date_back(sessions, start)
    later = start + timedelta(minutes=10)
    two = director(sessions, app_id, place, later)
    assert number(two, later) is None
    assert number(two, later + FIRST_AFTER) == 2
    date_back(sessions, start)
    assert number(two, later + FIRST_AFTER) == 3
    date_back(sessions, start)
    assert number(two, later + timedelta(hours=1)) is None
    with sessions() as session:
        assert sorted(injected(session)) == [1, 2, 3]
