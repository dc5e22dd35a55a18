"""From an alert's job to proposals in Postgres and the first validation's job."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from agents import review
from core.settings import Settings
from core.states import PROPOSAL, JobState, ProposalStatus
from db.models.alerts import AlertEvent
from db.models.apps import App
from db.models.jobs import Job
from db.models.proposals import ImprovementProposal
from db.queries.proposals import list_proposals, show_proposal
from db.repositories import jobs
from tasks.research import investigate
from tests.integration.research.conftest import World
from tests.unit.demo_traffic import START, Traffic, two_faults
from workers import runner

Make = Callable[[Traffic], World]


def small(fault: str | None = None) -> Traffic:
    """A few hundred runs: enough to be sure, quick to store."""
    return Traffic(fault=fault, rate=30, history=300, baseline_s=30)


def run_research(world: World, alert_id: int, monkeypatch: pytest.MonkeyPatch, *, after_s: float = 12) -> Job:
    """Deliver the alert's research job at a moment after the onset, and return its row."""
    now: datetime = START + timedelta(seconds=after_s)
    monkeypatch.setattr(runner, "utc_now", lambda: now)
    with world.sessions.begin() as session:
        job_id = (
            jobs.enqueue(
                session,
                key=f"research:{alert_id}",
                kind="research.investigate",
                args={"alert_id": alert_id},
                run_at=START,
            )
            or session.scalars(select(Job.id).where(Job.key == f"research:{alert_id}")).one()
        )
    runner.run(job_id, investigate.handler, owner=f"at-{after_s}", sessions=world.sessions)
    with world.sessions() as session:
        return session.get_one(Job, job_id)


def proposals(sessions: sessionmaker[Session]) -> list[ImprovementProposal]:
    """All proposals, by id."""
    with sessions() as session:
        return list(session.scalars(select(ImprovementProposal).order_by(ImprovementProposal.id)))


def researched(sessions: sessionmaker[Session], alert_id: int) -> list[AlertEvent]:
    """What research wrote into the alert's history."""
    with sessions() as session:
        return list(
            session.scalars(select(AlertEvent).where(AlertEvent.alert_id == alert_id, AlertEvent.kind == "researched"))
        )


def validations(sessions: sessionmaker[Session]) -> list[Job]:
    """The validation jobs."""
    with sessions() as session:
        return list(session.scalars(select(Job).where(Job.kind == "validation.start")))


