"""FA AI: its prompt, index, route and time-out really govern what it does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from demo import app, provider, world
from demo.calculator import CalculatorError, calculate
from demo.guardrail import DISCLAIMER, violations
from demo.intents import understand

CORVANE = {"question": "What is the revenue of Corvane Pharma?", "region": "emea"}
BOTH = {"question": "Which has more employees, Corvane Pharma or Karsa Textiles?", "region": "emea"}
SAVINGS = {"question": "Should I put all my savings into Karsa Textiles?", "region": "emea"}
WATCHLIST = {
    "question": "On my watchlist (Corvane Pharma, Karsa Textiles, Lorient Cloud), who has the highest revenue?",
    "region": "emea",
}
SLOW = {"slow": {"sonic-2": {"share": 1.0, "extra_ms": [260, 400]}}}


def ask(inputs: dict[str, Any], **config: object) -> dict[str, Any]:
    """Ask without waiting; `prompt_a` stands for `prompt.a`."""
    dotted = {key.replace("_", ".", 1): value for key, value in config.items()}
    return app.answer(inputs, dotted, sleep=lambda _seconds: None)


@pytest.fixture
def world_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that `FA_AI_WORLD` names."""
    path = tmp_path / "world.json"
    monkeypatch.setenv(world.VARIABLE, str(path))
    return path


def test_a_fact_comes_with_its_value_and_its_source() -> None:
    """Text, number and citation speak of the same figure."""
    result = ask(CORVANE)
    assert result["value"] == 1803.0
    assert "1,803.00 million EUR" in result["text"]
    assert result["citations"][0] == "emea-2026-10:CPOR/income"
    assert result["usage"]["total_tokens"] == result["usage"]["input_tokens"] + result["usage"]["output_tokens"]
    assert result["cost"] > 0


@pytest.mark.parametrize(("version", "closes"), [("v10", False), ("v11", False), ("v12", True), ("v13", False)])
def test_the_disclaimer_is_said_iff_the_prompt_asks_for_it(version: str, closes: bool) -> None:
    """Nothing in the code knows the versions: the text of the prompt decides."""
    result = ask(CORVANE, prompt_a=version)
    assert result["text"].endswith(DISCLAIMER) is closes
    assert result["guardrail"]["passed"] is closes


@pytest.mark.parametrize(("version", "answers"), [("v12", False), ("v13", True)])
def test_a_watchlist_is_answered_only_where_the_prompt_documents_it(version: str, answers: bool) -> None:
    """v13 brought the feature; v12 declines."""
    result = ask(WATCHLIST, prompt_a=version)
    assert result["intent"] == "watchlist"
    assert result["refused"] is not answers
    assert (result["value"] is not None) is answers


def test_a_prompt_without_the_rule_lets_the_model_direct_customers() -> None:
    """The guardrail sees what v10 permits."""
    assert any("what to do" in reason for reason in violations(ask(SAVINGS, prompt_a="v10")["text"]))
    assert ask(SAVINGS, prompt_a="v12")["guardrail"]["passed"]


def test_beta_customers_read_slot_b() -> None:
    """The two slots are set apart from each other."""
    assert ask({**CORVANE, "beta": True}, prompt_b="v13")["prompt_version"] == "v13"
    assert ask(CORVANE, prompt_b="v13")["prompt_version"] == "v12"


def test_the_index_version_of_the_region_decides_which_figures_are_known() -> None:
    """2026-11 is last year's snapshot for emea, and the published one elsewhere."""
    published, stale = ask(CORVANE), ask(CORVANE, index_emea="2026-11")
    assert (published["value"], stale["value"]) == (1803.0, 1717.2)
    assert stale["citations"][0] == "emea-2026-11:CPOR/income"
    amer = {"question": "What is the revenue of Dunmore Foods?", "region": "amer"}
    assert ask(amer, index_amer="2026-11")["value"] == ask(amer)["value"]


def test_too_few_passages_cannot_compare() -> None:
    """`retrieval.k` is real: one passage holds one company."""
    assert ask(BOTH)["value"] == "Karsa Textiles"
    assert ask(BOTH, retrieval_k=1)["refused"]


def test_the_plan_picks_the_alias_and_the_route_picks_the_model() -> None:
    """A customer may prefer another alias; `route.*` has the last word."""
    business = {**CORVANE, "plan": "business"}
    assert ask(business)["model"] == "sonic-2"
    assert ask({**CORVANE, "prefer": "sonic-2"})["model"] == "sonic-2"
    assert app.answer(business, {"route.sonic-2": "atlas-1"}, sleep=lambda _: None)["model"] == "atlas-1"


