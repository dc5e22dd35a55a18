"""The rollout's guard: what it may and may not conclude. Error rates proper are proven by the benchmark."""

from __future__ import annotations

import json
from itertools import product

import numpy as np
import pytest

from analysis.accounts import MONEY, RESERVE, Accounts
from analysis.eprocess import Flags, Floats, log_bets
from analysis.exposure import Exposure, unit_keys
from analysis.sequential import PROMOTE_WEIGHTS, RolloutGuard, stratified


def traffic(
    n: int, *, share: float, baseline: float, candidate: float, seed: int, metrics: int = 1
) -> tuple[Flags, Floats]:
    """Return (arm, outcomes) of n new units."""
    rng = np.random.default_rng(seed)
    arm = rng.random(n) < share
    rates = np.where(arm, candidate, baseline)[:, None]
    outcomes = (rng.random((n, metrics)) < rates).astype(float)
    return arm, outcomes


def fed(guard: RolloutGuard, *, share: float, baseline: float, candidate: float, n: int, seed: int) -> str:
    """Feed a guard in batches of 50 until it says more than hold; return what it says."""
    arm, outcomes = traffic(
        n, share=share, baseline=baseline, candidate=candidate, seed=seed, metrics=len(guard.metrics)
    )
    for start in range(0, n, 50):
        part = slice(start, start + 50)
        decision = guard.observe(np.arange(start, start + 50), arm[part], share, outcomes[part])
        if decision.action != "hold":
            return decision.action
    return "hold"


@pytest.mark.parametrize(("share", "base", "ratio"), list(product([0.1, 0.5, 0.9], [0.5, 0.9, 0.97], [0.95, 1.0])))
def test_no_bet_wins_on_average_under_its_null(share: float, base: float, ratio: float) -> None:
    """The expectation of every e-value over both arms is at most 1 at every point of the null, drifted or not."""
    alternatives = [(base, base * (1 - drop)) for drop in (0.05, 0.45)] if ratio == 1 else [(base, base)]
    for p0, p1 in alternatives:

        def log_bet(y: float, arm: bool, p0: float = p0, p1: float = p1) -> float:
            return float(
                log_bets(
                    np.array(y), np.array(arm), np.array(share), p0=np.array(p0), p1=np.array(p1),
                    ratio=np.array(ratio), stake=np.array(1.0),
                )
            )  # fmt: skip

        for true0 in np.linspace(0, 1, 21):
            # ratio 1: the candidate is no worse; ratio 0.95: it has lost the tolerance or more
            for true1 in np.linspace(0, 1, 41):
                if (true1 < true0) if ratio == 1 else (true1 > ratio * true0):
                    continue
                mean = sum(
                    weight * np.exp(log_bet(y, arm))
                    for y, arm, weight in (
                        (1.0, True, share * true1),
                        (0.0, True, share * (1 - true1)),
                        (1.0, False, (1 - share) * true0),
                        (0.0, False, (1 - share) * (1 - true0)),
                    )
                )
                assert mean <= 1 + 1e-12


def test_an_equal_candidate_is_promoted_and_a_worse_one_rolled_back() -> None:
    """With a clear effect and enough units the guard says what is the case."""
    names = ["error_free", "fact_accuracy"]
    assert fed(RolloutGuard(names), share=0.5, baseline=0.97, candidate=0.97, n=6000, seed=3) == "promote"
    assert fed(RolloutGuard(names), share=0.1, baseline=0.95, candidate=0.75, n=6000, seed=4) == "rollback"


def test_a_hard_failure_is_rolled_back_after_a_handful_of_candidates() -> None:
    """A candidate that never answers is caught within a few of its own units, not after a stage."""
    guard = RolloutGuard(["error_free"])
    arm, outcomes = traffic(1000, share=0.1, baseline=0.99, candidate=0.0, seed=5)
    for unit in range(1000):
        decision = guard.observe([unit], arm[unit : unit + 1], 0.1, outcomes[unit : unit + 1])
        if decision.action == "rollback":
            break
    assert decision.action == "rollback"
    assert arm[: unit + 1].sum() <= 8
    assert decision.metric == "error_free"


def test_a_degraded_metric_is_named_with_its_evidence() -> None:
    """The sentence has both means, the change, and the e-value against its threshold of 20 per metric."""
    guard = RolloutGuard(["error_free", "fact_accuracy"])
    rng = np.random.default_rng(6)
    arm = rng.random(4000) < 0.5
    outcomes = np.column_stack([np.ones(4000), rng.random(4000) < np.where(arm, 0.8, 0.95)])
    decision = guard.observe(np.arange(4000), arm, 0.5, outcomes)
    assert (decision.action, decision.metric) == ("rollback", "fact_accuracy")
    assert decision.evidence["fact_accuracy"]["rollback_at"] == pytest.approx(40)
    assert decision.evidence["fact_accuracy"]["e_rollback"] >= 40
    assert "e-value" in decision.reason
    assert "against" in decision.reason


