"""The daily digest: gathered once per app and local date, told to everybody on its list, quiet days included."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta, tzinfo

from sqlalchemy import DateTime, cast, func, or_, select
from sqlalchemy.orm import Session

from core.clock import floor_time
from core.settings import Settings
from core.states import LIVE_ROLLOUTS, JobState, ProposalStatus, RolloutState, Severity
from db.models.alerts import MonitoringAlert
from db.models.apps import App
from db.models.evaluation import ImprovementImpact, ModelUsage
from db.models.jobs import Job
from db.models.metrics import MetricBucket, MetricHour
from db.models.proposals import ImprovementProposal
from db.models.rollouts import Rollout
from db.repositories import addresses, emails
from db.repositories.jobs import Claim
from notifications import gather, render, table, trend, unsubscribe
from notifications.listeners import Listener, listeners
from notifications.outbox import queue, site_of
from notifications.policy import Cadence, checks_due, demo_digest_due, digest_due, zone_of
from notifications.table import Hour
from notifications.views import ChecksView, DigestView, QualityView, RolloutView, Site, SpendView

MARK = "mail:digest"
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
BASELINE = timedelta(days=7)
LONGEST = timedelta(days=2)
"""How far back a digest looks for events that no digest has told."""
LISTED = 50
"""Rows of one kind that are read; the mail lists the first few and counts the rest."""


def flush(
    session: Session, *, now: datetime, cadence: Cadence, settings: Settings, parent: Claim | None = None
) -> list[int]:
    """Queue the digests that are due now and not yet told; returns the new mails' ids. Level-triggered.

    A reader's day begins in the reader's own zone: an app with readers in three zones is gathered at three hours.
    """
    made: list[int] = []
    for app in session.scalars(select(App).where(App.enabled).order_by(App.id)).all():
        zones = _zones(session, app)
        days = {name: due(session, app, now=now, cadence=cadence, zone=zone) for name, zone in zones.items()}
        if not any(days.values()):
            continue
        mark = emails.lock_mark(session, app.id, MARK, at=now - DAY)
        told: dict[str, dict[str, str]] = dict(mark.state.get("zones", {}))
        open_ = {name: day for name, day in days.items() if day and told.get(name, {}).get("day") != day.isoformat()}
        if not open_:
            continue
        readers = listeners(session, app, kind="digest", what="digest")
        for name, day in open_.items():
            local = [reader for reader in readers if str(reader.zone) == name]
            if local:
                last = told.get(name, {}).get("at")
                since = datetime.fromisoformat(last) if last else mark.at
                made += _tell(session, app, local, day=day, since=since, now=now, settings=settings, parent=parent)
            told[name] = {"day": day.isoformat(), "at": now.isoformat()}
        mark.at, mark.state = now, {"zones": told}
    return made


def _zones(session: Session, app: App) -> dict[str, tzinfo]:
    """Return the zones of the app's readers by name, the app's own among them: a day without readers is told too."""
    zones = {app.timezone, *(row.timezone for row in addresses.preferences(session, app.id).values() if row.timezone)}
    known = [zone_of(name) for name in sorted(zones)]
    return {str(zone): zone for zone in known}


def _tell(
    session: Session,
    app: App,
    readers: Sequence[Listener],
    *,
    day: date,
    since: datetime,
    now: datetime,
    settings: Settings,
    parent: Claim | None,
) -> list[int]:
    zone = readers[0].zone
    view = collect(session, app, now=now, day=day, told_until=since, settings=settings, zone=zone)
    write = render.digest_for(view)
    key = addresses.signing_key(session, unsubscribe.KEY_NAME)
    return queue(
        session,
        app,
        event="digest",
        subject=f"{app.id}:{day.isoformat()}",
        kind="digest",
        to=readers,
        render=lambda reader: write(unsubscribe_url(view.site, app.id, reader.address, key)),
        sender=settings.mail_from,
        now=now,
        parent=parent,
    )


def unsubscribe_url(site: Site, app_id: int, address: str, key: bytes) -> str:
    """Return the link that stops this reader's digests of this app."""
    return site.link("unsubscribe/" + unsubscribe.sign(unsubscribe.Wish(app_id, address, "digest"), key))


