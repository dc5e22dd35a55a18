"""The three things that befall FA AI, one after another. The demo injects them and mends none of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.states import RolloutState
from db.models import App, AuditEntry, MetricBucket, MonitoringAlert, Rollout
from db.repositories import apps, audit
from db.session import Sessions
from demo import world
from demo.config import APP

ACTION = "demo.fault"
FIRST_AFTER = timedelta(seconds=10)
"""Of live traffic: long enough to see that all is well."""
BREATH = timedelta(seconds=20)
"""Between two faults at least, so that each has a bad window of its own."""
PATIENCE = timedelta(seconds=110)
"""After so long the next fault comes where the one before was noticed, however far its remedy has got."""
LIMIT = timedelta(seconds=150)
"""After so long it comes in any case: a machine too slow to notice must not stop the show."""


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong: a deployment, the outside world, or both at once."""

    number: int
    title: str
    culprit: str
    """Who the audit log names for the deployment."""
    deploys: dict[str, Any] = field(default_factory=dict)
    world: dict[str, Any] = field(default_factory=dict)
    waits_for: dict[str, int] = field(default_factory=dict)
    """Rollouts of the stories before, by configuration key, and the percentage they should have reached.

    A fault makes every metric noisier, and a guard needs longer to be sure of anything in noise: a story that begins
    while another still gathers evidence makes both late.
    """


FAULTS = (
    Fault(
        1,
        "somebody deploys index.emea = 2026-11, a snapshot with last year's figures",
        culprit="deploy:index-pipeline",
        deploys={"index.emea": "2026-11"},
    ),
    Fault(
        2,
        "the provider of sonic-2 is overloaded: 4 of 10 calls take too long",
        culprit="provider",
        world={"slow": {"sonic-2": {"share": 0.4, "extra_ms": [260, 400]}}},
        waits_for={"index.emea": 100},
    ),
    Fault(
        3,
        "release 13: prompt.b = v13 brings watchlists to beta customers and loses the disclaimer",
        culprit="deploy:release-13",
        deploys={"prompt.b": "v13"},
        world={"released": ["watchlist"]},
        waits_for={"index.emea": 100, "route.sonic-2": 10},
    ),
)


class Director:
    """Decides when the next fault is due. What has happened is in the audit log, so a restart repeats nothing."""

    def __init__(self, sessions: Sessions, app_id: int, world_file: Path, *, traffic_since: datetime) -> None:
        self.sessions = sessions
        self.app_id = app_id
        self.world_file = world_file
        self.traffic_since = traffic_since

    def step(self, now: datetime) -> Fault | None:
        """Inject the next fault if it is due, and return it."""
        with self.sessions() as session, session.begin():
            # The row lock makes two demos on one state take turns.
            session.scalars(select(App.id).where(App.id == self.app_id).with_for_update()).one()
            done = injected(session)
            fault = next((fault for fault in FAULTS if fault.number not in done), None)
            if fault is None or not self._due(session, fault, done, now):
                return None
            self._inject(session, fault)
            return fault

    def _due(self, session: Session, fault: Fault, done: dict[int, datetime], now: datetime) -> bool:
        quiet = now - self.traffic_since
        if fault.number == 1:
            return quiet >= FIRST_AFTER and (quiet >= LIMIT or self._watched(session))
        before = FAULTS[fault.number - 2]
        waited = now - done[before.number]
        # After a restart the traffic comes first, too.
        if waited < BREATH or quiet < FIRST_AFTER:
            return False
        if waited >= LIMIT or self._far_enough(session, fault.waits_for):
            return True
        return waited >= PATIENCE and self._noticed(session, done[before.number])

    def _far_enough(self, session: Session, needed: dict[str, int]) -> bool:
        """Tell whether the rollouts have got so far, or are over."""
        rows = session.scalars(select(Rollout).where(Rollout.app_id == self.app_id)).all()
        reached = {
            str(row.change.get("key")): 100
            if row.state not in (RolloutState.RUNNING, RolloutState.PAUSED)
            else row.percent
            for row in rows
        }
        return all(reached.get(key, 0) >= percent for key, percent in needed.items())

    def _watched(self, session: Session) -> bool:
        """Tell whether monitoring has got as far as the live traffic: before, it has nothing to compare with."""
        latest = session.scalar(select(func.max(MetricBucket.bucket)).where(MetricBucket.app_id == self.app_id))
        return latest is not None and latest >= self.traffic_since

    def _noticed(self, session: Session, since: datetime) -> bool:
        """Tell whether an alert has fired since a fault."""
        fired = select(MonitoringAlert.id).where(
            MonitoringAlert.app_id == self.app_id, MonitoringAlert.fired_at >= since
        )
        return session.scalar(fired.limit(1)) is not None

    def _inject(self, session: Session, fault: Fault) -> None:
        if fault.world:
            # Before the commit: a crash in between injects again, to the same effect.
            world.write(self.world_file, {**world.document(self.world_file), **fault.world})
        # The way anybody deploys: research finds it in the audit log, with who and when.
        apps.configure(session, APP, fault.deploys, by=fault.culprit)
        audit.record(
            session,
            actor=fault.culprit,
            action=ACTION,
            subject=f"app:{APP}",
            number=fault.number,
            title=fault.title,
        )


def injected(session: Session) -> dict[int, datetime]:
    """Return when each fault was injected, by number."""
    entries = session.scalars(select(AuditEntry).where(AuditEntry.action == ACTION).order_by(AuditEntry.id))
    return {int(entry.detail["number"]): entry.at for entry in entries}
