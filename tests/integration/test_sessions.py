"""People sign in, do what their role allows, and are out when they shall be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import httpx
import pytest
from argon2 import PasswordHasher
from sqlalchemy import select, text, update
from sqlalchemy.orm import Session, sessionmaker

from cli import fleet
from cli.users import app as users_cli
from core.clock import utc_now
from core.settings import settings
from core.states import Scope
from db.models.access import AuditEntry, LoginAttempt, User, UserSession
from db.repositories import user_sessions, users
from tests.api_server import PASSWORD, add_user, bearer, served_api, sign_in
from tests.rollout_world import shell_on


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real algorithm with little work: forty sign-ins are not what is tried here."""
    monkeypatch.setattr(users, "_hasher", PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))
    users._nobodys_hash.cache_clear()


@pytest.fixture
def http(sessions: sessionmaker[Session]) -> Iterator[httpx.Client]:
    """A browser, more or less, before the API."""
    with served_api(sessions) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


def test_signing_in_gives_a_cookie_that_scripts_cannot_read(
    http: httpx.Client, sessions: sessionmaker[Session]
) -> None:
    """The cookie is HttpOnly and SameSite, the database holds its hash alone."""
    add_user(sessions)
    assert http.get("/api/v1/session").status_code == 401
    answer = sign_in(http, " Ann@Example.com ")
    assert answer.status_code == 200
    assert answer.json()["user"] == {"id": 1, "email": "ann@example.com", "role": "admin", "time_zone": "UTC"}
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "secure" not in cookie
    secret = http.cookies["metamon_session"]
    with sessions() as session:
        row = session.scalars(select(UserSession)).one()
        stored = session.execute(text("SELECT u::text FROM user_sessions u")).scalar_one()
    assert row.hash == user_sessions.digest(secret)
    assert secret not in stored
    assert http.get("/api/v1/session").json() == answer.json()


