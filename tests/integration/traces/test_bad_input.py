"""What a broken or hostile client sends: a clear error or a kept row, nothing lost, nothing crashed."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import httpx
import pytest
import zstandard
from sqlalchemy import select, text
from sqlalchemy.orm import Session, sessionmaker

from core.settings import settings
from core.states import RunStatus, Scope
from db.models.apps import Project
from db.models.traces import Feedback, Run
from tests.api_server import bearer
from tests.integration.traces.conftest import BOUNDARY, multipart, patch, post
from traces import wire

NOW = datetime.now(UTC)

Upload = Callable[..., httpx.Response]


def stored(sessions: sessionmaker[Session]) -> list[Run]:
    """Return all stored runs."""
    with sessions() as session:
        return list(session.scalars(select(Run)))


def parts_of(run: dict[str, Any], kind: str = "post", **payloads: object) -> list[tuple[str, object]]:
    """Return a run as the parts of a multipart body."""
    name = f"{kind}.{run['id']}"
    return [(name, run), *((f"{name}.{key}", value) for key, value in payloads.items())]


def test_a_malformed_multipart_body_is_refused_with_the_reason(upload: Upload, sessions: sessionmaker[Session]) -> None:
    """400, and the message says what is wrong with it."""
    for body, says in (
        (b"", "boundary"),
        (b"no multipart at all", "boundary"),
        (multipart(("post.x", {"a": 1}))[:-20], "cut off"),
        (f"--{BOUNDARY}\r\nno header, no end".encode(), "cut off"),
        (f"--{BOUNDARY}\r\nX: y\r\n\r\ndata\r\n--{BOUNDARY}--\r\n".encode(), "part 1"),
    ):
        response = upload(body)
        assert response.status_code == 400
        assert says in response.json()["detail"]
    assert stored(sessions) == []


def test_a_body_without_a_boundary_is_refused(http: httpx.Client) -> None:
    """The content type has to say how the parts are told apart."""
    response = http.post("/runs/multipart", content=b"x", headers={"Content-Type": "application/json"})
    assert response.status_code == 400
    assert "boundary" in response.json()["detail"]


def test_zstd_is_read_and_a_truncated_stream_is_refused(upload: Upload, sessions: sessionmaker[Session]) -> None:
    """Cut anywhere, nothing of it is stored; whole, all of it is."""
    run = post(NOW)
    compressor = zstandard.ZstdCompressor().compressobj()  # streamed, so that the frame states no size
    body = compressor.compress(multipart(*parts_of(run, inputs={"q": "x" * 5000}))) + compressor.flush()
    for cut in (1, 10, len(body) // 2, len(body) - 1):
        assert upload(body[:cut], **{"Content-Encoding": "zstd"}).status_code == 400
    assert stored(sessions) == []
    assert upload(b"not zstd", **{"Content-Encoding": "zstd"}).status_code == 400
    assert upload(body, **{"Content-Encoding": "zstd"}).status_code == 202
    assert [str(row.id) for row in stored(sessions)] == [run["id"]]


def test_a_zstd_bomb_is_refused_before_it_expands(upload: Upload) -> None:
    """10 GB of zeros in a megabyte: 413 at the cap, no more memory than that."""
    frame = zstandard.ZstdCompressor().compress(bytes(64 * 1024 * 1024))
    bomb = frame * 160
    assert len(bomb) < wire.MAX_BODY_BYTES
    response = upload(bomb, **{"Content-Encoding": "zstd"})
    assert response.status_code == 413
    assert "expands" in response.json()["detail"]


def test_too_large_a_body_is_refused(upload: Upload) -> None:
    """Without reading all of it."""
    assert upload(bytes(wire.MAX_BODY_BYTES + 1)).status_code == 413


def test_few_bytes_do_not_become_gigabytes(http: httpx.Client, upload: Upload) -> None:
    """A kilobyte of zstd may hold millions of runs, and each costs a hundred times its bytes: 413 and what to do."""

    def zipped(body: bytes, path: str) -> httpx.Response:
        packed = zstandard.ZstdCompressor().compress(body)
        return http.post(path, content=packed, headers={"Content-Encoding": "zstd"})

    empty = b'{"post":[' + b"{}," * wire.MAX_RUNS + b"{}]}"
    answer = zipped(empty, "/runs/batch")
    assert (answer.status_code, "10001 posts and patches" in answer.json()["detail"]) == (413, True)
    assert zipped(empty.replace(b"{},", b"", 1), "/runs/batch").status_code == 422
    assert zipped(b'{"post":[' + b"{}," * wire.MAX_CONTAINERS + b"{}]}", "/runs/batch").status_code == 413
    long = b'"' + b"x" * wire.MAX_BODY_BYTES + b'"'
    for path in ("/runs/batch", "/runs", "/feedback"):
        assert zipped(long, path).status_code == 413
    assert http.post("/feedback", content=b'"' + b"x" * 1024 * 1024 + b'"').status_code == 413
    run, large = post(NOW), post(NOW)
    answer = upload(multipart(*parts_of(run), *parts_of(large, inputs=long)[:1]))
    assert answer.status_code == 202
    parts = zstandard.ZstdCompressor().compress(multipart(*parts_of(run), *parts_of(large, inputs=long)))
    answer = upload(parts, **{"Content-Encoding": "zstd"})
    assert (answer.status_code, list(answer.json()["errors"])) == (202, [f"post.{large['id']}.inputs"])


def test_a_run_a_day_for_a_year_makes_no_more_partitions_than_are_kept(
    http: httpx.Client, sessions: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight hundred tables are more than Postgres can lock at once: no retention would have dropped them again."""
    monkeypatch.setenv("METAMON_RETENTION_DAYS", "3")
    settings.cache_clear()
    runs = [post(NOW - timedelta(days=days)) for days in range(390)]
    answer = http.post("/runs/batch", json={"post": runs})
    settings.cache_clear()
    assert (answer.status_code, answer.json()["refused"]) == (202, 386)
    assert "3 days are kept" in next(iter(answer.json()["errors"].values()))
    with sessions() as session:
        assert session.scalar(text("SELECT count(*) FROM pg_inherits WHERE inhparent = 'runs'::regclass")) == 4


