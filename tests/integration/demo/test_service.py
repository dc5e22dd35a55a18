"""FA AI in service: real flags, the unmodified SDK, a real collector, a real Postgres."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from langsmith import Client
from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from core.clock import utc_now
from core.states import RunStatus
from db.models import App, Feedback, GoldenSet, ImprovementProposal, Rollout, Run
from demo import backfill, setup, traffic, world
from demo.config import CONFIG
from demo.customers import Request, arrive, customer
from demo.desk import Desk
from demo.setup import Place
from demo.variants import Variant, Variants


@pytest.fixture
def app_id(sessions: sessionmaker[Session], place: Place) -> int:
    """The demo's app, registered."""
    return setup.ensure_app(sessions, place)


@pytest.fixture
def token(sessions: sessionmaker[Session], place: Place) -> str:
    """The demo's ingest token."""
    return setup.ensure_token(sessions, place)


@pytest.fixture
def project_id(sessions: sessionmaker[Session]) -> UUID:
    """The tracing project's id."""
    return setup.ensure_project(sessions)


@pytest.fixture
def client(api_url: str, token: str) -> Iterator[Client]:
    """The SDK's client, pointed at the collector."""
    client = Client(api_url=api_url, api_key=token, omit_traced_runtime_info=True)
    yield client
    client.flush()
    client.close()


def requests(count: int) -> list[Request]:
    """Draw requests."""
    rng = random.Random(3)
    return [arrive(rng, utc_now()) for _ in range(count)]


def rollout(sessions: sessionmaker[Session], app_id: int, percent: int) -> int:
    """Start a rollout of another prompt for slot a."""
    change = {"type": "prompt", "key": "prompt.a", "from": "v12", "to": "v11", "note": ""}
    with sessions.begin() as session:
        proposal = ImprovementProposal(
            app_id=app_id, title="t", root_cause="c", cause={}, change=change, change_hash="h", metric="fact_accuracy",
            predicted_pct=1, predicted_low=0, predicted_high=2, effort_hours=1, effort_hours_p80=2, impact="low",
        )  # fmt: skip
        session.add(proposal)
        session.flush()
        row = Rollout(
            app_id=app_id, proposal_id=proposal.id, change=change, salt="s", percent=percent, stage_started_at=utc_now()
        )
        session.add(row)
        session.flush()
        return row.id


def test_setting_up_twice_changes_nothing(sessions: sessionmaker[Session], place: Place, app_id: int) -> None:
    """What the loop did to the configuration stays; one golden set, one token."""
    with sessions.begin() as session:
        session.get_one(App, app_id).config = {**CONFIG, "route.sonic-2": "atlas-1"}
    first = setup.ensure_token(sessions, place)
    world.write(place.world, {"released": ["watchlist"]})
    assert setup.ensure_app(sessions, place) == app_id
    assert setup.ensure_token(sessions, place) == first
    assert setup.ensure_project(sessions) == setup.ensure_project(sessions)
    with sessions() as session:
        assert session.get_one(App, app_id).config["route.sonic-2"] == "atlas-1"
        assert session.scalars(select(GoldenSet.cases)).all() == [100]
    assert world.read(place.world).released == {"watchlist"}
    assert place.token.stat().st_mode & 0o777 == 0o600


def test_a_lost_token_is_replaced(sessions: sessionmaker[Session], place: Place) -> None:
    """The file is all that knows it."""
    first = setup.ensure_token(sessions, place)
    place.token.unlink()
    assert setup.ensure_token(sessions, place) != first


def test_the_target_of_the_app_is_one_that_the_sandbox_takes(
    sessions: sessionmaker[Session], place: Place, app_id: int
) -> None:
    """The golden set is asked through this row; the sandboxed app sees the same world as the running one."""
    from targets.spec import open_target, parse_target

    with sessions() as session:
        spec = parse_target(session.get_one(App, app_id).target)
    target = open_target(spec)
    try:
        inputs = {"question": "What is the revenue of Corvane Pharma?", "region": "emea", "prefer": "sonic-2"}
        healthy = target.ask(inputs, CONFIG)
        assert healthy.error is None
        assert healthy.output["value"] == 1803.0
        world.write(place.world, {"slow": {"sonic-2": {"share": 1.0, "extra_ms": [300, 300]}}})
        slow = target.ask(inputs, CONFIG)
    finally:
        target.close()
    assert slow.error is not None
    assert slow.error.startswith("ProviderTimeout")


