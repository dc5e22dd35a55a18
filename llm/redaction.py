"""Secrets out of text, before a model sees it and before it is stored."""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import Any

_NAMED: tuple[tuple[str, re.Pattern[str]], ...] = (
    (
        "private key",
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]{0,8000}?(?:-----END [A-Z ]*PRIVATE KEY-----|$)"),
    ),
    ("token", re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?")),
    ("key", re.compile(r"\b(?:sk|pk|rk)-[A-Za-z0-9_-]{12,}")),
    ("key", re.compile(r"\b(?:lsv2|ls__?|mm|hf|gsk|xai|npm|glpat|pypi|dop_v1|shpat)[_-][A-Za-z0-9_-]{12,}")),
    ("key", re.compile(r"\bgh[pousr]_[A-Za-z0-9]{16,}|\bgithub_pat_[A-Za-z0-9_]{16,}")),
    ("key", re.compile(r"\b(?:AKIA|ASIA|AIza|ya29\.)[A-Za-z0-9_-]{12,}")),
    ("key", re.compile(r"\bxox[abeprs]-[A-Za-z0-9-]{8,}")),
    ("key", re.compile(r"\b[rs]k_(?:live|test)_[A-Za-z0-9]{8,}")),
    ("mail", re.compile(r"\b[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,4}\b")),
)
_CREDENTIALS = re.compile(r"(\b[a-z][a-z0-9+.-]{1,20}://)[^\s/@:]{1,200}:[^\s/@]{1,200}@", re.IGNORECASE)
_HEADER = re.compile(r"(\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)
_ASSIGNED = re.compile(
    r"((?:pass(?:word|wd|phrase)?|secret|token|api[_-]?key|access[_-]?key|auth(?:orization)?|credential|client[_-]?secret)"
    r"\w{0,20}[\"']?\s{0,3}[=:]\s{0,3}[\"']?)(?!<)[^\s\"',;&}]{4,}",
    re.IGNORECASE,
)
_CARD = re.compile(r"\b(?:\d[ -]?){13,19}\b")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
_SOCIAL = re.compile(r"(?<![\w-])(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])")
_PHONE = re.compile(r"(?<![\w+])\+\d{1,3}(?:[ ./-]?\(?\d{1,5}\)?){2,5}(?!\w)")
"""In the international form alone: any ten digits are a telephone number somewhere."""
_LONG = re.compile(r"[A-Za-z0-9+/_=-]{24,}")
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\Z", re.IGNORECASE)
_WORDS = re.compile(r"[A-Za-z]+(?:[_-][A-Za-z]+)*\Z")

ENTROPY_BITS = 3.6
"""Bits a character from which a long token looks drawn at random."""


def redact(text: str) -> str:
    """Return the text with what looks like a secret replaced by `<redacted …>`. Applying it twice changes nothing."""
    for name, pattern in _NAMED:
        text = pattern.sub(f"<redacted {name}>", text)
    text = _CREDENTIALS.sub(r"\1<redacted>@", text)
    text = _HEADER.sub(r"\1<redacted>", text)
    text = _ASSIGNED.sub(r"\1<redacted>", text)
    text = _CARD.sub(lambda match: "<redacted card>" if _luhn(match.group()) else match.group(), text)
    text = _IBAN.sub(lambda match: "<redacted account>" if _is_iban(match.group()) else match.group(), text)
    text = _SOCIAL.sub("<redacted number>", text)
    text = _PHONE.sub(lambda match: "<redacted phone>" if _is_phone(match.group()) else match.group(), text)
    return _LONG.sub(lambda match: "<redacted>" if _looks_random(match.group()) else match.group(), text)


def redact_all(value: Any) -> Any:
    """Apply `redact` to every string in a structure of dicts, lists and scalars; keys included."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {redact(key) if isinstance(key, str) else key: redact_all(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact_all(item) for item in value]
    return value


def _looks_random(token: str) -> bool:
    if _UUID.match(token) or _WORDS.match(token):
        return False
    classes = sum(bool(re.search(kind, token)) for kind in ("[a-z]", "[A-Z]", "[0-9]"))
    if classes < 2:
        return False
    counts = Counter(token)
    bits = -sum(n / len(token) * math.log2(n / len(token)) for n in counts.values())
    return bits >= (ENTROPY_BITS if classes == 3 else 3.2)


def _is_iban(text: str) -> bool:
    """Tell by the check digits (ISO 13616)."""
    letters = text.replace(" ", "")
    return len(letters) >= 15 and int("".join(str(int(sign, 36)) for sign in letters[4:] + letters[:4])) % 97 == 1


def _is_phone(text: str) -> bool:
    return 8 <= sum(sign.isdigit() for sign in text) <= 15


def _luhn(text: str) -> bool:
    digits = [int(sign) for sign in text if sign.isdigit()]
    doubled = [digit if place % 2 == 0 else digit * 2 - 9 * (digit > 4) for place, digit in enumerate(reversed(digits))]
    return len(digits) >= 13 and sum(doubled) % 10 == 0
