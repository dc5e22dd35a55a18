"""Gates 4 to 7: the guard of a rollout, looked at after every row; and what a second fault does to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from analysis.eprocess import Baseline, log_bets, log_mean_exp
from analysis.sequential import PROMOTE_WEIGHTS, RolloutGuard
from benchmarks.stats_proof import arms
from benchmarks.stats_proof.arms import Traffic
from benchmarks.stats_proof.gate import Gate, at_least, at_most

ROWS = 6000
CHUNK = 200
CELLS = ((0.1, 0.05), (0.1, 0.1), (0.1, 0.2), (0.5, 0.05), (0.5, 0.1), (0.5, 0.2))
CELL_ROWS = {0.05: 16_000, 0.1: 4500, 0.2: 1500}
"""Rows at a share of 10 %; at 50 % a third of them."""

LUCK = (0.5, 0.1)
"""Beta parameters of a user's success rate: most always succeed, some never do."""

World = Callable[[np.random.Generator, int], Traffic]
WORLDS: dict[str, World] = {
    "10 %": lambda rng, k: arms.binary(rng, arms.constant(ROWS, 0.1), 0.95, 0, k),
    "50 %": lambda rng, k: arms.binary(rng, arms.constant(ROWS, 0.5), 0.95, 0, k),
    "ramp": lambda rng, k: arms.binary(rng, arms.ramp(ROWS), 0.95, 0, k),
    "ramp, daily cycle": lambda rng, k: arms.binary(rng, arms.ramp(ROWS), arms.cycle(ROWS), 0, k),
    "latency": lambda rng, k: arms.latency(rng, arms.constant(ROWS, 0.1), k),
}


def _chunks(seed: int, gate: int, rollouts: int) -> Iterator[tuple[np.random.Generator, int]]:
    for number in range(0, rollouts, CHUNK):
        yield np.random.default_rng([seed, gate, number]), min(CHUNK, rollouts - number)


