"""The life of a rollout: started once, moved on by evidence, taken back by evidence or by hand."""

from __future__ import annotations

import importlib
import itertools
import json
import random
import re
import threading
import time
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session, sessionmaker

from agents import guarding, impact, rollout
from agents.cadence import DEMO
from core.clock import utc_now
from core.errors import ForbiddenTransitionError, NotFoundError, PermanentError
from core.states import ROLLOUT, AlertKind, AlertState, JobState, ProposalStatus, RolloutState, Severity
from db.models.access import AuditEntry
from db.models.alerts import MonitoringAlert
from db.models.apps import App
from db.models.evaluation import ImprovementImpact
from db.models.jobs import Job
from db.models.metrics import MetricBucket
from db.models.proposals import ImprovementProposal
from db.models.rollouts import Rollout, RolloutEvent
from db.queries.rollouts import list_rollouts, show_rollout
from db.repositories import jobs, proposals
from tests import rollout_world
from tests.rollout_world import CHANGE, NOON, add_app, add_proposal, serve
from workers import runner
from workers.runner import run

LEASE = timedelta(seconds=30)


def begin(sessions: sessionmaker[Session], proposal_id: int, *, now: datetime = NOON) -> int:
    """Start a proposal's rollout."""
    with sessions.begin() as session:
        started = rollout.start(session, proposal_id, now=now)
    assert started is not None
    return started


def look(sessions: sessionmaker[Session], rollout_id: int, now: datetime) -> str:
    """Look at a rollout as `rollout.advance` does."""
    with sessions() as session:
        judged = guarding.judge(session, rollout_id, now=now, cadence=DEMO)
    if judged is None:
        return "nothing"
    with sessions.begin() as session:
        return guarding.settle(session, judged, now=now, cadence=DEMO)


def add_alert(sessions: sessionmaker[Session], app_id: int) -> int:
    """Add an alert that fires."""
    with sessions.begin() as session:
        alert = MonitoringAlert(
            app_id=app_id, fingerprint="errors", kind=AlertKind.ERROR_SPIKE, severity=Severity.CRITICAL,
            state=AlertState.FIRING, metric="error_rate", title="errors", window_start=NOON, window_end=NOON,
            opened_at=NOON,
        )  # fmt: skip
        session.add(alert)
        session.flush()
        return alert.id


def row(sessions: sessionmaker[Session], rollout_id: int) -> Rollout:
    """Read a rollout."""
    with sessions() as session:
        return session.get_one(Rollout, rollout_id)


def status(sessions: sessionmaker[Session], proposal_id: int) -> ProposalStatus:
    """Read a proposal's status."""
    with sessions() as session:
        return session.get_one(ImprovementProposal, proposal_id).status


def kinds(sessions: sessionmaker[Session]) -> list[str]:
    """Return the kinds of all jobs."""
    with sessions() as session:
        return sorted(session.scalars(select(Job.kind)))


def test_a_start_that_is_delivered_twice_starts_once(sessions: sessionmaker[Session]) -> None:
    """One rollout, one event, and the proposal is rolling out."""
    proposal_id = add_proposal(sessions, add_app(sessions))
    assert begin(sessions, proposal_id) == begin(sessions, proposal_id)
    with sessions() as session:
        (only,) = list_rollouts(session)
        assert [event.kind for event in show_rollout(session, only.id).events] == ["start"]
    assert (only.percent, only.holdback_percent, only.state) == (10, 10, RolloutState.RUNNING)
    assert status(sessions, proposal_id) is ProposalStatus.ROLLING_OUT


def test_an_approval_of_another_change_starts_nothing(sessions: sessionmaker[Session]) -> None:
    """The approval is bound to the hash of the change: an edited change is not the approved one."""
    proposal_id = add_proposal(sessions, add_app(sessions), approved_hash="0" * 64)
    with sessions.begin() as session, pytest.raises(PermanentError, match="approved with another change"):
        rollout.start(session, proposal_id, now=NOON)


def test_a_proposal_that_is_not_approved_starts_nothing(sessions: sessionmaker[Session]) -> None:
    """A person may have rejected it between the job's making and its running."""
    proposal_id = add_proposal(sessions, add_app(sessions), status=ProposalStatus.REJECTED)
    with sessions.begin() as session:
        assert rollout.start(session, proposal_id, now=NOON) is None


