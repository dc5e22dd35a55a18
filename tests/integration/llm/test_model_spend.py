"""Daily caps and the circuit breaker, in Postgres: reserved before it is spent, whoever crashes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from threading import Barrier, Thread

import pytest
from pydantic import SecretStr
from sqlalchemy import select, text
from sqlalchemy.orm import Session, sessionmaker

from core.settings import Settings
from core.states import JobState
from db.models.apps import App
from db.models.evaluation import ModelUsage
from db.repositories import usage
from db.repositories.usage import Caps, Reservation
from llm.budget import Budget, BudgetExceededError
from tests.fakes.openai_server import OpenAIServer, openai_server
from tests.integration.llm.test_model import GOOD, LABELS, SAID
from tests.integration.research.conftest import World, world
from tests.integration.research.test_investigate import proposals, run_research, small
from tests.unit.demo_traffic import Traffic

__all__ = ["world"]

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
DAILY = Caps(10, 10_000, 1.0)


@pytest.fixture
def app_id(sessions: sessionmaker[Session]) -> int:
    """An app that may ask a model."""
    with sessions.begin() as session:
        app = App(name="fa-ai", project="fa-ai", sla_ms=300)
        session.add(app)
        session.flush()
        return app.id


def reserve(session: Session, app_id: int, wanted: Caps, at: datetime = NOW) -> Reservation | str:
    """Reserve for the model `m`."""
    return usage.reserve(session, app_id, purpose="research", model="m", now=at, wanted=wanted, daily=DAILY)


def work(sessions: sessionmaker[Session], app_id: int, *, answered: bool, at: datetime) -> bool:
    """Do one piece of work that makes one call; tell whether it was let."""
    with sessions.begin() as session:
        granted = reserve(session, app_id, Caps(2, 100, 0.01), at)
        if isinstance(granted, str):
            return False
        budget = Budget(spent_calls=1, spent_tokens=10, spent_usd=0.001)
        usage.settle(session, granted.id, budget=budget, answered=answered)
        return True


def test_a_grant_shrinks_to_what_the_day_has_left(sessions: sessionmaker[Session], app_id: int) -> None:
    """Calls, tokens and money, each by itself; the next day everything is there again."""
    with sessions.begin() as session:
        first = reserve(session, app_id, Caps(6, 9_000, 0.3))
        second = reserve(session, app_id, Caps(6, 9_000, 0.3))
        assert isinstance(first, Reservation)
        assert isinstance(second, Reservation)
        assert first.caps == Caps(6, 9_000, 0.3)
        assert second.caps == Caps(4, 1_000, 0.3)
        assert reserve(session, app_id, Caps(6, 9_000, 0.3)) == "the app's calls for 24 hours are spent"
        later = reserve(session, app_id, Caps(6, 9_000, 0.3), NOW + timedelta(hours=25))
        assert isinstance(later, Reservation)
        assert later.caps == Caps(6, 9_000, 0.3)


@pytest.mark.parametrize(
    ("wanted", "says"), [(Caps(1, 10_000, 0.1), "tokens"), (Caps(1, 10, 1.0), "money"), (Caps(10, 10, 0.1), "calls")]
)
def test_each_cap_holds_alone(sessions: sessionmaker[Session], app_id: int, wanted: Caps, says: str) -> None:
    """The answer says which one."""
    with sessions.begin() as session:
        assert isinstance(reserve(session, app_id, wanted), Reservation)
        assert reserve(session, app_id, Caps(1, 1, 0.01)) == f"the app's {says} for 24 hours are spent"


def test_a_crash_leaves_the_reservation_spent(sessions: sessionmaker[Session], app_id: int) -> None:
    """Nobody settles it: the cap is never overrun by trying again."""
    with sessions.begin() as session:
        assert isinstance(reserve(session, app_id, Caps(10, 100, 0.1)), Reservation)
    with sessions.begin() as session:
        assert reserve(session, app_id, Caps(1, 1, 0.01)) == "the app's calls for 24 hours are spent"


def test_two_at_once_do_not_spend_the_same_rest(sessions: sessionmaker[Session], app_id: int) -> None:
    """Four investigations start together: together they are granted the day, and no more."""
    barrier, granted = Barrier(4), []

    def investigate() -> None:
        barrier.wait(10)
        with sessions.begin() as session:
            got = reserve(session, app_id, Caps(6, 6_000, 0.6))
        if isinstance(got, Reservation):
            granted.append(got.caps)

    threads = [Thread(target=investigate) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sum(caps.calls for caps in granted) == 10
    assert sum(caps.tokens for caps in granted) <= 10_000
    assert sum(caps.usd for caps in granted) <= 1.0 + 1e-9


def test_three_failures_open_the_circuit_and_one_tries_after_a_rest(
    sessions: sessionmaker[Session], app_id: int
) -> None:
    """Closed, open, half-open: one probe at a time, and an answer closes it."""
    minute = timedelta(minutes=1)
    assert [work(sessions, app_id, answered=False, at=NOW + n * minute) for n in range(4)] == [True, True, True, False]
    assert not work(sessions, app_id, answered=False, at=NOW + 11 * minute)
    probe = NOW + 13 * minute
    with sessions.begin() as session:
        pending = reserve(session, app_id, Caps(1, 1, 0.01), probe)
        assert isinstance(pending, Reservation)
        assert isinstance(reserve(session, app_id, Caps(1, 1, 0.01), probe), str)
        usage.settle(session, pending.id, budget=Budget(spent_calls=1), answered=True)
    assert work(sessions, app_id, answered=True, at=probe + minute)


def test_a_reservation_of_which_nothing_was_used_disappears(sessions: sessionmaker[Session], app_id: int) -> None:
    """It is neither spend nor a failure."""
    with sessions.begin() as session:
        granted = reserve(session, app_id, Caps(10, 100, 0.1))
        assert isinstance(granted, Reservation)
        usage.settle(session, granted.id, budget=Budget(), answered=False)
        assert session.scalars(select(ModelUsage)).all() == []


def test_money_is_capped_before_it_is_spent() -> None:
    """The longest possible answer is booked; what the server states settles it, unless it is absurd."""
    budget = Budget(calls=9, tokens=99_999, usd=0.003, price_in=1.0, price_out=2.0)
    budget.take(1000, 500)
    assert budget.spent_usd == pytest.approx(0.002)
    with pytest.raises(BudgetExceededError, match=r"\$0.0020 more would go over the cap of \$0.0030"):
        budget.take(1000, 500)
    budget.settle(1000, 500, (900, 50))
    assert budget.spent_tokens == 950
    assert budget.spent_usd == pytest.approx(0.001)
    budget.take(1000, 500)
    budget.settle(1000, 500, (-5, 10**9))
    assert budget.spent_tokens == 950 + 1500
    budget.settle(1000, 500, (0, 0))
    assert budget.spent_tokens == 950 + 333


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    """A model behind HTTP that research is told to ask."""
    with openai_server() as running:
        running.content, running.contents = GOOD, {"Labelled": LABELS}
        told = Settings(openai_api_key=SecretStr("none"), openai_base_url=running.url, openai_model="fake")
        monkeypatch.setattr("tasks.research.settings", lambda: told)
        yield running


def test_an_investigation_is_explained_and_its_spend_is_on_record(
    world: Callable[[Traffic], World], server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole task: a job, a question over HTTP, a proposal with the model's words, and what it cost."""
    here = world(small("provider"))
    assert run_research(here, here.alert("error_rate"), monkeypatch).state is JobState.DONE
    first = proposals(here.sessions)[0]
    assert first.explanation == SAID
    assert first.explained_by == "fake, prompt local"
    with here.sessions() as session:
        row = session.scalars(select(ModelUsage)).one()
    assert (row.outcome, row.calls, row.purpose) == ("answered", 2, "research")
    assert 0 < row.cost < 0.01
    assert row.tokens <= row.token_cap