def test_feedback_since_a_moment_is_found_whatever_zone_the_moment_is_told_in(http: httpx.Client) -> None:
    """Half past midnight in Tokyo is the day before where the partitions are made."""
    at = (NOW - timedelta(days=2)).replace(hour=23, minute=30)
    body = {"run_id": str(uuid.uuid4()), "key": "k", "score": 1, "created_at": at.isoformat()}
    assert http.post("/feedback", json=body).status_code == 200
    for zone in (UTC, timezone(timedelta(hours=9)), timezone(timedelta(hours=-8))):
        for since, found in ((at - timedelta(minutes=30), 1), (at + timedelta(minutes=1), 0)):
            told = since.astimezone(zone).isoformat()
            assert len(http.get("/feedback", params={"min_created_at": told}).json()) == found


def test_who_may_look_may_follow_the_link_to_a_run(
    http: httpx.Client, upload: Upload, sessions: sessionmaker[Session]
) -> None:
    """Mails and the dashboard show `/api/v1/runs/{id}` to people, who have no ingest token."""
    run = post(NOW)
    assert upload(multipart(*parts_of(run))).status_code == 202
    link = f"{http.base_url}/api/v1/runs/{run['id']}"
    for scope in Scope:
        headers = bearer(sessions, scope, name=scope.value)
        assert httpx.get(link, headers=headers).json()["id"] == run["id"]
        change = httpx.patch(link, headers=headers, json={"name": "forged"})
        assert change.status_code == (202 if scope in (Scope.INGEST, Scope.ADMIN) else 403)
        assert (
            httpx.post(f"{http.base_url}/api/v1/runs/query", headers=headers, json={}).is_success is change.is_success
        )
    assert httpx.get(link).status_code == 401


def test_an_unknown_encoding_is_refused(upload: Upload) -> None:
    """The message says what is understood."""
    response = upload(multipart(), **{"Content-Encoding": "br"})
    assert (response.status_code, "zstd" in response.json()["detail"]) == (415, True)


