"""Gate 8: what is computed here, computed again by others. statsmodels is a development dependency for this alone."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import numpy as np
from scipy import optimize, special, stats

from analysis import impact, paired
from analysis.eprocess import log_mean_exp, projection
from analysis.sequential import stratified
from analysis.verdict import holm
from benchmarks.stats_proof.gate import Gate, at_least, at_most

Pairs = Iterator[tuple[float, float]]


def _trinomial(n: int, keep: Callable[[int, int], bool], lost: float, won: float) -> float:
    """Return the probability of the tables that are kept, by scipy's multinomial."""
    tables = [(b, c) for b in range(n + 1) for c in range(n + 1 - b) if keep(b, c)]
    counts = np.array([(b, c, n - b - c) for b, c in tables])
    return float(stats.multinomial.pmf(counts, n, [lost, won, 1 - lost - won]).sum())


def _arms(n: int, lost: int, won: int) -> tuple[np.ndarray, np.ndarray]:
    x = np.repeat([1.0, 1.0, 0.0], [n - lost - won, lost, won])
    return x, np.repeat([1.0, 0.0, 1.0], [n - lost - won, lost, won])


def _exact_mcnemar(rng: np.random.Generator) -> Pairs:
    for n, b, c in ((12, 5, 1), (15, 6, 1)):
        score = (b - c) / np.sqrt(b + c)

        def extreme(i: int, j: int, score: float = score) -> bool:
            return i + j > 0 and (i - j) / np.sqrt(i + j) >= score - 1e-9

        grid = np.linspace(1e-6, 0.5, 400)
        best = grid[np.argmax([_trinomial(n, extreme, p, p) for p in grid])]
        found = optimize.minimize_scalar(
            lambda p, n=n, e=extreme: -_trinomial(n, e, p, p),
            bounds=(max(best - 0.003, 0), min(best + 0.003, 0.5)), method="bounded", options={"xatol": 1e-10},
        )  # fmt: skip
        # The search stays off its bounds, where the largest may lie.
        yield paired.compare_binary(*_arms(n, b, c)).p_worse, max(-found.fun, _trinomial(n, extreme, 0.5, 0.5))


def _mcnemar_score(rng: np.random.Generator) -> Pairs:
    from statsmodels.stats.contingency_tables import mcnemar

    for b, c in ((9, 3), (20, 11), (4, 17)):
        z = float(paired._score(np.array(b), np.array(c), 60, 0.0, 1.0))
        yield z * z, float(mcnemar([[30, b], [c, 5]], exact=False, correction=False).statistic)


def _tango(rng: np.random.Generator) -> Pairs:
    def score(delta: float, n: int, b: int, c: int) -> float:
        # Tango's formula with its restricted estimate written out.
        a_, b_, c_ = 2 * n, -b - c + (2 * n - c + b) * delta, -b * delta * (1 - delta)
        q = (np.sqrt(b_**2 - 4 * a_ * c_) - b_) / (2 * a_)
        return float((c - b - n * delta) / np.sqrt(n * (2 * q + delta * (1 - delta))))

    z = float(stats.norm.ppf(0.975))
    for table in ((50, 8, 3), (100, 2, 9)):
        n, b, c = table
        low, high = paired.tango_interval(b, c, n)
        centre = (c - b) / n

        def below(d: float, of: tuple[int, int, int] = table) -> float:
            return score(d, *of) - z

        def above(d: float, of: tuple[int, int, int] = table) -> float:
            return score(d, *of) + z

        yield low, optimize.brentq(below, -0.999, centre, xtol=1e-13)
        yield high, optimize.brentq(above, centre, 0.999, xtol=1e-13)


def _holm(rng: np.random.Generator) -> Pairs:
    from statsmodels.stats.multitest import multipletests

    p = rng.random(9) ** 3
    ours = holm({str(i): float(v) for i, v in enumerate(p)})
    yield from zip([ours[str(i)] for i in range(9)], multipletests(p, method="holm")[1], strict=True)


