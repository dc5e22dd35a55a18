"""Which attributes carry the excess failures of a bad window: localisation over conjunctions of run attributes.

The steps: a shrunken model of the baseline says how often runs like these fail when nothing is wrong; every
conjunction of up to three attributes is compared with it; the best are ranked by the likelihood of every single run
under "these runs got an extra failure rate, the others did not"; the winner is tested, explained away, and the search
goes on. Everything is deterministic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import permutations
from typing import Any

import numpy as np

from analysis.cut import Worse, failing_runs
from analysis.doubt import Doubt
from analysis.encoding import Attribute, Flags, Reals, encode, leaks_outcome
from analysis.expected import FLOOR, expected_rate
from analysis.likelihood import RunLikelihood
from analysis.onset import onset
from analysis.slices import MIN_FAILING, Conjunction, Window, add_expected, excess_likelihood, scan
from analysis.spread import spread
from analysis.tails import upper_tail

SHORTLIST = 60
TRIES = 8
"""So many of the best are tested before the search ends: the first may be a slice of which too little is known."""

PAIRED = 24
"""So many of the best slices are also tried as pairs."""

PAIR_MARGIN = 6.0
"""Nats by which a pair must beat the best single slice."""

MAX_CAUSES = 3
MIN_ALONE = 10
"""Failures that no other cause explains, from which on a cause's beginning is told by them alone."""

ALIAS_JACCARD = 0.9
ALIAS_TOLERANCE = 3.0
"""Nats by which an alias may explain the runs worse and still be preferred for being simpler or new."""

MULTIPLICITY = 4.0
"""Safety factor on the number of candidates, for the search over shapes of the excess."""

Times = Sequence[float] | Sequence[datetime]


@dataclass(frozen=True)
class Cause:
    """A set of runs that fails more than it should, and by how much."""

    conditions: dict[str, str]
    """Attribute values that hold for these runs; empty means all runs: the degradation is global."""
    excess: float
    """Failures in the bad window beyond the expected. For a continuous outcome: of runs beyond the threshold."""
    explained: float
    """Share of all excess failures of the bad window that lies in these runs, 0–1."""
    precision: float
    """Share of these runs that failed in the bad window, 0–1."""
    p_value: float
    """Hypergeometric tail, corrected for the number of candidates searched."""
    aliases: list[dict[str, str]] = field(default_factory=list)
    """Other conditions that select (almost) the same runs: the data cannot tell them apart."""
    onset: Any = None
    """When it began, in the type of `times`; None where no times were given."""
    onset_interval: tuple[Any, Any] | None = None
    """90 % credible interval of the onset."""
    runs: int = 0
    """Runs of the bad window under these conditions."""
    failures: int = 0
    """Failing runs among them."""
    expected: float = 0.0
    """Failures that the baseline leads one to expect among them."""


def localise(
    attributes: Mapping[str, Sequence[str | None]],
    outcome: Sequence[Any],
    in_bad_window: Sequence[bool],
    *,
    times: Times | None = None,
    max_order: int = 3,
    alpha: float = 0.01,
    worse: Worse | None = None,
) -> list[Cause]:
    """Find the attribute values whose runs carry the degradation.

    Args:
        attributes: by name, the value of each of N runs; None where missing.
        outcome: N values: failed or not (bool, 0/1), or a measurement (latency, score). Missing (None, NaN) runs are
            left out.
        in_bad_window: N flags: in the bad window, else in the baseline.
        times: start of each run, numbers or datetimes; needed for the onset.
        max_order: longest conjunction, at least 1.
        alpha: level of the test that a cause must pass, after correction for the search.
        worse: for a measurement, which direction is bad; where None, the one in which it moved more.

    Returns:
        up to three causes, the largest likelihood first; [] where nothing stands out.

    Raises:
        ValueError: lengths differ, or max_order or alpha is out of range.
    """
    bad = np.asarray(in_bad_window, dtype=bool)
    values = _as_numbers(outcome)
    _check(attributes=attributes, values=values, bad=bad, times=times, max_order=max_order, alpha=alpha)
    valid = np.isfinite(values)
    if not valid.all():
        rows = np.flatnonzero(valid)
        attributes = {name: _take(column, rows) for name, column in attributes.items()}
        times = None if times is None else _take(times, rows)
        values, bad = values[rows], bad[rows]
    if bad.sum() < 3 or (~bad).sum() < 3:
        return []
    weight = np.where(bad, 4, 1).astype(np.int64)
    encoded = [encode(name, column, weight) for name, column in attributes.items()]
    cuts = failing_runs(encoded, values, bad, worse)
    for look, failed in enumerate(cuts):
        search = _Search(
            attributes=[
                attribute
                for attribute in encoded
                if attribute.levels > 1
                and not leaks_outcome(Attribute(attribute.name, attribute.values, attribute.codes[~bad]), failed[~bad])
            ],
            failed=failed,
            bad=bad,
            times=_as_seconds(times),
            max_order=max_order,
            alpha=alpha,
            # whoever looks again pays for all the looks
            multiplicity=MULTIPLICITY * (len(cuts) if look else 1),
        )
        if causes := search.causes(times):
            return causes
    return []


