"""The first page's one request, lists in pages, and the live stream."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import re
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import create_engine, event, insert, text
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session, sessionmaker

import api.stream
from api.app import create_app, engine_of
from api.stream import Hub
from core.clock import utc_now
from core.settings import Settings
from core.states import JobState, ProposalStatus, Scope
from db.models.alerts import MonitoringAlert
from db.models.apps import App
from db.models.changes import Change
from db.models.jobs import Job
from db.repositories import changes, jobs
from db.session import engine_url, make_engine, make_sessions
from notifications.trial import preview_digest
from tests.api_server import bearer, served_api
from tests.monitoring_world import make_world, steady
from tests.rollout_world import add_app, add_proposal


@pytest.fixture
def http(sessions: sessionmaker[Session]) -> Iterator[httpx.Client]:
    """A viewer's client."""
    with served_api(sessions) as url, httpx.Client(base_url=f"{url}/api/v1", timeout=60) as client:
        client.headers.update(bearer(sessions, Scope.VIEWER))
        yield client


def add_alert(session: Session, app_id: int, number: int = 0, **fields: Any) -> MonitoringAlert:
    """Add an open, critical alert."""
    now = utc_now()
    alert = MonitoringAlert(
        app_id=app_id, fingerprint=f"error_spike:m{number}", metric="error_rate", title="Error rate 40 %",
        window_start=now, window_end=now,
        **{"opened_at": now, "kind": "error_spike", "severity": "critical", "state": "firing", "fired_at": now,
           **fields},
    )  # fmt: skip
    session.add(alert)
    session.flush()
    return alert


def checked(session: Session, app_id: int) -> None:
    """Let the app have been checked just now."""
    jobs.enqueue(session, key=f"check:{app_id}:now", kind="monitoring.check_app", args={"app_id": app_id})
    job = session.query(Job).filter_by(key=f"check:{app_id}:now").one()
    job.state, job.finished_at = JobState.DONE, utc_now()


def test_the_verdict_follows_what_is_known(http: httpx.Client, sessions: sessionmaker[Session]) -> None:
    """No app: unknown. Never checked: unknown. Checked: ok. A dead job: degraded. A critical alert: critical."""

    def level() -> str:
        return str(http.get("/overview").json()["verdict"]["level"])

    assert level() == "unknown"
    app_id = add_app(sessions)
    assert level() == "unknown"
    with sessions.begin() as session:
        checked(session, app_id)
    assert level() == "ok"
    with sessions.begin() as session:
        session.add(Job(key="x", kind="research.investigate", queue="research", state="dead", error="boom"))
    assert level() == "degraded"
    with sessions.begin() as session:
        alert_id = add_alert(session, app_id).id
    add_proposal(sessions, app_id, status=ProposalStatus.AWAITING_APPROVAL)
    page = http.get("/overview").json()
    assert page["verdict"]["level"] == "critical"
    assert "Error rate 40 %" in page["verdict"]["reasons"][0]
    assert {item["kind"] for item in page["needs_you"]} == {"approval", "alert", "job"}
    assert [alert["id"] for alert in page["open_alerts"]] == [alert_id]
    assert page["checked_at"] is not None


def test_live_metrics_have_their_usual_band(http: httpx.Client, sessions: sessionmaker[Session]) -> None:
    """A healthy app's figures lie within what is usual for it."""
    from agents.monitoring.check import Cadence, check_app

    world = make_world(sessions)
    now = utc_now()
    runs = steady(now - timedelta(days=2), now, timedelta(seconds=30), scores={"fact_accuracy": 1.0})
    for number, run in enumerate(runs):
        run.status = "error" if number % 50 == 0 else "success"
    world.add(runs)
    with sessions.begin() as session:
        check_app(session, world.app_id, at=now, now=now, cadence=Cadence(), run_url=lambda *_: "")
        checked(session, world.app_id)
    (app,) = http.get("/overview").json()["apps"]
    found = {metric["name"]: metric for metric in app["metrics"]}
    assert set(found) == {"error_rate", "sla_compliance", "fact_accuracy", "latency_p95", "volume"}
    for metric in found.values():
        assert metric["expected_low"] <= metric["value"] <= metric["expected_high"], metric
    assert found["error_rate"]["expected_high"] < 0.3


