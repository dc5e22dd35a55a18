"""What varies in a message from one error to the next, replaced by its kind."""

from __future__ import annotations

import re

_ENDINGS = "py|js|ts|json|jsonl|txt|md|csv|ya?ml|toml|pdf|html?|xml|parquet|sqlite|db|log|docx?|xlsx?|png|jpe?g|pem"
_DOMAINS = "com|net|org|io|ai|dev|cloud|local|internal|svc|cluster|example|test|corp"
_UNITS = "ms|s|sec|seconds?|min|minutes?|m|h|kB|KB|MB|GB|MiB|GiB|KiB|bytes|%"

_RULES: tuple[tuple[str, str], ...] = (
    ("kept", r"<[a-z*]{1,12}(?: [a-z]{1,12})?>"),  # a mask, so that masking twice changes nothing
    ("status", r"'\d{3} [A-Z][A-Za-z -]{2,40}'"),
    ("url", r"\b[a-z][a-z0-9+.-]{1,15}://[^\s'\"<>)\]]+"),
    ("id", r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b"),
    ("mail", r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,4}"),
    ("time", r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?"),
    ("time", r"\b\d{1,2}:\d\d(?::\d\d(?:[.,]\d+)?)?\b"),
    ("address", r"\b(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?\b|\[?(?:[0-9a-f]{1,4}:){3,7}[0-9a-f]{1,4}\]?(?::\d+)?"),
    ("text", r"\"(?:[^\"\n\\]|\\.){0,300}\"|`[^`\n]{1,300}`|(?<!\w)'(?:[^'\n\\]|\\.|'(?=\w)){0,300}'(?!\w)"),
    ("data", r"\{[^{}\n]{0,400}\}|\[[^\[\]\n]{0,400}\]"),
    ("path", r"(?<![\w/<])(?:[A-Za-z]:)?(?:[\\/][\w.@~+-]+){2,}[\\/]?"),
    ("file", rf"\b[\w./-]{{1,100}}\.(?:{_ENDINGS})\b"),
    ("host", rf"\b(?:[a-z0-9-]{{1,63}}\.){{1,6}}(?:{_DOMAINS})\b(?::\d+)?"),
    ("id", r"\b0x[0-9a-fA-F]+\b"),
    ("id", r"\b(?=[0-9a-fA-F]{0,64}\d)(?=[0-9a-fA-F]{0,64}[a-fA-F])[0-9a-fA-F]{8,}\b"),
    ("name", r"\b(?=[\w.:-]{0,80}[A-Za-z])(?=[\w.:-]{0,80}\d)[A-Za-z0-9]\w*(?:[-.:]\w+)+\b"),
    (
        "n",
        r"(?<![A-Za-z_])[-+]?\$?\d[\d,_]*(?:\.\d+)*(?:[eE][-+]?\d+)?" + rf"(?:\s?(?:{_UNITS}))?(?![A-Za-z_0-9])",
    ),
    ("id", r"\b(?=\w{0,80}\d)[A-Za-z_]\w*\b"),
    ("name", r"\b[a-z]+(?:_[a-z]+)+\b(?:\(\))?"),
)  # fmt: skip

STATUS = "!"
"""Marks what is no variable: `'404 Not Found'` and `'401 Unauthorized'` are two kinds of error."""

NESTED = 6
"""Depth of braces within braces that is looked into."""

_PATTERN = re.compile("|".join(f"(?P<m{number}>{rule})" for number, (_, rule) in enumerate(_RULES)))
_NAMES = [name for name, _ in _RULES]
_RUN = re.compile(r"(<[a-z]+>)(?:(?:\s*,\s*|\s+and\s+|\s*,\s*and\s+|\s+)\1)+")


def mask(message: str) -> str:
    """Return the message with numbers, ids, names, addresses, paths, times and quoted texts replaced by their kind.

    Lists of the same kind become one. Masking twice changes nothing, but in what is nested absurdly deep.
    """
    for _ in range(NESTED):
        before = message
        message = " ".join(_RUN.sub(r"\1", _PATTERN.sub(_replaced, " ".join(message.split()))).split())
        if message == before:
            break
    return message


def _replaced(match: re.Match[str]) -> str:
    name = _NAMES[int((match.lastgroup or "m0")[1:])]
    if name == "status":
        return STATUS + match.group()[5:-1].replace(" ", "-")
    return match.group() if name == "kept" else f"<{name}>"