def test_one_bad_part_costs_its_own_run_only(upload: Upload, sessions: sessionmaker[Session]) -> None:
    """The good ones are kept, the bad ones are named; no run is half stored."""
    good, broken, timeless, lost = post(NOW), post(NOW), post(NOW, start_time="yesterday"), uuid.uuid4()
    response = upload(
        multipart(
            *parts_of(good, inputs={"q": 1}),
            *parts_of(broken, inputs=b"{broken", outputs={"a": 1}),
            *parts_of(timeless),
            (f"post.{lost}.inputs", {"q": 1}),
            ("nonsense.1", {}),
            ("feedback.1", {"id": "not a uuid", "run_id": good["id"], "key": "k"}),
            (f"feedback.{lost}", {"id": str(lost), "run_id": good["id"], "key": "k", "score": 1}),
            (f"attachment.{good['id']}.picture", b"\x89PNG"),
        )
    )
    assert response.status_code == 202
    errors = response.json()["errors"]
    assert set(errors) == {
        f"post.{broken['id']}", f"post.{timeless['id']}", f"post.{lost}", "nonsense.1", "feedback.1",
    }  # fmt: skip
    assert "inputs is no JSON" in errors[f"post.{broken['id']}"]
    assert "start_time" in errors[f"post.{timeless['id']}"]
    assert [str(row.id) for row in stored(sessions)] == [good["id"]]
    with sessions() as session:
        assert [row.id for row in session.scalars(select(Feedback))] == [lost]


def test_nothing_but_bad_parts_is_an_error(upload: Upload) -> None:
    """A client that sends only rubbish must hear of it."""
    response = upload(multipart(("post.1", b"{"), ("post.2", {"id": "2"})))
    assert response.status_code == 422
    assert set(response.json()["errors"]) == {"post.1", "post.2"}


def test_what_postgres_cannot_hold_is_cleaned(upload: Upload, sessions: sessionmaker[Session]) -> None:
    """NUL bytes, lone surrogates, NaN and huge numbers in every place: the run is kept."""
    run = post(NOW, name="a\x00b", tags=["t\x00", "\x1fsep"])
    raw = b'{"metadata": {"bad": "x\\u0000y", "half": "\\ud800", "nan": NaN, "huge": 123456789012345678901234567890}}'
    body = multipart(
        *parts_of(
            run, inputs=b'{"q": "\\u0000", "n": NaN, "s": "\\ud800"}', outputs=b'{"n": -Infinity}', extra=raw,
            error=b'"<script>\\u0000"',
        )
    )  # fmt: skip
    response = upload(body)
    assert (response.status_code, response.json()["errors"]) == (202, {})
    (row,) = stored(sessions)
    assert (row.name, row.tags, row.error) == ("ab", ["t", " sep"], "<script>")
    assert row.run_metadata["bad"] == "xy"
    assert row.run_metadata["nan"] is None


def test_a_megabyte_of_error_text_is_cut_and_a_huge_payload_is_replaced(
    upload: Upload, http: httpx.Client, sessions: sessionmaker[Session]
) -> None:
    """The run counts as the error it is; the store does not grow without bound."""
    run = post(NOW)
    metadata = {f"k{number}": "v" * 100 for number in range(2000)}
    body = multipart(*parts_of(run, error="E" * 1_000_000, inputs={"q": "x" * 3_000_000}, extra={"metadata": metadata}))
    assert upload(body).status_code == 202
    (row,) = stored(sessions)
    assert row.status is RunStatus.ERROR
    assert row.error is not None
    assert len(row.error) == 16_000
    assert row.error.endswith("1000000 characters in all]")
    assert len(row.run_metadata) < 300
    read = http.get(f"/runs/{run['id']}").json()
    assert "3000008 bytes" in read["inputs"]["truncated"]