def test_a_stale_index_becomes_a_revert_that_is_being_validated(world: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """One job: cause, proposal, event and next step, all committed together."""
    here = world(small("index"))
    here.deploy("index.emea", "2026-10", "2026-11")
    alert_id = here.alert("fact_accuracy")
    row = run_research(here, alert_id, monkeypatch)
    assert (row.state, row.error) == (JobState.DONE, None)
    [proposal] = proposals(here.sessions)
    assert proposal.cause["conditions"] == {"region": "emea"}
    assert proposal.change == {"type": "parameter", "key": "index.emea", "from": "2026-11", "to": "2026-10", "note": ""}
    assert (proposal.metric, proposal.impact, proposal.rank) == ("fact_accuracy", "low", 1)
    assert 10 < proposal.predicted_low < proposal.predicted_pct < proposal.predicted_high < 30
    [job] = validations(here.sessions)
    assert (job.key, job.args) == (f"validate:proposal:{proposal.id}:1", {"proposal_id": proposal.id})
    [event] = researched(here.sessions, alert_id)
    assert event.detail["proposal_ids"] == [proposal.id]


def test_the_evidence_holds_links_to_bad_and_matched_good_runs(world: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reviewer can look at a failing run and at one that differs in the cause alone."""
    here = world(small("provider"))
    run_research(here, here.alert("error_rate"), monkeypatch)
    with here.sessions() as session:
        detail = show_proposal(session, list_proposals(session)[-1].id)
    kinds = [entry["kind"] for entry in detail.evidence["exemplars"]]
    assert kinds == ["bad", "good"] * 3
    bad, good = detail.evidence["exemplars"][:2]
    assert bad["attributes"]["model"] == "sonic-2"
    assert all(bad["attributes"][name] == good["attributes"][name] for name in ("region", "channel", "intent"))
    assert bad["url"].endswith(bad["run_id"])
    top = detail.evidence["errors"][0]
    assert (top["kind"], top["frames"]) == ("ProviderTimeout", ["provider.py:call"])
    assert top["share"] > 0.9


def test_two_ideas_are_screened_before_one_is_validated(world: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both on a few cases first; which of them is validated is the screen's to say."""
    here = world(small("provider"))
    alert_id = here.alert("error_rate")
    run_research(here, alert_id, monkeypatch)
    first, second = proposals(here.sessions)
    assert [first.change["key"], second.change["key"]] == ["provider.timeout_ms", "route.sonic-2"]
    assert validations(here.sessions) == []
    with here.sessions() as session:
        [screen] = session.scalars(select(Job).where(Job.kind == "validation.screen"))
    assert (screen.key, screen.args) == (f"screen:{alert_id}", {"alert_id": alert_id})


def test_a_second_alert_of_the_same_cause_is_attached(world: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors and a broken SLA of one slow model are one thing to mend."""
    here = world(small("provider"))
    run_research(here, here.alert("error_rate"), monkeypatch)
    before = proposals(here.sessions)
    second = here.alert("sla_compliance")
    run_research(here, second, monkeypatch)
    assert [row.id for row in proposals(here.sessions)] == [row.id for row in before]
    [event] = researched(here.sessions, second)
    assert event.detail["proposal_id"] == before[0].id
    with here.sessions() as session:
        assert show_proposal(session, before[0].id).also_alerts == [second]


def test_each_of_two_causes_is_mended_by_itself(world: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranked together, evidence apart; what mends one cause neither waits for the other nor makes it pointless."""
    here = world(two_faults(rate=30, history=300, baseline_s=30))
    here.deploy("index.emea", "2026-10", "2026-11")
    alert_id = here.alert("error_rate")
    run_research(here, alert_id, monkeypatch, after_s=18)
    made = {row.change["key"]: row for row in proposals(here.sessions)}
    assert sorted(made) == ["index.emea", "provider.timeout_ms", "route.sonic-2"]
    assert sorted(row.rank for row in made.values()) == [1, 2, 3]
    stale, slow = made["index.emea"], made["provider.timeout_ms"]
    assert (stale.cause["conditions"], slow.cause["conditions"]) == ({"region": "emea"}, {"model": "sonic-2"})
    assert "region = emea" in stale.root_cause
    assert "StaleIndexError" in stale.root_cause
    assert [row.evidence["errors"][0]["kind"] for row in (stale, slow)] == ["StaleIndexError", "ProviderTimeout"]
    with here.sessions.begin() as session:
        assert set(review.start_first(session, alert_id)) == {stale.id, slow.id}
        done = session.get_one(ImprovementProposal, slow.id)
        assert review.supersede(session, done, now=START) == [made["route.sonic-2"].id]


def test_a_cause_that_is_being_mended_is_not_proposed_for_again(world: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of two causes has an open proposal of another alert: only the other one gets its own, and both are named."""
    here = world(two_faults(rate=30, history=300, baseline_s=30))
    run_research(here, here.alert("error_rate"), monkeypatch, after_s=18)
    before = {row.id for row in proposals(here.sessions) if row.cause["conditions"] == {"model": "sonic-2"}}
    with here.sessions.begin() as session:
        for row in session.scalars(select(ImprovementProposal)):
            if row.id not in before:
                session.delete(row)
    second = here.alert("sla_compliance")
    run_research(here, second, monkeypatch, after_s=18)
    made = [row for row in proposals(here.sessions) if row.id not in before]
    assert [row.cause["conditions"] for row in made] == [{"region": "emea"}]
    [event] = researched(here.sessions, second)
    assert event.detail["proposal_ids"] == [made[0].id]
    assert event.detail["proposal_id"] in before
    assert event.detail["attached"] is False
    assert len(event.detail["causes"]) == 2


def test_what_fell_today_is_not_proposed_again(world: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A blocked change comes back as ruled out, with the proposal that was blocked."""
    here = world(small("provider"))
    run_research(here, here.alert("error_rate"), monkeypatch)
    with here.sessions.begin() as session:
        for row in session.scalars(select(ImprovementProposal)):
            row.created_at = START
            row.status = PROPOSAL.check(row.status, ProposalStatus.VALIDATING)
            row.status = PROPOSAL.check(row.status, ProposalStatus.BLOCKED)
    first = proposals(here.sessions)[0]
    run_research(here, here.alert("sla_compliance"), monkeypatch)
    [again] = proposals(here.sessions)[2:]
    assert again.change["type"] == "code"
    assert any(f"tried before as proposal {first.id}: blocked" == idea["rejected"] for idea in again.hypotheses)


def test_thin_evidence_waits_and_then_says_so(world: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Healthy runs behind an alert: research looks again for a while, then records that nothing stands out."""
    monkeypatch.setattr("tasks.research.settings", lambda: Settings(sweep_seconds=3, openai_api_key=None))
    here = world(small())
    alert_id = here.alert("fact_accuracy")
    early = run_research(here, alert_id, monkeypatch, after_s=6)
    assert (early.state, early.attempts, early.run_at) == (JobState.QUEUED, 0, START + timedelta(seconds=9))
    assert researched(here.sessions, alert_id) == []
    late = run_research(here, alert_id, monkeypatch, after_s=30)
    assert late.state is JobState.DONE
    [event] = researched(here.sessions, alert_id)
    assert event.detail["causes"] == []
    assert event.detail["summary"].startswith("Nothing stands out among ")
    assert proposals(here.sessions) == []


def test_a_metric_of_the_whole_traffic_is_recorded_as_such(world: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """No single run can fail a volume."""
    here = world(small())
    alert_id = here.alert("volume")
    assert run_research(here, alert_id, monkeypatch).state is JobState.DONE
    [event] = researched(here.sessions, alert_id)
    assert "traffic as a whole" in event.detail["summary"]


def test_an_unknown_alert_is_a_dead_job(world: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trying again cannot make the alert exist."""
    here = world(small())
    row = run_research(here, 4711, monkeypatch)
    assert row.state is JobState.DEAD
    assert "there is no alert 4711" in (row.error or "")


def test_our_own_project_is_never_read(world: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """An app that points at our own tracing project gets no research: the system does not monitor itself."""
    here = world(small("index"))
    with here.sessions.begin() as session:
        session.get_one(App, here.app_id).project = "fa-ai-meta-monitoring"
    alert_id = here.alert("fact_accuracy")
    assert run_research(here, alert_id, monkeypatch).state is JobState.DONE
    assert proposals(here.sessions) == []
