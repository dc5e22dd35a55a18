"""A validation from its proposal to the verdict, on a real Postgres and in real sandboxes."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from agents import review
from agents.change import Change
from agents.validation import end as validation_end
from agents.validation import prepare
from agents.validation import run as validation_run
from agents.validation.run import TargetAwayError
from agents.validation.start import enqueue_start
from core.clock import utc_now
from core.errors import ForbiddenTransitionError
from core.states import AlertKind, AlertState, CaseOutcome, JobState, ProposalStatus, Severity, Verdict
from db.models.access import AuditEntry
from db.models.alerts import MonitoringAlert
from db.models.apps import App
from db.models.jobs import Job
from db.models.proposals import ImprovementProposal
from db.models.validation import GoldenCase, GoldenSet, ValidationCase, ValidationResult
from db.repositories import golden
from targets.answers import Answer
from targets.golden import parse_lines
from tasks import validation as tasks
from workers.runner import run

TARGET = {
    "kind": "python",
    "callable": "tests.fakes.candidates:answer",
    "path": [str(Path(__file__).parents[2])],
    "timeout_s": 5,
}
CONFIG: dict[str, Any] = {"breaks": "", "raises": "", "sleep_ms": 1}
ALLOWED = {"breaks": {"type": "parameter"}, "raises": {"type": "parameter"}, "sleep_ms": {"type": "parameter"}}


def lines(count: int = 60) -> list[str]:
    """Golden cases about a number each, in four regions."""
    return [
        json.dumps(
            {
                "key": f"case-{n:03}",
                "inputs": {"n": n, "region": ("amer", "emea", "apac", "anz")[n % 4]},
                "checks": [{"type": "numeric", "metric": "fact_accuracy", "path": "value", "expected": n}],
                "tags": {"region": ("amer", "emea", "apac", "anz")[n % 4]},
            }
        )
        for n in range(count)
    ]


@pytest.fixture
def app_id(sessions: sessionmaker[Session]) -> int:
    """An app with a target and a golden set of 60 cases."""
    with sessions.begin() as session:
        app = App(name="fa-ai", project="fa-ai", sla_ms=1000, target=TARGET, config=CONFIG, allowed=ALLOWED)
        session.add(app)
        session.flush()
        golden.import_set(session, app.id, "default", parse_lines(lines()))
        return app.id


def propose(sessions: sessionmaker[Session], app_id: int, *changes: tuple[str, Any], impact: str = "low") -> list[int]:
    """Make proposals of one firing alert, ranked in order."""
    with sessions.begin() as session:
        alert = MonitoringAlert(
            app_id=app_id,
            kind=AlertKind.QUALITY_DEGRADATION,
            severity=Severity.CRITICAL,
            state=AlertState.FIRING,
            fingerprint=f"f{utc_now().timestamp()}",
            metric="fact_accuracy",
            title="accuracy fell",
            opened_at=utc_now(),
            window_start=utc_now(),
            window_end=utc_now(),
        )
        session.add(alert)
        session.flush()
        made = []
        for rank, (key, to) in enumerate(changes, 1):
            change = Change.model_validate({"type": "parameter", "key": key, "from": CONFIG.get(key), "to": to})
            proposal = ImprovementProposal(
                app_id=app_id,
                alert_id=alert.id,
                rank=rank,
                title=f"set {key}",
                root_cause="",
                cause={},
                change=change.as_json(),
                change_hash=change.hash,
                metric="fact_accuracy",
                predicted_pct=5,
                predicted_low=1,
                predicted_high=9,
                effort_hours=1,
                effort_hours_p80=2,
                impact=impact,
            )
            session.add(proposal)
            session.flush()
            made.append(proposal.id)
        validation_job(session, made[0])
        return made


def validation_job(session: Session, proposal_id: int) -> None:
    """Enqueue the first validation, as research does."""
    from db.repositories import jobs

    jobs.enqueue(
        session,
        key=f"validate:proposal:{proposal_id}:1",
        kind="validation.start",
        args={"proposal_id": proposal_id},
    )


HANDLERS = {
    "validation.start": tasks.start.handler,
    "validation.run_chunk": tasks.run_chunk.handler,
    "validation.finish": tasks.finish.handler,
}


def work(sessions: sessionmaker[Session], *, times: int = 1) -> None:
    """Be the validation worker until nothing is due; with `times`, deliver every message so often."""
    for _ in range(100):
        with sessions() as session:
            due = session.execute(
                select(Job.id, Job.kind)
                .where(Job.state == JobState.QUEUED, Job.run_at <= utc_now(), Job.kind.in_(HANDLERS))
                .order_by(Job.id)
            ).all()
        if not due:
            return
        for job_id, kind in due:
            for delivery in range(times):
                run(job_id, HANDLERS[kind], owner=f"m{delivery}", sessions=sessions)


def statuses(sessions: sessionmaker[Session], ids: list[int]) -> list[ProposalStatus]:
    """Read the proposals' states."""
    with sessions() as session:
        return [session.get_one(ImprovementProposal, proposal_id).status for proposal_id in ids]


