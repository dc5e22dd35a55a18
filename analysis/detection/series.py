"""The detector of series: surprised by changes where the past predicts them, by records where nothing does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.detection import state as states
from analysis.detection.clock import DAY, seconds, slot_of, slots_of
from analysis.detection.level import Whereabouts
from analysis.detection.profile import Profile
from analysis.detection.quantile import quantile_step
from analysis.detection.records import Records
from analysis.detection.result import THRESHOLD, Detection, Flags, Reals
from analysis.detection.state import DetectorStateError

VERSION = 1
KIND = "series"

Bounds = tuple[float | None, float | None]
PAIR = 2

WARM = 24
"""Points before the first alarm: two hours of 5-minute steps."""
YOUNG = 12.0
"""With n points behind it a change must be larger by a factor of 1 + YOUNG/n."""
GROWN, GROWING, CAUTION = 150.0, 50.0, 0.5
"""Records count after 150 points: before, noise breaks one after the other. So long changes decide alone, of whom it is
not known yet whether the past predicts them: they must be twice as large."""

Q = 0.975
"""The scale of a series is what 2.5 % of its unexplained changes exceed."""
FIRE = 2.95
"""An alarm is a change beyond so many scales."""
PREDICTABLE, UNPREDICTABLE = 0.5, 0.6
"""Scale of the unexplained changes ÷ scale of the level: up to here changes decide, from there on records."""
STILL, MOVING = 0.02, 0.03
"""With a ratio below, the series stands still nearly always: its rare moves are no changes of a known size."""

BURSTING, MOST_BURST = 2.0, 100.0
"""A series whose changes are on average this many scales is still between bursts: its scale is that of the silence. One
change counts for 100 scales at most."""

JUMP_BAR = 0.85
"""Votes that alarm where nothing predicts the series."""
DRIFT_BAR = 0.35
"""Votes that alarm where the level stays away from the profile for hours as never before."""
QUIET = 36
"""Steps after an alarm by records in which no record counts: an episode is told once."""
WEARY, WEARY_STEPS = 0.2, 2000.0
"""Every alarm by records raises the bar by a fifth, for about a week."""

RATES = np.array([1 / 3, 1 / 12, 1 / 48, 1 / 576])[:, np.newaxis]
ROUGH_RATES = RATES[1:3]
SLOW, OFF_RATE, EFFORT_RATE = 1 / 2016, 1 / 48, 1 / 576
"""Rates of the moving averages, per step."""
STATISTICS = tuple(
    f"{what}, {way}"
    for what in ("change", "from 48", "from 576", "12 from 576", "48 from 576", "3 from 48", "roughness")
    for way in (("rise", "fall") if what != "roughness" else ("12", "48"))
)
"""What may break records; numbers are moving averages by their steps."""

LATE, GAP = 1.5, 36.0
"""A value that is late by half a step is no neighbour of the one before; after 36 steps no change is known."""
LARGEST, HIGHEST_SCORE = 1e30, 20.0
SURE = 0.25
"""With less certainty about predictability the band is that of the records."""


class SeriesDetector:
    """Watches S series, whatever their unit, and knows no more of each than some thousand numbers.

    One configuration for all. Causal: a score depends on what came before it. See docs/detection.md for the method.
    """

    def __init__(
        self,
        n_series: int,
        *,
        step: timedelta = timedelta(minutes=5),
        direction: ArrayLike | None = None,
        bounds: Bounds | Sequence[Bounds] | None = None,
    ) -> None:
        """Begin without knowledge.

        Args:
            n_series: S, at least 1.
            step: time between updates, at least one second.
            direction: what is bad, by series: +1 a rise, −1 a fall, 0 both; shape (S,) or one for all. Default: both.
            bounds: (lowest, highest) possible value, None for none; one pair for all or one each. Bands stay within,
                and a value outside is no data.

        Raises:
            ValueError: an argument outside its range.
        """
        if n_series < 1:
            raise ValueError(f"a detector watches at least one series, not {n_series}")
        self.n_series = n_series
        self.step = step
        self.slots = slots_of(step)
        self.latest: int | None = None
        self.direction = _directions(direction, n_series)
        self.lowest, self.highest = _bounds(bounds, n_series)
        self._cadence = np.array([float(int(step.total_seconds()))])
        self._rises, self._falls = (self.direction >= 0.0), (self.direction <= 0.0)
        self._profile = Profile(self.slots, n_series)
        self._jumps = Records(len(STATISTICS), n_series, most=4.0)
        self._drift = Records(1, n_series, most=2.0)
        self._level = Whereabouts(n_series, accept_after=max(self.slots, 12))
        none = np.zeros(n_series)
        self._memory: dict[str, NDArray[Any]] = {
            "seen": none.copy(), "anchor": none.copy(), "before": none.copy(), "when": np.zeros(n_series, np.int64),
            "scale": none.copy(), "spread": none.copy(), "mean": none.copy(),
            "averages": np.zeros((len(RATES), n_series)), "roughness": np.zeros((2, n_series)), "off": none.copy(),
            "effort": none.copy(),
            "since": np.full(n_series, QUIET + 1.0), "weary": none.copy(),
        }  # fmt: skip

    def update(self, values: ArrayLike, at: np.datetime64 | datetime) -> Detection:
        """Take the values of one moment and say what is surprising in them.

        Args:
            values: shape (S,); NaN is no data, and so is what is infinite or out of bounds.
            at: the moment. Not later than the latest one, it is told again: it teaches nothing and alarms nobody.

        Raises:
            ValueError: another shape, or no moment at all.
        """
        x = np.asarray(values, dtype=np.float64)
        if x.shape != (self.n_series,):
            raise ValueError(f"values have shape {x.shape}, this detector watches {self.n_series} series")
        moment = seconds(at)
        known = np.isfinite(x) & (x >= self.lowest) & (x <= self.highest)
        if self.latest is not None and moment <= self.latest:
            known = np.zeros_like(known)
        else:
            if self.latest is not None:
                ratio = (moment - self.latest) / float(self._cadence[0])
                self._cadence *= min(max(ratio, 0.8), 1.25) if ratio < GAP else 1.0
            self.latest = moment
        return self._step(np.clip(np.where(known, x, 0.0), -LARGEST, LARGEST), known, moment)

    def _step(self, x: Reals, known: Flags, moment: int) -> Detection:
        m = self._memory
        seen = m["seen"]
        first = known & (seen == 0.0)
        if first.any():
            np.copyto(m["anchor"], x, where=first)
            np.copyto(m["when"], moment, where=first)
        # Everything is counted from a series' first value, so that small changes of large numbers are not rounded away.
        y = x - m["anchor"]
        slot, day = slot_of(moment, self.slots), moment // DAY
        gap = np.maximum((moment - m["when"]) / self._cadence[0], 1.0)
        steady = gap < LATE
        change = np.where(gap > GAP, 0.0, (y - m["before"]) / np.sqrt(np.where(steady, 1.0, gap)))
        usual = np.where(steady, self._profile.usual_change(slot), 0.0)
        odd = change - usual
        scale = np.maximum(m["scale"], 1e-9 * np.abs(x) + 1e-300)
        steer = self._steer(scale)
        warm = seen >= WARM
        bar = FIRE * scale * (1.0 + YOUNG / np.maximum(seen, 1.0))
        bad = np.where(self.direction == 0.0, np.abs(odd), odd * self.direction)
        trust = np.maximum(steer, CAUTION * np.clip((GROWN - seen) / GROWING, 0.0, 1.0))
        by_change = np.where(warm, np.clip(bad / bar * trust, 0.0, HIGHEST_SCORE), 0.0)

        jumps = self._jumps.update(self._statistics(change, y), seen, warm=GROWN)
        drift = np.where(self.direction == 0.0, np.abs(m["off"]), np.maximum(m["off"] * self.direction, 0.0))
        drifts = self._drift.update(drift[np.newaxis], seen, warm=GROWN)
        weary = m["weary"] * (1.0 - 1.0 / WEARY_STEPS)
        votes = np.maximum(jumps.votes / JUMP_BAR * (1.0 - steer), drifts.votes / DRIFT_BAR * steer)
        by_record = np.where(m["since"] > QUIET, np.minimum(votes / (1.0 + WEARY * weary), HIGHEST_SCORE), 0.0)
        score = np.where(known, np.maximum(by_change, by_record), 0.0)
        alarm: Flags = score >= THRESHOLD
        expected, low, high = self._band(usual, bar, trust, warm)

        off = self._profile.above_level(slot, y)
        place = np.where(self._profile.known_level(slot), off, y - m["mean"])
        away, accepted = self._level.update(place, place - y + m["averages"][1], alarm, known)
        usual_level = np.where(away & known, x - place + self._level.home, expected)

        # From here on: learn. What alarms by its change teaches no more than the edge of its band.
        told = known & (by_record >= THRESHOLD)
        again = known & (seen > 0.0)
        taught = np.where(warm & (steer > 0.0), usual + np.clip(odd, -bar, bar), change)
        self._profile.learn_change(slot, day, taught, again & steady)
        self._profile.learn_level(slot, y, known & ~away)
        self._jumps.learn(jumps, again)
        self._drift.learn(drifts, again)
        count = seen + 1.0
        effort = np.minimum(np.abs(odd), np.where(warm, MOST_BURST * scale, np.inf))
        learnt = {
            "scale": np.where(again, quantile_step(m["scale"], np.abs(odd), seen - 1.0, Q), 0.0),
            "spread": np.where(again, quantile_step(m["spread"], np.abs(y - m["mean"]), seen - 1.0, Q), 0.0),
            "effort": m["effort"] + np.maximum(EFFORT_RATE, 1.0 / count) * (effort - m["effort"]),
            "mean": m["mean"] + np.maximum(SLOW, 1.0 / count) * (y - m["mean"]),
            "averages": m["averages"] + np.maximum(RATES, 1.0 / count) * (y - m["averages"]),
            "roughness": m["roughness"] + np.maximum(ROUGH_RATES, 1.0 / count) * (np.abs(change) - m["roughness"]),
            "off": m["off"] + OFF_RATE * (off - m["off"]),
            "since": np.where(told, 1.0, m["since"] + 1.0),
            "weary": weary + told,
            "before": y,
            "seen": count,
        }
        for name, values in learnt.items():
            np.copyto(m[name], values, where=known)
        np.copyto(m["when"], moment, where=known)
        return Detection(score, alarm, expected, low, high, away, accepted, usual_level)

    def _steer(self, scale: Reals) -> Reals:
        """Return how far changes are decided by their size (1) or by records (0), by how well the past predicts."""
        ratio = scale / np.maximum(self._memory["spread"], scale / 9.0)  # more than 9 is as good as 9
        predictable = np.clip((UNPREDICTABLE - ratio) / (UNPREDICTABLE - PREDICTABLE), 0.0, 1.0)
        moving = np.clip((ratio - STILL) / (MOVING - STILL), 0.0, 1.0)
        return np.asarray(predictable * moving * np.clip(BURSTING - self._memory["effort"] / scale, 0.0, 1.0))

    def _statistics(self, change: Reals, y: Reals) -> Reals:
        """Return what may break records, shape (14, S): seven quantities by direction, none of them negative."""
        quick, hour, hours, days = self._memory["averages"]
        signed = (change, y - hours, y - days, hour - days, hours - days, quick - hours)
        found = np.empty((len(STATISTICS), self.n_series))
        for place, value in enumerate(signed):
            found[2 * place] = np.maximum(value, 0.0) * self._rises
            found[2 * place + 1] = np.maximum(-value, 0.0) * self._falls
        found[12:] = self._memory["roughness"] * (self._rises * self._falls)
        return found

    def _band(self, usual: Reals, bar: Reals, trust: Reals, warm: Flags) -> tuple[Reals, Reals, Reals]:
        """Return (expected, low, high) of the value, NaN where it is too early to say."""
        m = self._memory
        by_size = bar / np.maximum(trust, SURE)
        rise = np.where(trust > SURE, by_size, np.maximum(bar, self._jumps.best[0]))
        fall = np.where(trust > SURE, by_size, np.maximum(bar, self._jumps.best[1]))
        expected = np.where(warm, m["anchor"] + m["before"] + usual, np.nan)
        low = np.clip(expected - fall, self.lowest, self.highest)
        high = np.clip(expected + rise, self.lowest, self.highest)
        return np.clip(expected, self.lowest, self.highest), low, high

    def state(self) -> dict[str, Any]:
        """Return all that is remembered, as a flat dict of strings and a number: fit for JSON, npz, a database."""
        return states.packed(KIND, VERSION, self.memory())

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> SeriesDetector:
        """Return the detector that goes on, bit by bit, where `state` was taken.

        Raises:
            DetectorStateError: the state is of another version, or damaged: make a new detector and let it learn.
        """
        states.checked(state, KIND, VERSION)
        setup = states.array_like(state, "setup", np.zeros(4, np.int64))
        n_series, width, latest, started = (int(value) for value in setup)
        if n_series < 1 or width < 1:
            raise DetectorStateError("this state is damaged: it has no series or no step")
        direction = states.array(state, "direction")
        detector = cls(n_series, step=timedelta(seconds=width), direction=direction)
        detector.latest = latest if started else None
        for name, like in detector.memory().items():
            if name != "setup":
                np.copyto(like, states.array_like(state, name, like))
        return detector

    def memory(self) -> dict[str, NDArray[Any]]:
        """Return every array that is remembered, by name; not copies."""
        latest = 0 if self.latest is None else self.latest
        width = int(self.step.total_seconds())
        return {
            "setup": np.array([self.n_series, width, latest, self.latest is not None], np.int64),
            "cadence": self._cadence,
            "direction": self.direction,
            "lowest": self.lowest,
            "highest": self.highest,
            **self._memory,
            "changes": self._profile.changes,
            "levels": self._profile.levels,
            "jump_best": self._jumps.best,
            "jump_votes": self._jumps.votes,
            "drift_best": self._drift.best,
            "drift_votes": self._drift.votes,
            "home": self._level.home,
            "jump": self._level.jump,
            "gone": self._level.gone,
        }


def _directions(direction: ArrayLike | None, n_series: int) -> Reals:
    ways = np.broadcast_to(np.asarray(0 if direction is None else direction, np.float64), (n_series,)).copy()
    if not np.isin(ways, (-1.0, 0.0, 1.0)).all():
        raise ValueError("a direction is +1 (a rise is bad), -1 (a fall is bad) or 0 (both)")
    return ways


def _bounds(bounds: Bounds | Sequence[Bounds] | None, n_series: int) -> tuple[Reals, Reals]:
    if bounds is None:
        pairs: Sequence[Any] = [(None, None)] * n_series
    elif len(bounds) == PAIR and not isinstance(bounds[0], Sequence):
        pairs = [bounds] * n_series
    else:
        pairs = bounds
    if len(pairs) != n_series:
        raise ValueError(f"{len(pairs)} pairs of bounds do not fit {n_series} series")
    lowest = np.array([-np.inf if low is None else low for low, _ in pairs], np.float64)
    highest = np.array([np.inf if high is None else high for _, high in pairs], np.float64)
    if not (lowest < highest).all():
        raise ValueError("a lower bound lies below the upper bound")
    return lowest, highest
