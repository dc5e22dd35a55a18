"""`python -m demo`: FA AI with its customers, its past and its misfortunes. Started by `metamon up --demo`."""

from __future__ import annotations

import logging
import os
import random
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import datetime
from types import FrameType

import structlog
from langsmith import Client
from sqlalchemy.dialects.postgresql import insert

from core.clock import utc_now
from core.logging import configure_logging
from core.settings import Settings, settings
from db.models import Watermark
from db.repositories import apps
from db.session import Sessions, session_factory
from demo import backfill, setup, traffic
from demo.config import APP
from demo.desk import Desk
from demo.faults import Director
from demo.setup import Place
from demo.variants import Variants
from demo.world import VARIABLE

log = structlog.get_logger(__name__)

HISTORY = "demo.history"
TRIES = 3
FLUSH_S = 5.0


class Losses:
    """Counts the batches that the SDK gave up on."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, error: Exception) -> None:
        """Count one, and say so."""
        self.count += 1
        log.warning("a batch of traces was lost", error=type(error).__name__)


def main() -> None:
    """Set up, tell the history once, then serve customers until told to stop."""
    configure_logging(settings().log_level)
    stop = threading.Event()

    def halt(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, halt)
    signal.signal(signal.SIGINT, halt)
    base = base_url(settings())
    if not answers(base, stop):
        return
    sessions = session_factory()
    place = Place(settings().state / "demo")
    app_id = setup.ensure_app(sessions, place)
    project_id = setup.ensure_project(sessions)
    token = setup.ensure_token(sessions, place)
    os.environ[VARIABLE] = str(place.world)
    # The SDK logs a lost batch with the id of every run in it; `Losses` says the same in a line.
    logging.getLogger("langsmith").setLevel(logging.CRITICAL)
    losses = Losses()
    client = Client(
        api_url=base,
        api_key=token,
        omit_traced_runtime_info=True,
        tracing_mode="langsmith",
        tracing_error_callback=losses,
    )
    variants = Variants(base, token)
    pace = traffic.Pace()
    desk = Desk(
        client,
        lambda request: variants.of(request.customer.key, region=request.inputs["region"], plan=request.customer.plan),
        project_id=project_id,
        sleep=pace.sleep,
    )
    try:
        days = min(backfill.DAYS, settings().retention_days)  # the collector takes nothing older than it keeps
        tell_history(
            sessions,
            app_id,
            lambda until: backfill.tell(client, until=until, project_id=project_id, days=days, stop=stop),
        )
        director = Director(sessions, app_id, place.world, traffic_since=utc_now())
        threading.Thread(target=direct, args=(director, desk, pace, stop), daemon=True, name="director").start()
        traffic.run(desk, pace, stop, rng=random.Random())
    finally:
        client.flush(FLUSH_S)


def base_url(values: Settings) -> str:
    """Return where this machine reaches the API."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(values.api_host, values.api_host)  # noqa: S104  # compared only
    return f"http://{host}:{values.api_port}"


def answers(base: str, stop: threading.Event) -> bool:
    """Wait for the API; False where somebody said stop before it came."""
    while not stop.is_set():
        try:
            with urllib.request.urlopen(f"{base}/health", timeout=2):  # noqa: S310  # our own API
                return True
        except urllib.error.HTTPError:
            return True  # it answers; how well it is, others say
        except OSError:
            stop.wait(0.3)
    return False


def tell_history(sessions: Sessions, app_id: int, tell: Callable[[datetime], int | None]) -> None:
    """Tell the history once per state, then have the app watched.

    The moment it ends at is noted first: told again, it is the same history.
    """
    with sessions() as session, session.begin():
        session.execute(
            insert(Watermark)
            .values(app_id=app_id, name=HISTORY, at=utc_now(), state={"told": False})
            .on_conflict_do_nothing()
        )
        mark = session.get_one(Watermark, (app_id, HISTORY))
        until, told = mark.at, bool(mark.state["told"])
    if told:
        return
    begun = time.monotonic()
    traces = tell(until)
    if traces is None:
        return  # stopped half-way: the next start tells it from the beginning, to the same ids
    with sessions() as session, session.begin():
        session.get_one(Watermark, (app_id, HISTORY)).state = {"told": True, "traces": traces}
        apps.change(session, APP, {"enabled": True}, by=setup.ACTOR)
    log.info("history told", traces=traces, seconds=round(time.monotonic() - begun, 1))


def direct(director: Director, desk: Desk, pace: traffic.Pace, stop: threading.Event) -> None:
    """Look every second whether the next fault is due, and say now and then how it goes."""
    beats = 0
    while not stop.wait(1.0):
        beats += 1
        try:
            fault = director.step(utc_now())
        except Exception as error:  # noqa: BLE001 - a database that restarts must not end the demo
            log.warning("the director could not look", error=type(error).__name__)
            continue
        if fault is not None:
            log.info("fault injected", number=fault.number, title=fault.title)
        if beats % 60 == 0:
            log.info("traffic", served=desk.tally.served, failed=desk.tally.failed, rate=round(pace.rate, 1))


if __name__ == "__main__":
    main()
