"""The life of an alert, with the clock in hand."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents import alert_life
from agents.alert_life import Health, Life, Notice, Reading, Step, Timing
from core.states import AlertState, Severity

START = datetime(2026, 3, 10, 22, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
TIMING = Timing()


@dataclass
class Night:
    """Drives the machine as the sweep does: a new alert where none is open and something is bad."""

    timing: Timing = TIMING
    now: datetime = START
    life: Life | None = None
    last: tuple[timedelta, datetime] | None = None
    bad_since: datetime | None = None
    mails_before: tuple[datetime, ...] = ()
    notices: list[tuple[datetime, Notice]] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    swallowed: list[datetime] = field(default_factory=list)
    episodes: int = 0

    def look(
        self,
        health: Health,
        *,
        after: timedelta = MINUTE,
        severity: Severity = Severity.CRITICAL,
        magnitude: float = 0.2,
        silenced: bool = False,
        acknowledged: bool = False,
    ) -> Step | None:
        """Let time pass and look once."""
        self.now += after
        if health is Health.BAD:
            self.bad_since = self.bad_since or self.now
        elif health is not Health.UNKNOWN:
            self.bad_since = None
        reading = Reading(
            health,
            severity,
            magnitude if health is Health.BAD else None,
            self.now - self.bad_since if self.bad_since else timedelta(),
        )
        if self.life is None:
            if health is not Health.BAD:
                return None
            self.life = alert_life.opened(
                reading, now=self.now, timing=self.timing, last=self.last, mails=self.mails_before
            )
        fired_before = self.life.state is not AlertState.PENDING
        step = alert_life.step(
            self.life, reading, now=self.now, timing=self.timing, silenced=silenced, acknowledged=acknowledged
        )
        self.events += [event.kind for event in step.events]
        self.episodes += int(not fired_before and step.life.state is AlertState.FIRING)
        if step.notice is not None:
            self.notices.append((self.now, step.notice))
        # What is stored and read back must be the same life.
        stored = Life.from_json(
            step.life.as_json(),
            state=step.life.state,
            severity=step.life.severity,
            flapping=step.life.flapping,
            silenced=step.life.silenced,
        )
        assert stored == step.life
        self.life = stored
        if stored.state is AlertState.RESOLVED:
            if fired_before:
                self.last = (stored.hold, self.now)
                self.mails_before = stored.mails
                if silenced:
                    self.swallowed.append(self.now)
            self.life = None
        return step

    def run(self, health: Health, minutes: int, **more: object) -> None:
        """Look once a minute."""
        for _ in range(minutes):
            self.look(health, **more)  # type: ignore[arg-type]

    def is_in(self, state: AlertState) -> bool:
        """Tell whether the open alert is in the state."""
        return self.life is not None and self.life.state is state

    @property
    def told(self) -> list[Notice]:
        """What people were told, in order."""
        return [notice for _, notice in self.notices]


def test_a_blip_shorter_than_two_minutes_tells_nobody() -> None:
    """A1: bad for one look, good at the next: pending, then quietly over."""
    night = Night()
    night.run(Health.BAD, 2)
    night.run(Health.GOOD, 30)
    assert night.told == []
    assert night.events == ["resolved"]


def test_what_was_bad_for_long_enough_before_the_first_look_fires_at_once() -> None:
    """A2: a sweep every five minutes sees five minutes of failures; it must not wait for a second look."""
    reading = Reading(Health.BAD, Severity.CRITICAL, 0.3, bad_for=4 * MINUTE)
    life = alert_life.opened(reading, now=START, timing=TIMING, last=None)
    step = alert_life.step(life, reading, now=START, timing=TIMING)
    assert step.life.state is AlertState.FIRING
    assert step.notice is Notice.FIRING


def test_between_the_thresholds_the_state_holds() -> None:
    """A3: neither fires nor recovers, in any state."""
    night = Night()
    night.run(Health.BAD, 5)
    night.run(Health.BETWEEN, 60)
    assert night.is_in(AlertState.FIRING)
    night.look(Health.GOOD)
    night.run(Health.BETWEEN, 60)
    assert night.is_in(AlertState.RECOVERING)
    assert night.told == [Notice.FIRING]


def test_a_refire_within_the_hold_is_the_same_episode() -> None:
    """A4: no mail for it, and the hold starts anew."""
    night = Night()
    night.run(Health.BAD, 5)
    night.run(Health.GOOD, 10)
    night.run(Health.BAD, 5)
    night.run(Health.GOOD, 14)
    assert night.told == [Notice.FIRING]
    assert night.episodes == 1
    night.run(Health.GOOD, 5)
    assert night.told == [Notice.FIRING, Notice.RESOLVED]


def test_the_hold_doubles_each_time_it_comes_back_and_forgets_after_a_quiet_shift() -> None:
    """A4: 15, 30, 60 … minutes up to four hours; after eight quiet hours it is 15 again."""
    night = Night()
    holds = []
    for _ in range(7):
        night.run(Health.BAD, 5)
        assert night.life is not None
        holds.append(night.life.hold / MINUTE)
        night.run(Health.GOOD, int(holds[-1]) + 2)
    assert holds == [15, 30, 60, 120, 240, 240, 240]
    night.run(Health.GOOD, 9 * 60)
    night.run(Health.BAD, 5)
    assert night.life is not None
    assert night.life.hold == 15 * MINUTE


def test_four_flips_in_an_hour_are_flapping() -> None:
    """A5: it is marked once, and repeats are muted while it lasts."""
    night = Night(timing=Timing(repeat=timedelta(minutes=20)))
    for _ in range(8):
        night.run(Health.BAD, 5)
        night.run(Health.GOOD, 5)
    assert night.events.count("flapping") == 1
    assert night.told == [Notice.FIRING]


def test_no_data_neither_fires_nor_resolves() -> None:
    """A6: whatever the state, it stays for as long as nothing is known."""
    night = Night()
    night.look(Health.BAD)
    night.run(Health.UNKNOWN, 120)
    assert night.is_in(AlertState.PENDING)
    night.run(Health.BAD, 5)
    night.run(Health.UNKNOWN, 120)
    assert night.is_in(AlertState.FIRING)
    night.look(Health.GOOD)
    night.run(Health.UNKNOWN, 120)
    assert night.is_in(AlertState.RECOVERING)
    assert night.told == [Notice.FIRING]


def test_it_is_repeated_every_four_hours_until_somebody_has_it() -> None:
    """A7: an acknowledgement ends the repeats, not the alert."""
    night = Night()
    night.run(Health.BAD, 9 * 60)
    assert night.told == [Notice.FIRING, Notice.REPEAT, Notice.REPEAT]
    night.run(Health.BAD, 9 * 60, acknowledged=True)
    assert night.told == [Notice.FIRING, Notice.REPEAT, Notice.REPEAT]


def test_twice_as_bad_is_one_update() -> None:
    """A7: measured against what people were told last, so that it is told once."""
    night = Night()
    night.run(Health.BAD, 5, magnitude=0.10)
    night.run(Health.BAD, 5, magnitude=0.19)
    night.run(Health.BAD, 5, magnitude=0.21)
    assert night.told == [Notice.FIRING, Notice.UPDATE]


def test_a_silence_that_ends_while_it_fires_sends_exactly_one() -> None:
    """A8: muted from its first moment, told when the silence is over, and then resolved as usual."""
    night = Night()
    night.run(Health.BAD, 60, silenced=True)
    assert night.told == []
    night.run(Health.BAD, 60)
    assert night.told == [Notice.FIRING]
    night.run(Health.GOOD, 20)
    assert night.told == [Notice.FIRING, Notice.RESOLVED]


def test_what_happens_wholly_inside_a_silence_is_not_told() -> None:
    """A8: never `resolved` to whom nobody told of it."""
    night = Night()
    night.run(Health.BAD, 30, silenced=True)
    night.run(Health.GOOD, 30, silenced=True)
    night.run(Health.GOOD, 30)
    assert night.told == []
    assert {"silenced", "firing", "recovering", "resolved"} <= set(night.events)


def test_only_critical_alerts_are_told_at_once_and_escalation_tells() -> None:
    """High waits for the roll-up; once it is critical, it is told."""
    night = Night()
    night.run(Health.BAD, 10, severity=Severity.HIGH)
    assert night.told == []
    night.run(Health.BAD, 10, severity=Severity.CRITICAL)
    night.run(Health.BAD, 10, severity=Severity.LOW)
    assert night.told == [Notice.FIRING]
    assert night.events.count("escalated") == 1


def test_a_night_of_240_changes_costs_two_mails() -> None:
    """Alternating every two minutes for eight hours, then quiet: firing, resolved."""
    night = Night(timing=Timing(repeat=timedelta(hours=24)))
    night.run(Health.BAD, 3)
    for _ in range(120):
        night.run(Health.GOOD, 2)
        night.run(Health.BAD, 2)
    night.run(Health.GOOD, 30)
    assert night.told == [Notice.FIRING, Notice.RESOLVED]


def test_a_resolved_alert_does_not_move() -> None:
    """A final state is final: the next trouble is another alert."""
    life = Life(AlertState.RESOLVED, START, Severity.CRITICAL, TIMING.hold)
    step = alert_life.step(life, Reading(Health.BAD, Severity.CRITICAL, 1.0, MINUTE * 9), now=START, timing=TIMING)
    assert step == Step(life)


def test_scaling_keeps_the_behaviour() -> None:
    """The demo is the same machine on a faster clock."""
    assert TIMING.scaled(1 / 30).for_ == timedelta(seconds=4)
    assert TIMING.scaled(1 / 30).flap_flips == TIMING.flap_flips


looks = st.lists(
    st.tuples(
        st.sampled_from(list(Health)),
        st.integers(1, 12),
        st.sampled_from(list(Severity)),
        st.booleans(),
        st.booleans(),
    ),
    max_size=80,
)


@settings(max_examples=150, deadline=None)
@given(looks)
def test_any_night_has_bounded_mail_and_no_resolved_without_a_firing(
    sequence: list[tuple[Health, int, Severity, bool, bool]],
) -> None:
    """Whatever the data does: two mails an episode at most, beside repeats and silences' ends; each told in order."""
    night = Night(timing=Timing(worse=float("inf")))
    for health, minutes, severity, silenced, acknowledged in sequence:
        night.run(health, minutes, severity=severity, silenced=silenced, acknowledged=acknowledged)
    told_at: datetime | None = None
    for at, notice in night.notices:
        if notice is Notice.FIRING:
            unheard = [end for end in night.swallowed if told_at and told_at < end < at]
            assert told_at is None or unheard, "only an end that fell into a silence went untold"
            told_at = at
        else:
            assert told_at is not None
            told_at = None if notice is Notice.RESOLVED else told_at
    hours = (night.now - START) / timedelta(hours=1)
    repeats = [at for at, notice in night.notices if notice is Notice.REPEAT]
    ends_of_silence = night.events.count("unsilenced")
    assert len(repeats) <= hours / 4 + ends_of_silence
    assert len(night.notices) - len(repeats) <= 2 * night.episodes
    # Every new episode within a shift waits twice as long: no night has many.
    assert night.episodes <= 3 + hours