def test_a_change_that_the_app_no_longer_allows_ends_rejected_and_the_next_is_tried(
    sessions: sessionmaker[Session],
) -> None:
    """What is allowed counts when it happens: an approval that is void blocks no other cure, and people hear of it."""
    from tasks.rollout import start

    app_id = add_app(sessions)
    alert_id = add_alert(sessions, app_id)
    proposal_id = add_proposal(sessions, app_id, alert_id=alert_id)
    other = CHANGE.model_copy(update={"to": "v14"})
    following = add_proposal(sessions, app_id, other, alert_id=alert_id, rank=2, status=ProposalStatus.PROPOSED)
    with sessions.begin() as session:
        session.get_one(App, app_id).allowed = {}
        job_id = jobs.enqueue(session, key="rollout:1", kind="rollout.start", args={"proposal_id": proposal_id})
    assert job_id is not None
    for owner in ("a", "b"):
        run(job_id, start.handler, owner=owner, sessions=sessions)
    with sessions() as session:
        ended = session.get_one(ImprovementProposal, proposal_id)
        assert session.get_one(Job, job_id).state is JobState.DONE
        caused = session.execute(select(Job.kind, Job.args).where(Job.parent_id == job_id).order_by(Job.id)).all()
        twin = proposals.open_twin(
            session, app_id=app_id, alert_id=-1, keys=["prompt.a"], conditions=[{"region": "emea"}]
        )
        actions = session.scalars(select(AuditEntry.action).order_by(AuditEntry.id)).all()
    assert (ended.status, ended.reviewed_by) == (ProposalStatus.REJECTED, "policy:allowed-keys")
    assert ended.review_reason is not None
    assert ended.review_reason.startswith("cli:ann approved it, but it may not be rolled out any more: 'prompt.a'")
    assert [tuple(row) for row in caused] == [
        ("notifications.announce", {"event": "proposal_blocked", "subject_id": proposal_id}),
        ("validation.start", {"proposal_id": following}),
    ]
    assert twin is None
    assert actions == ["proposal.reject"]


@pytest.mark.parametrize("present", ["v13", "v11"])
def test_a_change_that_the_app_has_moved_on_from_is_superseded(sessions: sessionmaker[Session], present: str) -> None:
    """It is there already, or it was validated against something that is there no more."""
    app_id = add_app(sessions)
    proposal_id = add_proposal(sessions, app_id)
    with sessions.begin() as session:
        session.get_one(App, app_id).config = {"prompt.a": present}
    with sessions.begin() as session:
        assert rollout.start(session, proposal_id, now=NOON) is None
    assert status(sessions, proposal_id) is ProposalStatus.SUPERSEDED


def test_a_second_rollout_of_the_same_key_waits(sessions: sessionmaker[Session]) -> None:
    """Two changes of one key at once would explain each other's effects away; its job is put back, not failed."""
    from tasks.rollout import start

    app_id = add_app(sessions)
    begin(sessions, add_proposal(sessions, app_id))
    second = add_proposal(sessions, app_id)
    with sessions.begin() as session:
        job_id = jobs.enqueue(session, key="rollout:2", kind="rollout.start", args={"proposal_id": second})
    assert job_id is not None
    run(job_id, start.handler, owner="a", sessions=sessions)
    with sessions() as session:
        waiting = session.get_one(Job, job_id)
    assert (waiting.state, waiting.attempts) == (JobState.QUEUED, 0)
    assert status(sessions, second) is ProposalStatus.APPROVED


def test_two_workers_start_no_two_rollouts_of_one_key(sessions: sessionmaker[Session]) -> None:
    """Both are on their way in at once: the one that gets the app's lock second sees what the first has started."""
    app_id = add_app(sessions)
    first, second = add_proposal(sessions, app_id), add_proposal(sessions, app_id)
    outcome: list[Exception | int | None] = []

    def start_second() -> None:
        try:
            with sessions.begin() as session:
                outcome.append(rollout.start(session, second, now=NOON))
        except rollout.KeyTakenError as taken:
            outcome.append(taken)

    other = threading.Thread(target=start_second)
    with sessions.begin() as session:
        started = rollout.start(session, first, now=NOON)
        other.start()
        with sessions() as watch:
            wait_for_lock(watch)
    other.join(timeout=30)
    [taken] = outcome
    assert isinstance(taken, rollout.KeyTakenError), taken
    assert taken.rollout_id == started
    assert status(sessions, second) is ProposalStatus.APPROVED


