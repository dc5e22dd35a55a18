"""Who gets the candidate: a sticky hash, the same in every process and after every restart."""

from __future__ import annotations

import hashlib

_HEX_DIGITS = 15
_RANGE: int = 16**_HEX_DIGITS


def position(salt: str, unit: str) -> float:
    """Return where the unit lies in [0, 100), fixed for the salt.

    The first 60 bits of SHA-256 are uniform, so a share of p percent is a prefix of this line, and the prefixes of
    growing shares are nested: a unit that has the candidate at 10 % keeps it at 50 %.
    """
    digest: str = hashlib.sha256(f"{salt}:{unit}".encode()).hexdigest()
    return int(digest[:_HEX_DIGITS], 16) / _RANGE * 100


def gets_candidate(salt: str, unit: str, percent: float) -> bool:
    """Tell whether the unit gets the candidate while `percent` of the units do.

    Args:
        salt: the rollout's own, so that two rollouts split independently.
        unit: the randomisation unit (user, thread), never a request.
        percent: share of units, 0–100.
    """
    return position(salt, unit) < percent