@dataclass(frozen=True)
class _Ranked:
    """A conjunction with what it explains, in nats after the charge for the search."""

    score: float
    """With the others free to have moved as a whole."""
    conjunction: Conjunction
    inside: Flags
    alone: float
    """With the others as expected."""


@dataclass(frozen=True)
class _Pick:
    """A conjunction that passed the test."""

    conjunction: Conjunction
    aliases: list[Conjunction]
    p_value: float


class _Search:
    """One localisation: the windows, the candidates, and what is already explained."""

    def __init__(
        self,
        *,
        attributes: list[Attribute],
        failed: Flags,
        bad: Flags,
        times: Reals | None,
        max_order: int,
        alpha: float,
        multiplicity: float,
    ) -> None:
        self.attributes, self.times, self.alpha, self.multiplicity = attributes, times, alpha, multiplicity
        self.failed_all, self.bad_all = failed, bad
        known = spread(attributes, failed, ~bad)
        self.expected_all = expected_rate(attributes, failed, ~bad, known)
        rows, others = np.flatnonzero(bad), np.flatnonzero(~bad)
        self.bad = Window([a.codes[rows] for a in attributes], failed[rows], self.expected_all[rows])
        self.base = Window([a.codes[others] for a in attributes], failed[others], self.expected_all[others])
        self.cuboids = scan(attributes, self.bad, max_order=max_order)
        self.searched = {0: 1}
        for cuboid in self.cuboids:
            order = len(cuboid.places)
            self.searched[order] = self.searched.get(order, 0) + len(cuboid.cells)
        self.occurring = {0: 1}
        for cuboid in self.cuboids:
            self.occurring[len(cuboid.places)] = self.occurring.get(len(cuboid.places), 0) + cuboid.occurring
        self.starts = np.cumsum([0, *(len(cuboid.cells) for cuboid in self.cuboids)])
        """Where the candidates of each cuboid begin among all."""
        self.charges = np.repeat(
            [np.log(self.searched[len(cuboid.places)]) for cuboid in self.cuboids], np.diff(self.starts)
        )
        self.doubt = Doubt(attributes, self.bad, self.base, known)
        self.null = self.bad.expected.copy()
        """Expectation before anything was explained away."""

    def causes(self, times: Times | None) -> list[Cause]:
        """Find, test, explain away, repeat; then look at each cause again with the others explained."""
        found: list[_Pick] = []
        while len(found) < MAX_CAUSES and self.bad.failed.sum() >= MIN_FAILING:
            pick = self.pick([entry.conjunction for entry in found])
            if pick is None:
                break
            found.append(pick)
            self.explain_away([entry.conjunction for entry in found])
        if len(found) > 1:
            for place in range(len(found)):
                others = [entry.conjunction for entry in found if entry is not found[place]]
                self.explain_away(others)
                found[place] = self.pick(others) or found[place]
        self.explain_away([])
        total = max(float(self.bad.failed.sum() - self.bad.expected.sum()), 1.0)
        taken = [pick.conjunction for pick in found]
        return [self.report(pick, [c for c in taken if c != pick.conjunction], total, times) for pick in found]

    def explain_away(self, conjunctions: Sequence[Conjunction]) -> None:
        """Let the expectation of the bad window hold these causes, and nothing else, beyond the baseline."""
        window = Window(self.bad.codes, self.bad.failed, self.null.copy())
        for conjunction in conjunctions:
            inside = window.mask(conjunction)
            window.expected[inside] = RunLikelihood(window).gain(inside).rates
        rows = np.flatnonzero(window.expected != self.bad.expected)
        if len(rows):
            change = window.expected[rows] - self.bad.expected[rows]
            self.bad.expected[rows] = window.expected[rows]
            add_expected(self.cuboids, self.bad, rows, change, [a.levels for a in self.attributes])

    def pick(self, taken: Sequence[Conjunction]) -> _Pick | None:
        """Return the best conjunction that passes the test, or None.

        Where two slices together explain more than the best one, it is the better of the two: the best one alone may
        be a compromise between them. Else, where the others moved about as much as the best slice, the degradation
        is global and the slice a detail of it.
        """
        likelihood = RunLikelihood(self.bad)
        ranked = [entry for entry in self.rank(likelihood) if entry.score > 0 and entry.conjunction not in taken]
        if not ranked:
            return None
        if (first := self.of_two(ranked, likelihood)) is not None:
            ranked.remove(first)
            ranked.insert(0, first)
        elif ranked[0].conjunction and likelihood.is_everywhere(ranked[0].inside):
            ranked.sort(key=lambda entry: bool(entry.conjunction))
        for start in range(min(len(ranked), TRIES)):
            best, aliases = self.prefer(ranked[start:])
            p_value = self.test(best.conjunction, taken)
            if p_value <= self.alpha:
                return _Pick(best.conjunction, aliases, p_value)
        return None

    def rank(self, likelihood: RunLikelihood) -> list[_Ranked]:
        """Return the shortlist, the best run-level likelihood first."""
        scores = excess_likelihood(self.cuboids) - self.charges
        best = np.argsort(-scores, kind="stable")[:SHORTLIST]
        shortlist = [self.conjunction(int(index)) for index in best if scores[index] > -6]
        everything: Conjunction = ()
        ranked: list[_Ranked] = []
        for conjunction in [everything, *shortlist]:
            inside = self.bad.mask(conjunction)
            fit = likelihood.gain(inside)
            charge = float(np.log(self.searched[len(conjunction)]))
            ranked.append(_Ranked(fit.gain + fit.moved - charge, conjunction, inside, fit.gain - charge))
        ranked.sort(key=lambda entry: (-entry.score, len(entry.conjunction)))
        return ranked

    def conjunction(self, index: int) -> Conjunction:
        """Return a candidate by its place among those of all cuboids."""
        place = int(np.searchsorted(self.starts, index, side="right")) - 1
        return self.cuboids[place].conjunction(index - int(self.starts[place]))

    def of_two(self, ranked: list[_Ranked], likelihood: RunLikelihood) -> _Ranked | None:
        """Return the better half of the best pair of slices where it beats the best slice alone, or None."""
        slices = [entry for entry in ranked if entry.conjunction][:PAIRED]
        best, first = ranked[0].score + PAIR_MARGIN, None
        for one, other in permutations(slices, 2):
            # an upper bound first: the overlap can only take away
            if one.alone + other.alone <= best:
                continue
            charge = float(np.log(self.searched[len(other.conjunction)]))
            both = one.alone + likelihood.gain(other.inside & ~one.inside).gain - charge
            if both > best:
                best, first = both, max(one, other, key=lambda entry: entry.alone)
        return first

    def prefer(self, ranked: list[_Ranked]) -> tuple[_Ranked, list[Conjunction]]:
        """Among the best and those who select the same runs, prefer a newly appeared value, else the simplest."""
        own = ranked[0].inside
        same = [entry for entry in ranked if (own & entry.inside).sum() > ALIAS_JACCARD * (own | entry.inside).sum()]
        close = [entry for entry in same if entry.score >= ranked[0].score - ALIAS_TOLERANCE]
        chosen = min(
            close, key=lambda entry: (not self.is_new(entry.conjunction), len(entry.conjunction), -entry.score)
        )
        return chosen, [entry.conjunction for entry in same if entry is not chosen]

    def is_new(self, conjunction: Conjunction) -> bool:
        """Tell whether it is one value that the baseline never saw."""
        return len(conjunction) == 1 and not (self.base.codes[conjunction[0][0]] == conjunction[0][1]).any()

    def test(self, conjunction: Conjunction, taken: Sequence[Conjunction]) -> float:
        """Return the corrected p-value of a conjunction: how likely so many failures are without a cause.

        A beta-binomial tail. Its mean is what the model expects of these runs, corrected by the slice's own baseline;
        its width says how sure that is: how much baseline there is, how much values differ (`analysis.spread`), and
        how far the mix inside the slice has moved. With much baseline and the same mix it is the hypergeometric test.

        Correction for the search, the better of two: all conjunctions that occur at all, or those with three
        failures, each judged given that it has three.
        """
        now, before = self.bad.mask(conjunction), self.base.mask(conjunction)
        # what other causes explain is no evidence, and no doubt either: judge by the rest, where there is any
        rest = now.copy()
        for cause in taken:
            rest &= ~self.bad.mask(cause)
        if taken and int(self.bad.failed[rest].sum()) >= MIN_FAILING:
            now = rest
            for cause in taken:
                before &= ~self.base.mask(cause)
        runs, failures = int(now.sum()), int(self.bad.failed[now].sum())
        expected, usual = float(self.bad.expected[now].sum()), float(self.base.expected[before].sum())
        correction, seen = self.doubt.of_slice(conjunction, float(self.base.failed[before].sum()), usual)
        rate = min(max(expected * correction / runs, FLOOR), 1 - FLOOR)
        size = 1 / (1 / seen + self.doubt.of_mix(conjunction, now, before))
        a, b = size, size * (1 - rate) / rate
        tail = upper_tail(failures, runs, a, b)
        selected = max(upper_tail(MIN_FAILING, runs, a, b), tail, 1e-300)
        order = len(conjunction)
        searched = min(tail * self.occurring[order], tail / selected * self.searched[order])
        return float(min(1.0, searched * self.multiplicity))

    def report(self, pick: _Pick, others: Sequence[Conjunction], total: float, times: Times | None) -> Cause:
        """Describe a cause, beside the other ones, in the caller's words."""
        inside = self.bad.mask(pick.conjunction)
        runs, failures = int(inside.sum()), int(self.bad.failed[inside].sum())
        expected = float(self.null[inside].sum())
        began = self._onset(pick.conjunction, others)
        return Cause(
            conditions=self.words(pick.conjunction),
            excess=failures - expected,
            explained=float(np.clip((failures - expected) / total, 0, 1)),
            precision=failures / runs,
            p_value=pick.p_value,
            aliases=[self.words(alias) for alias in pick.aliases],
            onset=None if began is None else _like(times, began[0]),
            onset_interval=None if began is None else (_like(times, began[1][0]), _like(times, began[1][1])),
            runs=runs,
            failures=failures,
            expected=expected,
        )

    def words(self, conjunction: Conjunction) -> dict[str, str]:
        """Return attribute values by attribute name."""
        return {self.attributes[place].name: self.attributes[place].values[level] for place, level in conjunction}

    def _onset(
        self, conjunction: Conjunction, others: Sequence[Conjunction]
    ) -> tuple[float, tuple[float, float]] | None:
        if self.times is None:
            return None
        inside = self._of_all(conjunction)
        alone = inside.copy()
        for other in others:
            alone &= ~self._of_all(other)
        # runs that another cause hits fail since that one began
        if (alone & self.failed_all & self.bad_all).sum() >= MIN_ALONE:
            inside = alone
        times = self.times[inside]
        began = onset(times, self.failed_all[inside], self.expected_all[inside])
        if began is None or (inside & ~self.bad_all).any():
            return began
        # A value that was never there before: where it failed from the start, it began with the deployment, some
        # time before the first run of it. Runs come at random, so that time is exponential.
        first = float(times.min())
        if began[1][0] > float(np.quantile(times, 0.1)):
            return began
        gap = (float(times.max()) - first) / max(len(times) - 1, 1)
        low, middle, high = (first - float(np.log(odds)) * gap for odds in (20, 2, 1 / 0.95))
        return middle, (low, high)

    def _of_all(self, conjunction: Conjunction) -> Flags:
        """Return which runs of both windows a conjunction selects."""
        inside = np.ones(len(self.failed_all), dtype=bool)
        for place, level in conjunction:
            inside &= self.attributes[place].codes == level
        return inside


