"""The whole loop, unattended, on real servers: one command, and three stories are told."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
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
    failing = time.monotonic() - begun > 30
    channel = rng.choice(["web", "mobile", "fax"])
    attributes = {"channel": channel, "plan": rng.choice(["free", "paid"]), "model": rng.choice(["small", "large"])}
    try:
        answer("where is my parcel?", langsmith_extra={"metadata": attributes})
    except RuntimeError:
        pass
    time.sleep(0.05)
"""

TRUTHS = [{"region": "emea"}, {"model": "sonic-2"}, {"prompt_version": "v13"}]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The demo, unattended."""
    with running(tmp_path_factory.mktemp("a demo") / "state", "--demo", "--auto-approve") as fleet:
        yield fleet


def test_alerts_name_the_injected_causes(demo: Fleet) -> None:
    """Detected and explained: at least two of the three truths stand in a proposal's cause, exactly."""

    def named() -> list[dict[str, str]]:
        causes = [proposal["cause"]["conditions"] for proposal in demo.look("/proposals")]
        return [truth for truth in TRUTHS if truth in causes]

    demo.until(lambda: len(named()) >= 2, "two causes are named")
    assert len([row for row in demo.ask("proposals", "list") if row["cause"]["conditions"] in TRUTHS]) >= 2
    alerts = demo.ask("alerts", "list")
    assert {alert["app"] for alert in alerts} == {"fa-ai"}
    fired = [alert for alert in alerts if alert["fired_at"] and alert["metric"] != "volume"]
    assert [alert["title"] for alert in fired if not alert["trace_urls"]] == [], "evidence comes with the firing"


def test_a_second_app_is_detected_and_explained(demo: Fleet, tmp_path: Path) -> None:
    """An app that knows the SDK and three variables alone starts to fail for one value of one attribute.

    Meanwhile the demo's story goes on: what comes after waits for less of it.
    """
    demo.tell("apps", "add", "shop", "--sla-ms", "500", "--notify", "ops@shop.example")
    token = demo.ask("tokens", "create", "--scope", "ingest")["token"]
    script = tmp_path / "shop.py"
    script.write_text(SHOP)
    env = {
        **os.environ,
        "LANGSMITH_TRACING": "true",
        "LANGSMITH_ENDPOINT": demo.ask("status")["url"],
        "LANGSMITH_API_KEY": token,
        "LANGSMITH_PROJECT": "shop",
    }
    shop = subprocess.Popen([sys.executable, str(script)], env=env, stderr=subprocess.DEVNULL)
    try:

        def fired() -> list[dict[str, Any]]:
            alerts = demo.look("/alerts")
            ours = [alert for alert in alerts if alert["app"] == "shop" and alert["kind"] == "error_spike"]
            return [alert for alert in ours if alert["state"] != "pending"]

        alert = demo.until(fired, "an alert fires")[0]
        assert alert["metric"] == "error_rate"
        assert alert["trace_urls"]

        def explained() -> list[dict[str, Any]]:
            return [proposal for proposal in demo.look("/proposals") if proposal["alert_id"] == alert["id"]]

        proposal = demo.until(explained, "an explanation")[0]
        assert proposal["cause"]["conditions"] == {"channel": "fax"}
        # Nothing of this app may be changed by us, so what is proposed is for people to do.
        assert proposal["change"]["type"] == "code"
    finally:
        shop.kill()
        shop.wait()


def test_a_candidate_that_would_harm_is_blocked(demo: Fleet) -> None:
    """Validation stops a longer time-out: the answers come, but beyond the promise."""
    blocked = demo.until(lambda: demo.proposals("blocked"), "a proposal is blocked by validation")[0]
    verdicts = [run for run in demo.ask("validate", "list") if run["proposal_id"] == blocked["id"]]
    assert [run["verdict"] for run in verdicts] == ["fail"]
    assert verdicts[0]["cases"] == 100


def test_a_candidate_that_harms_live_is_rolled_back(demo: Fleet) -> None:
    """The golden set did not know the new question; the guard did."""
    demo.until(lambda: demo.proposals("rolled_back"), "a proposal is rolled back")
    back = [rollout for rollout in demo.ask("rollouts", "list") if rollout["state"] == "rolled_back"]
    assert back
    assert "fact_accuracy" in back[0]["reason"]


def test_each_of_the_three_faults_is_named_exactly(demo: Fleet) -> None:
    """No condition too many and none too few, for every fault that the demo injects."""

    def all_named() -> bool:
        causes = [proposal["cause"]["conditions"] for proposal in demo.look("/proposals")]
        return all(truth in causes for truth in TRUTHS)

    demo.until(all_named, "three causes are named")


def test_a_good_change_arrives_and_its_worth_is_measured(demo: Fleet) -> None:
    """10 → 50 → 100 %, then predicted against measured."""
    demo.until(lambda: demo.look("/impact"), "an impact is measured")
    impact = demo.ask("impact", "list")[0]
    proposal = next(row for row in demo.ask("proposals", "list") if row["id"] == impact["proposal_id"])
    assert proposal["status"] == "implemented"
    rollout = next(row for row in demo.ask("rollouts", "list") if row["proposal_id"] == proposal["id"])
    assert rollout["percent"] == 100
    low, high = impact["measured_interval"]
    assert 0 < low <= impact["measured_pct"] <= high


def test_mails_of_every_kind_were_sent(demo: Fleet) -> None:
    """A critical at once, an hourly roll-up and a digest, each by SMTP."""

    def kinds() -> set[str]:
        return {mail["kind"] for mail in demo.look("/mail") if mail["state"] == "sent"}

    demo.until(lambda: {"critical", "hourly", "digest"} <= kinds(), "critical, hourly and digest are sent")
    assert list((demo.state / "mail").glob("*.eml")), "mails lie in the embedded mail server's folder"
    addressed = [(mail["kind"], mail["subject"], mail["to"]) for mail in demo.ask("mail", "list")]
    assert len(addressed) == len(set(addressed)), "no mail twice"


def test_the_fleet_is_well_and_watches_only_the_apps(demo: Fleet) -> None:
    """No dead job, no service down, no alert about ourselves; Flower and the API answer where `status` says."""
    status = demo.ask("status")
    assert status["verdict"] == "ok", status["reasons"]
    assert [app["name"] for app in status["apps"]] == ["fa-ai", "shop"]
    assert sum(queue["dead"] for queue in status["queues"]) == 0
    assert httpx.get(status["url"] + "/health").status_code == 200
    assert httpx.get(status["flower_url"] + "/api/workers").status_code == 401
    assert os.stat(demo.state / "fleet.json").st_mode & 0o077 == 0