def wait_for_lock(session: Session) -> None:
    """Wait until somebody waits for a lock in this database."""
    deadline = time.monotonic() + 20
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    while not session.scalar(text(waiting)):
        assert time.monotonic() < deadline, "nobody waits for a lock"
        time.sleep(0.01)
        session.rollback()


def test_the_guard_looks_at_every_live_rollout_once_a_tick(sessions: sessionmaker[Session]) -> None:
    """In whatever state; a tick delivered twice makes no second look."""
    from tasks.rollout import guard

    app_id = add_app(sessions)
    first = begin(sessions, add_proposal(sessions, app_id))
    over = begin(sessions, add_proposal(sessions, add_app(sessions, "other")))
    with sessions.begin() as session:
        rollout.pause(session, first, by="cli:ann", reason="release", now=NOON)
        rollout.roll_back(session, over, by="cli:ann", reason="no", now=NOON)
    for name in ("a", "b"):
        with sessions.begin() as session:
            job_id = jobs.enqueue(session, key=name, kind="rollout.guard", args={"scheduled_for": "2026-03-02T12:00"})
        assert job_id is not None
        run(job_id, guard.handler, owner=name, sessions=sessions)
    with sessions() as session:
        looks = session.scalars(select(Job.args).where(Job.kind == "rollout.advance")).all()
    assert [args["rollout_id"] for args in looks] == [first]


def test_no_data_is_no_evidence(sessions: sessionmaker[Session]) -> None:
    """A silent app is neither promoted nor rolled back."""
    rollout_id = begin(sessions, add_proposal(sessions, add_app(sessions)))
    assert look(sessions, rollout_id, NOON + timedelta(hours=1)) == "hold"
    assert row(sessions, rollout_id).percent == 10


def test_a_good_change_goes_all_the_way_and_its_impact_is_measured(sessions: sessionmaker[Session]) -> None:
    """10 → 50 → 100 % by evidence, then the hold-back says what it was worth, then the configuration has it."""
    app_id = add_app(sessions)
    proposal_id = add_proposal(sessions, app_id)
    rollout_id = begin(sessions, proposal_id)
    now = NOON + timedelta(seconds=3)
    done: list[str] = []
    for _ in range(12):
        now = serve(
            sessions,
            rollout_id,
            start=now,
            requests=500,
            fails=lambda candidate, rng: rng.random() < (0.01 if candidate else 0.06),
            seed=len(done),
        )
        now += timedelta(seconds=4)
        done.append(look(sessions, rollout_id, now))
        now += timedelta(seconds=3)
        if done.count("promote") == 2:
            break
    assert done.count("promote") == 2, done
    live = row(sessions, rollout_id)
    assert (live.state, live.percent) == (RolloutState.HOLDBACK, 100)
    assert status(sessions, proposal_id) is ProposalStatus.IMPLEMENTED
    assert "evaluation.measure_impact" in kinds(sessions)
    with sessions() as session:
        assert session.get_one(App, app_id).config["prompt.a"] == "v12", (
            "the overlay serves it until the impact is known"
        )

    now = serve(
        sessions, rollout_id, start=now, requests=800, fails=lambda c, rng: rng.random() < (0.01 if c else 0.06)
    )
    now += timedelta(seconds=5)
    with sessions() as session:
        measured = impact.measure(session, rollout_id, now=now, cadence=DEMO)
    assert isinstance(measured, impact.Measurement)
    for expected in (True, False):
        with sessions.begin() as session:
            assert impact.settle(session, measured, now=now) is expected
    with sessions() as session:
        worth = session.scalars(select(ImprovementImpact)).one()
        assert session.get_one(App, app_id).config == {"prompt.a": "v13", "retrieval.k": 4}
        entry = session.scalars(select(AuditEntry).where(AuditEntry.action == "app.config")).one()
    assert (entry.actor, entry.subject) == (f"rollout:{rollout_id}", "app:fa-ai")
    assert entry.detail == {"key": "prompt.a", "from": "v12", "to": "v13"}
    assert worth.method == "holdback"
    assert worth.measured_low is not None
    assert worth.measured_high is not None
    assert worth.measured_pct is not None
    # The salt is random: a 95 % interval misses in one run of twenty, twice its width in one of ten thousand.
    assert abs(worth.measured_pct - 5.3) < worth.measured_high - worth.measured_low < 10
    assert worth.significant
    assert worth.roi is not None
    assert worth.roi_low is not None
    assert worth.roi_low < worth.roi
    assert row(sessions, rollout_id).state is RolloutState.COMPLETED
    assert kinds(sessions).count("notifications.announce") == 1


