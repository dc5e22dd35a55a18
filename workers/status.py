"""The fleet's verdict: what its processes say, what its database says, and why it is not well."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel
from sqlalchemy.exc import DBAPIError

from core.errors import MetamonError
from core.settings import Settings
from db.queries import status as queries
from db.queries.fleet import QueueRecord
from db.queries.pauses import PauseRecord
from db.session import Sessions
from workers.embedded.folder import FleetRecord, ServiceRecord, StateFolder
from workers.queues import QUEUES

STARTING_S = 60.0
"""A process that starts for longer than this is not well."""


class Verdict(StrEnum):
    """The fleet in one word. Alerts of the apps it watches are no fault of the fleet."""

    OK = "ok"
    DEGRADED = "degraded"
    DOWN = "down"


class Status(BaseModel):
    """What `metamon status --json` prints. Stable names."""

    verdict: Verdict
    reasons: list[str]
    state: str
    url: str | None
    flower_url: str | None
    mail: str | None
    apps: list[queries.AppStatus]
    queues: list[QueueRecord]
    rollouts: list[queries.RolloutStatus]
    pauses: list[PauseRecord]
    services: list[dict[str, Any]]


def read(values: Settings, sessions: Sessions | None, *, now: datetime) -> Status:
    """Return the status; never raises because something is away: that is what it tells.

    Args:
        sessions: the database, or None where none is configured and no fleet runs.
    """
    folder = StateFolder(values.state)
    fleet = folder.running()
    reasons: list[str] = []
    down = False
    if fleet is None and values.database_url is None:
        down = True
        reasons.append(f"no fleet runs from {folder.path}: metamon up")
    elif fleet is None and folder.read() is not None:
        down = True
        reasons.append(f"the fleet of {folder.path} was killed: metamon up starts it again and loses nothing")
    reasons += _service_reasons(fleet, now)
    database = None
    if sessions is not None and not down:
        try:
            with sessions() as session:
                database = queries.read(
                    session, QUEUES, now=now, sweep=values.sweep_period, up_since=fleet.started_at if fleet else None
                )
            reasons += database.reasons
        except (DBAPIError, MetamonError) as error:
            down = True
            cause = getattr(error, "orig", error)
            reasons.append(f"the database does not answer: {str(cause).strip().splitlines()[0][:200]}")
    return Status(
        verdict=Verdict.DOWN if down else Verdict.DEGRADED if reasons else Verdict.OK,
        reasons=reasons,
        state=str(folder.path),
        url=None if down and not fleet else values.public_url,
        flower_url=None if down and not fleet else values.flower_url,
        mail=str(folder.mail) if fleet and any(service.name == "smtp" and service.pid for service in fleet.services)
        else None,
        apps=database.apps if database else [],
        queues=database.queues if database else [],
        rollouts=database.rollouts if database else [],
        pauses=database.pauses if database else [],
        services=[_shown(service) for service in fleet.services] if fleet else [],
    )  # fmt: skip


def service_reasons(values: Settings, now: datetime) -> list[str]:
    """Return what speaks against the embedded fleet's processes; nothing where there is none."""
    return _service_reasons(StateFolder(values.state).running(), now)


def _service_reasons(fleet: FleetRecord | None, now: datetime) -> list[str]:
    reasons = []
    for service in fleet.services if fleet else []:
        if service.state == "restarting":
            reasons.append(f"{service.name} died and is started again (death {service.restarts}): see {service.log}")
        elif service.state == "starting" and service.since and (now - service.since).total_seconds() > STARTING_S:
            reasons.append(f"{service.name} does not get ready: see {service.log}")
    return reasons


def _shown(service: ServiceRecord) -> dict[str, Any]:
    return service.model_dump(mode="json", include={"name", "state", "url", "pid", "restarts", "since", "log"})
