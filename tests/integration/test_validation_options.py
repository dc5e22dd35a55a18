"""Budgets, runs that take over, parts of a set, lanes, prompts and judges: how a run may be wanted."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from agents.validation import prepare
from agents.validation import run as validation_run
from agents.validation.finish import finish
from agents.validation.prepare import NothingToValidateError, NotResumableError, Wish
from agents.validation.start import enqueue_start, launch
from cli.validation_report import print_report
from core.clock import utc_now
from core.settings import Settings
from core.states import CaseOutcome, ProposalStatus, ValidationState, Verdict
from db.models.apps import App, Project
from db.models.traces import Feedback, Run
from db.models.validation import ValidationCase, ValidationResult
from db.queries.validations import progress, show_validation
from db.repositories import golden
from db.repositories.projects import monitored_project
from llm.completion import ChatModels
from llm.grading import grader
from targets.answers import Answer
from targets.golden import parse_lines
from targets.prompt import PromptRunner
from targets.spec import PromptTarget
from tests.fakes.openai_server import OpenAIServer, openai_server
from tests.integration.test_validation_loop import (
    TARGET,
    app_id,
    last_run,
    propose,
    statuses,
    work,
)

__all__ = ["app_id"]  # the fixture


def start(sessions: sessionmaker[Session], changes: Mapping[str, Any], **wish: Any) -> int:
    """Enqueue an ad-hoc run and return its number."""
    baseline_of = wish.pop("baseline_of", None)
    with sessions.begin() as session:
        made, _ = prepare.prepare_ad_hoc(
            session, "fa-ai", changes, Wish("cli:test", 1, **wish), now=utc_now(), baseline_of=baseline_of
        )
        enqueue_start(session, made.id)
        return made.id


def resume(sessions: sessionmaker[Session], run_id: int, **wish: Any) -> int:
    """Enqueue a run that takes over."""
    with sessions.begin() as session:
        made, _ = prepare.prepare_resume(session, run_id, Wish("cli:test", 2, **wish), now=utc_now())
        enqueue_start(session, made.id)
        return made.id


def read(sessions: sessionmaker[Session], run_id: int) -> ValidationResult:
    """Read a run."""
    with sessions() as session:
        return session.get_one(ValidationResult, run_id)


def count(sessions: sessionmaker[Session], run_id: int) -> int:
    """Count a run's executions."""
    with sessions() as session:
        return (
            session.scalar(
                select(func.count()).select_from(ValidationCase).where(ValidationCase.validation_id == run_id)
            )
            or 0
        )


def test_a_spent_budget_stops_without_a_verdict_and_another_run_takes_over(
    sessions: sessionmaker[Session], app_id: int
) -> None:
    """Each answer costs a tenth of a cent: a budget of five ends after some fifty, and none of them is run again."""
    first = start(sessions, {"sleep_ms": 2}, budget_usd=0.05)
    work(sessions)
    stopped = read(sessions, first)
    assert (stopped.state, stopped.verdict) == (ValidationState.STOPPED, None)
    assert stopped.reasons == [f"the budget is spent: ${stopped.spent_usd:.2f} of $0.05; no verdict was made"]
    done = count(sessions, first)
    assert 50 <= done <= 52  # the pair in flight is finished
    assert stopped.spent_usd == pytest.approx(done / 1000)

    second = resume(sessions, first)
    assert count(sessions, second) == done
    work(sessions)
    whole = read(sessions, second)
    assert (whole.verdict, whole.resumed_from) == (Verdict.PASS, first)
    assert count(sessions, second) == 120
    assert whole.spent_usd == pytest.approx((120 - done) / 1000)


def test_a_proposal_whose_run_stopped_is_open_until_it_is_resumed(sessions: sessionmaker[Session], app_id: int) -> None:
    """A stop is no evidence: neither blocked nor passed, and the next in rank is not tried for it."""
    ids = propose(sessions, app_id, ("sleep_ms", 2), ("sleep_ms", 3))
    with sessions.begin() as session:
        made, _ = prepare.prepare_proposal(session, ids[0], Wish("cli:test", 1, budget_usd=0.01), now=utc_now())
        enqueue_start(session, made.id)
    work(sessions)
    assert statuses(sessions, ids) == [ProposalStatus.INCONCLUSIVE, ProposalStatus.PROPOSED]
    resume(sessions, made.id)
    work(sessions)
    assert last_run(sessions).verdict is Verdict.PASS
    assert statuses(sessions, ids)[0] is ProposalStatus.APPROVED


