"""One check of one app: restate its buckets, judge its metrics, move its alerts. All in the caller's transaction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy.orm import Session

from agents.alert_groups import Valve
from agents.alert_life import Health, Timing
from agents.alerting import Book, Evidence, Finding, Moved, unknown
from agents.monitoring.history import LOOK_BACK, History, Interval
from agents.monitoring.judge import Bench, Stretch
from agents.monitoring.memory import recall
from agents.monitoring.metrics import LATENCY_P95, SLA_COMPLIANCE, VOLUME
from analysis.judgement import LEVEL_RATIO, WINDOWS, Judgement
from analysis.rates import worst_stretch
from core.clock import CLOCK_SLACK, floor_time
from db.models.apps import App, Project, Watermark
from db.repositories import alerts, buckets, roots
from db.repositories.buckets import HOUR, Touched
from db.repositories.jobs import Claim
from db.repositories.projects import monitored_project
from db.repositories.roots import Lens

WATERMARK = "monitoring"

CATCH_UP = timedelta(hours=6)
"""After an outage of ours the buckets we missed are judged one by one, this far back."""

TEACHES_NOTHING = timedelta(days=3)
"""An alert that is open for longer is the new usual: from here on its time teaches again."""

SLOTS_PER_BUCKET = 10
"""How finely the onset is looked for."""

RUNS_AT_ONCE = 100_000
"""Root runs that one check counts: 70 MB and some seconds. A backlog of more is counted in several, then judged."""

COUNTED = "counted_until"
"""How far a backlog was counted, in the watermark's state until it is judged."""

EVIDENCE_RUNS = 10

log = structlog.get_logger(__name__)

RunUrl = Callable[[UUID, UUID], str]


@dataclass(frozen=True)
class Cadence:
    """The scale of time that an installation works on.

    Attributes:
        sweep: period of the sweep.
        bucket: width of a bucket.
        silence: no shorter silence is an outage.
        timing: how patient alerts are.
    """

    sweep: timedelta = timedelta(minutes=5)
    bucket: timedelta = timedelta(minutes=5)
    silence: timedelta = timedelta(minutes=10)
    timing: Timing = field(default_factory=Timing)

    @classmethod
    def of(cls, *, sweep: timedelta, bucket: timedelta, demo: bool) -> Cadence:
        """Return the cadence of an installation; in the demo alerts live as fast as the buckets."""
        if not demo:
            return cls(sweep=sweep, bucket=bucket, silence=max(2 * bucket, timedelta(minutes=10)))
        factor = bucket / timedelta(minutes=5)
        return cls(sweep=sweep, bucket=bucket, silence=timedelta(seconds=60), timing=Timing().scaled(factor))


@dataclass
class Checked:
    """What a check did.

    Attributes:
        refused: why there was nothing to check; empty where there was.
        restated: bucket rows written, over all apps of the project.
        recheck_at: when a pending alert will have been bad for long enough; None where none waits.
    """

    refused: str = ""
    restated: int = 0
    moved: Moved = field(default_factory=Moved)
    recheck_at: datetime | None = None
    behind: datetime | None = None
    """Where more has changed than one check counts: when the last judgement was. Nothing was judged: half the runs
    would be a false alarm. The rest is wanted at once."""