def test_cutting_the_stream_into_batches_changes_no_conclusion() -> None:
    """One by one or all at once: the same wealth."""
    units = np.arange(600)
    arm, outcomes = traffic(600, share=0.3, baseline=0.9, candidate=0.88, seed=7, metrics=2)
    whole, parts = RolloutGuard(["a", "b"]), RolloutGuard(["a", "b"])
    whole.observe(units, arm, 0.3, outcomes)
    for row in range(600):
        parts.observe(units[row : row + 1], arm[row : row + 1], 0.3, outcomes[row : row + 1])
    for name in ("a", "b"):
        assert parts.evidence()[name].pop("units") == [(~arm).sum(), arm.sum()]
        for key, value in whole.evidence()[name].items():
            assert key == "units" or parts.evidence()[name][key] == pytest.approx(value, rel=1e-9)


def test_a_restart_changes_no_bit() -> None:
    """State through JSON and back, again and again, gives the very state of a guard that never stopped."""
    arm, outcomes = traffic(900, share=0.5, baseline=0.93, candidate=0.9, seed=8, metrics=2)
    outcomes[::7, 1] = np.nan
    steady, restarted = RolloutGuard(["a", "b"]), RolloutGuard(["a", "b"])
    for start in range(0, 900, 90):
        part = slice(start, start + 90)
        share = 0.1 if start < 450 else 0.5
        units = [f"user-{number % 500}" for number in range(start, start + 90)]
        steady.observe(units, arm[part], share, outcomes[part])
        restarted.observe(units, arm[part], share, outcomes[part])
        restarted = RolloutGuard.from_state(json.loads(json.dumps(restarted.state())))
    assert json.dumps(steady.state()) == json.dumps(restarted.state())


def test_a_unit_counts_once_per_stage() -> None:
    """Twenty requests of a sticky user are one outcome; the per-request version is wrong more often than not."""
    once, often = RolloutGuard(["a"]), RolloutGuard(["a"])
    arm, outcomes = traffic(200, share=0.5, baseline=0.9, candidate=0.9, seed=9)
    once.observe(np.arange(200), arm, 0.5, outcomes)
    often.observe(np.repeat(np.arange(200), 20), np.repeat(arm, 20), 0.5, np.repeat(outcomes, 20, axis=0))
    assert json.dumps(once.state()) == json.dumps(often.state())


def test_a_unit_that_was_baseline_counts_again_with_the_chance_it_had() -> None:
    """From 10 to 50 % a baseline unit moves with chance 4/9; a candidate stays one, which tells nothing."""
    exposure = Exposure()
    exposure.admit(["was candidate", "was baseline"], np.array([True, False]), np.array([0.1, 0.1]))
    counts, chance, fresh = exposure.admit(
        ["was candidate", "was baseline", "new"], np.array([True, True, False]), np.array([0.5, 0.5, 0.5])
    )
    assert counts.tolist() == [False, True, True]
    assert chance[1] == pytest.approx(4 / 9)
    assert chance[2] == 0.5
    assert fresh.tolist() == [False, False, True]


def test_the_memory_of_units_is_bounded_and_survives_the_restart() -> None:
    """A million users must not make a row of a hundred megabytes: half of all units is left out beyond the limit."""
    exposure = Exposure(capacity=500)
    counts, _, _ = exposure.admit(np.arange(5000), np.zeros(5000, dtype=bool), np.full(5000, 0.1))
    assert len(exposure.seen) <= 500
    assert counts.sum() > 500
    again = Exposure.from_state(json.loads(json.dumps(exposure.state())))
    assert (again.limit, again.seen, again.shares) == (exposure.limit, exposure.seen, exposure.shares)


def test_strings_and_integers_make_keys_that_spread() -> None:
    """Half of the keys lie in the lower half of their range, whatever the units are called."""
    for units in (np.arange(4000), [f"u-{number}" for number in range(4000)]):
        low = np.mean([key < 2**63 for key in unit_keys(units)])
        assert abs(low - 0.5) < 5 * 0.5 / 4000**0.5


def test_a_skewed_split_pauses() -> None:
    """Candidates that do not trace their runs look like a candidate that is fine: nothing else can be believed."""
    guard = RolloutGuard(["a"])
    rng = np.random.default_rng(10)
    arm = rng.random(3000) < 0.35
    decision = guard.observe(np.arange(3000), arm, 0.5, np.ones((3000, 1)))
    assert decision.action == "pause"
    assert "shares" in decision.reason
    guard.forget_split()
    assert guard.evidence()["ratio"]["e_value"] == pytest.approx(1)


