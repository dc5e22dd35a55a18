"""Alerts as rows: a finding moves its alert through the state machine, and what follows is enqueued beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from agents import alert_life
from agents.alert_groups import Told, Valve, admit, inhibited_by
from agents.alert_life import Health, Life, Notice, Reading, Timing
from core.states import ALERT, AlertKind, AlertState
from db.models.alerts import MonitoringAlert
from db.repositories import alerts, jobs
from db.repositories.jobs import Claim


@dataclass(frozen=True)
class Finding:
    """One look at one metric, ready to be told.

    Attributes:
        observed, expected, low, high: in the metric's own unit; so is `back`, where it counts as well again.
        window_start, window_end: of the bad stretch; only read where the reading is bad.
        note: what is to be remembered where this ends an alert.
    """

    kind: AlertKind
    metric: str
    reading: Reading
    title: str = ""
    observed: float | None = None
    expected: float | None = None
    low: float | None = None
    high: float | None = None
    back: float | None = None
    p: float | None = None
    reasons: tuple[str, ...] = ()
    window_start: datetime | None = None
    window_end: datetime | None = None
    note: str = ""

    @property
    def fingerprint(self) -> str:
        """What makes two findings the same alert."""
        return f"{self.kind.value}:{self.metric}"


@dataclass(frozen=True)
class Evidence:
    """The runs that show it best, and where a person can look at them."""

    run_ids: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()


@dataclass
class Moved:
    """What a check did to the app's alerts: ids by the state they entered."""

    opened: list[int] = field(default_factory=list)
    fired: list[int] = field(default_factory=list)
    resolved: list[int] = field(default_factory=list)


