"""The timeline tells what is in the tables, once, in words for a person."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console
from sqlalchemy.orm import Session, sessionmaker

from core.states import (
    AlertKind,
    AlertState,
    EmailState,
    ProposalStatus,
    RolloutState,
    Severity,
    ValidationState,
    Verdict,
)
from db.models import (
    AlertEvent,
    App,
    AuditEntry,
    Email,
    GoldenSet,
    ImprovementImpact,
    ImprovementProposal,
    MonitoringAlert,
    Rollout,
    RolloutEvent,
    ValidationResult,
)
from demo.faults import ACTION, FAULTS
from demo.story import Line, Story
from demo.timeline import follow, show, summarise

AT = datetime(2026, 11, 26, 12, tzinfo=UTC)

Tell = Callable[[], None]


def command(*arguments: str) -> str:
    """Spell a command as the tests expect it."""
    return " ".join(("mm", *arguments))


def proposal(app_id: int, alert_id: int, status: ProposalStatus, **fields: object) -> ImprovementProposal:
    """Return a proposal."""
    values: dict[str, object] = {
        "app_id": app_id, "alert_id": alert_id, "rank": 1, "status": status, "title": "Revert index.emea to 2026-10",
        "root_cause": "c", "cause": {"conditions": {"region": "emea"}, "explained": 0.93},
        "change": {"type": "parameter", "key": "index.emea", "from": "2026-11", "to": "2026-10", "note": ""},
        "change_hash": f"h{status}", "metric": "fact_accuracy", "predicted_pct": 38.0, "predicted_low": 31.0,
        "predicted_high": 44.0, "effort_hours": 1, "effort_hours_p80": 2, "impact": "low", "created_at": AT,
        **fields,
    }  # fmt: skip
    return ImprovementProposal(**values)


@pytest.fixture
def tell(sessions: sessionmaker[Session]) -> Tell:
    """Write a whole story: three faults, and an end of each kind."""

    def write() -> None:
        with sessions.begin() as session:
            app = App(name="fa-ai", project="fa-ai", sla_ms=300)
            session.add(app)
            session.flush()
            session.add_all(
                AuditEntry(at=AT, actor="x", action=ACTION, subject="app:fa-ai", detail={"number": n, "title": f.title})
                for n, f in enumerate(FAULTS, start=1)
            )
            alert = MonitoringAlert(
                app_id=app.id, fingerprint="f", kind=AlertKind.QUALITY_DEGRADATION, severity=Severity.CRITICAL,
                state=AlertState.FIRING, metric="fact_accuracy", title="[red]t[/red]", observed=0.71, expected=0.98,
                window_start=AT, window_end=AT, opened_at=AT,
            )  # fmt: skip
            session.add(alert)
            session.flush()
            session.add(AlertEvent(alert_id=alert.id, at=AT + timedelta(seconds=5), kind="firing"))
            session.add(AlertEvent(alert_id=alert.id, at=AT, kind="pending"))
            good = proposal(app.id, alert.id, ProposalStatus.IMPLEMENTED, approved_hash="h", reviewed_by="policy:low")
            blocked = proposal(app.id, alert.id, ProposalStatus.BLOCKED, rank=2)
            back = proposal(app.id, alert.id, ProposalStatus.ROLLED_BACK, rank=3)
            waiting = proposal(app.id, alert.id, ProposalStatus.AWAITING_APPROVAL, rank=4)
            session.add_all([good, blocked, back, waiting])
            golden = GoldenSet(app_id=app.id, name="default", version=1, hash="h", cases=100)
            session.add(golden)
            session.flush()
            session.add(
                ValidationResult(
                    app_id=app.id,
                    proposal_id=blocked.id,
                    set_id=golden.id,
                    set_hash="h",
                    seed=1,
                    total=200,
                    state=ValidationState.FINISHED,
                    verdict=Verdict.FAIL,
                    target={},
                    baseline={},
                    candidate={},
                    remaining=0,
                    regressions=25,
                    reasons=["sla_met got worse"],
                    requested_by="x",
                    started_at=AT,
                    finished_at=AT + timedelta(seconds=20),
                )
            )
            rollout = Rollout(
                app_id=app.id, proposal_id=back.id, change={"key": "prompt.b", "to": "v12"}, salt="s", percent=0,
                state=RolloutState.ROLLED_BACK, reason="fact_accuracy fell by 22 %", stage_started_at=AT,
            )  # fmt: skip
            session.add(rollout)
            session.flush()
            for kind, low, high in (("started", 0, 10), ("rolled_back", 10, 0)):
                session.add(
                    RolloutEvent(rollout_id=rollout.id, at=AT, kind=kind, from_percent=low, to_percent=high, actor="x")
                )
            session.add(
                ImprovementImpact(
                    proposal_id=good.id,
                    rollout_id=rollout.id,
                    metric="fact_accuracy",
                    method="holdback",
                    before={},
                    after={},
                    predicted_pct=38,
                    measured_pct=36,
                    measured_low=30,
                    measured_high=41,
                    significant=True,
                    window_start=AT,
                    window_end=AT,
                    created_at=AT,
                )
            )
            session.add(
                Email(
                    key="k",
                    kind="critical",
                    recipient="oncall@fa-ai.example",
                    subject="fact_accuracy\r\nfell",
                    text_body="",
                    html_body="",
                    message_id="m",
                    state=EmailState.SENT,
                    sent_at=AT,
                )
            )

    return write


def test_everything_is_told_once_and_in_order(sessions: sessionmaker[Session], tell: Tell) -> None:
    """Each row makes its line; a second look makes none."""
    story = Story(command)
    with sessions() as session:
        assert story.news(session) == []
    tell()
    with sessions() as session:
        lines = story.news(session)
        assert story.news(session) == []
    texts = [f"{line.word}: {line.text}" for line in lines]
    for expected in (
        "fault: 1 of 3, injected: somebody deploys index.emea = 2026-11",
        "alert: 1 critical: quality_degradation of fact_accuracy: 0.71, expected 0.98",
        "cause: of alert 1: region = emea, which explains 93% of the excess",
        "proposal: 1: Revert index.emea to 2026-10 (low impact, predicted +38 % [+31, +44])",
        "validating: proposal 2: 200 answers of baseline and candidate",
        "verdict: proposal 2: fail, 25 cases got worse: sla_met got worse",
        "blocked: proposal 2",
        "approved: proposal 1 by policy:low",
        "your turn: proposal 4 passed and waits for a person",
        "rollout: prompt.b → v12: 0 → 10 % of users",
        "rolled back: prompt.b → v12: fact_accuracy fell by 22 %",
        "implemented: proposal 1",
        "impact: proposal 1: fact_accuracy +36 % [+30, +41], predicted +38 %",
        "mail: critical to oncall@fa-ai.example: fact_accuracy  fell",
    ):
        assert any(text.startswith(expected) for text in texts), expected
    assert sum(line.word == "cause" for line in lines) == 1
    assert [line.at for line in lines] == sorted(line.at for line in lines)
    assert [line.todo for line in lines if line.word == "your turn"] == ["mm proposals approve 4"]


def test_what_was_there_before_is_not_told_again(sessions: sessionmaker[Session], tell: Tell) -> None:
    """A fleet that is started again does not begin with last week."""
    tell()
    story = Story(command)
    with sessions() as session:
        assert story.news(session) == []
        assert story.news(session) == []


def test_the_ending_names_all_three(sessions: sessionmaker[Session], tell: Tell) -> None:
    """One implemented, one blocked, one rolled back, and what to look at."""
    story = Story(command)
    with sessions() as session:
        assert story.ending(session) == []
    tell()
    with sessions() as session:
        facts = dict(story.ending(session))
    assert facts["implemented"].startswith("1 ")
    assert facts["blocked"].startswith("2 ")
    assert facts["rolled back"].startswith("3 ")
    assert facts["mail"] == "1 critical"


def test_plain_output_has_no_escapes_and_rich_output_no_markup_from_rows() -> None:
    """A title that looks like markup stays text."""
    line = Line(AT, "●", "alert", "bold red", "[blink]x[/blink]", "mm do it")
    said: list[str] = []
    show(said.append, line, timedelta(seconds=83))
    assert said == ["01:23  alert       [blink]x[/blink]", "                   mm do it"]
    console = Console(file=io.StringIO(), width=80)
    show(console, line, timedelta(seconds=83))
    summarise(console, [("mail", "[b]1[/b] critical")], timedelta(seconds=200))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "[blink]x[/blink]" in text
    assert "[b]1[/b] critical" in text
    assert "\x1b" not in text


def test_following_prints_the_story_and_its_end(sessions: sessionmaker[Session], tell: Tell) -> None:
    """Until told to stop; a database that is away in between is waited for."""
    tell_later = threading.Event()
    said: list[str] = []
    stop = threading.Event()

    def say(text: str) -> None:
        said.append(text)
        if text.startswith("  mail"):
            stop.set()

    calls = 0

    def flaky() -> Session:
        nonlocal calls
        calls += 1
        if calls == 2:
            from sqlalchemy.exc import OperationalError

            raise OperationalError("SELECT", {}, Exception("away"))
        if calls == 3 and not tell_later.is_set():
            tell_later.set()
            tell()
        return sessions()

    follow(flaky, say, stop, command=command, since=AT)
    assert any("rolled back" in text for text in said)
    assert any(text.startswith("All three stories are told") for text in said)