def test_the_overview_counts_no_large_table(http: httpx.Client, sessions: sessionmaker[Session]) -> None:
    """It neither reads runs nor scans the jobs, however many there are."""
    app_id = add_app(sessions)
    with sessions.begin() as session:
        checked(session, app_id)
        session.execute(
            text(
                "INSERT INTO jobs (key, kind, queue, state, finished_at) SELECT 'old:' || n, 'monitoring.check_app', "
                "'monitoring', 'done', now() - interval '2 days' FROM generate_series(1, 30000) AS n"
            )
        )
        session.execute(text("ANALYZE jobs"))
    statements: list[str] = []
    engine = sessions.kw["bind"]

    def note(_c: object, _k: object, statement: str, *_: object) -> None:
        statements.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    assert http.get("/overview").json()["verdict"]["level"] == "ok"
    event.remove(engine, "before_cursor_execute", note)
    assert not [each for each in statements if " runs" in each.lower().replace(".runs", "")]
    with sessions() as session:
        before = session.execute(text("SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'jobs'")).scalar()
        http.get("/overview")
        session.execute(text("SELECT pg_stat_force_next_flush()"))
        session.rollback()
        deadline = time.monotonic() + 5
        read = None
        while time.monotonic() < deadline and read is None:
            read = session.execute(text("SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'jobs'")).scalar()
            session.rollback()
    assert read is not None
    assert before is not None
    assert read - before < 30000