def _paired_t(rng: np.random.Generator) -> Pairs:
    x = rng.normal(10, 2, 60)
    y = x + rng.normal(-0.3, 1, 60)
    found = paired.compare_continuous(x, y)
    yield found.p_worse, stats.ttest_rel(y, x, alternative="less").pvalue
    low, high = stats.ttest_1samp(y - x, 0).confidence_interval(0.95)
    yield found.interval[0], low
    yield found.interval[1], high


def _skewed_t(rng: np.random.Generator) -> Pairs:
    values = rng.exponential(1.0, 80) * -1 + 1.3
    n, g = len(values), paired._SKEW_UNSEEN * float(stats.skew(values))
    t = float(stats.ttest_1samp(values, 0).statistic)
    bent = t + g * t**2 / (3 * n**0.5) + g**2 * t**3 / (27 * n) + g / (6 * n**0.5)
    yield paired._p_skewed(values), stats.t.sf(min(t, bent), n - 1)


def _sign_flips(rng: np.random.Generator) -> Pairs:
    x = rng.normal(5, 1, 9)
    y = x + rng.normal(0.4, 1, 9)
    exact = stats.permutation_test(
        (y - x,), np.mean, permutation_type="samples", alternative="greater", n_resamples=np.inf
    )
    yield paired.compare_continuous(x, y).p_better, exact.pvalue


def _newcombe(rng: np.random.Generator) -> Pairs:
    from statsmodels.stats.proportion import confint_proportions_2indep

    found = impact.difference_interval(impact.Totals.of_share(56, 70), impact.Totals.of_share(48, 80))
    assert found is not None
    yield from zip(found, confint_proportions_2indep(56, 70, 48, 80, method="newcomb"), strict=True)


def _wilson(rng: np.random.Generator) -> Pairs:
    from statsmodels.stats.proportion import proportion_confint

    z = float(stats.norm.ppf(0.975))
    yield from zip(impact._wilson(0.7, 90, z), proportion_confint(63, 90, method="wilson"), strict=True)


def _welch(rng: np.random.Generator) -> Pairs:
    a, b = rng.normal(3, 1, 40), rng.normal(2, 2, 25)
    ours = impact.difference_interval(*(impact.Totals(len(x), float(x.sum()), float((x * x).sum())) for x in (a, b)))
    assert ours is not None
    yield from zip(ours, stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95), strict=True)


def _fieller(rng: np.random.Generator) -> Pairs:
    z = stats.norm.ppf(0.975)
    roi = impact.fieller_roi(300, 50, 100, 10)

    def edge(r: float) -> float:
        return float((300 - r * 100) ** 2 - z**2 * (50**2 + r**2 * 10**2))

    yield roi.low or 0.0, optimize.brentq(edge, 0, 3, xtol=1e-14) - 1
    yield roi.high or 0.0, optimize.brentq(edge, 3, 30, xtol=1e-14) - 1
    yield roi.p_positive or 0.0, stats.norm.cdf(200 / np.hypot(50, 10))


def _clustered(rng: np.random.Generator) -> Pairs:
    import statsmodels.api as sm

    unit = rng.integers(0, 80, 900)
    arm = (rng.random(80) < 0.5)[unit]
    y = rng.normal(0, 1, 80)[unit] + rng.normal(0, 1, 900) + 5
    ours = impact.holdback_contrast(unit, arm, np.zeros(900), y)
    assert ours is not None
    design = sm.add_constant(arm.astype(float))
    yield ours.delta, float(sm.OLS(y, design).fit().params[1])
    # The jackknife by hand: every unit left out in turn.
    left_out = [sm.OLS(y[unit != one], design[unit != one]).fit().params[1] for one in np.unique(unit)]
    few = min(ours.units)
    yield ours.se, float(np.sqrt(np.sum((np.array(left_out) - ours.delta) ** 2) * (few - 1) / few))