def test_nothing_is_held() -> None:
    """No rows, or rows without outcomes, are no evidence."""
    guard = RolloutGuard(["a"])
    assert guard.observe([], [], 0.5, np.empty((0, 1))).action == "hold"
    decision = guard.observe([1, 2], [True, False], 0.5, [[np.nan], [np.nan]])
    assert decision.action == "hold"
    assert "no outcome in both arms" in decision.reason


def test_a_metric_without_outcomes_keeps_the_others_from_promoting() -> None:
    """Promotion takes evidence for every guarded metric."""
    guard = RolloutGuard(["a", "silent"])
    arm, outcomes = traffic(6000, share=0.5, baseline=0.97, candidate=0.97, seed=11, metrics=2)
    outcomes[:, 1] = np.nan
    assert guard.observe(np.arange(6000), arm, 0.5, outcomes).action == "hold"


def test_stages_are_never_pooled() -> None:
    """A ramp in the bad hour: pooled, the candidate looks worse by a fifth; stratified, it is equal."""
    # 10 % while all is well (0.95 in both arms), 50 % in the bad hour (0.65 in both arms)
    totals = np.array([[9000, 8550, 1000, 950], [5000, 3250, 5000, 3250]], dtype=float)[:, :, None]
    baseline, candidate = stratified(totals)
    assert candidate[0] == pytest.approx(baseline[0])
    pooled = totals.sum(axis=0)[:, 0]
    assert (pooled[3] / pooled[2]) / (pooled[1] / pooled[0]) < 0.85


def test_what_cannot_be_is_refused() -> None:
    """Scores outside [0, 1], no metrics, states of another version."""
    with pytest.raises(ValueError, match="scores lie in"):
        RolloutGuard(["a"]).observe([1], [True], 0.5, [[5.0]])
    with pytest.raises(ValueError, match="at least one metric"):
        RolloutGuard([])
    with pytest.raises(ValueError, match="version"):
        RolloutGuard.from_state({"version": 0})


def test_the_money_is_a_probability() -> None:
    """What the accounts start with and the reserve are no more than 1: Ville's bound is at most the one claimed."""
    assert 0.85 < sum(MONEY) + RESERVE <= 1
    assert sum(PROMOTE_WEIGHTS) == pytest.approx(1)


@pytest.mark.parametrize(("share", "base"), list(product([0.02, 0.1, 0.5, 0.9], [0.3, 0.9, 0.99])))
def test_no_account_wins_on_average_where_the_arms_are_alike(share: float, base: float) -> None:
    """Whatever was staked after whatever was seen: the mean factor of the next unit is 1, and no factor is below 0."""
    rng = np.random.default_rng(12)
    accounts = Accounts(0.05, 20)
    for n in (1, 7, 60, 400, 2000):
        arm = rng.random(n) < share
        accounts.play((rng.random(n) < base).astype(float), arm, np.full(n, share))
        before = accounts.log_wealth.copy()
        mean = np.zeros(len(MONEY))
        for y, one, weight in (
            (1.0, True, share * base),
            (0.0, True, share * (1 - base)),
            (1.0, False, (1 - share) * base),
            (0.0, False, (1 - share) * (1 - base)),
        ):
            steps, _ = accounts._steps(np.array([y]), np.array([one]), np.array([share]))
            mean += weight * np.exp(steps[0])
        assert mean == pytest.approx(np.ones(len(MONEY)), abs=1e-12)
        assert (accounts.log_wealth == before).all()


def test_many_games_are_played_as_one_is() -> None:
    """What simulations play in one go is, game by game, what a guard plays."""
    rng = np.random.default_rng(13)
    n, share = 900, np.full(900, 0.1)
    arm = rng.random((n, 3)) < 0.1
    y = (rng.random((n, 3)) < np.where(arm, 0.8, 0.9)).astype(float)
    together = Accounts(0.05, 20, games=3).play(y, arm, share)
    for game in range(3):
        alone = Accounts(0.05, 20).play(y[:, game], arm[:, game], share)
        assert together[:, game] == pytest.approx(alone, rel=1e-9, abs=1e-9)


def test_a_share_that_creeps_is_followed_in_bounded_space() -> None:
    """A share of its own for every row: valid, estimated in a few stages, no error after 255 of them."""
    guard = RolloutGuard(["a"])
    rng = np.random.default_rng(14)
    share = np.linspace(0.05, 0.6, 8000)
    arm = rng.random(8000) < share
    y = (rng.random(8000) < np.where(arm, 0.7, 0.9)).astype(float)
    decision = guard.observe(np.arange(8000), arm, share, y[:, None])
    assert decision.action == "rollback"
    assert len(guard.state()["stages"]) < 50