def _check(
    *,
    attributes: Mapping[str, Sequence[str | None]],
    values: Reals,
    bad: Flags,
    times: Times | None,
    max_order: int,
    alpha: float,
) -> None:
    size = len(values)
    for name, length in [("in_bad_window", len(bad)), *((name, len(column)) for name, column in attributes.items())]:
        if length != size:
            raise ValueError(f"{name!r} has {length} entries, the outcome {size}; they must be equally long")
    if times is not None and len(times) != size:
        raise ValueError(f"times has {len(times)} entries, the outcome {size}; they must be equally long")
    if max_order < 1 or not 0 < alpha < 1:
        raise ValueError(f"max_order must be at least 1 and alpha in (0, 1), not {max_order} and {alpha}")


def _as_numbers(outcome: Sequence[Any]) -> Reals:
    if isinstance(outcome, np.ndarray) and outcome.dtype != object:
        return outcome.astype(np.float64)
    return np.array([np.nan if value is None else float(value) for value in outcome], dtype=np.float64)


def _as_seconds(times: Times | None) -> Reals | None:
    if times is None:
        return None
    if len(times) and isinstance(times[0], datetime):
        return np.array([moment.timestamp() for moment in times], dtype=np.float64)  # type: ignore[union-attr]
    return np.asarray(times, dtype=np.float64)


def _like(times: Times | None, seconds: float) -> Any:
    if times is not None and len(times) and isinstance(times[0], datetime):
        return datetime.fromtimestamp(seconds, times[0].tzinfo or UTC)
    return seconds


def _take(column: Sequence[Any], rows: np.ndarray[Any, Any]) -> Any:
    if isinstance(column, np.ndarray):
        return column[rows]
    return [column[row] for row in rows.tolist()]