def due(session: Session, app: App, *, now: datetime, cadence: Cadence, zone: tzinfo) -> date | None:
    """Return the local date whose digest the readers in the zone should have by now, told or not."""
    if cadence.digest_after is None:
        return digest_due(now, zone)
    return demo_digest_due(
        now,
        zone,
        began=app.created_at,
        after=cadence.digest_after,
        stories_through=stories_through(session, app),
    )


def stories_through(session: Session, app: App) -> bool:
    """Tell whether the demo has shown all it shows: one measured, one blocked, one rolled back."""
    ended = set(
        session.scalars(select(ImprovementProposal.status).where(ImprovementProposal.app_id == app.id).distinct())
    )
    measured = session.scalar(
        select(func.count())
        .select_from(ImprovementImpact)
        .join(ImprovementProposal, ImprovementProposal.id == ImprovementImpact.proposal_id)
        .where(ImprovementProposal.app_id == app.id)
    )
    return bool(measured) and {ProposalStatus.BLOCKED, ProposalStatus.ROLLED_BACK} <= ended


def collect(
    session: Session,
    app: App,
    *,
    now: datetime,
    day: date,
    told_until: datetime | None,
    settings: Settings,
    zone: tzinfo | None = None,
) -> DigestView:
    """Return one app's day, up to now.

    Args:
        told_until: when the last digest was made: what happened since then is new, even where that is over a day ago.
    """
    start = now - DAY
    since = start if told_until is None else max(min(told_until, now), now - LONGEST)
    today = _hours(session, app.id, start, now)
    yesterday = _hours(session, app.id, start - DAY, start)
    alerts = session.scalars(
        select(MonitoringAlert)
        .where(
            MonitoringAlert.app_id == app.id,
            MonitoringAlert.fired_at.is_not(None),
            or_(
                MonitoringAlert.resolved_at.is_(None),
                MonitoringAlert.resolved_at >= since,
                MonitoringAlert.fired_at >= since,
            ),
        )
        .order_by(MonitoringAlert.fired_at.desc(), MonitoringAlert.id.desc())
        .limit(LISTED)
    ).all()
    shown = [row.id for row in alerts]
    beyond, critical_beyond = session.execute(
        select(func.count(), func.count().filter(MonitoringAlert.severity == Severity.CRITICAL)).where(
            MonitoringAlert.app_id == app.id,
            MonitoringAlert.fired_at.is_not(None),
            MonitoringAlert.resolved_at.is_(None),
            MonitoringAlert.id.not_in(shown),
        )
    ).one()
    views = sorted((gather.alert_view(row) for row in alerts), key=lambda a: (not a.is_open, -a.severity.rank))
    return DigestView(
        site=site_of(app, settings, zone),
        day=day,
        start=start,
        end=now,
        checks=_checks(session, app, start=start, now=now, settings=settings),
        runs=sum(hour.runs for hour in today),
        quality=_quality(today, yesterday),
        decisions=tuple(
            gather.proposal_view(session, row)
            for row in _proposals(session, app, ProposalStatus.AWAITING_APPROVAL, since=None)
        ),
        rollouts=_rollouts(session, app, *LIVE_ROLLOUTS, since=None),
        rolled_back=_rollouts(session, app, RolloutState.ROLLED_BACK, since=since),
        blocked=tuple(
            gather.proposal_view(session, row) for row in _proposals(session, app, ProposalStatus.BLOCKED, since=since)
        ),
        new_alerts=tuple(a for a in views if a.fired_at is not None and a.fired_at >= since),
        continuing_alerts=tuple(a for a in views if a.fired_at is not None and a.fired_at < since),
        beyond=beyond,
        critical_beyond=critical_beyond,
        metrics=table.metric_table(today, yesterday, _hours(session, app.id, start - BASELINE, start)),
        impacts=tuple(
            gather.impact_view(row, title)
            for row, title in session.execute(
                select(ImprovementImpact, ImprovementProposal.title)
                .join(ImprovementProposal, ImprovementProposal.id == ImprovementImpact.proposal_id)
                .where(ImprovementProposal.app_id == app.id, ImprovementImpact.created_at >= since)
                .order_by(ImprovementImpact.id)
                .limit(LISTED)
            )
        ),
        chart=trend.chart(
            session,
            app.id,
            now=now,
            zone=zone or zone_of(app.timezone),
            alerts=views,
            keys=table.score_keys(today),
            bucket=settings.bucket_width,
            demo=settings.demo,
        ),
        spend=_spend(session, app.id, since=start, until=now),
        history=BASELINE,
    )


