"""The past judged again: as it is it tells what the sweep told, and a change shows what it would spare and raise."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest
from typer.testing import CliRunner

import core.clock
import db.session
from agents.apps import InvalidAppError
from agents.monitoring.replay import Comparison, compare
from cli.alerts import app as cli
from db.session import make_engine, make_sessions
from tests.databases import Databases
from tests.integration.test_monitoring import NOW, REAL, alerts, check, healthy_past, live
from tests.monitoring_world import World, make_world

MINUTE = timedelta(minutes=1)
END = NOW + 90 * MINUTE


@pytest.fixture(scope="module")
def world(databases: Databases) -> Iterator[World]:
    """A fortnight of health, then twenty minutes of 12 % errors, watched by the sweep. Replays read it alone."""
    with databases.fresh() as url:
        engine = make_engine(url)
        world = make_world(make_sessions(engine))
        world.add(healthy_past(NOW))
        check(world, NOW)
        for sweep in range(18):
            at = NOW + sweep * 5 * MINUTE
            world.add(live(at, 300, per_second=1, seed=sweep, errors=0.12 if 2 <= sweep < 6 else 0.01))
            check(world, at + 5 * MINUTE)
        yield world
        engine.dispose()


def replayed(world: World, **changes: object) -> Comparison:
    """Replay the ninety minutes."""
    with world.sessions() as session:
        return compare(session, "shop", changes, since=NOW, until=END, cadence=REAL)


def test_nothing_changed_is_what_the_sweep_told(world: World) -> None:
    """The same alerts, fired and resolved within a sweep of when they were; nothing is written."""
    before = [(alert.id, alert.state, alert.updated_at) for alert in alerts(world)]
    told = replayed(world)
    assert [(alert.id, alert.state, alert.updated_at) for alert in alerts(world)] == before
    real = [alert for alert in alerts(world) if alert.fired_at is not None]
    assert {each.metric for each in told.before} == {alert.metric for alert in real} >= {"error_rate"}
    assert told.before == told.after
    assert (told.raised, told.spared) == ([], [])
    for alert in real:
        [episode] = [each for each in told.before if each.metric == alert.metric]
        assert alert.fired_at is not None
        assert abs(episode.fired_at - alert.fired_at) <= 5 * MINUTE
        assert alert.resolved_at is not None
        assert episode.resolved_at is not None
        assert abs(episode.resolved_at - alert.resolved_at) <= 10 * MINUTE


def test_a_looser_objective_spares_and_a_tighter_one_raises(world: World) -> None:
    """A fifth of errors is fine: no alert on errors. One in a thousand is promised: the healthy time is none."""
    spared = replayed(world, objectives={"error_rate": 0.2})
    assert [each.metric for each in spared.spared] == ["error_rate"]
    assert spared.raised == []
    quick = replayed(world, sla_ms=20)
    assert [each.metric for each in quick.raised if each.metric == "sla_compliance"] == []  # always so: nothing unusual
    promised = replayed(world, sla_ms=20, objectives={"sla_compliance": 0.99})
    assert "sla_compliance" in {each.metric for each in promised.after}
    with pytest.raises(InvalidAppError, match="notify changes no alert; what does: sla_ms"):
        replayed(world, notify=["ops@example.com"])


def test_at_the_command_line(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table with a verdict a line, JSON with all four lists, and progress up to the end."""
    monkeypatch.setattr(db.session, "session_factory", lambda: world.sessions)
    monkeypatch.setattr(core.clock, "utc_now", lambda: END)
    arguments = ["replay", "shop", "--since", "2h", "--set", "objectives.error_rate=0.2"]
    shown = CliRunner().invoke(cli, arguments)
    assert shown.exit_code == 0, shown.output
    assert "spared" in shown.stdout
    document = json.loads(CliRunner().invoke(cli, [*arguments, "--json"]).stdout)
    assert [each["metric"] for each in document["spared"]] == ["error_rate"]
    assert set(document) == {"app", "since", "until", "before", "after", "raised", "spared"}
    wrong = CliRunner().invoke(cli, ["replay", "--since", "2h", "--set", "config.k=3"])
    assert wrong.exit_code == 2
    told: list[float] = []
    with world.sessions() as session:
        compare(session, "shop", {}, since=NOW - timedelta(days=1), until=END, cadence=REAL, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0