def jobs_of(sessions: sessionmaker[Session], kind: str) -> list[dict[str, Any]]:
    """Read the arguments of all jobs of a kind."""
    with sessions() as session:
        return list(session.scalars(select(Job.args).where(Job.kind == kind).order_by(Job.id)))


def last_run(sessions: sessionmaker[Session]) -> ValidationResult:
    """Read the newest run."""
    with sessions() as session:
        return session.scalars(select(ValidationResult).order_by(ValidationResult.id.desc()).limit(1)).one()


def test_a_harmless_change_passes_and_is_approved_by_policy(sessions: sessionmaker[Session], app_id: int) -> None:
    """No case lost of sixty: that rules out a loss of 5 %, and low impact needs no person."""
    ids = propose(sessions, app_id, ("sleep_ms", 2))
    work(sessions)
    result = last_run(sessions)
    assert result.verdict is Verdict.PASS, result.reasons
    assert result.comparison["fact_accuracy"]["p_noninferior"] <= 0.05
    assert (result.regressions, result.total) == (0, 120)
    with sessions() as session:
        proposal = session.get_one(ImprovementProposal, ids[0])
        assert (proposal.status, proposal.reviewed_by) == (ProposalStatus.APPROVED, "policy:low-impact")
        assert proposal.approved_hash == proposal.change_hash
        actions = session.scalars(select(AuditEntry.action)).all()
    assert "proposal.approve" in actions
    assert jobs_of(sessions, "rollout.start") == [{"proposal_id": ids[0]}]


def test_the_app_s_policy_decides_and_its_rule_is_on_record(sessions: sessionmaker[Session], app_id: int) -> None:
    """A rule that asks stands before low impact and before a fleet that approves everything; the log names it."""
    with sessions.begin() as session:
        session.get_one(App, app_id).policy = [
            {"name": "small-numbers", "change": ["parameter"], "max_characters": 1, "then": "approve"},
            {"name": "large-numbers", "change": ["parameter"], "then": "ask"},
        ]
    small = propose(sessions, app_id, ("sleep_ms", 2), impact="high")
    large = propose(sessions, app_id, ("sleep_ms", 20), impact="low")
    work(sessions)
    assert statuses(sessions, small + large) == [ProposalStatus.APPROVED, ProposalStatus.AWAITING_APPROVAL]
    with sessions() as session:
        entries = session.scalars(
            select(AuditEntry)
            .where(AuditEntry.action.in_(("proposal.approve", "proposal.ask")))
            .order_by(AuditEntry.id)
        ).all()
        hashes = [session.get_one(ImprovementProposal, each).change_hash for each in small + large]
    assert [(entry.actor, entry.action, entry.subject) for entry in entries] == [
        ("policy:small-numbers", "proposal.approve", f"proposal:{small[0]}"),
        ("policy:large-numbers", "proposal.ask", f"proposal:{large[0]}"),
    ]
    assert [entry.detail["change_hash"] for entry in entries] == hashes
    assert jobs_of(sessions, "notifications.announce") == [{"event": "approval_needed", "subject_id": large[0]}]


def test_a_regression_says_in_which_slice_it_lies(sessions: sessionmaker[Session], app_id: int) -> None:
    """Only the region that broke is named: the others lost nothing."""
    propose(sessions, app_id, ("breaks", "emea"))
    work(sessions)
    told = [reason for reason in last_run(sessions).reasons if " in " in reason]
    assert len(told) == 1
    assert told[0].startswith("fact_accuracy in region = emea: worse by 100.0 points")


