"""How many mails the news of one check becomes: one each, one for several, one for a storm. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from agents.alert_life import Timing
from core.states import AlertKind, AlertState

DOWN = 0.5
"""A provider that fails half of all runs is down: what else is bad meanwhile is its doing."""

REMEMBERED = 50
"""Beginnings that the valve remembers: more than any limit of it."""


class Told(StrEnum):
    """How alerts that have just become critical are told."""

    EACH = "each"
    TOGETHER = "together"  # they came in one look: one mail lists them
    STORM = "storm"  # too many in a short time: one mail stands for them and for those to come
    FOLDED = "folded"  # a storm goes on, and its mail stands for them


@dataclass(frozen=True)
class Valve:
    """Lets a few mails pass and folds a storm of them into one.

    Attributes:
        began: when critical alerts became news, those within the storm's window.
        lead: the alert under which the storm that goes on is told; None in calm weather.
    """

    began: tuple[datetime, ...] = ()
    lead: int | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the stored form."""
        return {"began": [at.isoformat() for at in self.began], "lead": self.lead}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Valve:
        """Return what `as_json` stored; nothing stored is calm weather."""
        return cls(tuple(datetime.fromisoformat(at) for at in content.get("began", ())), content.get("lead"))


def admit(valve: Valve, news: Sequence[int], *, now: datetime, timing: Timing) -> tuple[Valve, Told]:
    """Decide how these alerts are told, all together.

    Args:
        news: ids of the alerts that have just become critical, in the order in which they were seen.
    """
    recent = tuple(at for at in valve.began if now - at < timing.storm_window)
    lead = valve.lead if recent else None  # calm for as long as the window: the storm is over
    began = (*recent, *(now for _ in news))[-REMEMBERED:]
    if not news:
        return Valve(began, lead), Told.EACH
    if lead is not None:
        return Valve(began, lead), Told.FOLDED
    if len(began) > timing.storm_limit:
        return Valve(began, news[0]), Told.STORM
    return Valve(began), Told.EACH if len(news) == 1 else Told.TOGETHER


class OpenAlert(Protocol):
    """What an inhibition looks at."""

    id: int
    kind: AlertKind
    state: AlertState
    observed: float | None


@dataclass(frozen=True)
class Inhibition:
    """While the source fires, what it causes is not told by itself.

    Attributes:
        muted: kinds of alerts of the same app that it causes.
    """

    name: str
    source: Callable[[OpenAlert], bool]
    muted: frozenset[AlertKind]


INHIBITIONS = (
    Inhibition(
        "provider_down",
        lambda alert: alert.kind is AlertKind.ERROR_SPIKE and (alert.observed or 0.0) >= DOWN,
        frozenset({AlertKind.QUALITY_DEGRADATION, AlertKind.SLA_VIOLATION, AlertKind.ANOMALY}),
    ),
)

BEGUN = frozenset({AlertState.FIRING, AlertState.RECOVERING})


def inhibited_by(kind: AlertKind, others: Sequence[OpenAlert]) -> tuple[str, int] | None:
    """Return (rule, alert) of what mutes an alert of this kind now; None where nothing does."""
    for rule in INHIBITIONS:
        if kind in rule.muted:
            for other in others:
                if other.state in BEGUN and rule.source(other):
                    return rule.name, other.id
    return None