def test_what_has_a_verdict_is_not_resumed(sessions: sessionmaker[Session], app_id: int) -> None:
    """Running on until it passes would be a way to make anything pass."""
    run_id = start(sessions, {"breaks": "emea"})
    work(sessions)
    with pytest.raises(NotResumableError, match="it says fail"):
        resume(sessions, run_id)


def test_an_outage_is_run_again_and_only_it(sessions: sessionmaker[Session], app_id: int) -> None:
    """What was not run is not copied."""
    run_id = start(sessions, {"sleep_ms": 2})
    work(sessions)
    with sessions.begin() as session:
        row = session.get_one(ValidationResult, run_id)
        row.verdict = Verdict.ERROR
        lost = session.scalars(select(ValidationCase).where(ValidationCase.validation_id == run_id).limit(7))
        for case in lost:
            case.outcome = CaseOutcome.NOT_RUN
    again = resume(sessions, run_id)
    assert count(sessions, again) == 113
    work(sessions)
    assert (read(sessions, again).verdict, count(sessions, again)) == (Verdict.PASS, 120)


def test_the_failed_cases_alone_can_fail_but_never_pass(sessions: sessionmaker[Session], app_id: int) -> None:
    """Cases chosen for having gone wrong get better by chance: a pass on them is said to be none."""
    first = start(sessions, {"breaks": "emea"})
    work(sessions)
    mended = start(sessions, {"sleep_ms": 2}, only_failed=first)
    work(sessions)
    result = read(sessions, mended)
    assert (result.verdict, count(sessions, mended)) == (Verdict.INCONCLUSIVE, 30)
    still = start(sessions, {"breaks": "emea"}, only_failed=first)
    work(sessions)
    assert read(sessions, still).verdict is Verdict.FAIL
    ids = propose(sessions, app_id, ("sleep_ms", 2))
    with sessions.begin() as session, pytest.raises(NothingToValidateError, match="whole golden set"):
        prepare.prepare_proposal(session, ids[0], Wish("cli:test", 1, only_failed=first), now=utc_now())


def test_an_earlier_candidate_can_be_the_baseline(sessions: sessionmaker[Session], app_id: int) -> None:
    """Both arms are asked now, side by side; only the configuration comes from the earlier run."""
    first = start(sessions, {"sleep_ms": 2})
    work(sessions)
    second = start(sessions, {"sleep_ms": 3}, baseline_of=first)
    work(sessions)
    with sessions() as session:
        assert show_validation(session, second).changed == {"sleep_ms": {"from": 2, "to": 3}}


class Busy:
    """A target that counts how many cases are under way."""

    lock = threading.Lock()

    def __init__(self, seen: list[int], under_way: list[int], all_in: threading.Barrier | None) -> None:
        self.seen, self.under_way, self.all_in = seen, under_way, all_in

    def ask(self, inputs: Mapping[str, Any], config: Mapping[str, Any]) -> Answer:
        """Wait until as many as may be are here."""
        with self.lock:
            self.under_way[0] += 1
            self.seen.append(self.under_way[0])
        if self.all_in is not None:
            self.all_in.wait(20)
        with self.lock:
            self.under_way[0] -= 1
        return Answer(CaseOutcome.OK, {"value": inputs["n"]}, 1.0)

    def close(self) -> None:
        """Nothing to end."""


def test_lanes_ask_as_much_at_once_as_the_app_allows(sessions: sessionmaker[Session], app_id: int) -> None:
    """Concurrency 8 is two chunks of four lanes: four pairs, eight questions of a chunk at a time, and never more."""
    with sessions.begin() as session:
        session.get_one(App, app_id).target = {**TARGET, "concurrency": 8}
    run_id = start(sessions, {"sleep_ms": 2})
    with sessions.begin() as session:
        launch(session, run_id, now=utc_now())
    chunk = validation_run.load(sessions, run_id, 0)
    assert chunk is not None
    assert len(chunk.cases) == 24
    seen: list[int] = []
    under_way = [0]
    barrier = threading.Barrier(8)
    validation_run.Chunk(sessions, chunk, opener=lambda spec: Busy(seen, under_way, barrier)).run()
    assert max(seen) == 8
    assert read(sessions, run_id).launched == 2  # the third chunk waits for one of the first two


