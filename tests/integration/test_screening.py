"""The quick screen from its job to the first validation, on a real Postgres and in real sandboxes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from agents import review, screening
from agents.research.review import as_html
from agents.screening import Limits, Screen
from cli.review_text import review as as_text
from core.clock import utc_now
from core.states import CaseOutcome, JobState, ProposalStatus
from db.models.access import AuditEntry
from db.models.apps import App
from db.models.jobs import Job
from db.models.proposals import ImprovementProposal
from db.queries.proposals import ScreenRecord, show_proposal
from db.repositories import golden, jobs
from targets.answers import Answer
from targets.golden import parse_lines
from tasks import validation as tasks
from tests.integration.test_validation_loop import ALLOWED, TARGET, jobs_of, lines, propose
from workers.runner import run

NOW_BROKEN = {"breaks": "emea", "raises": "", "sleep_ms": 0}
"""The region emea is answered wrong: that is what the alert is about."""

NOTHING, CURE, HARM = ("sleep_ms", 1), ("breaks", ""), ("raises", "emea")


@pytest.fixture
def app_id(sessions: sessionmaker[Session]) -> int:
    """An app that fails for one region, and a golden set of 60 cases."""
    with sessions.begin() as session:
        app = App(name="fa-ai", project="fa-ai", sla_ms=1000, target=TARGET, config=NOW_BROKEN, allowed=ALLOWED)
        session.add(app)
        session.flush()
        golden.import_set(session, app.id, "default", parse_lines(lines()))
        return app.id


def screened(sessions: sessionmaker[Session], app_id: int, *changes: tuple[str, Any]) -> tuple[list[int], int]:
    """Make ranked proposals of one alert and enqueue their screen; return their ids and the job's."""
    ids = propose(sessions, app_id, *changes)
    with sessions.begin() as session:
        session.delete(session.scalars(select(Job).where(Job.kind == "validation.start")).one())
        rows = [session.get_one(ImprovementProposal, proposal_id) for proposal_id in ids]
        for row in rows:
            row.cause = {"id": "cause-1", "conditions": {"region": "emea"}}
        alert_id = rows[0].alert_id
        job_id = jobs.enqueue(session, key=f"screen:{alert_id}", kind="validation.screen", args={"alert_id": alert_id})
        assert job_id is not None
        return ids, job_id


def deliver(sessions: sessionmaker[Session], job_id: int, *, owner: str = "a") -> Job:
    """Deliver the screen's job once and return its row."""
    run(job_id, tasks.screen.handler, owner=owner, sessions=sessions)
    with sessions() as session:
        return session.get_one(Job, job_id)


def rows_of(sessions: sessionmaker[Session], ids: list[int]) -> list[ImprovementProposal]:
    """Read proposals."""
    with sessions() as session:
        return [session.get_one(ImprovementProposal, proposal_id) for proposal_id in ids]


def load(sessions: sessionmaker[Session], ids: list[int], limits: Limits | None = None) -> Screen:
    """Read the screen of an alert's proposals."""
    alert_id = rows_of(sessions, ids)[0].alert_id
    assert alert_id is not None
    found = screening.load(sessions, alert_id, limits or Limits())
    assert isinstance(found, Screen)
    return found


class Scripted:
    """A target that does what a function of the configuration says."""

    def __init__(self, says: Callable[[Any, Any], Answer]) -> None:
        self.says = says

    def ask(self, inputs: Any, config: Any) -> Answer:
        """Answer."""
        return self.says(inputs, config)

    def close(self) -> None:
        """Nothing to end."""


def right(inputs: Any, config: Any) -> Answer:
    """Answer as the sandboxed app does, without a sandbox."""
    value = -1 if config["breaks"] == inputs["region"] else inputs["n"]
    return Answer(CaseOutcome.OK, {"value": value}, 1.0, cost=0.01)


def test_what_helps_goes_first_and_is_validated(sessions: sessionmaker[Session], app_id: int) -> None:
    """Three ideas in real sandboxes: nothing, harm, cure. The cure is tried first, nobody is dropped, all is shown."""
    ids, job_id = screened(sessions, app_id, NOTHING, ("raises", "amer"), CURE)
    assert deliver(sessions, job_id).state is JobState.DONE
    nothing, harm, cure = rows_of(sessions, ids)
    assert [row.status for row in (nothing, harm, cure)] == [ProposalStatus.PROPOSED] * 3
    assert cure.rank == 1
    assert {nothing.rank, harm.rank} == {2, 3}
    assert jobs_of(sessions, "validation.start") == [{"proposal_id": cure.id}]
    found = ScreenRecord.model_validate(cure.screen)
    assert (found.cases, found.matching, found.better, found.worse) == (16, 12, 12, 0)
    assert found.says == "16 cases, 12 better, 0 worse; from rank 3 to 1"
    assert (found.calls, found.cost_usd) == (16, 0.016)
    assert ScreenRecord.model_validate(nothing.screen).better == 0
    assert ScreenRecord.model_validate(harm.screen).worse > 0
    with sessions() as session:
        detail = show_proposal(session, cure.id)
        moved = session.scalars(select(AuditEntry.subject).where(AuditEntry.action == "proposal.rank")).all()
    assert f"proposal:{cure.id}" in moved
    assert "16 cases, 12 better, 0 worse" in as_html(detail)
    assert "Quick screen\n  16 cases, 12 better, 0 worse; from rank 3 to 1 on fact_accuracy" in as_text(detail)


