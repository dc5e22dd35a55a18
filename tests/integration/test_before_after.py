"""What is said of a rollout where nobody was held back."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from sqlalchemy.orm import Session, sessionmaker
from typer.testing import CliRunner

import db.session
from agents import impact, rollout
from agents.cadence import DEMO
from cli.impact import app as cli
from core.states import RolloutState
from db.models.evaluation import MetaEvaluationRun
from db.models.rollouts import Rollout
from db.queries.impact import calibration, show_impact
from tests.rollout_world import NOON, add_app, add_proposal


def held_back_nobody(
    sessions: sessionmaker[Session], *, days: int, gain: float, after: int = 3, metric: str = "error_free"
) -> tuple[int, int]:
    """Start a rollout, at 100 % since the same day and without a single exposure, after so many scored days."""
    app_id = add_app(sessions)
    proposal_id = add_proposal(sessions, app_id)
    rng = random.Random(3)
    with sessions.begin() as session:
        made = rollout.start(session, proposal_id, now=NOON)
        assert made is not None
        live = session.get_one(Rollout, made)
        live.state, live.percent, live.started_at, live.stage_started_at = RolloutState.HOLDBACK, 100, NOON, NOON
        for day in range(-days, after + 1):
            value = 0.9 + rng.gauss(0, 0.005) + (gain if day > 0 else 0)
            low = (NOON + timedelta(days=day)).replace(hour=0)
            session.add(
                MetaEvaluationRun(
                    app_id=app_id,
                    day=low.date(),
                    window_start=low,
                    window_end=low + timedelta(days=1),
                    runs=100,
                    metrics={metric: {"n": 100, "mean": value}},
                )
            )
    return made, proposal_id


def measured(sessions: sessionmaker[Session], rollout_id: int) -> None:
    """Measure and write, once the rollout has waited long enough for units that do not come."""
    now = NOON + timedelta(days=4)
    with sessions() as session:
        found = impact.measure(session, rollout_id, now=now, cadence=DEMO)
    assert isinstance(found, impact.Measurement)
    with sessions.begin() as session:
        assert impact.settle(session, found, now=now)


@pytest.mark.parametrize(
    ("days", "gain", "method", "significant"),
    [(300, 0.05, "placebo", True), (300, 0.0, "placebo", False), (60, 0.05, "description", False)],
)
def test_without_a_hold_back_the_days_before_are_the_control(
    sessions: sessionmaker[Session],
    monkeypatch: pytest.MonkeyPatch,
    *,
    days: int,
    gain: float,
    method: str,
    significant: bool,
) -> None:
    """The method is named, a short history has no p-value, nothing has a price, and no prediction is judged by it."""
    rollout_id, proposal_id = held_back_nobody(sessions, days=days, gain=gain)
    measured(sessions, rollout_id)
    with sessions() as session:
        record = show_impact(session, proposal_id)
        judged = calibration(session)
    assert (record.method, record.significant) == (method, significant)
    assert record.measured_pct == pytest.approx(100 * gain / 0.9, abs=0.8)
    assert (record.p_value is None) is (method == "description")
    assert (record.roi, record.benefit, record.within_prediction) == (None, None, None)
    assert (record.before["days"], record.after["days"]) == (14, 3)
    assert (judged.coverage, judged.bias) == (None, None)
    monkeypatch.setattr(db.session, "session_factory", lambda: sessions)
    shown = CliRunner().invoke(cli, ["show", str(proposal_id)]).stdout
    assert "it says nothing of causes" in shown
    assert "14 days" in shown
    assert "caus" not in shown.replace("not causal", "").replace("nothing of causes", "")


def test_without_days_on_both_sides_nothing_is_said(sessions: sessionmaker[Session]) -> None:
    """No day before, or none of this metric: a description without a figure."""
    rollout_id, proposal_id = held_back_nobody(sessions, days=30, gain=0.05, metric="another")
    measured(sessions, rollout_id)
    with sessions() as session:
        record = show_impact(session, proposal_id)
    assert (record.method, record.measured_pct) == ("description", None)