def test_a_rate_limit_spaces_the_cases(sessions: sessionmaker[Session], app_id: int) -> None:
    """1,200 a minute over two chunks: ten cases of one chunk begin no faster than one in a tenth of a second."""
    with sessions.begin() as session:
        session.get_one(App, app_id).target = {**TARGET, "rate_per_minute": 1200}
    run_id = start(sessions, {"sleep_ms": 2})
    with sessions.begin() as session:
        launch(session, run_id, now=utc_now())
    chunk = validation_run.load(sessions, run_id, 0)
    assert chunk is not None
    begun = time.monotonic()
    validation_run.Chunk(sessions, chunk, opener=lambda spec: Busy([], [0], None)).run()
    assert time.monotonic() - begun >= 24 * 0.1


def test_both_arms_are_an_experiment_that_the_sweep_refuses(sessions: sessionmaker[Session], app_id: int) -> None:
    """Each execution is a run with its scores as feedback; its links stand at the regressed cases."""
    run_id = start(sessions, {"breaks": "emea"})
    work(sessions)
    with sessions() as session:
        result = session.get_one(ValidationResult, run_id)
        project = session.get_one(Project, result.project_id)
        assert project.name == f"fa-ai-validation-{run_id}"
        runs = session.scalars(select(Run).where(Run.project_id == project.id)).all()
        assert len(runs) == 120
        scored = session.scalar(
            select(func.count()).select_from(Feedback).where(Feedback.key == "fact_accuracy", Feedback.score == 0)
        )
        assert scored == 15
        worse = show_validation(session, run_id).regressed[0]
        assert worse.candidate_url is not None
        assert str(worse.candidate_run_id) in worse.candidate_url
        app = session.get_one(App, app_id)
        app.project = project.name
        assert monitored_project(session, app) is None
        session.rollback()


def test_progress_counts_the_pairs_that_got_worse(sessions: sessionmaker[Session], app_id: int) -> None:
    """What the live line shows."""
    run_id = start(sessions, {"breaks": "emea"})
    work(sessions)
    with sessions() as session:
        state = progress(session, run_id)
    assert (state.done, state.regressed) == (120, 15)
    assert state.spent_usd == pytest.approx(0.105)  # what does not know its answer charges nothing


@pytest.fixture
def model() -> Iterator[OpenAIServer]:
    """A model behind HTTP."""
    with openai_server() as running:
        yield running


def settings_of(server: OpenAIServer) -> Settings:
    """Settings that name the model."""
    return Settings(openai_api_key=SecretStr("none"), openai_base_url=server.url, openai_model="fake")


PROMPT = PromptTarget(
    kind="prompt",
    template="Answer from {facts}.",
    model="small",
    model_key="model",
    usd_per_million_in=10,
    usd_per_million_out=20,
)


def test_a_prompt_is_filled_asked_and_priced(model: OpenAIServer) -> None:
    """The candidate's model is asked; what a case holds is never a template itself."""
    model.content = "seven"
    runner = PromptRunner(PROMPT, ChatModels(settings_of(model)))
    answer = runner.ask({"facts": "{question} 7", "question": "How many?"}, {"model": "large"})
    assert answer.outcome is CaseOutcome.OK, answer.error
    assert json.loads(answer.output) == "seven"
    asked = model.requests[0]
    assert asked["model"] == "large"
    assert [message["content"] for message in asked["messages"]] == ["Answer from {question} 7.", "How many?"]
    assert answer.tokens == 150
    assert answer.cost == pytest.approx(0.002)


@pytest.mark.parametrize(
    ("behaviour", "outcome"),
    [
        ("down", CaseOutcome.NOT_RUN),
        ("limited", CaseOutcome.NOT_RUN),
        ("hangup", CaseOutcome.NOT_RUN),
        ("refusal", CaseOutcome.FAILED),
    ],
)
def test_a_model_that_is_away_is_told_from_one_that_refuses(
    model: OpenAIServer, behaviour: str, outcome: CaseOutcome
) -> None:
    """An outage says nothing about the prompt; a refusal does."""
    model.behaviour = behaviour
    answer = PromptRunner(PROMPT, ChatModels(settings_of(model))).ask({"facts": "x", "question": "?"}, {})
    assert answer.outcome is outcome, answer


def test_without_a_model_a_prompt_is_not_run() -> None:
    """And the error says what to set."""
    answer = PromptRunner(PROMPT, None).ask({"facts": "x"}, {})
    assert answer.outcome is CaseOutcome.NOT_RUN
    assert "OPENAI_API_KEY" in (answer.error or "")