def test_a_change_that_harms_is_rolled_back_and_the_reason_says_why(sessions: sessionmaker[Session]) -> None:
    """The metric, both means and the evidence are named; the runner-up gets its turn; a mail is on its way."""
    app_id = add_app(sessions)
    with sessions.begin() as session:
        session.add(
            MetricBucket(
                app_id=app_id,
                bucket=NOON - timedelta(hours=1),
                runs=1,
                finished=1,
                errors=0,
                pending=0,
                abandoned=0,
                sla_met=1,
                scores={"fact_accuracy": {"n": 1, "sum": 1, "sumsq": 1}},
            )
        )
    proposal_id = add_proposal(sessions, app_id)
    rollout_id = begin(sessions, proposal_id)
    now = NOON + timedelta(seconds=3)
    for step in range(6):
        now = serve(
            sessions,
            rollout_id,
            start=now,
            requests=400,
            scores={"fact_accuracy": lambda candidate, rng: float(rng.random() < (0.7 if candidate else 0.95))},
            seed=step,
        )
        if look(sessions, rollout_id, now + timedelta(seconds=4)) == "rollback":
            break
    fallen = row(sessions, rollout_id)
    assert (fallen.state, fallen.percent) == (RolloutState.ROLLED_BACK, 0)
    assert fallen.reason is not None
    said = re.fullmatch(
        r"fact_accuracy (0\.\d+) against (0\.\d+) \(-(\d+\.\d) %\), e-value ([\d.e+]+) ≥ 60", fallen.reason
    )
    assert said is not None, fallen.reason
    candidate, baseline, drop, e_value = map(float, said.groups())
    evidence = fallen.guard["evidence"]["fact_accuracy"]
    assert fallen.guard["decision"]["metric"] == "fact_accuracy"
    assert (e_value, drop) == pytest.approx((evidence["e_rollback"], 100 * evidence["drop"]), rel=0.01)
    assert (candidate, baseline) == pytest.approx((evidence["candidate"], evidence["baseline"]), rel=0.01)
    assert evidence["e_rollback"] >= evidence["rollback_at"] == pytest.approx(60)
    assert evidence["drop"] >= 0.05
    assert status(sessions, proposal_id) is ProposalStatus.ROLLED_BACK
    with sessions() as session:
        job = session.scalars(select(Job).where(Job.kind == "notifications.announce")).one()
    assert job.args == {"event": "rolled_back", "subject_id": proposal_id}


def broken_model(rng: random.Random) -> dict[str, str]:
    """A third of the requests go to a model that fails half of the time."""
    return {"model": "broken" if rng.random() < 1 / 3 else "fine"}


@pytest.mark.parametrize("explained", [True, False])
def test_another_fault_stalls_no_rollout_once_it_is_explained(
    sessions: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch, *, explained: bool
) -> None:
    """Requests that another open alert's cause covers are no evidence for or against this change's promotion."""
    # Who gets which variant is drawn here once and for all: one draw in twelve favours the candidate by chance.
    monkeypatch.setattr(rollout_world, "_numbers", itertools.count())
    monkeypatch.setattr("agents.rollout.secrets.token_hex", lambda _: "s0")
    app_id = add_app(sessions)
    rollout_id = begin(sessions, add_proposal(sessions, app_id))
    alert_id = add_alert(sessions, app_id)
    if explained:
        other = add_proposal(sessions, app_id, alert_id=alert_id, status=ProposalStatus.PROPOSED)
        with sessions.begin() as session:
            session.get_one(ImprovementProposal, other).cause = {"conditions": {"model": "broken"}}
    now = serve(sessions, rollout_id, start=NOON + timedelta(seconds=3), requests=1500, metadata=broken_model)
    assert look(sessions, rollout_id, now + timedelta(seconds=4)) == ("promote" if explained else "hold")