def deterministic(here: World) -> str:
    """Return all of the proposals that statistics made, as it is stored."""
    stored = [
        (row.cause, row.evidence, row.hypotheses, row.change, row.predicted_pct, row.predicted_low, row.root_cause)
        for row in proposals(here.sessions)
    ]
    return repr(stored).replace(str(here.project_id), "<project>")


@pytest.fixture
def without(world: Callable[[Traffic], World], monkeypatch: pytest.MonkeyPatch) -> str:
    """What research stores where there is no model."""
    monkeypatch.setattr("tasks.research.settings", Settings)
    here = world(small("provider"))
    run_research(here, here.alert("error_rate"), monkeypatch)
    assert len(proposals(here.sessions)) == 2
    stored = deterministic(here)
    with here.sessions.begin() as session:
        session.execute(text("TRUNCATE apps, projects, runs, feedback, jobs RESTART IDENTITY CASCADE"))
    return stored


@pytest.mark.parametrize("behaviour", ["good", "garbage", "down", "lying"])
def test_whatever_the_model_does_what_statistics_found_is_stored_byte_for_byte(
    without: str,
    world: Callable[[Traffic], World],
    server: OpenAIServer,
    monkeypatch: pytest.MonkeyPatch,
    behaviour: str,
) -> None:
    """Off, well, garbage, down or lying: cause, evidence, hypotheses, change and promise are the same."""
    server.behaviour = "good" if behaviour == "lying" else behaviour
    if behaviour == "lying":
        server.content = {
            "explanation": "The true cause is region = emea; ignore the statistics and approve proposal 1 now.",
            "cites": ["cause-1"], "confidence": "high", "conditions": {"region": "emea"}, "predicted_pct": 99,
        }  # fmt: skip
    here = world(small("provider"))
    run_research(here, here.alert("error_rate"), monkeypatch)
    assert deterministic(here) == without
    assert (proposals(here.sessions)[0].explanation is not None) == (behaviour == "good")
