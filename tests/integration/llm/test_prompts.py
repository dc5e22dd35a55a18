"""The six prompts: from a hub that speaks LangSmith's protocol, or from the package."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

import core.settings
from core.errors import NotFoundError
from core.settings import Settings
from llm.library import NAMES, find, hub, local, pull, push


def repo(name: str) -> dict[str, Any]:
    """Return a prompt's row as the hub describes it."""
    at = "2026-01-01T00:00:00Z"
    return {
        "repo_handle": name, "id": "00000000-0000-0000-0000-000000000001", "description": "", "readme": "",
        "tenant_id": "00000000-0000-0000-0000-000000000002", "created_at": at, "updated_at": at, "is_public": False,
        "is_archived": False, "tags": [], "owner": None, "full_name": f"-/{name}", "num_likes": 0, "num_downloads": 0,
        "num_views": 0, "num_commits": 1, "original_repo_id": None, "upstream_repo_id": None,
        "last_commit_hash": None, "original_repo_full_name": None, "upstream_repo_full_name": None,
    }  # fmt: skip


class Hub:
    """The part of LangSmith's prompt API that pushing and pulling use, in memory."""

    def __init__(self) -> None:
        self.manifests: dict[str, Any] = {}
        self.down = False
        self.paths: list[str] = []
        served = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args: Any) -> None:
                """Keep quiet."""

            def do_GET(self) -> None:
                served.paths.append(self.path)
                parts = self.path.split("?")[0].strip("/").split("/")
                if served.down:
                    self.reply(500, {"detail": "down"})
                elif parts[0] == "repos" and len(parts) == 3:
                    known = parts[2] in served.manifests
                    self.reply(200 if known else 404, {"repo": repo(parts[2])} if known else {"detail": "not found"})
                elif parts[0] == "commits" and len(parts) == 4 and parts[2] in served.manifests:
                    manifest = served.manifests[parts[2]]
                    self.reply(200, {"commit_hash": "a" * 64, "manifest": manifest, "examples": []})
                elif parts[0] == "commits":
                    self.reply(200, {"commits": [], "total": 0})
                elif parts[0] == "settings":
                    self.reply(
                        200,
                        {"id": "t", "display_name": "t", "created_at": "2026-01-01T00:00:00Z", "tenant_handle": "us"},
                    )
                elif parts[0] == "info":
                    self.reply(200, {})
                else:
                    self.reply(404, {"detail": "not found"})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                parts = self.path.strip("/").split("/")
                if parts[0] == "repos":
                    served.manifests.setdefault(body["repo_handle"], {})
                    self.reply(200, {"repo": repo(body["repo_handle"])})
                else:
                    served.manifests[parts[2]] = body["manifest"]
                    self.reply(200, {"commit": {"id": "c", "commit_hash": "a" * 64}})

            def do_PATCH(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                self.reply(200, {})

            def reply(self, status: int, content: Any) -> None:
                body = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.http.server_address[1]}"


@pytest.fixture
def server() -> Iterator[Hub]:
    """A running hub."""
    served = Hub()
    thread = threading.Thread(target=served.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield served
    served.http.shutdown()
    served.http.server_close()
    thread.join()


def client(server: Hub) -> Any:
    """Return the SDK's client of the hub."""
    found = hub(Settings(langsmith_api_key=SecretStr("key"), langsmith_endpoint=server.url))
    assert found is not None
    return found


def test_all_six_ship_with_the_package() -> None:
    """Without a key everything works."""
    assert len(NAMES) == 6
    for name in NAMES:
        prompt = find(name, None)
        assert prompt.source == "local"
        assert len(prompt.text) > 100


def test_what_is_pushed_is_pulled(server: Hub) -> None:
    """A round trip through the SDK changes no word."""
    sdk = client(server)
    for name in NAMES:
        push(name, sdk)
        got = pull(name, sdk)
        assert got.text == local(name).text
        assert got.source == "hub:aaaaaaaaaaaa"


def test_a_hub_that_is_down_or_empty_leaves_the_local_prompt(server: Hub) -> None:
    """Research never waits for a prompt."""
    sdk, pins = client(server), {NAMES[0]: "aaaa"}
    assert find(NAMES[0], sdk, pins).source == "local"
    server.down = True
    assert find(NAMES[0], sdk, pins).source == "local"


def test_a_prompt_comes_from_the_hub_at_its_pinned_commit_alone(server: Hub) -> None:
    """Who can push to the hub changes nothing: without a pin, or where the hub answers otherwise, ours is used."""
    sdk = client(server)
    push(NAMES[0], sdk)
    assert find(NAMES[0], sdk, {NAMES[0]: "a" * 12}).source == "hub:aaaaaaaaaaaa"
    assert [path for path in server.paths if "aaaaaaaaaaaa" in path]
    assert find(NAMES[0], sdk).source == "local"
    assert find(NAMES[0], sdk, {NAMES[1]: "a" * 12}).source == "local"
    assert find(NAMES[0], sdk, {NAMES[0]: "b" * 12}).source == "local"


def test_a_hostile_manifest_is_read_as_text(server: Hub) -> None:
    """Nothing in a manifest is instantiated: a model with another base URL in it is ignored."""
    server.manifests[NAMES[0]] = {
        "id": ["langsmith", "playground", "PromptPlayground"],
        "kwargs": {
            "first": {"kwargs": {"messages": [{"kwargs": {"prompt": {"kwargs": {"template": "Be brief."}}}}]}},
            "last": {"id": ["langchain", "chat_models", "openai", "ChatOpenAI"], "kwargs": {"base_url": "http://evil"}},
        },
    }
    assert pull(NAMES[0], client(server)).text == "Be brief."


def test_only_our_own_names_are_pulled(server: Hub) -> None:
    """A name from elsewhere never reaches the hub."""
    with pytest.raises(NotFoundError, match="the prompts are meta_error_analyzer"):
        pull("someone/else", client(server))
    assert not [path for path in server.paths if "someone" in path]


def test_the_command_line_lists_shows_and_says_what_is_missing() -> None:
    """`list` and `show` work without a key; `push` says what it needs."""
    from cli.prompts import app

    runner = CliRunner()
    listed = runner.invoke(app, ["list", "--json"])
    assert [row["name"] for row in json.loads(listed.stdout)] == list(NAMES)
    shown = runner.invoke(app, ["show", NAMES[2], "--json"])
    assert json.loads(shown.stdout)["text"] == local(NAMES[2]).text
    pushed = runner.invoke(app, ["push"])
    assert pushed.exit_code == 2
    assert "LANGSMITH_API_KEY is not set" in pushed.stderr


def test_the_command_line_pushes_and_pulls(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `push` uploads is what `pull` reads, with the commit that can be pinned."""
    from cli.prompts import app

    monkeypatch.setattr(core.settings, "settings", lambda: Settings(
        langsmith_api_key=SecretStr("key"), langsmith_endpoint=server.url
    ))  # fmt: skip
    pushed = CliRunner().invoke(app, ["push"])
    assert pushed.exit_code == 0, pushed.output
    assert len(pushed.stdout.split()) == len(NAMES)
    assert set(server.manifests) == set(NAMES)
    pulled = json.loads(CliRunner().invoke(app, ["pull", NAMES[3], "--json"]).stdout)
    assert pulled == [{"name": NAMES[3], "source": "hub:aaaaaaaaaaaa", "text": local(NAMES[3]).text}]