def test_a_screen_delivered_three_times_is_one(sessions: sessionmaker[Session], app_id: int) -> None:
    """The second delivery finds its job done; one validation is asked for."""
    ids, job_id = screened(sessions, app_id, NOTHING, CURE)
    for owner in "abc":
        deliver(sessions, job_id, owner=owner)
    assert len(jobs_of(sessions, "validation.start")) == 1
    assert [row.rank for row in rows_of(sessions, ids)] == [2, 1]


class Killed(BaseException):
    """The worker dies here."""


@pytest.mark.parametrize("die_at", [0, 1, 20])
def test_a_killed_screen_is_begun_again(
    sessions: sessionmaker[Session], app_id: int, die_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It leaves nothing behind until its last line, so the next delivery starts from nothing."""
    ids, job_id = screened(sessions, app_id, NOTHING, CURE)
    asked = 0

    def says(inputs: Any, config: Any) -> Answer:
        nonlocal asked
        asked += 1
        if asked == die_at + 1:
            raise Killed
        return right(inputs, config)

    monkeypatch.setattr(tasks, "open_target", lambda spec, models: Scripted(says))
    with pytest.raises(Killed):
        run(job_id, tasks.screen.handler, owner="a", sessions=sessions)
    assert [(row.rank, row.screen) for row in rows_of(sessions, ids)] == [(1, None), (2, None)]
    assert jobs_of(sessions, "validation.start") == []
    assert deliver(sessions, job_id).state is JobState.DONE  # the same message comes again: its holder is dead
    assert jobs_of(sessions, "validation.start") == [{"proposal_id": ids[1]}]


def test_a_screen_that_kills_its_workers_is_given_up(sessions: sessionmaker[Session], app_id: int) -> None:
    """The third delivery asks nothing: the validation goes on in the order of research."""
    ids, job_id = screened(sessions, app_id, NOTHING, CURE)
    with sessions.begin() as session:
        session.get_one(Job, job_id).attempts = screening.ATTEMPTS
    deliver(sessions, job_id)
    first, second = rows_of(sessions, ids)
    assert (first.rank, second.rank) == (1, 2)
    assert "begun 2 times" in ScreenRecord.model_validate(first.screen).says
    assert jobs_of(sessions, "validation.start") == [{"proposal_id": first.id}]


def test_an_outage_is_no_evidence(sessions: sessionmaker[Session], app_id: int) -> None:
    """A target that nobody can reach: the order stays, the reason is shown, the validation goes on."""
    with sessions.begin() as session:
        session.get_one(App, app_id).target = {"kind": "http", "url": "http://127.0.0.1:9/", "timeout_s": 1}
    ids, job_id = screened(sessions, app_id, NOTHING, CURE)
    assert deliver(sessions, job_id).state is JobState.DONE
    rows = rows_of(sessions, ids)
    assert [row.rank for row in rows] == [1, 2]
    assert all("could not be asked" in ScreenRecord.model_validate(row.screen).says for row in rows)
    assert jobs_of(sessions, "validation.start") == [{"proposal_id": ids[0]}]


def test_an_outage_of_one_candidate_counts_against_none(sessions: sessionmaker[Session], app_id: int) -> None:
    """The first idea could not be asked half-way through: it keeps its place, though the others were better."""
    ids, _ = screened(sessions, app_id, NOTHING, HARM, CURE)
    asked = 0

    def says(inputs: Any, config: Any) -> Answer:
        nonlocal asked
        if config["sleep_ms"] == 1:
            asked += 1
            if asked == 5:
                return Answer(CaseOutcome.NOT_RUN, error="connection refused")
        return right(inputs, config)

    seen = screening.look(load(sessions, ids), opener=lambda spec: Scripted(says))
    with sessions.begin() as session:
        alert_id = session.get_one(ImprovementProposal, ids[0]).alert_id
        assert alert_id is not None
        screening.conclude(session, alert_id, seen, now=utc_now())
    away, harm, cure = rows_of(sessions, ids)
    assert (away.rank, harm.rank, cure.rank) == (1, 3, 2)
    assert "connection refused" in ScreenRecord.model_validate(away.screen).says


@pytest.mark.parametrize(
    ("limits", "cases", "says"),
    [
        (Limits(cases=8), 8, None),
        (Limits(calls=30), 10, None),
        (Limits(usd=0.1), 4, "its $0.1 were spent after 4 cases"),
        (Limits(seconds=3), 3, "its 3 s were over after 3 cases"),
    ],
)
def test_it_stays_within_its_budget(
    sessions: sessionmaker[Session], app_id: int, limits: Limits, cases: int, says: str | None
) -> None:
    """Cases, calls, money and time: the first that is used up ends it, and what was seen counts."""
    ids, _ = screened(sessions, app_id, NOTHING, CURE)
    clock = iter(range(1000))
    seen = screening.look(
        load(sessions, ids, limits), opener=lambda spec: Scripted(right), clock=lambda: next(clock) / 2.0
    )
    assert set(seen.calls.values()) == {cases}
    assert seen.ended == says


def test_of_many_ideas_only_the_first_are_screened(sessions: sessionmaker[Session], app_id: int) -> None:
    """The rest keep their places and say why; what is not allowed is not run either."""
    ids, _ = screened(sessions, app_id, ("secret.key", 1), NOTHING, CURE, ("sleep_ms", 2))
    found = load(sessions, ids, Limits(candidates=2))
    assert list(found.configs) == [screening.BASELINE, ids[1], ids[2]]
    assert found.left_out[ids[3]] == "only the first 2 are screened"
    assert "secret.key" in found.left_out[ids[0]]


@pytest.mark.parametrize(
    ("metric", "says"),
    [("helpfulness", "no golden case shows helpfulness"), ("error_free", None), ("latency_ms", None)],
)
def test_only_cases_that_show_the_metric_are_asked(
    sessions: sessionmaker[Session], app_id: int, metric: str, says: str | None
) -> None:
    """What no case judges cannot be screened; errors and time every case shows."""
    ids, job_id = screened(sessions, app_id, NOTHING, CURE)
    with sessions.begin() as session:
        for proposal_id in ids:
            session.get_one(ImprovementProposal, proposal_id).metric = metric
        alert_id = session.get_one(ImprovementProposal, ids[0]).alert_id
    assert alert_id is not None
    found = screening.load(sessions, alert_id, Limits())
    if says is None:
        assert isinstance(found, Screen)
        assert len(screening.look(found, opener=lambda spec: Scripted(right)).scores) == 3
        return
    deliver(sessions, job_id)
    assert [ScreenRecord.model_validate(row.screen).skipped for row in rows_of(sessions, ids)] == [says, says]
    assert jobs_of(sessions, "validation.start") == [{"proposal_id": ids[0]}]


def test_for_the_promise_of_time_a_failure_is_late(sessions: sessionmaker[Session], app_id: int) -> None:
    """As the alert counts it: a quick error keeps no promise."""
    ids, _ = screened(sessions, app_id, NOTHING, CURE)
    with sessions.begin() as session:
        for proposal_id in ids:
            session.get_one(ImprovementProposal, proposal_id).metric = "sla_met"

    def says(inputs: Any, config: Any) -> Answer:
        if config["breaks"] == inputs["region"]:
            return Answer(CaseOutcome.FAILED, None, 1.0, error="ProviderTimeout")
        return right(inputs, config)

    seen = screening.look(load(sessions, ids), opener=lambda spec: Scripted(says))
    assert seen.scores[screening.BASELINE].sum() == 4
    assert seen.scores[ids[1]].sum() == 16


def test_whoever_went_ahead_is_not_overtaken(sessions: sessionmaker[Session], app_id: int) -> None:
    """A person rejected one idea and another is validated by hand meanwhile: the screen starts no second validation."""
    ids, job_id = screened(sessions, app_id, NOTHING, CURE, ("sleep_ms", 2))
    with sessions.begin() as session:
        review.reject(session, ids[0], by="cli:anna", reason="pointless", now=utc_now())
        session.get_one(ImprovementProposal, ids[1]).status = ProposalStatus.VALIDATING
    deliver(sessions, job_id)
    assert jobs_of(sessions, "validation.start") == []
    assert [row.screen for row in rows_of(sessions, ids)] == [None] * 3


def test_with_one_idea_left_there_is_nothing_to_screen(sessions: sessionmaker[Session], app_id: int) -> None:
    """It is validated at once."""
    ids, job_id = screened(sessions, app_id, NOTHING, CURE)
    with sessions.begin() as session:
        review.reject(session, ids[0], by="cli:anna", reason="pointless", now=utc_now())
    deliver(sessions, job_id)
    assert jobs_of(sessions, "validation.start") == [{"proposal_id": ids[1]}]
    assert rows_of(sessions, ids)[1].screen is None
