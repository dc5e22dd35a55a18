"""Errors as a person would sort them: by exception type and own frames, else by the shape of the message."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

VERSION = 1
"""Version of masks and grouping; part of every fingerprint, so that a change of rules is no silent merge."""

TEXT_CAP = 20_000
"""Characters of an error that are looked at: the head and the tail of a longer one."""

MESSAGE_CAP = 400
FRAMES = 3
SIMILARITY = 0.6
"""Share of equal words from which two messages are one pattern."""

MAX_TEMPLATES = 500

_TYPE = r"(?:[A-Za-z_]\w*\.)*[A-Z]\w*"
_LAST_LINE = re.compile(rf"^({_TYPE})(?::[ \t]?(.*))?$", re.MULTILINE)
_REPR = re.compile(rf"^\s*({_TYPE})\((.*)", re.DOTALL)
_HEAD = re.compile(rf"^\s*({_TYPE}):\s*(.*)", re.DOTALL)
_FRAME = re.compile(r'^\s*File "([^"\n]{1,400})", line \d+, in ([^\n]{1,200})$', re.MULTILINE)
_SEPARATOR = re.compile(r"[\\/]")
_FOREIGN = re.compile(r"site-packages|dist-packages|[\\/]lib[\\/]python\d|^<frozen|^<string>|importlib")

_MASKS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"https?://[^\s'\"<>)\]]+"), "<url>"),
    (re.compile(r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b"), "<id>"),
    (re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"), "<mail>"),
    (re.compile(r"\b(?:sk|key|req|run|msg|chatcmpl|call|resp|org|thread|asst|file|proj)[-_][A-Za-z0-9_-]{4,}"), "<id>"),
    (re.compile(r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?"), "<time>"),
    (re.compile(r"\b\d{1,2}:\d\d:\d\d(?:[.,]\d+)?\b"), "<time>"),
    (re.compile(r"\b(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?\b"), "<address>"),
    (re.compile(r"(?<![\w/])(?:/[\w.@~-]+){2,}/?"), "<path>"),
    (re.compile(r"\b0x[0-9a-fA-F]+\b"), "<id>"),
    (re.compile(r"\b(?=[0-9a-fA-F]*\d)(?=[0-9a-fA-F]*[a-fA-F])[0-9a-fA-F]{8,}\b"), "<id>"),
    (re.compile(r"([=:]\s?)(\"[^\"\n]{0,200}\"|'[^'\n]{0,200}')"), r"\1<text>"),
    (re.compile(r"(?<![A-Za-z_<])[-+]?\d[\d,_]*(?:\.\d+)?(?:[eE][-+]?\d+)?(?:ms|s|kB|MB|GB|%)?(?![A-Za-z_])"), "<n>"),
)


@dataclass(frozen=True)
class Fingerprint:
    """What makes two errors the same."""

    kind: str
    """Exception type without its module; empty where none is recognisable."""
    frames: tuple[str, ...]
    """Innermost own frames, `file:function`; empty without a stack trace."""
    template: str
    """The message with its variable parts masked."""

    @property
    def key(self) -> str:
        """Return a short stable name: same rules, same error, same key, on every machine."""
        # with own frames the place identifies the error, and the message may vary
        parts = (self.kind, *self.frames) if self.frames else (self.kind, self.template)
        return f"e{VERSION}-" + hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:12]


@dataclass
class Pattern:
    """A group of errors."""

    fingerprint: Fingerprint
    count: int = 0
    members: list[int] = field(default_factory=list)
    """Places of its errors in the input."""


def mask(message: str) -> str:
    """Return the message with numbers, ids, addresses, paths, times and quoted values replaced by their kind."""
    for pattern, name in _MASKS:
        message = pattern.sub(name, message)
    return " ".join(message.split())


def fingerprint(text: str) -> Fingerprint:
    """Read the exception type, the own frames and the masked message out of an error's text.

    Understands Python's tracebacks (the last exception of a chain counts), `repr` of an exception with a traceback
    behind it (as the langsmith SDK sends), `Type: message`, and plain text.
    """
    text = text.encode("utf-8", "replace").decode()
    if len(text) > TEXT_CAP:
        text = text[: TEXT_CAP // 2] + "\n" + text[-TEXT_CAP // 2 :]
    start = text.find("Traceback (most recent call last)")
    head = text if start < 0 else text[:start]
    kind, message = "", head.strip()
    for pattern in (_REPR, _HEAD):
        if match := pattern.match(head):
            kind, message = match.group(1), match.group(2)
            break
    frames: tuple[str, ...] = ()
    if start >= 0:
        trace = text[start:]
        last = trace.rfind("Traceback (most recent call last)")
        own = [
            f"{_SEPARATOR.split(path)[-1]}:{function.strip()}"
            for path, function in _FRAME.findall(trace[last:])
            if not _FOREIGN.search(path)
        ]
        frames = tuple(own[-FRAMES:])
        if not kind:
            lines = [match for match in _LAST_LINE.finditer(trace[last:]) if not match.group(0).startswith("Traceback")]
            if lines:
                kind, message = lines[-1].group(1), lines[-1].group(2) or ""
    message = message.strip().strip("()'\"").split("\n", 1)[0][:MESSAGE_CAP]
    return Fingerprint(kind.rsplit(".", 1)[-1], frames, mask(message))


def group(texts: Sequence[str]) -> list[Pattern]:
    """Sort errors into patterns, the most frequent first.

    Errors with own frames are grouped by type and place. The others by type and message: a tree of depth two (type,
    number of words) whose leaves hold templates; a message joins the template that it shares at least 60 % of its
    words with, and what differs becomes `<*>`.

    Args:
        texts: one error each, any length; empty ones are skipped.
    """
    patterns: dict[str, Pattern] = {}
    leaves: dict[tuple[str, int], list[tuple[list[str], Pattern]]] = {}
    cache: dict[str, Fingerprint] = {}
    for place, text in enumerate(texts):
        if not text:
            continue
        mark = cache.get(text)
        if mark is None:
            mark = cache[text] = fingerprint(text)
        pattern = patterns.get(mark.key)
        if pattern is None:
            pattern = Pattern(mark) if mark.frames else _leaf(leaves, mark)
            patterns[mark.key] = pattern
        pattern.count += 1
        pattern.members.append(place)
    unique = {id(pattern): pattern for pattern in patterns.values()}
    return sorted(unique.values(), key=lambda pattern: (-pattern.count, pattern.fingerprint.key))


def _leaf(leaves: dict[tuple[str, int], list[tuple[list[str], Pattern]]], mark: Fingerprint) -> Pattern:
    words = mark.template.split()
    leaf = leaves.setdefault((mark.kind, len(words)), [])
    for template, pattern in leaf:
        same = sum(a == b for a, b in zip(template, words, strict=True))
        if same >= SIMILARITY * max(len(words), 1):
            template[:] = [a if a == b else "<*>" for a, b in zip(template, words, strict=True)]
            pattern.fingerprint = Fingerprint(mark.kind, (), " ".join(template))
            return pattern
    pattern = Pattern(mark)
    if len(leaf) < MAX_TEMPLATES:
        leaf.append((words, pattern))
    return pattern
