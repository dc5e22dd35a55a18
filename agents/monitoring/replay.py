"""Which alerts other objectives would have raised and spared: the past judged again, from stored buckets.

The past is judged at the end of every bucket, as the sweep judges it. An onset is known to a bucket here, not to the
second, what people did (silences, acknowledgements) is not replayed, and the detectors of series begin with no memory:
tokens, cost and traffic are judged from two hours on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from agents import alert_life
from agents.alert_life import Health, Life, Timing
from agents.alerting import Finding
from agents.apps import InvalidAppError, check_fields
from agents.monitoring.check import Cadence
from agents.monitoring.history import LOOK_BACK, History, Interval
from agents.monitoring.judge import Bench
from agents.monitoring.watch import RateWatch, SeriesWatch
from analysis.histogram import LogHistogram
from analysis.judgement import WINDOWS
from core.clock import floor_time
from core.states import AlertKind, AlertState, Severity
from db.repositories import buckets
from db.repositories.apps import locked
from db.repositories.buckets import HOUR, Counts

Progress = Callable[[float], None]


def _silent(done: float) -> None:
    """Tell nobody how far it is."""


@dataclass
class Episode:
    """One alert that fired.

    Attributes:
        severity: the worst it had.
        observed: in the metric's own unit, when it fired.
    """

    kind: AlertKind
    metric: str
    title: str
    severity: Severity
    observed: float | None
    fired_at: datetime
    resolved_at: datetime | None = None

    def overlaps(self, other: Episode) -> bool:
        """Tell whether both tell of one incident: the same metric at the same time."""
        mine = self.resolved_at or datetime.max.replace(tzinfo=self.fired_at.tzinfo)
        theirs = other.resolved_at or datetime.max.replace(tzinfo=self.fired_at.tzinfo)
        return (self.kind, self.metric) == (other.kind, other.metric) and (
            self.fired_at <= theirs and other.fired_at <= mine
        )


@dataclass(frozen=True)
class Comparison:
    """Alerts as they are now, and what the change makes of them."""

    before: list[Episode]
    after: list[Episode]
    raised: list[Episode] = field(init=False)
    spared: list[Episode] = field(init=False)

    def as_json(self) -> dict[str, list[dict[str, Any]]]:
        """Return the four lists as plain data."""
        return {key: [asdict(each) for each in episodes] for key, episodes in vars(self).items()}

    def __post_init__(self) -> None:
        object.__setattr__(self, "raised", _without(self.after, self.before))
        object.__setattr__(self, "spared", _without(self.before, self.after))


def compare(
    session: Session,
    app: str,
    changes: Mapping[str, Any],
    *,
    since: datetime,
    until: datetime,
    cadence: Cadence,
    progress: Progress = _silent,
) -> Comparison:
    """Judge an app's past twice, as it is and with these fields changed. Writes nothing.

    Args:
        changes: `sla_ms` and `objectives`, as `metamon apps set` takes them; an objective of None is taken back.

    Raises:
        NotFoundError: there is no such app.
        InvalidAppError: a field is wrong, or changes nothing that is detected.
    """
    fields = check_fields(changes)
    if others := sorted(set(fields) - {"sla_ms", "objectives"}):
        raise InvalidAppError(f"{others[0]} changes no alert; what does: sla_ms=800, objectives.error_rate=0.05")
    row = locked(session, app)
    start = floor_time(since, HOUR) - HOUR
    recent = buckets.recent(session, row.id, since=start, latency_since=start)
    hours = buckets.hours(session, row.id, since=start - LOOK_BACK - HOUR, until=until, histograms=True)
    objectives = {**row.objectives, **fields.get("objectives", {})}
    told = []
    for part, (sla_ms, stated) in enumerate(
        [(row.sla_ms, row.objectives), (fields.get("sla_ms", row.sla_ms), objectives)]
    ):
        recounted = sla_ms != row.sla_ms
        told.append(
            replay(
                with_sla(hours, sla_ms) if recounted else hours,
                with_sla(recent, sla_ms) if recounted else recent,
                since=since,
                until=until,
                width=cadence.bucket,
                timing=cadence.timing,
                silence=cadence.silence,
                objectives=stated,
                progress=lambda done, part=part: progress((part + done) / 2),  # type: ignore[misc]
            )
        )
    return Comparison(*told)


def _without(episodes: Sequence[Episode], others: Sequence[Episode]) -> list[Episode]:
    return [each for each in episodes if not any(each.overlaps(other) for other in others)]


def with_sla(parts: Sequence[Counts], sla_ms: int) -> list[Counts]:
    """Return the counts under another SLA, recounted from the histograms: to a bin of 2 %."""
    return [
        replace(part, sla_met=histogram.total - histogram.above(sla_ms / 1000))
        for part in parts
        for histogram in (LogHistogram.from_json(part.latency),)
    ]


def replay(
    hours: Sequence[Counts],
    recent: Sequence[Counts],
    *,
    since: datetime,
    until: datetime,
    width: timedelta,
    timing: Timing,
    objectives: Mapping[str, Any],
    silence: timedelta = timedelta(minutes=10),
    progress: Progress = _silent,
) -> list[Episode]:
    """Judge the past again and return the alerts that fire, in the order in which they do.

    Args:
        hours: complete hours from LOOK_BACK before `since`, oldest first.
        recent: buckets from the hour before `since` until `until`, oldest first, with their histograms.
        objectives: by metric, the worst value that is still fine.
        progress: called with the share that is done.
    """
    state = _Replayed(timing)
    start = floor_time(since, HOUR)
    rates = RateWatch(width, start, {}, settled=0)
    series = SeriesWatch.learnt(width, start, [], settled=0)
    while start < until:
        first_end = max(start, floor_time(since, width)) + width
        lead = floor_time(min(first_end - WINDOWS * width, first_end - HOUR), HOUR)
        history = History(
            [hour for hour in hours if lead - LOOK_BACK <= hour.start < lead],
            [part for part in recent if lead <= part.start < start + HOUR],
            width,
            {metric: list(spans) for metric, spans in state.alarmed.items()},
        )
        bench = Bench(
            history, first_end, width, lambda *_: None, lambda _: False, state.pending_since, objectives, rates=rates,
            series=series,
        )  # fmt: skip
        end = first_end
        while end <= min(start + HOUR, until):
            for finding in [*bench.rates_at(end), bench.latency(end), *bench.usage(end)]:
                state.move(finding, end)
            seen = [part.start for part in history.recent if part.runs and part.start < end]
            if seen:
                last_run = min(seen[-1] + width, end)
                silent = bench.volume(end, last_run=last_run, watching_since=end - LOOK_BACK, least=silence)
                state.move(silent, end)
                state.move(bench.traffic(end, silent=silent.reading.health is Health.BAD), end)
            end += width
        start += HOUR
        progress(min((start - since) / (until - since), 1.0))
    return state.episodes


@dataclass
class _Replayed:
    """The alerts of a replay: what the sweep keeps in rows."""

    timing: Timing
    lives: dict[str, Life] = field(default_factory=dict)
    opened_at: dict[str, datetime] = field(default_factory=dict)
    last: dict[str, tuple[timedelta, datetime]] = field(default_factory=dict)
    fired: dict[str, Episode] = field(default_factory=dict)
    episodes: list[Episode] = field(default_factory=list)
    alarmed: dict[str, list[Interval]] = field(default_factory=dict)

    def pending_since(self, fingerprint: str) -> datetime | None:
        life = self.lives.get(fingerprint)
        return self.opened_at[fingerprint] if life is not None and life.state is AlertState.PENDING else None

    def move(self, finding: Finding, now: datetime) -> None:
        key, reading = finding.fingerprint, finding.reading
        life = self.lives.get(key)
        if life is None:
            if reading.health is not Health.BAD:
                return
            life = alert_life.opened(reading, now=now, timing=self.timing, last=self.last.get(key))
            self.opened_at[key] = finding.window_start or now
        life = alert_life.step(life, reading, now=now, timing=self.timing).life
        self.lives[key] = life
        if life.state is AlertState.FIRING and key not in self.fired:
            episode = Episode(finding.kind, finding.metric, finding.title, life.severity, finding.observed, now)
            self.fired[key] = episode
            self.episodes.append(episode)
            self.alarmed.setdefault(finding.metric, []).append((self.opened_at[key], now))
        if key in self.fired:
            self.fired[key].severity = life.severity
            spans = self.alarmed[finding.metric]
            spans[-1] = (spans[-1][0], now)
        if life.state is AlertState.RESOLVED:
            if key in self.fired:
                self.last[key] = (life.hold, now)
                self.fired.pop(key).resolved_at = now
            del self.lives[key]