def check_app(
    session: Session,
    app_id: int,
    *,
    at: datetime,
    now: datetime,
    cadence: Cadence,
    run_url: RunUrl,
    parent: Claim | None = None,
) -> Checked:
    """Check one app. Done twice, the second time finds nothing new.

    Args:
        at: the moment that the check was asked for. Where a later check was made already there is nothing to do, so
            that a backlog of checks costs one.
        run_url: where a person can look at a run of a project.
        parent: the job in whose transaction this happens, for the jobs that follow.
    """
    app = session.get(App, app_id)
    if app is None or not app.enabled:
        return Checked(refused="no enabled app")
    mark = buckets.lock_watermark(session, app_id, WATERMARK, now=now)
    project = monitored_project(session, app)
    if project is None:
        return Checked(refused=f"{app.project!r} has no traces yet, or is never monitored")
    last_check = mark.at if "up_since" in mark.state else None
    ahead = last_check is not None and last_check > now + CLOCK_SLACK
    if last_check is not None and at < last_check and not ahead:
        return Checked(refused="a later check was made already")
    counted = mark.state.get(COUNTED)
    taken = buckets.take_changes(
        session, project.id, cadence.bucket, limit=RUNS_AT_ONCE, since=counted and datetime.fromisoformat(counted)
    )
    ended_since = None if taken.until else now - LOOK_BACK if ahead else last_check
    checked = Checked(
        restated=restate(session, app, project, taken.touched, ended_since=ended_since, now=now, cadence=cadence)
    )
    if taken.until is not None:
        log.info("monitoring.behind", app_id=app_id, counted_until=taken.until.isoformat(), buckets_left=taken.left)
        mark.state = {**mark.state, COUNTED: taken.until.isoformat()}
        checked.behind = mark.at
        return checked
    if ahead:
        # A check on a host whose clock was ahead. When the last honest one was nobody knows: the present is judged, as
        # if we had watched until now, and what that host left half rolled up was rolled up again.
        log.warning("monitoring.clock_was_ahead", app_id=app_id, last_check=mark.at.isoformat())
        mark.at, mark.state, last_check = now, {"up_since": now.isoformat()}, now
    _look(session, app, project, mark=mark, last_check=last_check, now=now, cadence=cadence, run_url=run_url,
          parent=parent, checked=checked)  # fmt: skip
    return checked


def restate(
    session: Session,
    app: App,
    project: Project,
    changed: Touched,
    *,
    ended_since: datetime | None,
    now: datetime,
    cadence: Cadence,
) -> int:
    """Recompute the buckets that changed, for every app of the project, and roll complete hours up.

    Args:
        ended_since: hours of `app` that ended since then are rolled up, too.
    """
    complete = floor_time(now, HOUR)
    touched = {hour for hour in buckets.hours_of(changed, cadence.bucket) if hour < complete}
    restated = 0
    for sharer in buckets.apps_of_project(session, app.project):
        restated += buckets.recompute(session, sharer, project.id, changed, width=cadence.bucket, now=now)
        ended = set(touched)
        if sharer.id == app.id and ended_since is not None:
            hour = max(floor_time(ended_since, HOUR), complete - LOOK_BACK)
            while hour < complete:
                ended.add(hour)
                hour += HOUR
        buckets.roll_up(session, sharer.id, ended)
    return restated


def _look(
    session: Session,
    app: App,
    project: Project,
    *,
    mark: Watermark,
    last_check: datetime | None,
    now: datetime,
    cadence: Cadence,
    run_url: RunUrl,
    parent: Claim | None,
    checked: Checked,
) -> None:
    width = cadence.bucket
    ends = judged_ends(last_check, now, width)
    memory = recall(session, app.id, first_end=ends[0], width=width, now=now)
    unsettled = memory.series.settled_until
    history = load_history(session, app.id, first_end=ends[0], now=now, width=width, latency_since=unsettled)
    silenced = alerts.silences_of(session, app.id, now=now)
    book = Book(session, app.id, timing=cadence.timing, silenced=silenced, parent=parent)

    def stretch(metric: str, since: datetime, until: datetime, seen: Judgement) -> Stretch | None:
        slot = width / SLOTS_PER_BUCKET
        lens = _lens(metric, app, seen.expected)
        runs = roots.seen(session, project.id, lens, since=since, until=until)
        rows = roots.by_slot(runs, since=since, width=slot)
        usual = 0.05 if metric == LATENCY_P95 else seen.expected or 0.0
        rate = seen.failures / seen.runs
        found = worst_stretch([bad for _, bad, _ in rows], [n for *_, n in rows], usual=usual, bad=rate)
        return None if found is None else Stretch(rows[found[0]][0], rows[found[1]][0] + slot)

    def evidence(finding: Finding) -> Evidence:
        if finding.metric == VOLUME or finding.window_start is None:
            return Evidence()
        lens = _lens(finding.metric, app, finding.expected)
        runs = roots.seen(session, project.id, lens, since=finding.window_start, until=now)
        ids = roots.worst(runs, EVIDENCE_RUNS)
        return Evidence(tuple(str(run_id) for run_id in ids), tuple(run_url(project.id, run_id) for run_id in ids))

    up_since = _up_since(mark, last_check, now, cadence)
    last_run = roots.last_start(session, project.id, until=now)
    if checked.restated and last_run is not None and last_run < now - cadence.silence:
        up_since = now  # an old history is being imported: the source is not silent, it is not live yet
    bench = Bench(
        history, ends[0], width, stretch, book.is_pending, book.pending_since, app.objectives,
        rates=memory.rates, series=memory.series, watching_since=up_since,
    )  # fmt: skip
    for end in ends:
        findings = [*bench.rates_at(end), bench.latency(end), *bench.usage(end)]
        if end == now:
            silence = bench.volume(now, last_run=last_run, watching_since=up_since, least=cadence.silence)
            findings += [silence, bench.traffic(now, silent=silence.reading.health is Health.BAD)]
        for finding in findings:
            alert = book.move(finding, now=end, evidence=lambda finding=finding: evidence(finding))  # type: ignore[misc]
            if end == now and alert is not None and alert.state == "pending" and finding.reading.health is Health.BAD:
                wait = max(cadence.timing.for_ - finding.reading.bad_for, timedelta(seconds=1))
                # Rounded, so that the checks of one pending minute ask for one and the same later check.
                grain = cadence.timing.for_ / 8
                due = floor_time(now + wait + grain, grain)
                checked.recheck_at = min(filter(None, (checked.recheck_at, due)))
    seen_now = {finding.fingerprint for finding in findings}
    for fingerprint, row in list(book.open.items()):
        if fingerprint not in seen_now:
            lost = unknown(row.kind, row.metric)
            book.move(lost, now=now, evidence=Evidence)
    valve = book.tell(Valve.from_json(mark.state.get("valve", {})), now=now)
    checked.moved = book.moved
    memory.store(session, app.id, now=now)
    mark.at = max(mark.at, now)
    mark.state = {"up_since": up_since.isoformat(), "valve": valve.as_json(), "unjudged": bench.unjudged()}