def test_a_harmful_change_is_blocked_and_the_next_one_tried(sessions: sessionmaker[Session], app_id: int) -> None:
    """A quarter of the answers wrong: blocked, said so, and rank two passes in its place."""
    ids = propose(sessions, app_id, ("breaks", "emea"), ("sleep_ms", 2), impact="high")
    work(sessions)
    assert statuses(sessions, ids) == [ProposalStatus.BLOCKED, ProposalStatus.AWAITING_APPROVAL]
    announced = jobs_of(sessions, "notifications.announce")
    assert announced == [
        {"event": "proposal_blocked", "subject_id": ids[0]},
        {"event": "approval_needed", "subject_id": ids[1]},
    ]
    with sessions() as session:
        blocked = session.scalars(select(ValidationResult).where(ValidationResult.proposal_id == ids[0])).one()
    assert blocked.verdict is Verdict.FAIL
    assert blocked.regressions == 15
    first = blocked.regressed[0]
    assert first["metric"] == "fact_accuracy"
    assert "I do not know" in first["candidate_output"]
    assert "It is" in first["baseline_output"]


def test_a_candidate_that_raises_fails(sessions: sessionmaker[Session], app_id: int) -> None:
    """Errors are the candidate's own: they count against it."""
    ids = propose(sessions, app_id, ("raises", "apac"))
    work(sessions)
    assert statuses(sessions, ids) == [ProposalStatus.BLOCKED]
    with sessions() as session:
        failed = session.scalars(select(ValidationCase).where(ValidationCase.outcome == CaseOutcome.FAILED)).all()
    assert len(failed) == 15
    assert {row.arm for row in failed} == {"candidate"}
    assert "index is missing" in (failed[0].error or "")


def test_an_outage_is_an_error_and_no_evidence(sessions: sessionmaker[Session], app_id: int) -> None:
    """A target that nobody can reach blocks nothing: the proposal is left open, with the reason."""
    with sessions.begin() as session:
        session.get_one(App, app_id).target = {"kind": "http", "url": "http://127.0.0.1:9/", "timeout_s": 1}
    ids = propose(sessions, app_id, ("sleep_ms", 2))
    for _ in range(validation_run.OUTAGE_ATTEMPTS):
        work(sessions)
        with sessions.begin() as session:
            for job in session.scalars(
                select(Job).where(Job.state == JobState.QUEUED, Job.kind == "validation.run_chunk")
            ):
                job.run_at = utc_now()
    result = last_run(sessions)
    assert result.verdict is Verdict.ERROR
    assert result.launched < result.chunks, "after two chunks that asked in vain the rest need not wait as long"
    assert "were not run" in result.reasons[0]
    assert "cannot be reached" in result.reasons[1]
    assert statuses(sessions, ids) == [ProposalStatus.INCONCLUSIVE]


def test_too_few_cases_are_inconclusive(sessions: sessionmaker[Session], app_id: int) -> None:
    """Twelve flawless cases do not rule out 5 %; the verdict says how many would."""
    with sessions.begin() as session:
        golden.import_set(session, app_id, "default", parse_lines(lines(12)))
    ids = propose(sessions, app_id, ("sleep_ms", 2))
    work(sessions)
    result = last_run(sessions)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert any("about 59 cases would settle it" in reason for reason in result.reasons)
    assert statuses(sessions, ids) == [ProposalStatus.INCONCLUSIVE]


def test_every_message_delivered_three_times_changes_nothing(sessions: sessionmaker[Session], app_id: int) -> None:
    """Each execution is on record once, each chunk counted once, one verdict, one rollout."""
    propose(sessions, app_id, ("sleep_ms", 2))
    work(sessions, times=3)
    with sessions() as session:
        assert session.scalar(select(func.count()).select_from(ValidationCase)) == 120
        assert session.scalar(select(func.count()).select_from(ValidationResult)) == 1
    assert last_run(sessions).remaining == 0
    assert len(jobs_of(sessions, "rollout.start")) == 1


class Killed(BaseException):
    """The worker dies here."""


class Counting:
    """A target that counts what it is asked and dies when told to."""

    def __init__(self, asked: list[int], die_at: int | None) -> None:
        self.asked = asked
        self.die_at = die_at

    def ask(self, inputs: Any, config: Any) -> Answer:
        """Answer right."""
        if self.die_at is not None and len(self.asked) >= self.die_at:
            raise Killed
        self.asked.append(inputs["n"])
        return Answer(CaseOutcome.OK, {"value": inputs["n"]}, 1.0)

    def close(self) -> None:
        """Nothing to end."""