HOURS = 10


def a_night(seed: int) -> Night:
    """Ten hours, looked at every five minutes: quiet or restless, with silences and changing severity."""
    rng, night = random.Random(seed), Night()
    restless = rng.choice([0.5, 0.15, 0.05, 0.02])
    weights = [rng.random() + 0.05 for _ in Health]
    health, magnitude, silent, silences = Health.GOOD, 0.2, 0, rng.choice([0, 0, 1, 2])
    for _ in range(HOURS * 12):
        if rng.random() < restless:
            health, magnitude = rng.choices(list(Health), weights)[0], rng.choice([0.1, 0.2, 0.3, 0.5])
        if silent:
            silent -= 1
        elif silences and rng.random() < 0.05:
            silent, silences = rng.randint(2, 40), silences - 1
        severity = rng.choices([Severity.CRITICAL, Severity.HIGH], [0.8, 0.2])[0]
        night.look(health, after=5 * MINUTE, severity=severity, magnitude=magnitude, silenced=silent > 0)
    return night


def test_no_night_of_1500_sends_more_than_eight_mails() -> None:
    """However an alert comes and goes; and no end is told of what nobody was told of."""
    most = 0
    for seed in range(1500):
        night = a_night(seed)
        open_ = False
        for notice in night.told:
            assert open_ or notice is Notice.FIRING
            open_ = notice is not Notice.RESOLVED
        most = max(most, len(night.told))
    assert most == TIMING.mail_limit, "a night that reaches the limit shows that it is one"


@pytest.mark.parametrize("period", [4, 20, 45])
def test_flapping_of_any_period_is_damped_by_the_growing_hold(period: int) -> None:
    """Half the period bad, half good, for twelve hours: the hold soon outgrows the good half."""
    night = Night(timing=Timing(repeat=timedelta(days=2)))
    for _ in range(12 * 60 // period):
        night.run(Health.BAD, period // 2)
        night.run(Health.GOOD, period - period // 2)
    assert len(night.notices) <= 6
