"""Secrets leave no trace; ordinary text stays readable."""

from __future__ import annotations

import pytest

from llm.redaction import redact, redact_all

SECRETS = [
    "sk-proj-abcdefghijklmnop0123456789",
    "lsv2_pt_0123456789abcdef0123456789abcdef_0123456789",
    "AKIAIOSFODNN7EXAMPLE",
    "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "xoxb-17653672481-19874698323",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
    "8fJ2kLq9ZxV4mN7bT1cR6wYp3sDg5hKa",
    "4111 1111 1111 1111",
    "ann.lee@example.com",
    "DE89 3704 0044 0532 0130 00",
    "GB82WEST12345698765432",
    "536-22-1234",
    "+49 30 901820",
    "+1 (212) 555-0182",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_gone(secret: str) -> None:
    """In prose, in JSON, in a URL, behind a header."""
    for text in (f"the value {secret} leaked", f'{{"value": "{secret}"}}', f"Authorization: Bearer {secret}"):
        assert secret not in redact(text)


@pytest.mark.parametrize("text", ["password=hunter2horse", "api_key: 'abcd1234efgh'", "postgresql://bob:s3cr3t@db/x"])
def test_an_assigned_secret_is_gone(text: str) -> None:
    """What stands behind the word goes, the word stays."""
    assert not any(secret in redact(text) for secret in ("hunter2horse", "abcd1234efgh", "s3cr3t"))


@pytest.mark.parametrize(
    "text",
    [
        "ProviderTimeout: sonic-2 did not answer within 250 ms",
        "run 3f1c7c2e-9d1b-4f0e-8d55-0a1b2c3d4e5f in prompt_version v13 of retrieval-augmented-generation-pipeline",
        "openai.RateLimitError: Error code: 429, please try again in 20 s",
        "2026-11-26 12:00:00.123+00:00 account DE00370400440532013000: +12.5 % of 1234567890 ns, rev 123-45-6789-01",
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    """Names, ids and messages of errors are what a reader needs."""
    assert redact(text) == text


def test_redacting_twice_changes_nothing() -> None:
    """Before the prompt and before storage: the second pass finds nothing."""
    once = redact(" and ".join(SECRETS))
    assert redact(once) == once


def test_structures_are_redacted_throughout() -> None:
    """Keys, lists and nested values too."""
    dirty = {"a": [{"token sk-abcdefghijklmnop1234": SECRETS[0]}], "n": 3, "none": None}
    clean = redact_all(dirty)
    assert "abcdefghijklmnop" not in str(clean)
    assert (clean["n"], clean["none"]) == (3, None)