def test_a_run_far_in_the_future_is_kept_today(upload: Upload, sessions: sessionmaker[Session]) -> None:
    """90 days ahead is no time; the run is counted when it came."""
    run = post(NOW + timedelta(days=90))
    assert upload(multipart(*parts_of(run), *parts_of(patch(run), "patch"))).status_code == 202
    (row,) = stored(sessions)
    assert abs(row.start_time - datetime.now(UTC)) < timedelta(minutes=5)
    assert row.end_time == row.start_time + timedelta(seconds=1)


def test_a_score_that_is_no_number_is_kept_without_one(http: httpx.Client) -> None:
    """The comment beside it may still be worth something."""
    for literal in (b"NaN", b"Infinity", b"-Infinity", b"1e999", b"null"):
        body = b'{"run_id": "%s", "key": "k", "score": %s}' % (str(uuid.uuid4()).encode(), literal)
        response = http.post("/feedback", content=body)
        assert (response.status_code, response.json()["score"]) == (200, None)


def test_wrong_feedback_is_refused_with_the_field(http: httpx.Client) -> None:
    """422 and the name of what is wrong."""
    for body, says in (
        ({"key": "k", "score": 1}, "run_id"),
        ({"run_id": str(uuid.uuid4()), "score": 1}, "key"),
        ({"run_id": "7", "key": "k"}, "run_id"),
        ({"run_id": str(uuid.uuid4()), "key": "k", "score": "high"}, "score"),
        ([1, 2], "object"),
    ):
        response = http.post("/feedback", json=body)
        assert response.status_code == 422
        assert says in response.json()["detail"]


def test_feedback_on_an_unknown_run_is_kept(http: httpx.Client, sessions: sessionmaker[Session]) -> None:
    """A 404 would make the SDK retry for minutes inside its caller."""
    run_id = uuid.uuid4()
    assert http.post("/feedback", json={"run_id": str(run_id), "key": "k", "score": 0.5}).status_code == 200
    with sessions() as session:
        row = session.scalars(select(Feedback)).one()
    assert (row.run_id, row.score, row.project_id) == (run_id, 0.5, None)


def test_an_unknown_project_is_made(upload: Upload, sessions: sessionmaker[Session]) -> None:
    """Tracing into a new name is how a project begins; a run that names none goes to the SDK's default."""
    assert upload(multipart(*parts_of(post(NOW, "brand-new")))).status_code == 202
    nameless = {key: value for key, value in post(NOW).items() if key != "session_name"}
    by_id = {**nameless, "id": str(uuid.uuid4()), "session_id": str(uuid.uuid4())}
    assert upload(multipart(*parts_of(nameless), *parts_of(by_id))).status_code == 202
    with sessions() as session:
        names = set(session.scalars(select(Project.name)))
    assert names == {"brand-new", "default", f"project-{by_id['session_id']}"}


def test_a_wrong_token_is_refused(collector_url: str) -> None:
    """401 everywhere but at /info, which the SDK asks first."""
    for headers in ({}, {"x-api-key": "wrong"}, {"Authorization": "Bearer wrong"}):
        for method, path in (("POST", "/runs/multipart"), ("POST", "/feedback"), ("GET", "/sessions")):
            assert httpx.request(method, collector_url + path, headers=headers, content=b"{}").status_code == 401
    assert httpx.get(f"{collector_url}/info").status_code == 200


def test_a_filter_that_is_not_understood_is_refused(http: httpx.Client) -> None:
    """400 and the reason; never a guess at what was meant."""
    for expression, says in (
        ("eq(name", "expected"),
        ("drop(table)", "not supported"),
        ('eq(password, "x")', "'password' is not supported"),
        ("gt(latency, slow)", "number"),
        ('eq(id, "7")', "UUID"),
        ('eq(name, "x\x00")', "text"),
        ("and(" * 50 + "eq(is_root, true)" + ")" * 50, "too large"),
    ):
        response = http.post("/runs/query", json={"filter": expression})
        assert response.status_code == 400
        assert says in response.json()["detail"]


def test_a_foreign_cursor_is_refused(http: httpx.Client) -> None:
    """400 and what to do."""
    for cursor in ("abc", "bnVsbA==", "W10="):
        assert http.post("/runs/query", json={"cursor": cursor}).status_code == 400
