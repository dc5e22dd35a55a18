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

CAPACITY = 1 << 16
"""Units that are remembered. Beyond it, a random half of all units is ignored from then on: a choice that knows
nothing of arms or outcomes."""

_CANDIDATE = 255
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
        for row, (key, chosen, now) in enumerate(zip(keys, candidate.tolist(), share.tolist(), strict=True)):
            if key >= self.limit or not 0 < now < 1:
                continue
            code = self.seen.get(key)
            if code is None:
                fresh[row] = True
            elif code == _CANDIDATE or now <= self.shares[code]:
                continue
            else:
                then = self.shares[code]
                chance[row] = (now - then) / (1 - then)
            counts[row] = True
            self.seen[key] = _CANDIDATE if chosen else self._code(now)
            if len(self.seen) > self.capacity:
                self._halve()
        return counts, chance, fresh

    def _code(self, share: float) -> int:
        if share in self.shares:
            return self.shares.index(share)
        if len(self.shares) >= _CANDIDATE:
            raise ValueError(f"more than {_CANDIDATE} different shares in one rollout; a ramp has stages")
        self.shares.append(share)
        return len(self.shares) - 1

    def _halve(self) -> None:
        self.limit //= 2
        self.seen = {key: code for key, code in self.seen.items() if key < self.limit}

    def state(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        keys = np.fromiter(self.seen.keys(), dtype=">u8", count=len(self.seen))
        codes = np.fromiter(self.seen.values(), dtype=np.uint8, count=len(self.seen))
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
        keys = np.frombuffer(base64.b64decode(state["keys"]), dtype=">u8")
        codes = np.frombuffer(base64.b64decode(state["codes"]), dtype=np.uint8)
        self.seen = dict(zip(keys.tolist(), codes.tolist(), strict=True))
        return self
