"""The life of an alert: a pure state machine. The clock, the reading and the silences come in; nothing goes out.

pending → firing → recovering → resolved, with a guard against blips (`for_`), a hold before an alert counts as over
(doubled each time it comes back), and a memory of who was told what. A flap costs no mail: a re-fire within the hold
is the same episode, and an episode tells people once that it began and once that it ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from core.states import ALERT, AlertState, Severity


class Health(StrEnum):
    """What a look at the data says."""

    BAD = "bad"
    BETWEEN = "between"  # under the firing threshold, not under the recovery threshold: the state holds
    GOOD = "good"
    UNKNOWN = "unknown"  # no data: neither fires nor resolves


class Notice(StrEnum):
    """What people are told."""

    FIRING = "firing"
    UPDATE = "update"  # twice as bad as what they were told
    REPEAT = "repeat"  # still firing, nobody acknowledged
    RESOLVED = "resolved"


@dataclass(frozen=True)
class Timing:
    """How patient the machine is. The demo scales all of it."""

    for_: timedelta = timedelta(minutes=2)
    """Something bad for less than this is a blip."""
    hold: timedelta = timedelta(minutes=15)
    """How long things must have been good before an alert is over."""
    hold_cap: timedelta = timedelta(hours=4)
    reopen_within: timedelta = timedelta(hours=8)
    """A new episode this soon after the last doubles the hold."""
    flap_window: timedelta = timedelta(hours=1)
    flap_flips: int = 4
    """So many changes between firing and recovering within the window are flapping."""
    repeat: timedelta = timedelta(hours=4)
    worse: float = 2.0
    """An update is sent where the magnitude grew by this factor."""
    mail_window: timedelta = timedelta(hours=12)
    mail_limit: int = 8
    """No more mails than this within the window about what comes and goes: beyond it the digest alone tells of it."""
    storm_window: timedelta = timedelta(minutes=10)
    storm_limit: int = 5
    """More critical alerts than this within the window are told in one mail."""

    def scaled(self, factor: float) -> Timing:
        """Return the same behaviour on another scale of time."""
        return replace(
            self,
            for_=self.for_ * factor,
            hold=self.hold * factor,
            hold_cap=self.hold_cap * factor,
            reopen_within=self.reopen_within * factor,
            flap_window=self.flap_window * factor,
            repeat=self.repeat * factor,
            mail_window=self.mail_window * factor,
            storm_window=self.storm_window * factor,
        )


@dataclass(frozen=True)
class Reading:
    """One look at one metric.

    Attributes:
        magnitude: how bad, on a scale of the metric's own; None where unknown.
        bad_for: how long the data has been bad without a break, as far as it shows.
    """

    health: Health
    severity: Severity = Severity.LOW
    magnitude: float | None = None
    bad_for: timedelta = timedelta()


@dataclass(frozen=True)
class Life:
    """Everything the machine remembers of one alert. Stored as JSON beside it."""

    state: AlertState
    since: datetime
    """When it entered the state."""
    severity: Severity
    hold: timedelta
    flips: tuple[datetime, ...] = ()
    flapping: bool = False
    silenced: bool = False
    told: bool = False
    told_at: datetime | None = None
    told_magnitude: float | None = None
    notices: int = 0
    """How many notices went out: the number of the next makes its key."""
    mails: tuple[datetime, ...] = ()
    """When notices went out within the mail window, those of the episodes before it included."""

    def as_json(self) -> dict[str, Any]:
        """Return the stored form; state, severity, flapping and silenced have columns of their own."""
        return {
            "since": self.since.isoformat(),
            "hold_s": self.hold.total_seconds(),
            "flips": [flip.isoformat() for flip in self.flips],
            "told": self.told,
            "told_at": self.told_at.isoformat() if self.told_at else None,
            "told_magnitude": self.told_magnitude,
            "notices": self.notices,
            "mails": [at.isoformat() for at in self.mails],
        }

    @classmethod
    def from_json(
        cls, content: Mapping[str, Any], *, state: AlertState, severity: Severity, flapping: bool, silenced: bool
    ) -> Life:
        """Return what `as_json` stored."""
        told_at = content.get("told_at")
        return cls(
            state=state,
            since=datetime.fromisoformat(content["since"]),
            severity=severity,
            hold=timedelta(seconds=content["hold_s"]),
            flips=tuple(datetime.fromisoformat(flip) for flip in content["flips"]),
            flapping=flapping,
            silenced=silenced,
            told=content["told"],
            told_at=datetime.fromisoformat(told_at) if told_at else None,
            told_magnitude=content["told_magnitude"],
            notices=content["notices"],
            mails=mails_of(content),
        )


def mails_of(content: Mapping[str, Any]) -> tuple[datetime, ...]:
    """Return when notices went out, of what `Life.as_json` stored."""
    return tuple(datetime.fromisoformat(at) for at in content.get("mails", ()))


@dataclass(frozen=True)
class Event:
    """Worth a row: a state that was entered, or `escalated`, `flapping`, `silenced`, `unsilenced`, `updated`."""

    kind: str
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """What one reading did."""

    life: Life
    events: tuple[Event, ...] = ()
    notice: Notice | None = None


def opened(
    reading: Reading,
    *,
    now: datetime,
    timing: Timing,
    last: tuple[timedelta, datetime] | None,
    mails: tuple[datetime, ...] = (),
) -> Life:
    """Return the life of an alert that has just been seen for the first time.

    Args:
        last: hold and end of the previous alert of this fingerprint, if any.
        mails: when people were told of that one.
    """
    hold = timing.hold
    if last is not None and now - last[1] <= timing.reopen_within:
        hold = min(max(last[0] * 2, timing.hold), timing.hold_cap)
    return Life(state=AlertState.PENDING, since=now, severity=reading.severity, hold=hold, mails=mails)


def step(
    life: Life,
    reading: Reading,
    *,
    now: datetime,
    timing: Timing,
    silenced: bool = False,
    acknowledged: bool = False,
    mailed: bool = False,
) -> Step:
    """Move one alert by one reading.

    Args:
        silenced: whether a silence covers it now.
        acknowledged: whether a person has said "I have it": no repeats.
        mailed: whether people heard of it by other ways than our notices (the roll-up, the digest).
    """
    if life.state is AlertState.RESOLVED:
        return Step(life)
    events: list[Event] = []
    silence_ended = life.silenced and not silenced
    if silenced != life.silenced:
        events.append(Event("silenced" if silenced else "unsilenced"))
        life = replace(life, silenced=silenced)

    if reading.health is Health.BAD and reading.severity.rank > life.severity.rank:
        if life.state is not AlertState.PENDING:
            events.append(Event("escalated", {"from": life.severity.value, "to": reading.severity.value}))
        life = replace(life, severity=reading.severity)

    target = _next_state(life, reading, now, timing)
    if target is not life.state:
        flip = {life.state, target} == {AlertState.FIRING, AlertState.RECOVERING}
        life = replace(
            life,
            state=ALERT.check(life.state, target),
            since=now,
            flips=(*life.flips, now) if flip else life.flips,
        )
        events.append(Event(target.value))

    life = replace(
        life,
        flips=tuple(at for at in life.flips if now - at <= timing.flap_window),
        mails=tuple(at for at in life.mails if now - at < timing.mail_window),
    )
    restless = len(life.mails) >= timing.mail_limit - 1
    flapping = restless or len(life.flips) >= timing.flap_flips or (life.flapping and bool(life.flips))
    if flapping and not life.flapping:
        events.append(Event("flapping", {"flips": len(life.flips), "mails": len(life.mails)}))
    life = replace(life, flapping=flapping)

    notice = _notice(
        life,
        reading=reading,
        now=now,
        timing=timing,
        silence_ended=silence_ended,
        acknowledged=acknowledged,
        mailed=mailed,
    )
    if notice is not None:
        magnitude = life.told_magnitude
        if reading.magnitude is not None:
            magnitude = max(reading.magnitude, magnitude or 0.0)
        life = replace(
            life,
            told=True,
            told_at=now,
            told_magnitude=magnitude,
            notices=life.notices + 1,
            mails=(*life.mails, now),
        )
        if notice in (Notice.UPDATE, Notice.REPEAT):
            events.append(Event("updated", {"notice": notice.value}))
    return Step(life, tuple(events), notice)


def _next_state(life: Life, reading: Reading, now: datetime, timing: Timing) -> AlertState:
    health = reading.health
    if life.state is AlertState.PENDING:
        if health is Health.BAD and reading.bad_for >= timing.for_:
            return AlertState.FIRING
        # A blip that left the data neither good nor bad does not wait for ever.
        stale = health is Health.BETWEEN and now - life.since >= timing.hold
        return AlertState.RESOLVED if health is Health.GOOD or stale else AlertState.PENDING
    if life.state is AlertState.FIRING:
        return AlertState.RECOVERING if health is Health.GOOD else AlertState.FIRING
    if health is Health.BAD:
        return AlertState.FIRING
    over = health is Health.GOOD and now - life.since >= life.hold
    return AlertState.RESOLVED if over else AlertState.RECOVERING


def _notice(
    life: Life,
    *,
    reading: Reading,
    now: datetime,
    timing: Timing,
    silence_ended: bool,
    acknowledged: bool,
    mailed: bool,
) -> Notice | None:
    if life.silenced:
        return None
    if life.state is AlertState.RESOLVED:
        return Notice.RESOLVED if life.told or mailed else None
    if life.state is not AlertState.FIRING or life.severity is not Severity.CRITICAL:
        return None
    if len(life.mails) >= timing.mail_limit - 1:  # the last is kept for the end
        return None
    if not life.told:
        return Notice.FIRING
    if acknowledged:
        return None
    if silence_ended:
        return Notice.REPEAT
    if life.flapping:
        return None
    worse = reading.magnitude is not None and reading.magnitude >= timing.worse * (life.told_magnitude or float("inf"))
    if worse:
        return Notice.UPDATE
    due = life.told_at is not None and now - life.told_at >= timing.repeat
    return Notice.REPEAT if due else None
