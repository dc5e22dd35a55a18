"""`metamon up`: the whole fleet from nothing, in the right order, and away again.

A thread does the steps; the main thread supervises from the first moment, so that a database that dies during a
migration is noticed, and a Ctrl-C at any time stops everything.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

import psycopg
from redis import Redis
from redis.exceptions import RedisError

from core.clock import utc_now
from core.errors import UnavailableError
from core.settings import Settings
from workers.embedded import processes
from workers.embedded.folder import ServiceRecord, StateFolder, record_of
from workers.embedded.ports import Ports
from workers.embedded.postgres import Postgres
from workers.embedded.redis import EmbeddedRedis
from workers.embedded.redis import binary as redis_binary
from workers.embedded.supervisor import StartError, Supervisor

POSTGRES_PORT, REDIS_PORT, SMTP_PORT = 8602, 8603, 8604
"""Preferred; moved where they are taken."""
START_TIMEOUT_S = 90.0
DEMO_SWEEP_S, DEMO_BUCKET_S = 3.0, 10


class Reporter(Protocol):
    """Who is told how the start goes."""

    def ok(self, name: str, seconds: float, detail: str = "") -> None:
        """Something is up."""

    def outside(self, name: str, url: str) -> None:
        """A configured outside service is used."""

    def problem(self, message: str) -> None:
        """Something is not, and the rest goes on."""

    def started(self, folder: StateFolder, plan: Plan) -> None:
        """All is up. Called in a thread; may stay as long as it likes."""


class ServiceError(UnavailableError):
    """A configured outside service does not answer."""


@dataclass
class Plan:
    """The settings of one run of the fleet: what the user gave, completed."""

    settings: dict[str, Any]
    ports: Ports
    postgres: Postgres | None
    redis: EmbeddedRedis | None
    smtp_port: int | None
    outside: list[ServiceRecord]
    generated_password: bool
    """Whether Flower's password is ours, in the state folder."""


