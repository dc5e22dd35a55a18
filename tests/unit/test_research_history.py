"""What earlier fixes teach: beliefs move with impacts, ranks with a record, efforts with hours written down."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from agents.research.evidence import Hypothesis
from agents.research.history import History, calibration
from agents.research.investigation import Subject, investigate
from agents.research.predict import EFFICACY, EFFORT_HOURS, predict
from agents.research.sample import sample
from core.states import ProposalStatus
from db.queries.fixes import PastFix
from tests.unit.demo_traffic import ALLOWED, CONFIG, START, Traffic


def fix(number: int = 1, **fields: Any) -> PastFix:
    """A revert that was implemented and delivered nine tenths of its ceiling."""
    plain: dict[str, Any] = {
        "proposal_id": number, "app": "fa-ai", "kind": "revert", "title": "Revert index.emea to 2026-10",
        "status": ProposalStatus.IMPLEMENTED, "impact": "low", "metric": "fact_accuracy",
        "conditions": {"region": "emea"}, "change": {"type": "parameter", "key": "index.emea"}, "change_hash": "x",
        "ceiling_pct": 20.0, "predicted_pct": 18.0, "predicted_low": 12.0, "predicted_high": 21.0,
        "measured_pct": 18.0, "effort_hours": 0.5, "effort_hours_p80": 1.0, "spent_hours": None,
        "created_at": START - timedelta(days=number),
    }  # fmt: skip
    return PastFix(**{**plain, **fields})


def idea(kind: Any, rejected: str | None = None) -> Hypothesis:
    """A hypothesis of a kind."""
    return Hypothesis(kind=kind, title=kind, change=None, rejected=rejected)


def test_without_history_the_priors_stand_and_say_so() -> None:
    """Nothing measured, nothing claimed."""
    empty = History()
    assert empty.efficacy("raise_bound") == EFFICACY["raise_bound"]
    assert empty.effort("revert", "low").basis == "uncalibrated"
    assert (empty.effort("revert", "low").p50, empty.effort("revert", "low").p80) == EFFORT_HOURS["revert"]
    found = calibration([])
    assert (found.predictions, found.coverage, found.bias_pct) == (0, None, None)
    assert {entry.decided for entry in found.kinds} == {0}


def test_a_kind_that_delivers_little_is_believed_less() -> None:
    """Each impact moves the Beta by one observation; what has no ceiling or no measurement moves nothing."""
    poor = [fix(n, measured_pct=2.0) for n in range(6)]
    nothing = [fix(7, ceiling_pct=None), fix(8, measured_pct=None), fix(9, ceiling_pct=-1.0)]
    a, b = History((*poor, *nothing)).efficacy("revert")
    assert a + b == pytest.approx(sum(EFFICACY["revert"]) + 6)
    assert a / (a + b) < 0.65
    harmful, _ = History((fix(measured_pct=-5.0),)).efficacy("revert")
    assert harmful == EFFICACY["revert"][0]


def test_the_generators_order_stands_until_every_kind_has_a_record() -> None:
    """Two decided fixes are an anecdote."""
    ideas = [idea("raise_bound"), idea("route_around"), idea("revert", rejected="older")]
    blocked = [fix(n, kind="raise_bound", status=ProposalStatus.BLOCKED, measured_pct=None) for n in range(4)]
    routed = [fix(10 + n, kind="route_around") for n in range(4)]
    assert [i.kind for i in History(tuple(blocked)).ranked(ideas)] == ["raise_bound", "route_around", "revert"]
    assert History((*blocked[:2], *routed)).ranked(ideas)[0].kind == "raise_bound"
    assert [i.kind for i in History((*blocked, *routed)).ranked(ideas)] == ["route_around", "raise_bound", "revert"]


@pytest.mark.parametrize("status", [ProposalStatus.REJECTED, ProposalStatus.INCONCLUSIVE, ProposalStatus.SUPERSEDED])
def test_what_says_nothing_about_a_fix_is_no_record(status: ProposalStatus) -> None:
    """A person's no, an outage, another's success."""
    assert History(tuple(fix(n, status=status) for n in range(5))).survival("revert") == (1.0, 1.0)


def test_hours_on_record_make_the_estimate_of_their_class() -> None:
    """Log-normal quantiles, by kind and by whether a person must approve."""
    hours = np.exp(np.random.default_rng(0).normal(np.log(3), 0.5, 400))
    record = History(tuple(fix(n, spent_hours=float(h)) for n, h in enumerate(hours)))
    effort = record.effort("revert", "low")
    assert effort.p50 == pytest.approx(3, rel=0.1)
    assert effort.p80 == pytest.approx(np.quantile(hours, 0.8), rel=0.1)
    assert effort.basis == "400 earlier fixes of its class"
    assert record.effort("revert", "high").basis == "uncalibrated"


def test_calibration_counts_coverage_and_bias() -> None:
    """Three of four within, and too much promised on average."""
    found = calibration([fix(1), fix(2, measured_pct=14.0), fix(3, measured_pct=13.0), fix(4, measured_pct=1.0)])
    assert found.predictions == 4
    assert found.coverage == 0.75
    assert found.coverage_interval is not None
    assert found.coverage_interval[0] < 0.75 < found.coverage_interval[1]
    assert found.bias_pct == pytest.approx((0 - 4 - 5 - 17) / 4)
    timed = calibration([fix(1, spent_hours=0.4), fix(2, spent_hours=3.0)])
    assert (timed.efforts, timed.effort_within_p80) == (2, 0.5)


def test_promises_learn_from_impacts() -> None:
    """Fixes that deliver less than the prior believes: the promises come down to what they are worth."""
    rng = np.random.default_rng(3)
    traffic = Traffic(fault="index", strength=0.8)
    laid_out = sample(*traffic.split(), metric="fact_accuracy", sla_ms=300)
    past: list[PastFix] = []
    for number in range(60):
        efficacy = History(tuple(past)).efficacy("revert")
        got = predict(laid_out, {"region": "emea"}, "revert", efficacy=efficacy)
        measured = got.ceiling * float(rng.beta(6, 4))
        past.append(
            fix(number, ceiling_pct=got.ceiling, predicted_pct=got.pct, predicted_low=got.low, predicted_high=got.high,
                measured_pct=measured)
        )  # fmt: skip
    late = calibration(past[20:])
    early = calibration(past[:20])
    assert abs(late.bias_pct or 99) < abs(early.bias_pct or 0)
    assert (late.coverage or 0) > (early.coverage or 0)


def test_what_helped_before_is_in_the_packet_and_is_cited() -> None:
    """The same cause, the same key: whoever reads the proposal sees how it went the last time."""
    traffic = Traffic(fault="provider")
    past = (
        fix(5, kind="route_around", title="Route sonic-2 to atlas-1", conditions={"model": "sonic-2"},
            change={"type": "routing", "key": "route.sonic-2"}, metric="error_free"),
        fix(6, app="other", conditions={"model": "sonic-2"}),
        fix(7, status=ProposalStatus.PROPOSED, conditions={"model": "sonic-2"}),
    )  # fmt: skip
    subject = Subject(
        alert_id=1, app_id=1, app="fa-ai", metric="error_rate", window_start=START, opened_at=START, sla_ms=300,
        config=CONFIG, allowed=ALLOWED, history=History(past),
    )  # fmt: skip
    found = investigate(subject, *traffic.split())
    assert found.evidence is not None
    [incident] = found.evidence.incidents
    assert (incident.proposal_id, incident.same_cause, incident.outcome) == (5, True, "implemented")
    by_title = {entry.title: entry.cites for entry in found.hypotheses}
    assert "incident-1" in by_title["Route sonic-2 to atlas-1"]
    assert "incident-1" not in by_title["Raise provider.timeout_ms from 250 to 1000"]


def test_a_value_that_is_new_is_in_the_packet_with_its_first_run() -> None:
    """A release is seen in the data, whether anybody wrote it down or not."""
    traffic = Traffic(fault="prompt")
    subject = Subject(
        alert_id=1, app_id=1, app="fa-ai", metric="guardrail_pass", window_start=START, opened_at=START, sla_ms=300,
        config=CONFIG, allowed=ALLOWED,
    )  # fmt: skip
    found = investigate(subject, *traffic.split())
    assert found.evidence is not None
    new = {(entry.attribute, entry.value): entry for entry in found.evidence.new_values}
    assert set(new) == {("prompt_version", "v13"), ("intent", "watchlist")}
    assert START <= new["prompt_version", "v13"].first_seen <= START + timedelta(seconds=2)
