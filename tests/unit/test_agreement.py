"""Agreement of a judge with people: against published tables and other implementations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from analysis.agreement import Agreement, agreement


def of(both_yes: int, too_kind: int, too_strict: int, both_no: int) -> Agreement:
    """Return the agreement of a table of two by two."""
    counts = (both_yes, too_kind, too_strict, both_no)
    found = agreement(np.repeat([True, True, False, False], counts), np.repeat([True, False, True, False], counts))
    assert found is not None
    assert (found.both_yes, found.too_kind, found.too_strict, found.both_no) == counts
    return found


@pytest.mark.parametrize(
    ("table", "share", "kappa"),
    [
        # Feinstein & Cicchetti (1990), Journal of Clinical Epidemiology 43, 543-549: the same share, two prevalences
        ((40, 9, 6, 45), 0.85, 0.70),
        ((80, 10, 5, 5), 0.85, 0.32),
        # the same: unequal marginals raise kappa at one share
        ((45, 15, 25, 15), 0.60, 0.13),
        ((25, 35, 5, 35), 0.60, 0.26),
        # Sim & Wright (2005), Physical Therapy 85, 257-268: two clinicians, 39 patients
        ((22, 2, 4, 11), 0.846, 0.67),
    ],
)
def test_published_tables_give_the_published_figures(
    table: tuple[int, int, int, int], share: float, kappa: float
) -> None:
    """As printed, to the digits printed."""
    found = of(*table)
    assert found.share == pytest.approx(share, abs=0.0005)
    assert found.kappa == pytest.approx(kappa, abs=0.005)


def test_kappa_and_interval_are_those_of_other_implementations() -> None:
    """κ by statsmodels, the share's interval by scipy, on random tables."""
    from statsmodels.stats.inter_rater import cohens_kappa  # two seconds, for whoever only collects this

    rng = np.random.default_rng(5)
    for _ in range(200):
        table = rng.integers(0, 30, 4) + np.array([1, 0, 0, 1])
        found = of(*(int(count) for count in table))
        assert found.kappa == pytest.approx(cohens_kappa(table.reshape(2, 2)).kappa, abs=1e-9)
        agreed = stats.binomtest(found.both_yes + found.both_no, found.count).proportion_ci(method="wilson")
        assert (found.share_low, found.share_high) == pytest.approx((agreed.low, agreed.high), abs=1e-9)


def test_a_few_undisputed_answers_do_not_prove_full_agreement() -> None:
    """Ten of ten: the delta method's interval would be [1, 1]."""
    found = of(5, 0, 0, 5)
    assert (found.kappa, found.kappa_high) == (1.0, 1.0)
    assert found.kappa_low == pytest.approx(0.4449, abs=0.001)


def test_where_chance_always_agrees_there_is_no_kappa() -> None:
    """Everybody always says yes: that is full agreement, and none beyond chance that could be told."""
    found = of(40, 0, 0, 0)
    assert (found.share, found.kappa, found.kappa_low, found.kappa_high) == (1.0, None, None, None)


def test_a_judge_that_says_the_opposite_is_at_minus_one() -> None:
    """The interval stays on the scale."""
    found = of(0, 10, 10, 0)
    assert (found.share, found.kappa, found.kappa_low) == (0.0, -1.0, -1.0)


@pytest.mark.parametrize(("judge_yes", "people_yes", "kappa"), [(0.5, 0.5, 0.6), (0.8, 0.8, 0.4), (0.6, 0.4, 0.6)])
def test_the_interval_holds_kappa_as_often_as_it_says(judge_yes: float, people_yes: float, kappa: float) -> None:
    """Thirty labels, as somebody may give: between 93 and 99 of a hundred intervals hold the truth."""
    chance = judge_yes * people_yes + (1 - judge_yes) * (1 - people_yes)
    both = (chance + kappa * (1 - chance) + judge_yes + people_yes - 1) / 2
    cells = [both, judge_yes - both, people_yes - both, 1 - judge_yes - people_yes + both]
    drawn = np.random.default_rng(11).multinomial(30, cells, size=2000)
    held = [
        found.kappa_low <= kappa <= found.kappa_high
        for table in drawn
        if (found := of(*(int(count) for count in table))).kappa_low is not None and found.kappa_high is not None
    ]
    assert 0.93 <= np.mean(held) <= 0.99


def test_both_sides_speak_of_the_same_answers() -> None:
    """Two lengths are a mistake, none at all is no figure."""
    with pytest.raises(ValueError, match="the same answers"):
        agreement([True], [True, False])
    assert agreement([], []) is None