def false_rollbacks(seed: int, rollouts: int = 1000) -> list[Gate]:
    """Gate 4: nothing is wrong, and every row is looked at."""
    detail: dict[str, float] = {}
    for name, world in WORLDS.items():
        hits = [np.isfinite(arms.guard(world(rng, k))) for rng, k in _chunks(seed, 4, rollouts)]
        detail[name] = float(np.concatenate(hits).mean())
    joint = []
    for rng, k in _chunks(seed, 40, rollouts // 2):
        # Six metrics of the same requests: a share of the failures is common to all of them.
        common = arms.binary(rng, arms.ramp(ROWS), 0.98, 0, k)
        found = np.zeros(k, dtype=bool)
        for _ in range(6):
            own = rng.random(common.y.shape) < 0.96
            found |= np.isfinite(arms.guard(Traffic(common.y * own, common.arm, common.share), metrics=6))
        joint.append(found)
    detail["6 guards jointly"] = float(np.concatenate(joint).mean())
    detail["clustered users"] = _clustered(seed, max(rollouts // 5, 60))
    return [
        at_most("4", "false rollbacks, A/A, looked at after every row", detail, 0.05),
        _same_as_the_guard(seed),
    ]


def _clustered(seed: int, rollouts: int) -> float:
    """Sticky users of unequal luck, twenty requests each over the whole ramp, through the guard itself."""
    rng = np.random.default_rng([seed, 41])
    found = 0
    for _ in range(rollouts):
        user, share = _visits(rng), arms.ramp(ROWS)
        place, luck = rng.random(ROWS // 20), rng.beta(*LUCK, ROWS // 20)
        y = (rng.random(ROWS) < luck[user]).astype(float)
        found += RolloutGuard(["m"]).observe(user, place[user] < share, share, y).action == "rollback"
    return found / rollouts


def _visits(rng: np.random.Generator) -> NDArray[np.int64]:
    """Return who asks, row by row: users come for ten requests in a row, on average twice."""
    return np.repeat(rng.integers(0, ROWS // 20, ROWS // 10), 10)


def _same_as_the_guard(seed: int, each: int = 12) -> Gate:
    """What is simulated many at once is what `RolloutGuard` itself says."""
    agreed: dict[str, float] = {}
    for name, drop in (("alike", 0.0), ("worse", 0.08)):
        of = arms.binary(np.random.default_rng([seed, 42]), arms.ramp(3000), 0.93, drop, each)
        vector = np.isfinite(arms.guard(of))
        single = [
            RolloutGuard(["m"]).observe(np.arange(3000), of.arm[:, k], of.share, of.y[:, k]).action == "rollback"
            for k in range(each)
        ]
        agreed[name] = float(np.mean(vector == np.array(single)))
    return at_least("4", "simulations agree with RolloutGuard, rollout by rollout", agreed, 1.0)


def false_promotions(seed: int, rollouts: int = 400) -> list[Gate]:
    """Gate 5: the candidate has lost exactly the tolerance, and every row is looked at."""
    detail: dict[str, float] = {}
    for number, (name, share) in enumerate(
        {"10 %": arms.constant(ROWS, 0.1), "50 %": arms.constant(ROWS, 0.5), "ramp": arms.ramp(ROWS)}.items()
    ):
        of = arms.binary(np.random.default_rng([seed, 5, number]), share, 0.95, 0.05, rollouts)
        found = 0
        for k in range(rollouts):
            base, stake = Baseline().follow(of.y[:, k], ~of.arm[:, k])
            steps = log_bets(of.y[:, k], of.arm[:, k], share, p0=base, p1=base, ratio=np.array(0.95), stake=stake)
            walk = np.cumsum(steps)
            wealth = log_mean_exp(np.column_stack([np.zeros_like(walk), walk]), PROMOTE_WEIGHTS)
            found += bool((wealth >= np.log(20)).any())
        detail[name] = found / rollouts
    return [at_most("5", "false promotions at a loss of exactly 5 %", detail, 0.05)]


def delays(seed: int, rollouts: int = 2000) -> list[Gate]:
    """Gate 6: how long a harmful candidate lives, against a likelihood ratio that knows both rates."""
    ratio: dict[str, float] = {}
    late: dict[str, float] = {}
    historical: dict[str, float] = {}
    units: dict[str, float] = {}
    for share, drop in CELLS:
        name = f"{share:.0%}, -{drop:.0%}"
        # Not far beyond the oracle's median: whoever is later than that is late in any case.
        rows = int(CELL_ROWS[drop] * (1 if share == 0.1 else 0.36) / 2)
        own, oracle, knowing = [], [], []
        for number in range(0, rollouts, 500):
            rng = np.random.default_rng([seed, 6, number, int(100 * share), int(100 * drop)])
            of = arms.binary(rng, arms.constant(rows, share), 0.9, drop, 500)
            own.append(arms.guard(of))
            oracle.append(arms.likelihood_ratio(of, 0.9, drop, baseline_known=False))
            knowing.append(arms.likelihood_ratio(of, 0.9, drop, baseline_known=True))
        mine, best, known = (np.concatenate(rows) for rows in (own, oracle, knowing))
        units[name] = float(np.median(mine))
        ratio[name] = float(np.median(mine) / np.median(best))
        historical[name] = float(np.median(mine) / np.median(known))
        late[name] = float(np.quantile(mine, 0.75, method="lower") / np.quantile(best, 0.75, method="lower"))
    gate = at_most("6", "median delay, times the oracle's", ratio, 1.15, claimed=False)
    gate.detail.update({f"units {name}": value for name, value in units.items()})
    gate.detail.update({f"upper quartile {name}": round(value, 3) for name, value in late.items()})
    gate.detail.update({f"oracle with known baseline {name}": round(value, 3) for name, value in historical.items()})
    return [gate]


def negative_controls(seed: int, rollouts: int = 400) -> list[Gate]:
    """Gate 7: rules that are known to be wrong must be seen to be."""
    z, windows, pooled, told_average, requests = [], [], [], [], []
    for rng, k in _chunks(seed, 7, rollouts):
        plain = arms.binary(rng, arms.constant(ROWS, 0.1), 0.95, 0, k)
        hard = arms.binary(rng, arms.ramp(ROWS), arms.cycle(ROWS), 0, k)
        z.append(arms.peeked_z(plain))
        windows.append(arms.windowed_threshold(plain))
        pooled.append(arms.peeked_z(hard))
        told_average.append(arms.pooled_sequential(hard))
        user = np.repeat(_visits(rng)[:, None], k, axis=1)
        column = np.arange(k)
        arm = (rng.random((ROWS // 20, k)) < 0.5)[user, column]
        luck = rng.beta(*LUCK, (ROWS // 20, k))[user, column]
        y = (rng.random((ROWS, k)) < luck).astype(float)
        requests.append(np.isfinite(arms.guard(Traffic(y, arm, arms.constant(ROWS, 0.5)))))
    found = {"z": z, "windows": windows, "pooled z": pooled, "pooled sequential": told_average, "request": requests}
    rate = {name: float(np.concatenate(of).mean()) for name, of in found.items()}
    return [
        at_least("7", "control: z test, peeked, breaks", {"10 %": rate["z"]}, 0.30),
        at_least("7", "control: 5-minute windows break", {"10 %": rate["windows"]}, 0.90),
        at_least(
            "7",
            "control: pooled over a ramp breaks",
            {"z": rate["pooled z"], "sequential": rate["pooled sequential"]},
            0.90,
        ),
        at_least("7", "control: requests for units break", {"20 a user": rate["request"]}, 0.40),
    ]


def second_fault(seed: int, rollouts: int = 24) -> list[Gate]:
    """A third of the traffic fails half of the time in both arms: the cure of another fault goes on."""

    def median_units(*, fault: bool, told: bool) -> float:
        rng = np.random.default_rng([seed, 8])
        found = []
        for _ in range(rollouts):
            guard = RolloutGuard(["m"])
            reached = 8000
            for start in range(0, 8000, 100):
                hit = rng.random(100) < 1 / 3
                arm = rng.random(100) < 0.5
                y = (rng.random(100) < np.where(hit & fault, 0.5, 0.99)).astype(float)
                units = np.arange(start, start + 100)
                if guard.observe(units, arm, 0.5, y, disturbed=hit if told else None).action == "promote":
                    reached = start + 100
                    break
            found.append(reached)
        return float(np.median(found))

    quiet = median_units(fault=False, told=False)
    detail = {"told of the fault": median_units(fault=True, told=True) / quiet}
    control = {"not told": median_units(fault=True, told=False) / quiet}
    return [
        at_most("fault", "time to promotion under another fault, times that without", detail, 2.0),
        at_least("fault", "control: the same without knowing of it", control, 4.0),
    ]