@pytest.mark.parametrize("die_at", [0, 1, 2, 7, 24, 49])
def test_a_killed_chunk_goes_on_where_it_was(sessions: sessionmaker[Session], app_id: int, die_at: int) -> None:
    """What is on record is not run again; only the pair in flight is."""
    propose(sessions, app_id, ("sleep_ms", 2))
    with sessions() as session:
        (start,) = session.scalars(select(Job.id)).all()
    run(start, HANDLERS["validation.start"], owner="a", sessions=sessions)
    validation_id = last_run(sessions).id
    asked: list[int] = []
    work_ = validation_run.load(sessions, validation_id, 0)
    assert work_ is not None
    with pytest.raises(Killed):
        validation_run.Chunk(sessions, work_, opener=lambda spec: Counting(asked, die_at)).run()
    with sessions() as session:
        recorded = session.scalar(select(func.count()).select_from(ValidationCase)) or 0
    again = validation_run.load(sessions, validation_id, 0)
    assert again is not None
    assert len(again.done) == recorded >= die_at - 1
    rest: list[int] = []
    validation_run.Chunk(sessions, again, opener=lambda spec: Counting(rest, None)).run()
    assert len(rest) == 50 - recorded
    with sessions() as session:
        assert session.scalar(select(func.count()).select_from(ValidationCase)) == 50


def test_a_worker_killed_ten_times_changes_no_verdict(
    sessions: sessionmaker[Session], database_url: str, app_id: int
) -> None:
    """SIGKILL at ten random moments: each worker goes on where the last one was, and the verdict is the same."""
    with sessions.begin() as session:
        session.get_one(App, app_id).config = {**CONFIG, "sleep_ms": 20}
    ids = propose(sessions, app_id, ("breaks", "emea"))
    with sessions() as session:
        (start,) = session.scalars(select(Job.id)).all()
    run(start, HANDLERS["validation.start"], owner="a", sessions=sessions)
    validation_id = last_run(sessions).id
    script = (
        "from sqlalchemy import create_engine\n"
        "from agents.validation import run as validation_run\n"
        "from db.session import engine_url, make_sessions\n"
        f"sessions = make_sessions(create_engine(engine_url({database_url!r})))\n"
        "for chunk in (0, 1, 2):\n"
        f"    validation_run.Chunk(sessions, validation_run.load(sessions, {validation_id}, chunk)).run()\n"
    )
    for moment in sorted(random.Random(7).sample(range(4, 110), 10)):
        victim = subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).parents[2])
        while recorded(sessions) < moment:
            with pytest.raises(subprocess.TimeoutExpired):  # it must not end before it can be killed
                victim.wait(timeout=0.02)
        victim.kill()
        victim.wait()
    before = first_seen(sessions)
    work(sessions)
    assert recorded(sessions) == 120
    after = first_seen(sessions)
    assert {key: after[key] for key in before} == before, "what was on record was run again"
    assert last_run(sessions).verdict is Verdict.FAIL
    assert last_run(sessions).regressions == 15
    assert statuses(sessions, ids) == [ProposalStatus.BLOCKED]


def recorded(sessions: sessionmaker[Session]) -> int:
    """Count the executions on record."""
    with sessions() as session:
        return session.scalar(select(func.count()).select_from(ValidationCase)) or 0


def first_seen(sessions: sessionmaker[Session]) -> dict[tuple[int, str], datetime]:
    """Return when each execution was written."""
    with sessions() as session:
        rows = session.execute(select(ValidationCase.case_id, ValidationCase.arm, ValidationCase.created_at))
        return {(case_id, arm): at for case_id, arm, at in rows}


