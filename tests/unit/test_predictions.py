"""What a change promises: counted from the onset, not from the start of a window that was healthy at first."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from agents.research.investigation import Subject, investigate
from agents.research.predict import EFFICACY, Prediction, predict
from agents.research.sample import sample
from tests.unit.demo_traffic import ALLOWED, CONFIG, START, Traffic


def promise(traffic: Traffic, *, window_before_s: float, counted_from_onset: bool = True) -> tuple[Prediction, float]:
    """Research a bad window that starts so long before the fault; return the promise and the truth, in percent."""
    start = START - timedelta(seconds=window_before_s)
    bad = [run for run in traffic.runs if run.start_time >= start]
    baseline = [run for run in traffic.runs if run.start_time < start]
    subject = Subject(
        alert_id=1, app_id=1, app="fa-ai", metric="fact_accuracy", window_start=start, opened_at=START, sla_ms=300,
        config=CONFIG, allowed=ALLOWED,
    )  # fmt: skip
    found = investigate(subject, bad, baseline)
    assert found.cause is not None
    assert found.cause.conditions == {"region": "emea"}
    began = found.cause.began if counted_from_onset else None
    scores = [(run.start_time >= START, run.scores.get("fact_accuracy")) for run in traffic.runs]
    now = np.mean([score for hit, score in scores if hit and score is not None])
    usual = np.mean([score for hit, score in scores if not hit and score is not None])
    laid_out = sample(bad, baseline, metric="fact_accuracy", sla_ms=300)
    return predict(laid_out, found.cause.conditions, "revert", began=began), float(100 * (usual - now) / now)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("before", [0.0, 10.0, 40.0])
def test_a_window_that_was_healthy_at_first_does_not_dilute_the_promise(before: float, seed: int) -> None:
    """Three quarters of the window may lie before the fault: the promise is about what comes after."""
    traffic = Traffic(fault="index", seed=seed, strength=0.8, bad_s=12)
    got, truth = promise(traffic, window_before_s=before)
    assert got.low <= truth <= got.high
    a, b = EFFICACY["revert"]
    assert got.pct == pytest.approx(truth * a / (a + b), rel=0.3)


def test_counted_over_the_whole_window_it_would_be_diluted() -> None:
    """The case above is one that matters: without the onset the promise is less than half."""
    traffic = Traffic(fault="index", strength=0.8, bad_s=12)
    got, truth = promise(traffic, window_before_s=40, counted_from_onset=False)
    assert got.pct < 0.5 * truth


def test_an_onset_with_hardly_a_run_behind_it_falls_back_to_the_window() -> None:
    """Ten runs of the cause at least carry a mean."""
    traffic = Traffic(fault="index", strength=0.8)
    laid_out = sample(*traffic.split(), metric="fact_accuracy", sla_ms=300)
    late = START + timedelta(hours=1)
    whole = predict(laid_out, {"region": "emea"}, "revert")
    assert predict(laid_out, {"region": "emea"}, "revert", began=(late, late, late)).pct == whole.pct


def test_a_wide_onset_makes_a_wide_promise() -> None:
    """Not knowing when it began is not knowing how bad it is."""
    traffic = Traffic(fault="index", strength=0.8)
    start = START - timedelta(seconds=40)
    bad = [run for run in traffic.runs if run.start_time >= start]
    laid_out = sample(bad, [r for r in traffic.runs if r.start_time < start], metric="fact_accuracy", sla_ms=300)
    sure = predict(laid_out, {"region": "emea"}, "revert", began=(START, START, START))
    unsure = predict(laid_out, {"region": "emea"}, "revert", began=(START, start, START))
    assert unsure.pct == sure.pct
    assert unsure.high - unsure.low > sure.high - sure.low