def test_more_shares_than_codes_are_told_apart_all_the_same() -> None:
    """Where the table of shares is full, those that no remembered unit had are forgotten."""
    exposure = Exposure(capacity=100)
    share = np.linspace(0.1, 0.9, 70_000)
    exposure.admit(np.arange(70_000), np.zeros(70_000, dtype=bool), share)
    assert len(exposure.shares) < 70_000
    again = Exposure.from_state(json.loads(json.dumps(exposure.state())))
    assert (again.seen, again.shares) == (exposure.seen, exposure.shares)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0, np.nan])
@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_what_never_varies_is_judged_without_a_warning(value: float, share: float) -> None:
    """All right, all wrong, all the same, all silent, nobody or everybody on the candidate: never a rollback."""
    guard = RolloutGuard(["a"])
    rng = np.random.default_rng(15)
    arm = rng.random(3000) < share
    decision = guard.observe(np.arange(3000), arm, share, np.full((3000, 1), value))
    assert decision.action in ("hold", "promote")
    assert (decision.action == "promote") == (value > 0 and 0 < share < 1)
    json.dumps(dict(decision.evidence), allow_nan=False)
    json.dumps(guard.state(), allow_nan=False)


@pytest.mark.parametrize(
    ("units", "arm", "share", "outcomes", "message"),
    [
        ([1, 2], [True], 0.5, [[1.0], [1.0]], "2 units need"),
        ([1, 2], [True, False], 0.5, [[1.0, 1.0]], "2 units need"),
        ([1, 2], [True, False], [0.5], [[1.0], [1.0]], "2 units need"),
        ([1, 2], [True, False], 1.5, [[1.0], [1.0]], "fraction in"),
        ([1, 2], [True, False], np.nan, [[1.0], [1.0]], "fraction in"),
        ([1, 2], [0.5, 1], 0.5, [[1.0], [1.0]], "has the candidate"),
        ([1, 2], [True, False], 0.5, [[np.inf], [1.0]], "scores lie in"),
    ],
)
def test_rows_that_do_not_fit_are_named(
    units: list[int], arm: list[float], share: float, outcomes: list[list[float]], message: str
) -> None:
    """Before anything of the batch was taken in."""
    guard = RolloutGuard(["a"])
    before = json.dumps(guard.state())
    with pytest.raises(ValueError, match=message):
        guard.observe(units, arm, share, outcomes)
    assert json.dumps(guard.state()) == before


def test_a_candidate_that_breaks_late_is_caught_within_its_own_dozen() -> None:
    """Three thousand good units do not buy a broken one credit: the reserve was kept for that."""
    guard = RolloutGuard(["error_free"])
    rng = np.random.default_rng(16)
    n = 4000
    arm = rng.random(n) < 0.1
    y = np.where(arm & (np.arange(n) >= 3000), 0.0, (rng.random(n) < 0.98).astype(float))
    guard.observe(np.arange(3000), arm[:3000], 0.1, y[:3000, None])
    failed = 0
    for row in range(3000, n):
        failed += int(arm[row])
        action = guard.observe([row], arm[row : row + 1], 0.1, y[row : row + 1, None]).action
        if action == "rollback":
            break
    assert action == "rollback"
    assert failed <= 40


def test_a_fault_of_both_arms_does_not_stall_the_cure_of_another() -> None:
    """A third of the traffic fails half of the time in both arms: said so, the good candidate passes soon all the same.

    And one that is worse in the disturbed traffic alone is not promoted for that: the first bet still sees it.
    """

    def units_until(action: str, *, told: bool, loss: float = 0.0, seed: int = 0) -> int:
        rng = np.random.default_rng(seed)
        guard = RolloutGuard(["error_free"])
        for start in range(0, 6000, 50):
            disturbed = rng.random(50) < 1 / 3
            arm = rng.random(50) < 0.5
            rate = np.where(disturbed, 0.5 * (1 - loss * arm), 0.99)
            decision = guard.observe(
                np.arange(start, start + 50), arm, 0.5, (rng.random(50) < rate).astype(float),
                disturbed=disturbed if told else None,
            )  # fmt: skip
            if decision.action == action:
                return start + 50
        return 6000

    seeds = range(12)
    told = np.median([units_until("promote", told=True, seed=seed) for seed in seeds])
    untold = np.median([units_until("promote", told=False, seed=seed) for seed in seeds])
    assert told <= untold / 4
    assert sum(units_until("rollback", told=True, loss=0.5, seed=seed) < 6000 for seed in seeds) >= 10