def _strata(rng: np.random.Generator) -> Pairs:
    import statsmodels.api as sm

    stage = rng.integers(0, 3, 700)
    arm = rng.random(700) < np.array([0.1, 0.5, 0.9])[stage]
    y = rng.normal(stage - 0.2 * arm, 1)
    totals = [[n for a in (False, True) for n in _sums(y[(stage == s) & (arm == a)])] for s in range(3)]
    baseline, candidate = stratified(np.array(totals)[:, :, None])
    dummies = np.column_stack([arm.astype(float), *(stage == s for s in range(3))])
    yield float(candidate[0] - baseline[0]), float(sm.OLS(y, dummies).fit().params[0])


def _sums(values: np.ndarray) -> tuple[float, float]:
    return float(len(values)), float(values.sum())


def _mixture(rng: np.random.Generator) -> Pairs:
    logs, weights = rng.normal(0, 40, (6, 5)), rng.dirichlet(np.ones(5))
    yield from zip(log_mean_exp(logs, weights), special.logsumexp(logs, b=weights, axis=1), strict=True)


def _projection(rng: np.random.Generator) -> Pairs:
    for p0, p1, share, ratio in ((0.9, 0.8, 0.1, 1.0), (0.95, 0.95, 0.5, 0.95)):

        def slope(q: float, p0: float = p0, p1: float = p1, s: float = share, r: float = ratio) -> float:
            # The derivative of the Kullback-Leibler divergence from (p0, p1) to (q, r·q).
            return float((1 - s) * (q - p0) / (q * (1 - q)) + s * (r * q - p1) / (q * (1 - r * q)))

        ours, _ = projection(np.array(p0), np.array(p1), np.array(share), np.array(ratio))
        yield float(ours), optimize.brentq(slope, 0.01, 0.999, xtol=1e-15)


def _two_sided(rng: np.random.Generator) -> Pairs:
    yield impact._two_sided(0.3, 0.2, 17), 2 * stats.t.sf(1.5, 17)
    yield impact._quantile(0.95, 17), stats.t.ppf(0.975, 17)


ORACLES: dict[str, Callable[[np.random.Generator], Pairs]] = {
    "unconditional McNemar, scipy multinomial": _exact_mcnemar,
    "McNemar's score, statsmodels": _mcnemar_score,
    "Tango's interval, scipy brentq": _tango,
    "Holm, statsmodels": _holm,
    "paired t and interval, scipy": _paired_t,
    "Hall's transformation, scipy skew": _skewed_t,
    "sign flips, scipy permutation_test": _sign_flips,
    "Newcombe's interval, statsmodels": _newcombe,
    "Wilson's interval, statsmodels": _wilson,
    "Welch's interval, scipy": _welch,
    "Fieller's interval, scipy brentq": _fieller,
    "clustered contrast, statsmodels OLS jackknife": _clustered,
    "stratified means, statsmodels OLS": _strata,
    "mixture of e-values, scipy logsumexp": _mixture,
    "information projection, scipy brentq": _projection,
    "t quantile and p-value, scipy": _two_sided,
}


def agreement(seed: int) -> list[Gate]:
    """Return how far ours are from theirs, relative to the size where that is above 1."""
    distance: dict[str, float] = {}
    with warnings.catch_warnings():
        # pandas and patsy deprecate things of one another; none of that is ours.
        warnings.simplefilter("ignore")
        for name, oracle in ORACLES.items():
            pairs = list(oracle(np.random.default_rng([seed, 80])))
            distance[name] = max(abs(float(a) - float(b)) / max(1.0, abs(float(b))) for a, b in pairs)
    close = sum(of <= 1e-9 for of in distance.values())
    worst = at_most("8", "largest distance to an outside oracle", distance, 1e-9)
    return [
        at_least("8", "outside oracles that agree to 1e-9", {"oracles": float(close)}, 12),
        Gate("8", worst.what, float(max(distance.values())), worst.goal, worst.passed, detail=distance),
    ]