def _spend(session: Session, app_id: int, *, since: datetime, until: datetime) -> SpendView | None:
    tokens, cap, pieces = session.execute(
        select(func.sum(ModelUsage.tokens), func.sum(ModelUsage.token_cap), func.count()).where(
            ModelUsage.app_id == app_id, ModelUsage.at >= since, ModelUsage.at < until
        )
    ).one()
    return SpendView(tokens, cap, pieces) if pieces else None


def _proposals(
    session: Session, app: App, status: ProposalStatus, *, since: datetime | None
) -> list[ImprovementProposal]:
    query = select(ImprovementProposal).where(
        ImprovementProposal.app_id == app.id, ImprovementProposal.status == status
    )
    if since is not None:
        query = query.where(ImprovementProposal.updated_at >= since)
    return list(session.scalars(query.order_by(ImprovementProposal.id).limit(LISTED)))


def _rollouts(session: Session, app: App, *states: RolloutState, since: datetime | None) -> tuple[RolloutView, ...]:
    query = (
        select(Rollout, ImprovementProposal.title)
        .join(ImprovementProposal, ImprovementProposal.id == Rollout.proposal_id)
        .where(Rollout.app_id == app.id, Rollout.state.in_(states))
    )
    if since is not None:
        query = query.where(Rollout.finished_at >= since)
    return tuple(
        gather.rollout_view(session, row, title)
        for row, title in session.execute(query.order_by(Rollout.id).limit(LISTED))
    )


def _hours(session: Session, app_id: int, start: datetime, end: datetime) -> list[Hour]:
    """Return [start, end) in complete hours, its ragged ends and what is not rolled up yet in buckets."""
    first = floor_time(start + HOUR - timedelta(microseconds=1), HOUR)
    whole = session.scalars(
        select(MetricHour).where(MetricHour.app_id == app_id, MetricHour.hour >= first, MetricHour.hour <= end - HOUR)
    ).all()
    covered = max((row.hour + HOUR for row in whole), default=start)
    parts = session.scalars(
        select(MetricBucket).where(
            MetricBucket.app_id == app_id,
            MetricBucket.bucket >= start,
            MetricBucket.bucket < end,
            or_(MetricBucket.bucket < first, MetricBucket.bucket >= covered),
        )
    ).all()
    return [trend.hour_of(row) for row in whole] + [trend.hour_of(row) for row in parts]


def _checks(session: Session, app: App, *, start: datetime, now: datetime, settings: Settings) -> ChecksView:
    """Return how many sweeps were due and ran in a day, since the app is watched.

    The day ends two slots ago: the latest sweeps may still be at it.
    """
    period = settings.sweep_period
    first, last = max(start - 2 * period, app.created_at), now - 2 * period
    scheduled = cast(Job.args["scheduled_for"].astext, DateTime(timezone=True))
    ran = session.scalar(
        select(func.count()).where(
            Job.kind == "monitoring.sweep",
            Job.state == JobState.DONE,
            Job.finished_at >= first,
            Job.key.startswith("tick:"),
            scheduled >= first,
            scheduled < last,
        )
    )
    return ChecksView(ran=ran or 0, due=checks_due(first, last, period) if last > first else 0)


def _quality(today: list[Hour], yesterday: list[Hour]) -> QualityView | None:
    score = table.quality(today)
    if score is None:
        return None
    delta, low, high = table.contrast(score, table.quality(yesterday))
    return QualityView(score.value, delta, None if low is None or high is None else low <= 0 <= high)
