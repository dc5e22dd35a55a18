"""Which outcomes count: one for each randomisation unit and stage, with the chance it had of being a candidate then.

Arms are sticky, so a unit's second request in a stage tells nothing new about chance: it is left out. When the share
grows from s to t, units that were candidates stay candidates (no chance is left, they are left out), and a unit that
was baseline moves with probability (t - s)/(1 - s): it counts once more, with that share.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

CAPACITY = 60_000
"""Units that are remembered. Beyond it, a random half of all units is ignored from then on: a choice that knows
nothing of arms or outcomes."""

_CANDIDATE = (1 << 16) - 1
_FULL = 1 << 64


def unit_keys(units: Sequence[Any] | NDArray[Any]) -> list[int]:
    """Return 64-bit keys of units: strings, bytes or integers."""
    array = np.asarray(units)
    if array.dtype.kind in "iu":
        # The finaliser of splitmix64: neighbours in, independent bits out.
        with np.errstate(over="ignore"):
            x = array.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
            x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            x = x ^ (x >> np.uint64(31))
        return [int(key) for key in x]
    return [int.from_bytes(hashlib.blake2b(str(unit).encode(), digest_size=8).digest(), "big") for unit in units]


class Exposure:
    """The memory of which units were counted, in bounded space."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.capacity = capacity
        self.limit = _FULL
        self.shares: list[float] = []
        self.seen: dict[int, int] = {}
        self._codes: dict[float, int] = {}

    def admit(
        self, units: Sequence[Any] | NDArray[Any], candidate: Flags, share: Floats
    ) -> tuple[Flags, Floats, Flags]:
        """Decide which rows count, and remember their units.

        Args:
            units, candidate, share: a row each, in order of arrival; shape (n,).

        Returns:
            (counts, chance, fresh): whether the row counts, the chance its unit had of being a candidate given what
            was known before, and whether the unit is new. Shape (n,) each.
        """
        keys = unit_keys(units)
        counts = np.zeros(len(keys), dtype=np.bool_)
        fresh = np.zeros(len(keys), dtype=np.bool_)
        chance = np.array(share, dtype=np.float64)
        turns = np.flatnonzero(np.diff(chance)) + 1
        for low, high in zip([0, *turns.tolist()], [*turns.tolist(), len(keys)], strict=True):
            if high > low and 0 < chance[low] < 1:
                self._admit_stage(
                    keys[low:high], candidate[low:high], counts[low:high], chance[low:high], fresh[low:high]
                )
        return counts, chance, fresh

    def _admit_stage(self, keys: list[int], candidate: Flags, counts: Flags, chance: Floats, fresh: Flags) -> None:
        """Admit rows of one share, and note into the last three; within a stage only a unit's first row can count."""
        now = float(chance[0])
        code = self._code(now)
        for row, (key, chosen) in enumerate(zip(keys, candidate.tolist(), strict=True)):
            if key >= self.limit:
                continue
            before = self.seen.get(key)
            if before is None:
                fresh[row] = True
            elif before == _CANDIDATE or now <= self.shares[before]:
                continue
            else:
                then = self.shares[before]
                chance[row] = (now - then) / (1 - then)
            counts[row] = True
            self.seen[key] = _CANDIDATE if chosen else code
            if len(self.seen) > self.capacity:
                self.limit //= 2
                self.seen = {kept: of for kept, of in self.seen.items() if kept < self.limit}

    def _code(self, share: float) -> int:
        if share in self._codes:
            return self._codes[share]
        if len(self.shares) >= _CANDIDATE:
            # A share that moves all the time: forget the ones that no remembered unit had.
            used = sorted({code for code in self.seen.values() if code != _CANDIDATE})
            renamed = {code: new for new, code in enumerate(used)} | {_CANDIDATE: _CANDIDATE}
            self.seen = {key: renamed[code] for key, code in self.seen.items()}
            self.shares = [self.shares[code] for code in used]
            self._codes = {known: code for code, known in enumerate(self.shares)}
        self.shares.append(share)
        self._codes[share] = len(self.shares) - 1
        return self._codes[share]

    def state(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        keys = np.fromiter(self.seen.keys(), dtype=">u8", count=len(self.seen))
        codes = np.fromiter(self.seen.values(), dtype=">u2", count=len(self.seen))
        return {
            "limit": str(self.limit),
            "capacity": self.capacity,
            "shares": self.shares,
            "keys": base64.b64encode(keys.tobytes()).decode(),
            "codes": base64.b64encode(codes.tobytes()).decode(),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Exposure:
        """Return the memory that `state` describes."""
        self = cls(int(state["capacity"]))
        self.limit = int(state["limit"])
        self.shares = [float(share) for share in state["shares"]]
        self._codes = {share: code for code, share in enumerate(self.shares)}
        keys = np.frombuffer(base64.b64decode(state["keys"]), dtype=">u8")
        codes = np.frombuffer(base64.b64decode(state["codes"]), dtype=">u2")
        self.seen = dict(zip(keys.tolist(), codes.tolist(), strict=True))
        return self
