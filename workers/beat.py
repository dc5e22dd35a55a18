"""Beat's scheduler: a tick is a row in `jobs`, not a message. Redis may be down, beats may be two."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import structlog
from celery.beat import ScheduleEntry, Scheduler
from sqlalchemy.exc import SQLAlchemyError

from core.clock import floor_time, utc_now
from db.repositories import jobs
from db.session import session_factory

log = structlog.get_logger(__name__)

LONG_AGO = timedelta(days=3650)


def tick_key(name: str, scheduled_for: datetime) -> str:
    """Return the key of one slot of one schedule entry."""
    return f"tick:{name}:{scheduled_for.isoformat()}"


def insert_tick(name: str, kind: str, period: timedelta, now: datetime) -> int | None:
    """Insert the job of the slot that contains `now`; None where the slot has its job already."""
    scheduled_for = floor_time(now, period)
    with session_factory().begin() as session:
        return jobs.enqueue(
            session,
            key=tick_key(name, scheduled_for),
            kind=kind,
            args={"scheduled_for": scheduled_for.isoformat()},
        )


class OutboxScheduler(Scheduler):
    """Inserts ticks. Keeps no file: what was done is in the database."""

    def setup_schedule(self) -> None:
        """Load the schedule as if nothing had run for long: the present slot is due at once, and unique anyway."""
        self.data: dict[str, ScheduleEntry] = {}
        self.merge_inplace(self.app.conf.beat_schedule)
        for entry in self.data.values():
            entry.last_run_at = self.app.now() - LONG_AGO

    def get_schedule(self) -> dict[str, ScheduleEntry]:
        """Return the entries."""
        return self.data

    def set_schedule(self, schedule: dict[str, ScheduleEntry]) -> None:
        """Replace the entries."""
        self.data = schedule

    schedule = property(get_schedule, set_schedule)

    def apply_async(self, entry: ScheduleEntry, producer: Any = None, advance: bool = True, **_: Any) -> None:
        """Insert the tick. Where Postgres is away the slot is tried again at beat's next round."""
        try:
            insert_tick(entry.name, entry.task, entry.schedule.run_every, utc_now())
        except SQLAlchemyError as error:
            log.warning("beat.database_away", tick=entry.name, error=type(error).__name__)