def test_a_guard_of_an_older_release_looks_at_all_runs_again(sessions: sessionmaker[Session]) -> None:
    """Its state means something else: nothing is taken from it, and no run is lost."""
    rollout_id = begin(sessions, add_proposal(sessions, add_app(sessions)))
    now = serve(sessions, rollout_id, start=NOON + timedelta(seconds=3), requests=200) + timedelta(seconds=4)
    assert look(sessions, rollout_id, now) == "hold"
    with sessions.begin() as session:
        session.get_one(Rollout, rollout_id).guard = {"sequential": {"version": 1}}
    later = serve(sessions, rollout_id, start=now, requests=100) + timedelta(seconds=4)
    assert look(sessions, rollout_id, later) == "hold"
    assert sum(row(sessions, rollout_id).guard["units"]) == 300


def test_a_look_that_is_delivered_twice_takes_its_runs_in_once(sessions: sessionmaker[Session]) -> None:
    """Two workers judged the same runs; the second finds the watermark moved and writes nothing."""
    rollout_id = begin(sessions, add_proposal(sessions, add_app(sessions)))
    now = serve(sessions, rollout_id, start=NOON + timedelta(seconds=3), requests=200) + timedelta(seconds=4)
    with sessions() as session:
        first = guarding.judge(session, rollout_id, now=now, cadence=DEMO)
        second = guarding.judge(session, rollout_id, now=now, cadence=DEMO)
    assert first is not None
    assert second is not None
    with sessions.begin() as session:
        assert guarding.settle(session, first, now=now, cadence=DEMO) == "hold"
    with sessions.begin() as session:
        assert guarding.settle(session, second, now=now, cadence=DEMO) == "overtaken"
    assert sum(row(sessions, rollout_id).guard["units"]) == 200


def test_the_guard_continues_bit_identically_from_its_row(sessions: sessionmaker[Session]) -> None:
    """What Postgres gives back is what was put in, to the last bit of every number."""
    rollout_id = begin(sessions, add_proposal(sessions, add_app(sessions)))
    now = serve(sessions, rollout_id, start=NOON + timedelta(seconds=3), requests=300) + timedelta(seconds=4)
    with sessions() as session:
        judged = guarding.judge(session, rollout_id, now=now, cadence=DEMO)
    assert judged is not None
    with sessions.begin() as session:
        guarding.settle(session, judged, now=now, cadence=DEMO)
    stored = row(sessions, rollout_id).guard["sequential"]
    assert json.dumps(stored, sort_keys=True) == json.dumps(judged.state, sort_keys=True)


def test_a_paused_rollout_is_still_guarded_and_resumes_where_it_was(sessions: sessionmaker[Session]) -> None:
    """Pausing keeps the variants; the guard rolls a harmful one back all the same."""
    rollout_id = begin(sessions, add_proposal(sessions, add_app(sessions)))
    with sessions.begin() as session:
        rollout.pause(session, rollout_id, by="cli:ann", reason="release", now=NOON)
    with sessions.begin() as session, pytest.raises(ForbiddenTransitionError):
        rollout.pause(session, rollout_id, by="cli:ann", reason="again", now=NOON)
    now = serve(
        sessions, rollout_id, start=NOON + timedelta(seconds=3), requests=200, fails=lambda candidate, rng: candidate
    )
    assert look(sessions, rollout_id, now + timedelta(seconds=4)) == "rollback"

    other = begin(sessions, add_proposal(sessions, add_app(sessions, "other")))
    with sessions.begin() as session:
        rollout.pause(session, other, by="cli:ann", reason="release", now=NOON)
        rollout.resume(session, other, by="cli:ann", reason="released", now=NOON)
    assert row(sessions, other).state is RolloutState.RUNNING
    with sessions.begin() as session, pytest.raises(ForbiddenTransitionError):
        rollout.resume(session, other, by="cli:ann", reason="again", now=NOON)


def test_an_outage_of_both_arms_moves_nothing(sessions: sessionmaker[Session]) -> None:
    """Everything fails for everybody: that says nothing about the change."""
    rollout_id = begin(sessions, add_proposal(sessions, add_app(sessions)))
    now = serve(
        sessions, rollout_id, start=NOON + timedelta(seconds=3), requests=1500, fails=lambda candidate, rng: True
    )
    assert look(sessions, rollout_id, now + timedelta(seconds=4)) == "hold"