def judged_ends(last_check: datetime | None, now: datetime, width: timedelta) -> list[datetime]:
    """Return the moments to judge at: the end of every bucket that ended since the last check, and now.

    The first check of an app judges the present only: what was bad a week ago pages nobody.
    """
    if last_check is None:
        return [now]
    end = floor_time(max(last_check, now - CATCH_UP), width) + width
    ends = []
    while end < now:
        ends.append(end)
        end += width
    return [*ends, now]


def _up_since(mark: Watermark, last_check: datetime | None, now: datetime, cadence: Cadence) -> datetime:
    """Return since when we have been watching without a gap: a silence before it may be our own."""
    if last_check is None or now - last_check > max(3 * cadence.sweep, cadence.bucket):
        return now if last_check is not None else now - LOOK_BACK
    return datetime.fromisoformat(mark.state["up_since"])


def load_history(
    session: Session,
    app_id: int,
    *,
    first_end: datetime,
    now: datetime,
    width: timedelta,
    latency_since: datetime | None = None,
) -> History:
    """Return the past that judgements from `first_end` until `now` compare with.

    Args:
        latency_since: from here on histograms are wanted, too; the first window's in any case.
    """
    first_window = floor_time(first_end, width) - WINDOWS * width
    since = floor_time(min(first_window, first_end - HOUR), HOUR)
    histograms = first_window if latency_since is None else min(first_window, latency_since)
    recent = buckets.recent(session, app_id, since=since, latency_since=histograms)
    hours = buckets.hours(session, app_id, since=since - LOOK_BACK, until=since)
    recent = [part for part in recent if part.start <= now]
    return History(hours, recent, width, _alarmed(session, app_id, now))


def _alarmed(session: Session, app_id: int, now: datetime) -> dict[str, list[Interval]]:
    intervals: dict[str, list[Interval]] = {}
    for metric, start, end in alerts.alarmed_since(session, app_id, since=now - LOOK_BACK):
        intervals.setdefault(metric, []).append((start, min(end or now, start + TEACHES_NOTHING)))
    return intervals


def _lens(metric: str, app: App, expected: float | None) -> Lens:
    if metric == SLA_COMPLIANCE:
        return Lens(metric, app.sla_ms / 1000)
    if metric == LATENCY_P95:
        return Lens(metric, 1.25 * (expected or 0.0))
    if metric in roots.TAKEN:
        return Lens(metric, LEVEL_RATIO * (expected or 0.0))
    return Lens(metric)
