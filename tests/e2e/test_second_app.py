"""An app that knows nothing of us: the SDK and three environment variables, and it is detected and explained."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.fleet import Fleet, running

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

SHOP = """
import random, sys, time
from langsmith import traceable

@traceable(name="shop", run_type="chain")
def answer(question):
    time.sleep(0.002)
    if failing and channel == "fax":
        raise RuntimeError("the fax gateway hung up")
    return "an answer"

rng = random.Random(7)
begun = time.monotonic()
while True:
    failing = time.monotonic() - begun > 45
    channel = rng.choice(["web", "mobile", "fax"])
    attributes = {"channel": channel, "plan": rng.choice(["free", "paid"]), "model": rng.choice(["small", "large"])}
    try:
        answer("where is my parcel?", langsmith_extra={"metadata": attributes})
    except RuntimeError:
        pass
    time.sleep(0.02)
"""


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """A fleet with quick sweeps and no demo."""
    env = {"METAMON_SWEEP_SECONDS": "2", "METAMON_BUCKET_SECONDS": "10"}
    with running(tmp_path / "state", env=env) as fleet:
        yield fleet


def test_a_second_app_is_detected_and_explained(fleet: Fleet, tmp_path: Path) -> None:
    """It starts to fail for one value of one attribute; the alert and its cause say so, and nothing else is watched."""
    fleet.until(lambda: (fleet.state / "fleet.json").exists() and fleet.ask("status")["verdict"] == "ok", "it is up")
    fleet.tell("apps", "add", "shop", "--sla-ms", "500", "--notify", "ops@shop.example")
    token = fleet.ask("tokens", "create", "--scope", "ingest")["token"]
    script = tmp_path / "shop.py"
    script.write_text(SHOP)
    env = {
        **os.environ,
        "LANGSMITH_TRACING": "true",
        "LANGSMITH_ENDPOINT": fleet.ask("status")["url"],
        "LANGSMITH_API_KEY": token,
        "LANGSMITH_PROJECT": "shop",
    }
    shop = subprocess.Popen([sys.executable, str(script)], env=env, stderr=subprocess.DEVNULL)
    try:

        def fired() -> list[dict[str, Any]]:
            alerts = fleet.ask("alerts", "list")
            return [alert for alert in alerts if alert["kind"] == "error_spike" and alert["state"] != "pending"]

        alert = fleet.until(fired, "an alert fires")[0]
        assert (alert["app"], alert["metric"]) == ("shop", "error_rate")
        assert alert["trace_urls"]
        proposal = fleet.until(lambda: fleet.ask("proposals", "list"), "an explanation")[0]
        assert proposal["cause"]["conditions"] == {"channel": "fax"}
        # Nothing of this app may be changed by us, so what is proposed is for people to do.
        assert proposal["change"]["type"] == "code"
    finally:
        shop.kill()
        shop.wait()