def test_a_completed_rollout_can_be_taken_back_by_hand(sessions: sessionmaker[Session]) -> None:
    """The configuration gets its former value again, on record."""
    app_id = add_app(sessions)
    proposal_id = add_proposal(sessions, app_id)
    rollout_id = begin(sessions, proposal_id)
    with sessions.begin() as session:
        for _ in range(2):
            rollout.promote(session, rollout_id, by="cli:ann", reason="now", now=NOON, cadence=DEMO)
    with sessions.begin() as session, pytest.raises(rollout.NoFurtherStageError, match="100 %"):
        rollout.promote(session, rollout_id, by="cli:ann", reason="now", now=NOON, cadence=DEMO)
    with sessions.begin() as session:
        assert rollout.complete(session, rollout_id, now=NOON)
    with sessions.begin() as session:
        rollout.roll_back(session, rollout_id, by="cli:ann", reason="customers complain", now=NOON)
    with sessions() as session:
        assert session.get_one(App, app_id).config["prompt.a"] == "v12"
        events = session.scalars(select(RolloutEvent.kind).order_by(RolloutEvent.id)).all()
        actions = session.scalars(select(AuditEntry.action).order_by(AuditEntry.id)).all()
    assert events == ["start", "promote", "promote", "complete", "rollback"]
    assert actions.count("app.config") == 2
    assert status(sessions, proposal_id) is ProposalStatus.ROLLED_BACK
    with sessions.begin() as session, pytest.raises(ForbiddenTransitionError):
        rollout.roll_back(session, rollout_id, by="cli:ann", reason="again", now=NOON)


def test_runs_around_a_change_of_share_are_left_out(sessions: sessionmaker[Session]) -> None:
    """The app may still serve what it was told a moment ago; runs from before keep their own share."""
    rollout_id = begin(sessions, add_proposal(sessions, add_app(sessions)))
    early = serve(sessions, rollout_id, start=NOON + timedelta(seconds=3), requests=100)
    with sessions.begin() as session:
        rollout.promote(session, rollout_id, by="cli:ann", reason="now", now=early, cadence=DEMO)
    serve(sessions, rollout_id, start=early, requests=100)  # within the two seconds after
    now = serve(sessions, rollout_id, start=early + DEMO.transition, requests=50)
    with sessions() as session:
        judged = guarding.judge(session, rollout_id, now=now + timedelta(seconds=4), cadence=DEMO)
    assert judged is not None
    assert sum(judged.units) == 50
    assert sum(stage[1] + stage[2] for stage in judged.state["stages"]) == 150


def test_an_unknown_rollout_is_named(sessions: sessionmaker[Session]) -> None:
    """The error says what does not exist and where to look."""
    with sessions.begin() as session, pytest.raises(NotFoundError, match="there is no rollout 9999"):
        rollout.pause(session, 9999, by="cli:ann", reason="x", now=NOON)
    assert CHANGE.hash == CHANGE.model_copy().hash