def test_a_slow_provider_times_out_and_patience_only_moves_the_failure(world_file: Path) -> None:
    """With a longer time-out the answer comes, later than the SLA."""
    world.write(world_file, SLOW)
    slept: list[float] = []
    inputs = {**CORVANE, "plan": "business"}
    with pytest.raises(provider.ProviderTimeout, match="within 250 ms"):
        app.answer(inputs, {}, sleep=slept.append)
    assert slept == [0.25]
    app.answer(inputs, {"provider.timeout_ms": 1000}, sleep=slept.append)
    assert 0.3 < slept[1] < 0.6
    app.answer(inputs, {"route.sonic-2": "atlas-1"}, sleep=slept.append)
    assert slept[2] < 0.15


def test_a_longer_time_out_makes_more_calls_slow() -> None:
    """Waiting callers keep the queue full: the share of slow calls grows with patience."""
    world_now = world.parse({"slow": {"sonic-2": {"share": 0.4, "extra_ms": [300, 300]}}})

    def slow(timeout_ms: float) -> int:
        return sum(provider.latency_ms("sonic-2", str(n), timeout_ms, world_now) > 300 for n in range(500))

    assert 150 < slow(250) < 250
    assert 350 < slow(500) < 450


def test_the_world_is_read_again_when_it_changes(world_file: Path) -> None:
    """The running process and the sandbox see the same file."""
    assert world.current() == world.HEALTHY
    world.write(world_file, {"released": ["watchlist"]})
    assert world.current().released == {"watchlist"}
    world.write(world_file, {**world.document(world_file), **SLOW})
    assert world.current().released == {"watchlist"}
    assert set(world.current().slow) == {"sonic-2"}


@pytest.mark.parametrize(
    ("inputs", "config", "message"),
    [
        ({"region": "emea"}, {}, "need a `question`"),
        ({"question": "x", "region": "mars"}, {}, "amer, emea, apac"),
        ({"question": "x", "plan": "gold"}, {}, "free, plus, business"),
        ({"question": "x", "prefer": "gpt"}, {}, "model alias"),
        (CORVANE, {"prompt.a": "../../etc/passwd"}, "there are v10, v11, v12, v13"),
        (CORVANE, {"index.emea": "2031-01"}, "there are 2026-10, 2026-11"),
        (CORVANE, {"route.atlas-1": "gpt"}, "it has atlas-1, sonic-2"),
    ],
)
def test_wrong_inputs_and_configurations_say_what_would_be_right(
    inputs: dict[str, Any], config: dict[str, Any], message: str
) -> None:
    """An error names the choices."""
    with pytest.raises((app.BadRequestError, LookupError), match=message):
        app.answer(inputs, config, sleep=lambda _: None)


@pytest.mark.parametrize(
    ("question", "intent", "measure"),
    [
        ("How much profit did Karsa Textiles make?", "fact", "net income"),
        ("profit margin of Karsa Textiles", "ratio", "net margin"),
        ("How much did Karsa Textiles grow?", "growth", "revenue growth"),
        ("Any insider tip on Karsa Textiles?", "insider", None),
        ("Is Karsa Textiles worth buying?", "advice", None),
        ("What is the multiple of Karsa Textiles?", "fact", None),
    ],
)
def test_questions_are_understood(question: str, intent: str, measure: str | None) -> None:
    """Intent and figure come from the words alone."""
    ask_ = understand(question)
    assert ask_.intent == intent
    assert (ask_.measure.name if ask_.measure else None) == measure


def test_the_calculator_computes_and_nothing_else() -> None:
    """Four operators over known figures; code is refused before it could run."""
    assert calculate("(a - b) / b * 100", {"a": 110.0, "b": 100.0}) == pytest.approx(10.0)
    assert calculate("-a + 2", {"a": 1.0}) == 1.0
    for expression in (
        "__import__('os')",
        "a.real",
        "a ** a",
        "[a]",
        "True",
        "a /",
        "c",
        "a / (a - a)",
        "1+" * 200 + "1",
    ):
        with pytest.raises(CalculatorError):
            calculate(expression, {"a": 1.0})


def test_the_app_needs_the_standard_library_alone() -> None:
    """The sandbox starts it for every validation: no third-party import, and quick."""
    code = (
        "import sys; before = set(sys.modules); import demo.app; "
        "print([m for m in set(sys.modules) - before if m.split('.')[0] not in sys.stdlib_module_names | {'demo'}])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