def test_a_served_request_is_a_trace_with_scores_and_its_variant(
    sessions: sessionmaker[Session], app_id: int, project_id: UUID, client: Client, api_url: str, token: str
) -> None:
    """Root runs carry the attributes and the arm of each rollout; failures carry their exception and their steps."""
    rollout_id = rollout(sessions, app_id, 50)
    variants = Variants(api_url, token, timeout_s=30)
    desk = Desk(client, lambda request: variants.of(request.customer.key), project_id=project_id, sleep=lambda _: None)
    asked = requests(40)
    for request in asked:
        desk.serve(request)
    asked[0].inputs["prefer"] = "nobody"
    desk.serve(asked[0])
    client.flush()
    assert (desk.tally.served, desk.tally.failed) == (41, 1)
    with sessions() as session:
        everything = session.scalars(select(Run)).all()
        scores = session.scalars(select(Feedback)).all()
    assert {run.project_id for run in everything} == {project_id}
    (unroutable,) = [run for run in everything if run.status is RunStatus.ERROR]
    assert (unroutable.error or "").startswith("BadRequestError(")
    roots = [run for run in everything if run.is_root and run is not unroutable]
    steps = [run for run in everything if not run.is_root]
    arms = Counter(str(run.run_metadata[f"rollout.{rollout_id}"]) for run in roots)
    assert set(arms) == {"candidate", "baseline"}
    for run in roots:
        meta = run.run_metadata
        assert run.status is RunStatus.SUCCESS
        assert {"region", "model", "prompt_version", "channel", "plan", "intent", "targeting_key"} <= meta.keys()
        if meta["prompt_version"] == "v11":
            assert meta[f"rollout.{rollout_id}"] == "candidate"
    assert {step.run_type for step in steps} == {"retriever", "tool", "llm"}
    by_trace = Counter((score.trace_id, score.key) for score in scores)
    assert set(by_trace.values()) == {1}
    assert sum(key == "guardrail_pass" for _, key in by_trace) == len(roots) == 40
    tokens = [run for run in (*roots, *steps) if run.total_tokens]
    assert len({run.trace_id for run in tokens}) == len(tokens) == 40
    assert all(run.total_cost for run in tokens)


def test_a_time_out_is_an_error_run_with_its_steps(
    sessions: sessionmaker[Session], project_id: UUID, client: Client, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exception's name comes first, which is what error patterns are made of."""
    monkeypatch.setenv(world.VARIABLE, str(place.world))
    world.write(place.world, {"slow": {"atlas-1": {"share": 1, "extra_ms": [500, 500]}}})
    desk = Desk(client, lambda _: Variant(CONFIG, {}), project_id=project_id, sleep=lambda _: None)
    request = Request(customer(1), {"question": "What is the revenue of KTAR?", "region": "emea"}, 1.0)
    desk.serve(request)
    client.flush()
    with sessions() as session:
        runs = session.scalars(select(Run)).all()
        assert session.scalar(select(func.count()).select_from(Feedback)) == 0
    assert {run.name for run in runs} == {"fa-ai", "retriever", "calculator", "llm"}
    for run in runs:
        if run.name in ("fa-ai", "llm"):
            assert run.status is RunStatus.ERROR
            assert (run.error or "").startswith("ProviderTimeout(")


def test_without_the_api_the_last_known_configuration_serves(
    sessions: sessionmaker[Session], app_id: int, api_url: str, token: str
) -> None:
    """An outage of the flags is none of the app."""
    with sessions.begin() as session:
        session.get_one(App, app_id).config = {**CONFIG, "retrieval.k": 7}
    now = [100.0]
    variants = Variants(api_url, token, timeout_s=30, clock=lambda: now[0])
    assert variants.of("u-1").config["retrieval.k"] == 7
    provider = variants.client.provider
    provider.base_url = "http://127.0.0.1:9"  # type: ignore[attr-defined]
    assert variants.of("u-2") == Variant({**CONFIG, "retrieval.k": 7}, {})
    provider.base_url = api_url  # type: ignore[attr-defined]
    assert variants.of("u-2").metadata == {}, "it rests for a moment before it asks again"
    with sessions.begin() as session:
        session.get_one(App, app_id).config = {**CONFIG, "retrieval.k": 8}
    now[0] += 2
    assert variants.of("u-2").config["retrieval.k"] in (7, 8)
    assert variants.rests_until < now[0]


def test_the_history_told_twice_is_there_once(
    sessions: sessionmaker[Session], project_id: UUID, client: Client
) -> None:
    """A kill half-way and a second start make nothing double."""
    until = utc_now()
    told = [backfill.tell(client, until=until, project_id=project_id, days=0.1) for _ in range(2)]
    with sessions() as session:
        roots = session.scalar(select(func.count()).select_from(Run).where(Run.is_root))
        scores = session.scalar(select(func.count()).select_from(Feedback))
        latest = session.scalar(select(func.max(Run.start_time)))
    assert told == [roots, roots]
    assert scores is not None
    assert 0 < scores < 2 * (roots or 0)
    assert latest is not None
    assert latest < until


def test_traffic_flows_until_told_to_stop(
    sessions: sessionmaker[Session], project_id: UUID, client: Client, tmp_path: Path
) -> None:
    """What is in hand is finished; nothing is left pending."""
    pace = traffic.Pace()
    stop = threading.Event()
    desk = Desk(client, lambda _: Variant(CONFIG, {}), project_id=project_id, sleep=pace.sleep)
    thread = threading.Thread(target=traffic.run, args=(desk, pace, stop), kwargs={"rng": random.Random(1)})
    thread.start()
    while desk.tally.served < 20:
        assert thread.is_alive()
        stop.wait(0.01)
    stop.set()
    thread.join(timeout=5)
    assert not thread.is_alive()
    client.flush()
    with sessions() as session:
        states = Counter(session.scalars(select(Run.status).where(Run.is_root)))
    assert sum(states.values()) == desk.tally.served
    assert states[RunStatus.PENDING] == 0
