"""A model that nobody scripted. Optional: METAMON_TEST_MODEL_URL names a server that speaks OpenAI's protocol."""

from __future__ import annotations

import os

import pytest
from pydantic import SecretStr

from core.settings import Settings
from llm.client import Model
from tests.integration.llm.test_model import frozen, words
from tests.unit.demo_traffic import Traffic
from tests.unit.test_research_demo import research

URL = os.environ.get("METAMON_TEST_MODEL_URL")


@pytest.mark.skipif(URL is None, reason="METAMON_TEST_MODEL_URL names no model")
def test_a_real_model_changes_nothing_of_the_finding() -> None:
    """Whatever it says, it is prose that keeps to its packet, or nothing; the calls stay within the budget."""
    name = os.environ.get("METAMON_TEST_MODEL_NAME", "local")
    settings = Settings(openai_api_key=SecretStr("none"), openai_base_url=URL, openai_model=name)
    asked = Model(settings, timeout_s=120)
    found = research(Traffic(fault="provider", rate=30, history=300), "error_rate", None)
    before = frozen(found)
    text = words(found, asked)
    assert frozen(found) == before
    assert 1 <= asked.budget.spent_calls <= asked.budget.calls
    assert asked.budget.spent_tokens <= asked.budget.tokens
    assert text is None or "http" not in text