def test_an_outage_drops_the_pair_and_comes_back(sessions: sessionmaker[Session], app_id: int) -> None:
    """Before the last attempt nothing is written of it, so that a later attempt can still be evidence."""

    class Away(Counting):
        def ask(self, inputs: Any, config: Any) -> Answer:
            return Answer(CaseOutcome.NOT_RUN, error="away")

    propose(sessions, app_id, ("sleep_ms", 2))
    with sessions() as session:
        (start,) = session.scalars(select(Job.id)).all()
    run(start, HANDLERS["validation.start"], owner="a", sessions=sessions)
    loaded = validation_run.load(sessions, last_run(sessions).id, 0)
    assert loaded is not None
    with pytest.raises(TargetAwayError):
        validation_run.Chunk(sessions, loaded, attempt=1, opener=lambda spec: Away([], None)).run()
    with sessions() as session:
        assert session.scalar(select(func.count()).select_from(ValidationCase)) == 0


def test_a_smoke_sample_stops_a_disaster(sessions: sessionmaker[Session], app_id: int) -> None:
    """Twenty cases that all break: the other forty are never run."""
    with sessions.begin() as session:
        app = session.get_one(App, app_id)
        app.config = {**CONFIG, "raises": ""}
        session.flush()
        golden.import_set(
            session,
            app_id,
            "default",
            parse_lines(
                [
                    line.replace('"apac"', '"emea"').replace('"amer"', '"emea"').replace('"anz"', '"emea"')
                    for line in lines()
                ]
            ),
        )
        run_, plan = prepare.prepare_ad_hoc(
            session, "fa-ai", {"raises": "emea"}, prepare.Wish("cli:test", 1, smoke=20), now=utc_now()
        )
        assert plan.cases == 60
        enqueue_start(session, run_.id)
    work(sessions)
    result = last_run(sessions)
    assert result.verdict is Verdict.FAIL
    assert "stopped after the first 20 cases of 60" in result.reasons
    with sessions() as session:
        assert session.scalar(select(func.count()).select_from(ValidationCase)) == 40


def test_a_harmless_smoke_sample_lets_the_rest_run(sessions: sessionmaker[Session], app_id: int) -> None:
    """The early look costs .001 of the size, and then all sixty decide."""
    with sessions.begin() as session:
        run_, _ = prepare.prepare_ad_hoc(
            session, "fa-ai", {"sleep_ms": 3}, prepare.Wish("cli:test", 1, smoke=20), now=utc_now()
        )
        enqueue_start(session, run_.id)
    work(sessions)
    result = last_run(sessions)
    assert (result.verdict, result.remaining) == (Verdict.PASS, 0)


def test_the_second_reviewer_hears_who_decided(sessions: sessionmaker[Session], app_id: int) -> None:
    """Two approve at once: one wins, the other's error names them."""
    (proposal_id,) = propose(sessions, app_id, ("sleep_ms", 2), impact="high")
    work(sessions)
    now = utc_now()
    with sessions.begin() as session:
        review.approve(session, proposal_id, by="cli:anna", reason="looks good", now=now)
    with sessions.begin() as session, pytest.raises(review.ReviewConflictError, match="cli:anna"):
        review.approve(session, proposal_id, by="cli:ben", reason="me too", now=now)
    with sessions.begin() as session, pytest.raises(review.ReviewConflictError, match="cli:anna"):
        review.reject(session, proposal_id, by="cli:ben", reason="no", now=now)


def test_an_approval_is_void_where_the_change_was_edited(sessions: sessionmaker[Session], app_id: int) -> None:
    """What was validated is what is approved, or nothing."""
    (proposal_id,) = propose(sessions, app_id, ("sleep_ms", 2), impact="high")
    work(sessions)
    with sessions.begin() as session:
        proposal = session.get_one(ImprovementProposal, proposal_id)
        proposal.change = {**proposal.change, "to": 900}
    with sessions.begin() as session, pytest.raises(review.ChangedProposalError, match="validate it again"):
        review.approve(session, proposal_id, by="cli:anna", reason="", now=utc_now())
    assert statuses(sessions, [proposal_id]) == [ProposalStatus.AWAITING_APPROVAL]


def test_an_unvalidated_proposal_cannot_be_approved(sessions: sessionmaker[Session], app_id: int) -> None:
    """The table of transitions has no such way."""
    (proposal_id,) = propose(sessions, app_id, ("sleep_ms", 2))
    with sessions.begin() as session, pytest.raises(ForbiddenTransitionError):
        review.approve(session, proposal_id, by="cli:anna", reason="", now=utc_now())