class Book:
    """The open alerts of one app during one check.

    Args:
        silenced: fingerprints that are silenced now; None stands for all.
        parent: the job in whose transaction this happens.
    """

    def __init__(
        self,
        session: Session,
        app_id: int,
        *,
        timing: Timing,
        silenced: list[str | None],
        parent: Claim | None,
    ) -> None:
        self.session = session
        self.app_id = app_id
        self.timing = timing
        self.silenced = silenced
        self.parent = parent
        self.open = alerts.open_of(session, app_id)
        self.moved = Moved()
        self._news: list[tuple[Notice, MonitoringAlert, int]] = []
        self._ended: set[int] = set()

    def is_pending(self, fingerprint: str) -> bool:
        """Tell whether how long it has been bad still matters: the alert is new or waits for its `for_`."""
        row = self.open.get(fingerprint)
        return row is None or row.state is AlertState.PENDING

    def pending_since(self, fingerprint: str) -> datetime | None:
        """Return when the trouble of an alert that still waits for its `for_` began; None where none waits."""
        row = self.open.get(fingerprint)
        return row.window_start if row is not None and row.state is AlertState.PENDING else None

    def move(self, finding: Finding, *, now: datetime, evidence: Callable[[], Evidence]) -> MonitoringAlert | None:
        """Move the finding's alert, opening it where it is new and bad. Returns it, or None where there is none.

        Args:
            evidence: called when the alert fires, escalates or is told again; it queries runs.
        """
        bad = finding.reading.health is Health.BAD
        row = self.open.get(finding.fingerprint)
        if row is None:
            row = self._open(finding, now) if bad else None
            if row is None:
                return None
        before = _life_of(row)
        inhibition = inhibited_by(row.kind, [other for other in self.open.values() if other is not row])
        result = alert_life.step(
            before,
            finding.reading,
            now=now,
            timing=self.timing,
            silenced=None in self.silenced or finding.fingerprint in self.silenced or inhibition is not None,
            acknowledged=row.acknowledged_at is not None,
            mailed=row.emailed_at is not None,
        )
        if bad:
            _tell(row, finding)
        if result.events or result.notice:
            kinds = {event.kind for event in result.events}
            if bad and (result.notice or kinds & {AlertState.FIRING.value, "escalated"}):
                shown = evidence()
                row.run_ids, row.trace_urls = list(shown.run_ids), list(shown.urls)
        self._keep(row, before, result.life, now)
        for event in result.events:
            detail = dict(event.detail)
            if event.kind == AlertState.FIRING.value:
                detail["related"] = self._related(row)
            if event.kind == AlertState.RECOVERING.value and finding.note:
                detail["note"] = finding.note
            if event.kind == "silenced" and inhibition is not None:
                detail["rule"], detail["inhibited_by"] = inhibition
            alerts.add_event(self.session, row.id, event.kind, at=now, observed=finding.observed, detail=detail)
        self._follow_up(row, before, result)
        return row

    def _open(self, finding: Finding, now: datetime) -> MonitoringAlert | None:
        since = now - self.timing.reopen_within
        previous = alerts.latest_resolved(self.session, self.app_id, finding.fingerprint, since=since)
        last: tuple[timedelta, datetime] | None = None
        mails: tuple[datetime, ...] = ()
        if previous is not None and previous.resolved_at is not None:
            mails = alert_life.mails_of(previous.tracker)
            last = (timedelta(seconds=previous.tracker.get("hold_s", 0.0)), previous.resolved_at)
        life = alert_life.opened(finding.reading, now=now, timing=self.timing, last=last, mails=mails)
        row = alerts.open_once(
            self.session,
            {
                "app_id": self.app_id,
                "fingerprint": finding.fingerprint,
                "kind": finding.kind,
                "metric": finding.metric,
                "state": life.state,
                "severity": life.severity,
                "title": finding.title,
                "window_start": finding.window_start or now,
                "window_end": finding.window_end or now,
                "tracker": life.as_json(),
                "opened_at": now,
                "updated_at": now,
            },
        )
        if row is None:
            return None
        alerts.add_event(self.session, row.id, life.state.value, at=now, observed=finding.observed)
        self.open[finding.fingerprint] = row
        self.moved.opened.append(row.id)
        return row

    def _keep(self, row: MonitoringAlert, before: Life, life: Life, now: datetime) -> None:
        if life.state is not before.state:
            row.state = ALERT.check(row.state, life.state)
            if life.state is AlertState.FIRING and row.fired_at is None:
                row.fired_at = now
                self.moved.fired.append(row.id)
            if life.state is AlertState.RESOLVED:
                row.resolved_at = now
                self.moved.resolved.append(row.id)
                del self.open[row.fingerprint]
        row.severity = life.severity
        row.flapping = life.flapping
        row.silenced = life.silenced
        if life != before:
            row.tracker = life.as_json()
        row.updated_at = now

    def _related(self, row: MonitoringAlert) -> list[int]:
        """Return the other alerts that are open meanwhile: one cause often shows in several metrics."""
        return sorted(other.id for other in self.open.values() if other.id != row.id)

    def _follow_up(self, row: MonitoringAlert, before: Life, result: alert_life.Step) -> None:
        if before.state is AlertState.PENDING and result.life.state is AlertState.FIRING:
            self._then(f"research:{row.id}", "research.investigate", {"alert_id": row.id})
        if result.life.state is AlertState.RESOLVED and (row.group_id or result.notice is Notice.RESOLVED):
            # Of several that were told together the last ends the thread, even where that one is silenced.
            self._ended.add(row.group_id or row.id)
        if result.notice is not None:
            self._news.append((result.notice, row, result.life.notices))

    def tell(self, valve: Valve, *, now: datetime) -> Valve:
        """Have people told what the moves of this check were worth telling; returns the valve as it stands now."""
        fired = [row for notice, row, _ in self._news if notice is Notice.FIRING]
        valve, how = admit(valve, [row.id for row in fired], now=now, timing=self.timing)
        if how is Told.EACH:
            for row in fired:
                self._announce("alert_critical", row.id)
        else:
            lead = valve.lead if valve.lead is not None else fired[0].id
            for row in fired:
                row.group_id = lead
            if how is not Told.FOLDED:
                self._announce("storm" if how is Told.STORM else "alert_critical", lead)
        for thread in sorted(self._ended):
            if not alerts.group_goes_on(self.session, thread):
                self._announce("alert_resolved", thread)
        for news in self._threads().values():
            going_on = [(row, number) for notice, row, number in news if notice in (Notice.UPDATE, Notice.REPEAT)]
            if going_on:
                row, number = max(
                    going_on, key=lambda each: (each[0].tracker.get("told_magnitude") or 0.0, -each[0].id)
                )
                self._then(
                    f"announce:alert_update:{row.id}.{number}",
                    "notifications.announce",
                    {"event": "alert_update", "subject_id": row.id, "number": number},
                )
        self._news.clear()
        self._ended.clear()
        return valve

    def _threads(self) -> dict[int, list[tuple[Notice, MonitoringAlert, int]]]:
        """Return the news of each thread of mail: alerts that were told together go on together."""
        threads: dict[int, list[tuple[Notice, MonitoringAlert, int]]] = {}
        for news in self._news:
            threads.setdefault(news[1].group_id or news[1].id, []).append(news)
        return threads

    def _announce(self, event: str, alert_id: int) -> None:
        jobs.announce(self.session, event, alert_id, self.parent)

    def _then(self, key: str, kind: str, args: Mapping[str, object]) -> None:
        jobs.enqueue(self.session, key=key, kind=kind, args=args, parent=self.parent)


def _life_of(row: MonitoringAlert) -> Life:
    return Life.from_json(
        row.tracker, state=row.state, severity=row.severity, flapping=row.flapping, silenced=row.silenced
    )


def _tell(row: MonitoringAlert, finding: Finding) -> None:
    """Bring the row up to date with a bad look; the onset may only move back, by late data."""
    row.title = finding.title
    row.observed = finding.observed
    row.expected = finding.expected
    row.expected_low = finding.low
    row.expected_high = finding.high
    row.p_value = row.p_value if finding.p is None else finding.p  # a course is tested where it changes, and goes on
    row.recovers_at = finding.back
    row.reasons = list(finding.reasons)
    if finding.window_start is not None:
        row.window_start = min(row.window_start, finding.window_start)
    if finding.window_end is not None:
        row.window_end = max(row.window_end, finding.window_end)


def unknown(kind: AlertKind, metric: str) -> Finding:
    """Return the finding of a metric that nothing is known of at the moment."""
    return Finding(kind=kind, metric=metric, reading=Reading(Health.UNKNOWN))