def test_the_cookie_is_secure_where_people_come_by_tls(
    http: httpx.Client, sessions: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`METAMON_PUBLIC_URL=https://…` says so: the proxy before us speaks plain HTTP to us."""
    add_user(sessions)
    monkeypatch.setenv("METAMON_PUBLIC_URL", "https://metamon.example.com")
    settings.cache_clear()
    try:
        assert "secure" in sign_in(http).headers["set-cookie"].lower()
    finally:
        monkeypatch.delenv("METAMON_PUBLIC_URL")
        settings.cache_clear()


def test_a_write_by_cookie_needs_its_proof_and_a_token_does_not(
    http: httpx.Client, sessions: sessionmaker[Session]
) -> None:
    """Another site can make a browser send the cookie; the header it cannot send."""
    add_user(sessions)
    sign_in(http)
    new = {"name": "ci", "scope": "viewer"}
    for wrong in ("", "0" * 64):
        refused = http.post("/api/v1/tokens", json=new, headers={"X-CSRF-Token": wrong})
        assert refused.status_code == 403
        assert "X-CSRF-Token" in refused.json()["detail"]
    assert http.post("/api/v1/tokens", json=new).status_code == 201
    with httpx.Client(base_url=http.base_url, headers=bearer(sessions, Scope.ADMIN)) as machine:
        assert machine.post("/api/v1/tokens", json=new).status_code == 201
    with sessions() as session:
        makers = set(session.scalars(select(AuditEntry.actor).where(AuditEntry.action == "token.create")))
    assert {"user:ann@example.com", "token:tess"} <= makers


def test_signing_out_ends_the_session_everywhere(http: httpx.Client, sessions: sessionmaker[Session]) -> None:
    """A copy of the cookie is worth nothing afterwards."""
    add_user(sessions)
    sign_in(http)
    copy = dict(http.cookies)
    assert http.delete("/api/v1/session").status_code == 204
    assert httpx.get(f"{http.base_url}/api/v1/apps", cookies=copy).status_code == 401


@pytest.mark.parametrize("ends", ["expired", "idle", "disabled", "password", "revoked"])
def test_a_session_ends(http: httpx.Client, sessions: sessionmaker[Session], ends: str) -> None:
    """By age, by idleness, by an admin, by a new password: from the next click on."""
    user_id = add_user(sessions)
    add_user(sessions, "boss@example.com")
    sign_in(http)
    assert http.get("/api/v1/apps").status_code == 200
    now = utc_now()
    with sessions.begin() as session:
        if ends == "expired":
            session.execute(update(UserSession).values(expires_at=now))
        elif ends == "idle":
            session.execute(update(UserSession).values(last_seen_at=now - user_sessions.IDLE))
        elif ends == "revoked":
            user_sessions.revoke_all(session, user_id, now=now)
        else:
            changed = {"disabled": True} if ends == "disabled" else {"password": PASSWORD + "!"}
            users.change(session, user_id, by="test", now=now, **changed)
    answer = http.get("/api/v1/apps")
    assert answer.status_code == 401
    assert "sign in" in answer.json()["detail"]


def test_a_role_is_what_it_is_now(http: httpx.Client, sessions: sessionmaker[Session]) -> None:
    """Who is made a viewer while signed in is one from the next click on."""
    user_id = add_user(sessions)
    add_user(sessions, "boss@example.com")
    sign_in(http)
    assert http.get("/api/v1/users").status_code == 200
    with sessions.begin() as session:
        users.change(session, user_id, role=Scope.VIEWER, by="test", now=utc_now())
    assert http.get("/api/v1/users").status_code == 403


def test_guessing_is_slowed_down(http: httpx.Client, sessions: sessionmaker[Session]) -> None:
    """Five wrong passwords, also all at once, then 429 with a Retry-After, even for the right one."""
    add_user(sessions)

    def guess(number: int) -> int:
        wrong = {"email": "ann@example.com", "password": f"wrong {number}"}
        return httpx.post(f"{http.base_url}/api/v1/session", json=wrong, timeout=60).status_code

    with ThreadPoolExecutor(8) as crowd:
        answers = list(crowd.map(guess, range(8)))
    assert sorted(answers) == [401] * 5 + [429] * 3
    refused = sign_in(http)
    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= 900
    assert refused.headers["content-type"] == "application/problem+json"
    with sessions.begin() as session:
        session.execute(update(LoginAttempt).values(since=utc_now() - user_sessions.WINDOW))
    assert sign_in(http).status_code == 200


def test_the_right_password_clears_the_count(http: httpx.Client, sessions: sessionmaker[Session]) -> None:
    """Four slips and a success, again and again, lock nobody out."""
    add_user(sessions)
    for _ in range(2):
        for _ in range(4):
            assert sign_in(http, password="slip of the finger").status_code == 401
        assert sign_in(http).status_code == 200


def test_nobody_learns_who_has_an_account(http: httpx.Client, sessions: sessionmaker[Session]) -> None:
    """An unknown, a disabled and a known address get the same answer, and the same work is done for each."""
    add_user(sessions)
    gone = add_user(sessions, "gone@example.com")
    with sessions.begin() as session:
        users.change(session, gone, disabled=True, by="test", now=utc_now())
    answers = [
        sign_in(http, email, "not the password")
        for email in ("ann@example.com", "gone@example.com", "nobody@example.com", "no address")
    ]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.text for answer in answers}) == 1
    calls = []
    original = users._hasher.verify

    class Spy:
        def __getattr__(self, name: str) -> object:
            return getattr(hasher, name)

        def verify(self, stored: str, password: str) -> bool:
            calls.append(stored.split("$")[3])
            return original(stored, password)

    hasher = users._hasher
    users._hasher = Spy()  # type: ignore[assignment]
    try:
        assert not users.verified(None, "x")
        with sessions() as session:
            assert not users.verified(session.get_one(User, gone).password_hash, "x")
    finally:
        users._hasher = hasher
    assert len(calls) == 2
    assert calls[0] == calls[1], "the parameters of the work are the same"


def test_users_over_http(http: httpx.Client, sessions: sessionmaker[Session]) -> None:
    """An admin adds, changes and disables; the last admin stays."""
    http.headers.update(bearer(sessions, Scope.ADMIN))
    new = {"email": "Bea@example.com", "role": "admin", "password": PASSWORD, "time_zone": "Europe/Berlin"}
    made = http.post("/api/v1/users", json=new)
    assert made.status_code == 201
    assert "password" not in made.text
    bea = made.json()["id"]
    assert http.post("/api/v1/users", json=new).status_code == 409
    for bad in ({"role": "ingest"}, {"email": "x"}, {"time_zone": "Mars"}, {"password": "short"}):
        assert http.post("/api/v1/users", json={**new, "email": "c@example.com", **bad}).status_code in (400, 422)
    assert http.patch(f"/api/v1/users/{bea}", json={"role": "viewer"}).status_code == 409
    assert http.patch(f"/api/v1/users/{bea}", json={"disabled": True}).status_code == 409
    assert http.patch("/api/v1/users/99", json={"role": "viewer"}).status_code == 404
    http.post("/api/v1/users", json={**new, "email": "cleo@example.com"})
    assert http.patch(f"/api/v1/users/{bea}", json={"disabled": True}).json()["disabled_at"]
    first = http.get("/api/v1/users", params={"limit": 1}).json()
    rest = http.get("/api/v1/users", params={"cursor": first["next_cursor"]}).json()
    assert [user["email"] for user in first["items"] + rest["items"]] == ["bea@example.com", "cleo@example.com"]
    assert rest["next_cursor"] is None


def test_users_by_the_command_line(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Create, list, change and disable; the password comes by standard input and is printed nowhere."""
    with shell_on(database_url, monkeypatch) as shell:
        made = shell.invoke(
            users_cli,
            ["create", "ann@example.com", "--role", "admin", "--password-stdin", "--json"],
            input=PASSWORD + "\n",
        )
        assert made.exit_code == 0, made.output
        assert json.loads(made.stdout)["role"] == "admin"
        assert PASSWORD not in made.output
        assert shell.invoke(users_cli, ["create", "bea@example.com"]).exit_code == 2
        shell.invoke(users_cli, ["create", "bea@example.com", "--password-stdin"], input=PASSWORD)
        assert shell.invoke(users_cli, ["set-role", "bea@example.com", "reviewer"]).exit_code == 0
        assert shell.invoke(users_cli, ["disable", "bea@example.com"]).exit_code == 0
        listed = json.loads(shell.invoke(users_cli, ["list", "--json"]).stdout)
        assert [(user["role"], user["disabled_at"] is None) for user in listed] == [
            ("admin", True),
            ("reviewer", False),
        ]
        changed = shell.invoke(
            users_cli, ["set-password", "bea@example.com", "--password-stdin"], input="another one 12"
        )
        assert changed.exit_code == 0
        assert shell.invoke(users_cli, ["disable", "ann@example.com"]).exit_code == 1
        assert shell.invoke(users_cli, ["disable", "nobody@example.com"]).exit_code == 1


def test_the_first_start_makes_an_admin_once(
    database_url: str, sessions: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`up` shows the password of admin@localhost the first time, and never where there is a user."""
    with shell_on(database_url, monkeypatch):
        first = fleet._first_admin()
        assert first is not None
        assert len(first) >= users.SHORTEST
        assert fleet._first_admin() is None
    with sessions() as session:
        row = session.scalars(select(User)).one()
        assert (row.email, row.role) == (users.FIRST_ADMIN, Scope.ADMIN)
        assert users.verified(row.password_hash, first)


def test_what_is_over_is_dropped(sessions: sessionmaker[Session]) -> None:
    """Sessions and windows of attempts do not pile up."""
    now = utc_now()
    add_user(sessions)
    with sessions.begin() as session:
        user = session.scalars(select(User)).one()
        user_sessions.open_(session, user, address="x", now=now - timedelta(days=30))
        user_sessions.open_(session, user, address="x", now=now)
        user_sessions.count_attempt(session, address="x", email="y", now=now - timedelta(hours=1))
        session.flush()
        assert user_sessions.drop_old(session, now=now) == 4