def graded_lines(number: int) -> list[str]:
    """Cases that a model judges."""
    check = {"type": "model", "metric": "tone", "criteria": "It gives a number and no advice."}
    return [
        json.dumps({"key": f"g{n}", "inputs": {"n": n, "region": "amer"}, "checks": [check]}) for n in range(number)
    ]


def judged(sessions: sessionmaker[Session], app_id: int, model: OpenAIServer) -> list[ValidationCase]:
    """Run two graded cases with the model as a judge."""
    with sessions.begin() as session:
        golden.import_set(session, app_id, "graded", parse_lines(graded_lines(2)))
    run_id = start(sessions, {"sleep_ms": 2}, set_name="graded")
    with sessions.begin() as session:
        launch(session, run_id, now=utc_now())
    chunk = validation_run.load(sessions, run_id, 0)
    assert chunk is not None
    assert chunk.needs_grader
    validation_run.Chunk(
        sessions, chunk, opener=lambda spec: Busy([], [0], None), grader=grader(settings_of(model))
    ).run()
    with sessions() as session:
        return list(session.scalars(select(ValidationCase).where(ValidationCase.validation_id == run_id)))


def test_a_model_judges_and_is_asked_twice(sessions: sessionmaker[Session], app_id: int, model: OpenAIServer) -> None:
    """Two questions an answer, the order swapped, temperature 0."""
    model.content = {"reason": "It does.", "first_meets": True, "second_meets": True}
    rows = judged(sessions, app_id, model)
    assert [row.scores["tone"] for row in rows] == [1.0] * 4
    assert len(model.requests) == 8
    assert {request["temperature"] for request in model.requests} == {0}


@pytest.mark.parametrize("behaviour", ["garbage", "down", "wrong"])
def test_a_judge_that_fails_is_no_pass(
    sessions: sessionmaker[Session], app_id: int, model: OpenAIServer, behaviour: str
) -> None:
    """Whatever it does, the answer is not judged: neither passed nor failed."""
    model.behaviour = behaviour
    rows = judged(sessions, app_id, model)
    assert {row.outcome for row in rows} == {CaseOutcome.JUDGE_ERROR}
    assert all("tone" not in row.scores for row in rows)


def test_a_run_says_which_model_judged_it(
    sessions: sessionmaker[Session], app_id: int, model: OpenAIServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two validations can be compared only where the judge was the same: a change on the way is said."""
    model.content = {"reason": "It does.", "first_meets": True, "second_meets": True}
    settings = settings_of(model)
    with sessions.begin() as session:
        golden.import_set(session, app_id, "graded", parse_lines(graded_lines(2)))
    run_id = start(sessions, {"sleep_ms": 2}, set_name="graded")
    with sessions.begin() as session:
        launch(session, run_id, now=utc_now())
    chunk = validation_run.load(sessions, run_id, 0)
    assert chunk is not None
    chunks = [replace(chunk, cases=[case]) for case in chunk.cases]
    for part, name in zip(chunks, ("fake", "other"), strict=True):
        judge = grader(settings.model_copy(update={"openai_model": name}))
        validation_run.Chunk(sessions, part, opener=lambda spec: Busy([], [0], None), grader=judge).run()
    with sessions.begin() as session:
        finish(session, run_id, now=utc_now(), auto_approve=False)
    with sessions() as session:
        record = show_validation(session, run_id)
    assert [judge.split()[0] for judge in record.judges] == ["fake", "other"]
    assert all(" local:" in judge for judge in record.judges)
    assert any(reason.startswith("the model that judges changed on the way: fake local:") for reason in record.reasons)
    print_report(record)
    assert f"Judged by {record.judges[0]}, then {record.judges[1]}" in capsys.readouterr().out
    with sessions.begin() as session:
        session.get_one(ValidationResult, run_id).verdict = Verdict.ERROR
        again, _ = prepare.prepare_resume(session, run_id, Wish("cli:test", 2), now=utc_now())
        assert again.judges == record.judges


def test_a_run_without_such_checks_names_no_judge(sessions: sessionmaker[Session], app_id: int) -> None:
    """A model that is configured and not asked has judged nothing."""
    run_id = start(sessions, {"sleep_ms": 2})
    work(sessions)
    assert read(sessions, run_id).judges == []