def test_lists_page_without_gaps_while_rows_are_added(http: httpx.Client, sessions: sessionmaker[Session]) -> None:
    """What comes in between two pages shifts nothing: every row once, newest first."""
    app_id = add_app(sessions)
    with sessions.begin() as session:
        wanted = [add_alert(session, app_id, number).id for number in range(7)]
    seen: list[int] = []
    cursor = None
    while True:
        page = http.get("/alerts", params={"limit": 3, **({"cursor": cursor} if cursor else {})}).json()
        seen += [alert["id"] for alert in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
        with sessions.begin() as session:
            add_alert(session, app_id, 100 + len(seen))
    assert seen == wanted[::-1]


LISTS = (
    "alerts", "apps", "evaluations", "golden", "impact", "jobs", "mail", "proposals", "rollouts", "silences",
    "validations",
)  # fmt: skip


@pytest.mark.parametrize("name", LISTS)
def test_every_list_is_a_page_and_refuses_a_strangers_cursor(http: httpx.Client, name: str) -> None:
    """One shape for all; an invalid cursor is 400, not the first page and not a failure."""
    assert http.get(f"/{name}").json() == {"items": [], "next_cursor": None}
    bad = [[], ["x", None, {}], [1, 2, 3, 4], {"a": 1}, ["\0"], [2**70], [1.5], [[]]]
    cursors = ["abc", "é", "", *(base64.urlsafe_b64encode(json.dumps(each).encode()).decode() for each in bad)]
    for cursor in cursors:
        answer = http.get(f"/{name}", params={"cursor": cursor})
        assert answer.status_code == 400, cursor
        assert answer.headers["content-type"] == "application/problem+json"


class Stream:
    """One watcher: reads events in a thread."""

    def __init__(self, http: httpx.Client, last: str | None = None) -> None:
        self.events: list[tuple[str, str, dict[str, Any]]] = []
        self.new = threading.Condition()
        self.over = False
        self._stop = False
        headers = {**http.headers, **({"Last-Event-ID": last} if last else {})}
        self._client = httpx.Client(headers=headers, timeout=60)
        self._thread = threading.Thread(target=self._read, args=[f"{http.base_url}events"], daemon=True)
        self._thread.start()

    def _read(self, url: str) -> None:
        with self._client.stream("GET", url) as answer:
            part: dict[str, str] = {}
            for line in answer.iter_lines():
                if self._stop:
                    break
                if line:
                    name, _, value = line.partition(": ")
                    part[name] = value
                    continue
                with self.new:
                    self.events.append((part["id"], part["event"], json.loads(part["data"])))
                    self.new.notify_all()
                part = {}
        with self.new:
            self.over = True
            self.new.notify_all()

    def until(self, condition: Any) -> None:
        """Wait until the condition holds of the events."""
        with self.new:
            assert self.new.wait_for(lambda: condition(self), timeout=30), self.events

    def changes(self) -> list[tuple[str, int]]:
        """Return what was told."""
        return [(data["subject"], data["id"]) for _, name, data in self.events if name == "change"]

    def close(self) -> str:
        """Go away; return the last id."""
        self._stop = True
        self._thread.join(10)
        self._client.close()
        return self.events[-1][0]


def test_what_changes_is_told_and_resumed(http: httpx.Client, sessions: sessionmaker[Session]) -> None:
    """Every watcher hears of it; who was away hears of it when he comes back."""
    app_id = add_app(sessions)
    streams = [Stream(http), Stream(http)]
    for stream in streams:
        stream.until(lambda s: s.events)
    with sessions.begin() as session:
        alert_id = add_alert(session, app_id).id
    for stream in streams:
        stream.until(lambda s: ("alert", alert_id) in s.changes())
    last = {stream.close() for stream in streams}.pop()
    proposal = add_proposal(sessions, app_id)
    with sessions.begin() as session:
        job_id = jobs.enqueue(session, key="research:1", kind="research.investigate")
        jobs.enqueue(session, key="tick:sweep:1", kind="monitoring.sweep")
    back = Stream(http, last)
    back.until(lambda s: {("proposal", proposal), ("job", job_id)} <= set(s.changes()))
    back.until(lambda s: sum(name == "tick" for _, name, _ in s.events) >= 2)
    ids = [int(event_id) for event_id, _, _ in back.events]
    assert ids == sorted(ids)
    assert [change for change in back.changes() if change[0] == "job"] == [("job", job_id)], "beat's ticks are no news"
    back.close()


def test_who_was_away_too_long_is_told_to_read_everything(http: httpx.Client, sessions: sessionmaker[Session]) -> None:
    """The buffer is pruned; a resume from before it is a `reset`, not a silent gap."""
    app_id = add_app(sessions)
    add_proposal(sessions, app_id)
    with sessions.begin() as session:
        session.query(Change).update({Change.at: utc_now() - 2 * changes.KEPT})
        assert changes.drop_old(session, now=utc_now()) >= 2
    add_proposal(sessions, app_id)
    for last in ("1", "999999999"):
        stream = Stream(http, last)
        stream.until(lambda s: s.events)
        assert stream.events[0][1] == "reset"
        stream.close()


def test_the_stream_outlives_a_database_that_fails_while_it_is_tidied(
    sessions: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ticks that go on over a listener that is gone would look like peace."""
    app_id = add_app(sessions)
    add_proposal(sessions, app_id)
    failed = threading.Event()

    def prune(_: object) -> None:
        if not failed.is_set():
            failed.set()
            raise PoolTimeoutError("no connection was free")

    monkeypatch.setattr(api.stream, "_prune", prune)

    async def watch() -> list[str]:
        hub = Hub(lambda: engine_of(sessions))
        async with hub.watching() as watcher:
            assert await asyncio.to_thread(failed.wait, 20)
            await asyncio.to_thread(add_proposal, sessions, app_id)
            told = (await watcher.take(20))[1]
        await hub.close()
        return [each.subject for each in told]

    assert "proposal" in asyncio.run(watch())


@pytest.mark.parametrize("path", ["/health", "/api/v1/overview", "/ofrep/v1/evaluate/flags"])
def test_a_database_that_is_away_or_busy_is_a_503(database_url: str, path: str) -> None:
    """Whoever asks learns that it is worth asking again; nothing is answered as if it had been stored."""
    away = make_engine("postgresql://nobody@127.0.0.1:1/nothing")
    busy = create_engine(engine_url(database_url), pool_size=1, max_overflow=0, pool_timeout=0.05)
    for engine in (away, busy):
        client = TestClient(create_app(make_sessions(engine)), raise_server_exceptions=False)
        with contextlib.ExitStack() as held:
            if engine is busy:
                held.enter_context(busy.connect())
            method = client.post if path.startswith("/ofrep") else client.get
            assert method(path, headers={"x-api-key": "mm_wrong"}).status_code == 503
        engine.dispose()


def test_one_connection_listens_for_all_and_ends_with_the_last(
    http: httpx.Client, sessions: sessionmaker[Session]
) -> None:
    """Twenty watchers cost one database connection; when they are gone it is closed."""

    def listening() -> int:
        with sessions() as session:
            return int(
                session.scalar(
                    text(
                        "SELECT count(*) FROM pg_stat_activity "
                        "WHERE application_name = 'metamon-events' AND datname = current_database()"
                    )
                )
                or 0
            )

    streams = [Stream(http) for _ in range(20)]
    for stream in streams:
        stream.until(lambda s: s.events)
    assert listening() == 1
    for stream in streams:
        stream.close()
    deadline = time.monotonic() + 20
    while listening() and time.monotonic() < deadline:
        threading.Event().wait(0.1)
    assert listening() == 0


def test_a_lost_database_connection_is_mended(http: httpx.Client, sessions: sessionmaker[Session]) -> None:
    """Postgres drops the listener; what happens meanwhile is told all the same."""
    app_id = add_app(sessions)
    stream = Stream(http)
    stream.until(lambda s: s.events)
    with sessions.begin() as session:
        session.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'metamon-events'")
        )
    proposal = add_proposal(sessions, app_id)
    stream.until(lambda s: ("proposal", proposal) in s.changes())
    with sessions.begin() as session:
        session.get_one(App, app_id).sla_ms = 400
    stream.until(lambda s: s.changes()[-1] == ("app", app_id))
    stream.close()


def test_the_stream_is_for_those_who_may_look(http: httpx.Client, sessions: sessionmaker[Session]) -> None:
    """No token, no stream; an app's ingest token is none."""
    assert httpx.get(f"{http.base_url}events").status_code == 401
    assert httpx.get(f"{http.base_url}events", headers=bearer(sessions, Scope.INGEST, "app")).status_code == 403


def test_a_chart_has_its_band_and_its_marks(http: httpx.Client, sessions: sessionmaker[Session]) -> None:
    """At most so many points, each within what was to be expected before it; alerts are marked."""
    from agents.monitoring.check import Cadence, check_app

    world = make_world(sessions)
    now = utc_now()
    world.add(steady(now - timedelta(days=4), now, timedelta(minutes=2), scores={"fact_accuracy": 1.0}))
    with sessions.begin() as session:
        check_app(session, world.app_id, at=now, now=now, cadence=Cadence(), run_url=lambda *_: "")
        alert_id = add_alert(session, world.app_id, opened_at=now - timedelta(hours=1)).id
    for metric in ("error_rate", "fact_accuracy", "latency_p95", "volume"):
        chart = http.get("/metrics/shop", params={"metric": metric, "points": 50}).json()
        assert 20 < len(chart["points"]) <= 50
        inner = chart["points"][1:-1]
        assert all(point["low"] <= point["value"] <= point["high"] for point in inner), metric
        assert [(mark["kind"], mark["subject"]) for mark in chart["marks"]] == [("alert_opened", f"alert:{alert_id}")]
    assert http.get("/metrics/nobody", params={"metric": "volume"}).status_code == 404
    for window in ("24h", "7d", "30d", "90d"):
        found = http.get("/evaluations/trends", params={"app": "shop", "window": window}).json()
        names = {trend["name"]: trend for trend in found["metrics"]}
        assert names["fact_accuracy"]["mean"] == 1.0
        assert names["error_rate"]["mean"] == 0.0
    day = http.get("/evaluations/trends", params={"app": "shop", "window": "24h"}).json()
    volume = next(trend for trend in day["metrics"] if trend["name"] == "volume")
    assert volume["mean"] == pytest.approx(720, rel=0.05)
    assert volume["change"] == pytest.approx(0, abs=0.05)
    assert http.get("/impact/calibration").json() == {"points": [], "coverage": None, "bias": None}


def test_jobs_as_a_summary_and_as_a_tree(http: httpx.Client, sessions: sessionmaker[Session]) -> None:
    """By queue and state with the age of the oldest; a chain from any of its jobs."""
    now = utc_now()
    with sessions.begin() as session:
        root = jobs.enqueue(session, key="sweep", kind="monitoring.sweep")
        assert root is not None
        claim = jobs.claim(session, root, owner="x", now=now + timedelta(seconds=1), lease=timedelta(minutes=1))
        child = jobs.enqueue(session, key="check", kind="monitoring.check_app", parent=claim)
    found = {(row["queue"], row["state"]): row for row in http.get("/jobs/summary").json()}
    assert found["monitoring", "queued"]["count"] == found["monitoring", "running"]["count"] == 1
    assert found["monitoring", "queued"]["oldest_age_s"] >= 0
    tree = http.get(f"/jobs/{child}/tree").json()
    assert (tree["id"], [node["id"] for node in tree["children"]]) == (root, [child])


def test_what_did_not_change_is_not_sent_again(http: httpx.Client, sessions: sessionmaker[Session]) -> None:
    """Polling costs a 304 until something changes; a changed list has another tag."""
    app_id = add_app(sessions)
    for path in ("/overview", "/alerts", "/apps"):
        first = http.get(path)
        again = http.get(path, headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b""), path
        assert first.headers["cache-control"] == "private, no-cache"
        assert first.headers["x-content-type-options"] == "nosniff"
    tag = http.get("/alerts").headers["etag"]
    with sessions.begin() as session:
        add_alert(session, app_id)
    changed = http.get("/alerts", headers={"If-None-Match": tag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != tag


def test_an_unknown_path_of_the_api_is_a_problem_and_never_the_page(http: httpx.Client) -> None:
    """Whatever the method: JSON that says so, not a page that says 200."""
    root = str(http.base_url).removesuffix("/api/v1/")
    for path in ("/api/v1/nothing", "/api/nothing", "/api/v9/alerts"):
        for method in ("GET", "POST", "DELETE"):
            answer = httpx.request(method, root + path)
            assert answer.status_code in (404, 405), (method, path)
            assert answer.headers["content-type"] == "application/problem+json"
    assert httpx.get(f"{root}/api/nothing").status_code == 404


OPEN = {("get", "/health"), ("get", "/api/v1/info"), ("post", "/api/v1/session")}


def test_everything_but_the_door_is_locked(http: httpx.Client) -> None:
    """Every operation of the schema answers 401 to a stranger, whatever comes with it."""
    root = str(http.base_url).removesuffix("/api/v1/")
    document = httpx.get(f"{root}/api/openapi.json").json()
    asked = 0
    for path, operations in document["paths"].items():
        for method in {"get", "post", "put", "patch", "delete"} & operations.keys():
            if (method, path) in OPEN or not path.startswith("/api/v1/"):
                continue
            filled = path.replace("{run_id}", "0" * 32).replace("{feedback_id}", "0" * 32)
            filled = "".join("1" if part.startswith("{") else part for part in re.split(r"({[^}]*})", filled))
            answer = httpx.request(method, root + filled)
            assert answer.status_code == 401, (method, path, answer.status_code)
            asked += 1
    assert asked > 60


def test_ten_thousand_open_alerts_are_counted_and_the_first_are_shown(
    http: httpx.Client, sessions: sessionmaker[Session]
) -> None:
    """A detector gone mad must not make the page, a list or the digest a book."""
    app_id, now = add_app(sessions), utc_now()
    with sessions.begin() as session:
        checked(session, app_id)
        session.execute(
            insert(MonitoringAlert),
            [
                {
                    "app_id": app_id, "fingerprint": f"error_spike:m{number}", "metric": "error_rate",
                    "title": "Error rate 40 %", "window_start": now, "window_end": now, "opened_at": now,
                    "kind": "error_spike", "severity": "critical", "state": "firing", "fired_at": now,
                }
                for number in range(10_000)
            ],
        )  # fmt: skip
    page = http.get("/overview")
    assert page.status_code == 200
    assert len(page.content) < 100_000
    [shown] = page.json()["apps"]
    assert shown["open_alerts"] == 10_000
    first = http.get("/alerts", params={"limit": 50}).json()
    assert len(first["items"]) == 50
    assert first["next_cursor"]
    with sessions() as session:
        digest = preview_digest(session, "fa-ai", now=utc_now(), settings=Settings())
    assert len(digest.html) < 150_000
    assert "10000 alerts" in digest.subject.replace(",", "") or "10000 critical" in digest.subject.replace(",", "")
