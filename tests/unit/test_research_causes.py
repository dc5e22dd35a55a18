"""Two things go wrong at once: each has its evidence, its onset and its ideas, and they are ranked together."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import Any

from agents.change import Change
from agents.research.evidence import ConfigChange, Hypothesis
from agents.research.investigation import Finding, Subject, investigate, together
from tests.unit.demo_traffic import ALLOWED, CONFIG, STALE, START, two_faults


@cache
def both() -> Finding:
    """Investigate them; the log holds what was deployed at the second beginning."""
    traffic = two_faults()
    changed = ConfigChange(
        id="change-1", at=STALE, actor="cli:bob", key="index.emea", before="2026-10", after="2026-11"
    )
    subject = Subject(
        alert_id=1,
        app_id=1,
        app="fa-ai",
        metric="error_rate",
        window_start=START,
        opened_at=START,
        sla_ms=300,
        config={**CONFIG, "index.emea": "2026-11"},
        allowed=ALLOWED,
        changes=[changed],
    )
    return investigate(subject, *traffic.split())


def cause(of: dict[str, str]) -> Any:
    """Return the cause with these conditions."""
    evidence = both().evidence
    assert evidence is not None
    return next(entry for entry in evidence.causes if entry.conditions == of)


def test_each_cause_has_its_own_ideas() -> None:
    """The slow model gets its time-out and its detour, the stale index its revert."""
    viable = [idea for idea in both().hypotheses if idea.rejected is None]
    by_cause: dict[str, list[str]] = {}
    for idea in viable:
        by_cause.setdefault(idea.cause, []).append(idea.title)
    assert by_cause == {
        cause({"model": "sonic-2"}).id: ["Raise provider.timeout_ms from 250 to 1000", "Route sonic-2 to atlas-1"],
        cause({"region": "emea"}).id: ["Revert index.emea to 2026-10"],
    }


def test_the_evidence_is_told_apart() -> None:
    """Errors, examples and onset of a cause are its own, though some runs are hit by both."""
    evidence = both().evidence
    assert evidence is not None
    slow, stale = cause({"model": "sonic-2"}), cause({"region": "emea"})
    for own, kind, name, value in (
        (slow, "ProviderTimeout", "model", "sonic-2"),
        (stale, "StaleIndexError", "region", "emea"),
    ):
        packet = evidence.about(own.id)
        assert packet.errors[0].kind == kind
        assert packet.errors[0].share > 0.9
        assert [entry.kind for entry in packet.exemplars] == ["bad", "good"] * 3
        assert all(entry.attributes[name] == value for entry in packet.exemplars if entry.kind == "bad")
    assert abs(slow.onset - START) < timedelta(seconds=1)
    assert abs(stale.onset - STALE) < timedelta(seconds=1)
    ids = [entry.id for entry in evidence.errors] + [entry.id for entry in evidence.exemplars]
    assert len(ids) == len(set(ids))


def test_what_is_proposed_for_one_cause_is_not_ruled_out_for_the_other() -> None:
    """A reviewer would read both about the same change."""
    assert [idea.title for idea in both().hypotheses if idea.rejected] == []


def idea(title: str, cause: str, *, to: Any = 1, rejected: str | None = None) -> Hypothesis:
    """A hypothesis that sets a key of its title."""
    change = Change.model_validate({"type": "parameter", "key": title, "from": 0, "to": to})
    return Hypothesis(kind="revert", title=title, change=change, cause=cause, rejected=rejected)


def test_ideas_are_merged_by_gain_and_keep_their_order_within_a_cause() -> None:
    """The smaller first idea of a cause still comes before its larger second one."""
    one = [(5.0, idea("a", "cause-1")), (20.0, idea("b", "cause-1"))]
    two = [(10.0, idea("c", "cause-2")), (1.0, idea("d", "cause-2"))]
    assert [entry.title for entry in together([one, two])] == ["c", "a", "b", "d"]


def test_a_change_that_mends_two_causes_is_proposed_once() -> None:
    """For the cause that it is worth more for."""
    one, two = [(5.0, idea("a", "cause-1"))], [(10.0, idea("a", "cause-2"))]
    assert [(entry.title, entry.cause) for entry in together([one, two])] == [("a", "cause-2")]


def test_rejected_ideas_come_last() -> None:
    """Each with the reason of its cause."""
    one = [(5.0, idea("a", "cause-1")), (0.0, idea("x", "cause-1", rejected="no"))]
    two = [(9.0, idea("c", "cause-2")), (0.0, idea("a", "cause-2", rejected="it governs something else"))]
    assert [entry.title for entry in together([one, two])] == ["c", "a", "x"]