def test_a_rejected_proposal_gives_way_to_the_next(sessions: sessionmaker[Session], app_id: int) -> None:
    """A person says no to the first; the second gets its turn."""
    ids = propose(sessions, app_id, ("sleep_ms", 2), ("sleep_ms", 3), impact="high")
    work(sessions)
    with sessions.begin() as session:
        review.reject(session, ids[0], by="cli:anna", reason="too slow", now=utc_now())
    work(sessions)
    assert statuses(sessions, ids) == [ProposalStatus.REJECTED, ProposalStatus.AWAITING_APPROVAL]


def test_the_others_are_superseded_when_one_is_implemented(sessions: sessionmaker[Session], app_id: int) -> None:
    """They were for the same cause."""
    ids = propose(sessions, app_id, ("sleep_ms", 2), ("sleep_ms", 3))
    with sessions.begin() as session:
        first = session.get_one(ImprovementProposal, ids[0])
        assert review.supersede(session, first, now=utc_now()) == [ids[1]]
    assert statuses(sessions, ids)[1] is ProposalStatus.SUPERSEDED


def test_a_change_that_is_not_allowed_is_rejected_by_policy(sessions: sessionmaker[Session], app_id: int) -> None:
    """The app's owner said which keys may change."""
    ids = propose(sessions, app_id, ("secret.key", "x"), ("sleep_ms", 2))
    work(sessions)
    assert statuses(sessions, ids) == [ProposalStatus.REJECTED, ProposalStatus.APPROVED]


def test_without_a_golden_set_the_proposal_says_so(sessions: sessionmaker[Session], app_id: int) -> None:
    """It is left open with what to do; nothing crashes."""
    with sessions.begin() as session:
        for row in session.scalars(select(GoldenCase)):
            session.delete(row)
        session.flush()
        for version in session.scalars(select(GoldenSet)):
            session.delete(version)
    ids = propose(sessions, app_id, ("sleep_ms", 2))
    work(sessions)
    with sessions() as session:
        proposal = session.get_one(ImprovementProposal, ids[0])
    assert proposal.status is ProposalStatus.INCONCLUSIVE
    assert "metamon golden import" in (proposal.review_reason or "")


def test_a_cancelled_run_stops_and_has_no_verdict(sessions: sessionmaker[Session], app_id: int) -> None:
    """Chunks that are delivered later find nothing to do."""
    ids = propose(sessions, app_id, ("sleep_ms", 2))
    with sessions() as session:
        (start,) = session.scalars(select(Job.id)).all()
    run(start, HANDLERS["validation.start"], owner="a", sessions=sessions)
    with sessions.begin() as session:
        validation_end.cancel(session, last_run(sessions).id, by="cli:anna", now=utc_now())
    work(sessions)
    assert last_run(sessions).verdict is None
    assert statuses(sessions, ids) == [ProposalStatus.INCONCLUSIVE]
    with sessions() as session:
        assert session.scalar(select(func.count()).select_from(ValidationCase)) == 0


def test_the_deadline_judges_what_there_is(sessions: sessionmaker[Session], app_id: int) -> None:
    """Chunks that died for good do not leave a proposal validating for ever."""
    ids = propose(sessions, app_id, ("sleep_ms", 2))
    with sessions() as session:
        (start,) = session.scalars(select(Job.id)).all()
    run(start, HANDLERS["validation.start"], owner="a", sessions=sessions)
    with sessions.begin() as session:
        for job in session.scalars(select(Job).where(Job.kind == "validation.run_chunk")):
            job.state = JobState.DEAD
        deadline = session.scalars(select(Job).where(Job.kind == "validation.finish")).one()
        assert deadline.run_at > utc_now()
        deadline.run_at = utc_now()
    work(sessions)
    assert last_run(sessions).verdict is Verdict.ERROR
    assert statuses(sessions, ids) == [ProposalStatus.INCONCLUSIVE]


def test_a_golden_set_is_a_new_version_only_where_it_differs(sessions: sessionmaker[Session], app_id: int) -> None:
    """The same content, in whatever order, is the same version; another is the next, and the old one stays."""
    with sessions.begin() as session:
        again = golden.import_set(session, app_id, "default", parse_lines(list(reversed(lines()))))
        assert again.version == 1
        changed = golden.import_set(session, app_id, "default", parse_lines(lines(59)))
        assert (changed.version, changed.cases) == (2, 59)
        assert session.scalar(select(func.count()).select_from(GoldenCase)) == 119