def bare(url: str) -> str:
    """Return a URL without user, password and query."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{host}{port}{parts.path}"


def make_plan(folder: StateFolder, given: Settings, *, demo: bool, auto_approve: bool) -> Plan:
    """Complete the settings: ports that are free, embedded services where no URL is configured.

    Raises:
        EmbeddedRedisError: no Redis can be started here, and none is configured.
        ServiceError: a configured database or broker does not answer.
    """
    ports = Ports()
    settings: dict[str, Any] = {
        "api_port": ports.claim(given.api_port, given.api_host),
        "flower_port": ports.claim(given.flower_port, given.flower_host),
        "sweep_seconds": given.sweep_seconds,
        "bucket_seconds": given.bucket_seconds,
        "demo": demo or given.demo,
        "auto_approve": auto_approve or given.auto_approve,
        "flower_user": given.flower_user,
    }
    if settings["demo"]:
        # The cadence alone: the gates are the real ones. What the user gave wins.
        settings |= {} if "sweep_seconds" in given.model_fields_set else {"sweep_seconds": DEMO_SWEEP_S}
        settings |= {} if "bucket_seconds" in given.model_fields_set else {"bucket_seconds": DEMO_BUCKET_S}
    settings["public_url"] = given.public_url or processes.url_of(given.api_host, settings["api_port"])
    settings["flower_url"] = given.flower_url or processes.url_of(given.flower_host, settings["flower_port"])
    password = given.flower_password.get_secret_value() if given.flower_password else ""
    settings["flower_password"] = password or processes.flower_password(folder)

    plan = Plan(settings, ports, None, None, None, [], generated_password=not password)
    for name in ("database", "redis", "smtp"):
        secret = getattr(given, f"{name}_url")
        if secret and (url := secret.get_secret_value()):
            settings[f"{name}_url"] = url
            service = "postgres" if name == "database" else name
            plan.outside.append(ServiceRecord(name=service, state="outside", url=bare(url)))
    check_outside(settings)
    if "database_url" not in settings:
        plan.postgres = Postgres(folder.path / "postgres", ports.claim(POSTGRES_PORT))
    if "redis_url" not in settings:
        redis_binary()
        plan.redis = EmbeddedRedis(folder.path / "redis", ports.claim(REDIS_PORT))
        plan.redis.initialise()
        settings["redis_url"] = plan.redis.url()
    if "smtp_url" not in settings:
        plan.smtp_port = ports.claim(SMTP_PORT)
        settings["smtp_url"] = f"smtp://127.0.0.1:{plan.smtp_port}"
    return plan


def check_outside(settings: dict[str, Any]) -> None:
    """Look whether the configured database and broker answer, before anything is started.

    A mail server that is away is no reason not to start: mail waits for it.

    Raises:
        ServiceError: one does not; names the variable and the ways out.
    """
    if url := settings.get("database_url"):
        try:
            with psycopg.connect(url.replace("postgresql+psycopg://", "postgresql://", 1), connect_timeout=5):
                pass
        except psycopg.Error as error:
            raise ServiceError(
                f"METAMON_DATABASE_URL: {bare(url)} does not answer as it should: {str(error).strip()}\n"
                "Start it, make the database (createdb), correct the URL, or unset it for the embedded one"
            ) from None
    if url := settings.get("redis_url"):
        try:
            with Redis.from_url(url.replace("redis+socket://", "unix://", 1), socket_connect_timeout=5) as client:
                client.ping()
        except (RedisError, OSError, ValueError) as error:
            raise ServiceError(
                f"METAMON_REDIS_URL: {bare(url)} does not answer as it should: {error}\n"
                "Start it, correct the URL, or unset it for the embedded one"
            ) from None


class Fleet:
    """One run of the fleet in one state folder. The caller holds the folder's lock."""

    def __init__(self, folder: StateFolder, plan: Plan, given: Settings, reporter: Reporter) -> None:
        self.folder = folder
        self.plan = plan
        self.given = given
        self.reporter = reporter
        self.started_at = utc_now()
        self.supervisor = Supervisor(folder.logs, self._rewrite)
        self.error: Exception | None = None
        self._known = False
        """Whether all settings are known, so that `fleet.json` may be written."""
        self._stale = False
        """Whether `fleet.json` could not be written when something last changed."""
        self._writing = threading.Lock()
        settings = plan.settings
        extra = {"METAMON_API_PORT": str(settings["api_port"]), "METAMON_FLOWER_PORT": str(settings["flower_port"])}
        extra |= {f"METAMON_{name.upper()}": "true" for name in ("demo", "auto_approve") if settings[name]}
        self.env = processes.environment(folder, extra)

    def run(self, stop: threading.Event, hurry: threading.Event) -> None:
        """Start everything, supervise until told to stop, stop everything.

        Args:
            stop: set it to stop; it is set here where the start fails.
            hurry: set it to skip a stage's grace.

        Raises:
            MetamonError: something that the fleet cannot do without did not start.
        """
        threading.Thread(target=self._start, args=[stop], name="start", daemon=True).start()
        try:
            self.supervisor.run(stop)
        finally:
            self.supervisor.stop(processes.GRACE_S, hurry)
            self.folder.forget()
            self.plan.ports.release()
        if self.error is not None:
            raise self.error

    def _rewrite(self) -> None:
        """Write what has changed. A disk that is full by now makes the status stale, and must not stop the fleet."""
        try:
            self._write()
        except OSError as error:
            if not self._stale:
                self.reporter.problem(
                    f"{self.folder.file} cannot be written ({error.strerror}): `metamon status` tells what was; "
                    "free some room on its disk"
                )
            self._stale = True
            self.supervisor.note()  # tried again in the next round
        else:
            self._stale = False

    def _write(self) -> None:
        with self._writing:
            if self._known:
                records = [record_of(process) for process in self.supervisor.processes]
                self.folder.write(self.plan.settings, self.started_at, [*self.plan.outside, *records])

    def _start(self, stop: threading.Event) -> None:
        try:
            self._steps(stop)
        except Exception as error:  # noqa: BLE001  # whatever it was, the main thread must hear of it
            if not stop.is_set():
                self.error = error
                stop.set()
            return
        self.reporter.started(self.folder, self.plan)

    def _steps(self, stop: threading.Event) -> None:
        plan, settings, add = self.plan, self.plan.settings, self.supervisor.add
        for service in plan.outside:
            self.reporter.outside(service.name, service.url or "")
        first = []
        if plan.redis:
            first.append(add(processes.redis(plan.redis, self.env)))
        if plan.smtp_port:
            first.append(add(processes.smtp(self.folder, plan.smtp_port, self.env)))
        if plan.postgres:
            plan.postgres.initialise()
            settings["database_url"] = plan.postgres.url()
            first.insert(0, add(processes.postgres(plan.postgres, self.env)))
        self._known = True
        self._write()
        # Workers need the broker alone; they may warm up while the database is made.
        rest = [add(spec) for spec in processes.workers(self.folder, self.env)]
        rest.append(
            add(
                processes.flower(
                    self.folder, self.given.flower_host, settings["flower_port"],
                    login=f"{settings['flower_user']}:{settings['flower_password']}",
                    env=self.env,
                )
            )
        )  # fmt: skip
        for process in first:
            process.wait_ready(START_TIMEOUT_S, stop)
            self.reporter.ok(process.spec.name, process.start_seconds, process.spec.url or "")
        begun = time.monotonic()
        self._migrate()
        self.reporter.ok("migrations", time.monotonic() - begun)
        api = add(processes.api(self.given.api_host, settings["api_port"], self.env))
        rest = [api, *(add(spec) for spec in processes.clockwork(self.env)), *rest]
        if settings["demo"]:
            rest.append(add(processes.demo(self.env)))
        for process in rest:
            try:
                process.wait_ready(START_TIMEOUT_S, stop)
            except StartError as error:
                # The rest is of use without it, and the supervisor keeps trying.
                self.reporter.problem(str(error))
            else:
                self.reporter.ok(process.spec.name, process.start_seconds, process.spec.url or "")

    def _migrate(self) -> None:
        from sqlalchemy import create_engine
        from sqlalchemy.pool import NullPool

        from db.migrate import upgrade
        from db.session import engine_url

        if self.plan.postgres:
            self.plan.postgres.wait_ready()
            self.plan.postgres.create_database()
        url = self.plan.settings["database_url"]
        upgrade(create_engine(engine_url(url), poolclass=NullPool, connect_args={"connect_timeout": 5}))