def test_the_tasks_take_a_rollout_from_look_to_impact(
    sessions: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`rollout.advance` promotes and `evaluation.measure_impact` waits for units, each delivered twice."""
    from tasks import evaluation as evaluation_tasks
    from tasks import rollout as rollout_tasks

    for module in (rollout_tasks, evaluation_tasks):
        monkeypatch.setattr(module, "cadence", lambda *, demo: DEMO)
    begun = utc_now() - timedelta(minutes=2)
    rollout_id = begin(sessions, add_proposal(sessions, add_app(sessions)), now=begun)
    serve(sessions, rollout_id, start=begun + timedelta(seconds=3), requests=3000)
    with sessions.begin() as session:
        job_id = jobs.enqueue(
            session, key="advance:1:x", kind="rollout.advance", args={"rollout_id": rollout_id, "at": "x"}
        )
    assert job_id is not None
    for owner in ("a", "b"):
        run(job_id, rollout_tasks.advance.handler, owner=owner, sessions=sessions)
    promoted = row(sessions, rollout_id)
    assert (promoted.percent, promoted.guard["decision"]["action"]) == (50, "promote")
    assert promoted.guarded_until is not None
    with sessions.begin() as session:
        rollout.promote(session, rollout_id, by="cli:ann", reason="now", now=utc_now(), cadence=DEMO)
        measuring = session.scalars(select(Job).where(Job.kind == "evaluation.measure_impact")).one()
        measuring.run_at = begun
    serve(sessions, rollout_id, start=utc_now() - timedelta(seconds=1), requests=10)
    with sessions.begin() as session:
        held = session.get_one(Rollout, rollout_id)
        held.state = ROLLOUT.check(held.state, RolloutState.PAUSED)
    run(measuring.id, evaluation_tasks.measure_impact.handler, owner="a", sessions=sessions)
    with sessions.begin() as session:
        waiting = session.get_one(Job, measuring.id)
        assert (waiting.state, waiting.attempts) == (JobState.QUEUED, 0), "a paused hold-back is measured later"
        waiting.run_at = begun
        held = session.get_one(Rollout, rollout_id)
        held.state = ROLLOUT.check(held.state, RolloutState.HOLDBACK)
    for owner in ("b", "c"):
        run(measuring.id, evaluation_tasks.measure_impact.handler, owner=owner, sessions=sessions)
    assert row(sessions, rollout_id).state is RolloutState.COMPLETED
    with sessions() as session:
        assert len(session.scalars(select(ImprovementImpact)).all()) == 1


def test_a_hold_back_that_is_paused_while_it_is_measured_is_measured_later(
    sessions: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read is thrown away, the job stays: after the resumption, or a roll-back, the next look ends it."""
    from tasks import evaluation as evaluation_tasks

    monkeypatch.setattr(evaluation_tasks, "cadence", lambda *, demo: DEMO)
    begun = utc_now() - timedelta(minutes=5)
    measure = impact.measure

    def measure_and_be_paused(session: Session, rollout_id: int, **how: Any) -> Any:
        found = measure(session, rollout_id, **how)
        with sessions.begin() as other:
            rollout.pause(other, rollout_id, by="guard", reason="split", now=utc_now())
        return found

    def look_again(rollout_id: int, owner: str) -> JobState:
        with sessions.begin() as session:
            job = session.scalars(select(Job).where(Job.key == f"impact:{rollout_id}")).one()
            job.run_at = begun
        run(job.id, evaluation_tasks.measure_impact.handler, owner=owner, sessions=sessions)
        with sessions() as session:
            return session.get_one(Job, job.id).state

    for name, resumed in (("resumed", True), ("taken-back", False)):
        rollout_id = begin(sessions, add_proposal(sessions, add_app(sessions, name)), now=begun)
        with sessions.begin() as session:
            for _ in range(2):
                rollout.promote(session, rollout_id, by="cli:ann", reason="now", now=begun, cadence=DEMO)
        with monkeypatch.context() as patch:
            patch.setattr(impact, "measure", measure_and_be_paused)
            assert look_again(rollout_id, "a") is JobState.QUEUED
        with sessions.begin() as session:
            if resumed:
                rollout.resume(session, rollout_id, by="cli:ann", reason="split is fine", now=utc_now())
            else:
                rollout.roll_back(session, rollout_id, by="cli:ann", reason="harm", now=utc_now())
        for owner in ("b", "c"):
            assert look_again(rollout_id, owner) is JobState.DONE
        assert row(sessions, rollout_id).state is (RolloutState.COMPLETED if resumed else RolloutState.ROLLED_BACK)
    with sessions() as session:
        assert [written.rollout_id for written in session.scalars(select(ImprovementImpact))] == [rollout_id - 1]


@pytest.mark.parametrize(
    "kind",
    [
        "rollout.advance", "evaluation.daily", "evaluation.measure_impact", "monitoring.check_app", "monitoring.retain",
        "research.investigate", "validation.screen", "validation.run_chunk", "notifications.deliver",
    ],
)  # fmt: skip
def test_what_works_outside_its_transaction_keeps_its_lease(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a minute of reading or waiting without a sign of life, five times over, and the job is among the dead."""
    queue, _, verb = kind.partition(".")
    task = getattr(importlib.import_module(f"tasks.{queue}"), verb)
    seen: list[bool] = []
    monkeypatch.setattr(runner, "session_factory", lambda: None)
    monkeypatch.setattr(runner, "run", lambda *_, heartbeat, **__: seen.append(heartbeat))
    task(1)
    assert seen == [True]
