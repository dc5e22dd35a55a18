"""Errors as a person would sort them: by exception type and own frames, else by the shape of the message."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from analysis.masks import STATUS, mask

VERSION = 2
"""Version of masks and grouping; part of every new key, so that a change of rules is no silent merge."""

TEXT_CAP = 20_000
"""Characters of an error that are looked at: the head and the tail of a longer one."""

MESSAGE_CAP = 400
FRAMES = 3

SIMILARITY = 0.6
"""Share of words that fit from which a message joins a pattern."""

FIRST_SIMILARITY = 0.8
"""The same where the first word is another."""

CONSTANT = 0.5
"""Share of a template's words that stay as they are: a pattern that widened further would swallow others."""

MAX_TEMPLATES = 500

TAILS = 4
"""So many different ends of one beginning (`Could not parse the answer: …`) are what somebody wrote, no kinds."""

MIN_HEAD = 3
"""Words that such a beginning has at least."""

ANY, REST = "<*>", "<**>"
"""In a template: one word that varies; any words up to the end."""

_TYPE = r"(?:[A-Za-z_]\w*\.)*[A-Z]\w*"
_LAST_LINE = re.compile(rf"^({_TYPE})(?::[ \t]?(.*))?$", re.MULTILINE)
_REPR = re.compile(rf"^\s*({_TYPE})\((.*)", re.DOTALL)
_HEAD = re.compile(rf"^\s*({_TYPE}):\s*(.*)", re.DOTALL)
_QUOTED = re.compile(r"\s*(\"(?:[^\"\\]|\\.){0,2000}\"|'(?:[^'\\]|\\.){0,2000}')")
_FRAME = re.compile(r'^\s*File "([^"\n]{1,400})", line \d+, in ([^\n]{1,200})$', re.MULTILINE)
_SCRIPT_FRAME = re.compile(r"^\s+at (?:async )?(?:([\w.$<>]{1,100}) )?\(?([^()\n]{1,400}):\d+:\d+\)?$", re.MULTILINE)
_GROUP = re.compile(r"^[ \t]*[|+][ |+-]*", re.MULTILINE)
_SEPARATOR = re.compile(r"[\\/]")
_FOREIGN = re.compile(
    r"site-packages|dist-packages|[\\/]lib[\\/]python\d|^<frozen|^<string>|importlib|node_modules|^node:"
)
_BODY = re.compile(r"""["']message["']\s*:\s*(?:"((?:[^"\\]|\\.){1,1000})"|'((?:[^'\\]|\\.){1,1000})')""")
_CODE = re.compile(r"""["']code["']\s*:\s*["']([a-z_]{3,60})["']""")
TRACEBACK = "Traceback (most recent call last)"


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
        return _named(self.kind, *self.frames) if self.frames else _named(self.kind, self.template)


@dataclass(frozen=True)
class Known:
    """A pattern that was seen before, or made by hand."""

    key: str
    kind: str
    frames: tuple[str, ...]
    template: str
    merged_into: str | None = None
    """Key of the pattern that it counts for."""
    split_of: str | None = None
    """Key of the pattern that it was taken out of."""
    containing: str | None = None
    """Text, in any case, that tells its errors from those it was split of."""


@dataclass
class Pattern:
    """A group of errors."""

    key: str
    """Name that it keeps: made of the first error that was seen of it."""
    fingerprint: Fingerprint
    count: int = 0
    members: list[int] = field(default_factory=list)
    """Places of its errors in the input."""


def fingerprint(text: str, clean: Callable[[str], str] = str) -> Fingerprint:
    """Read the exception type, the own frames and the masked message out of an error's text.

    Understands Python's tracebacks (the last exception of a chain counts, of a group its last member), `repr` of an
    exception with a traceback behind it (as the langsmith SDK sends), stacks of JavaScript, `Type: message`, bodies of
    an API's error, and plain text.

    Args:
        clean: applied to the message before it is masked: takes secrets out.
    """
    text = text.encode("utf-8", "replace").decode()
    if len(text) > TEXT_CAP:
        text = text[: TEXT_CAP // 2] + "\n" + text[-TEXT_CAP // 2 :]
    if "Exception Group Traceback" in text:
        text = _GROUP.sub("", text)
    start = text.find(TRACEBACK)
    head = text if start < 0 else text[:start]
    kind, message = "", head.strip()
    if match := _REPR.match(head):
        kind, message = match.group(1), _argument(match.group(2))
    elif match := _HEAD.match(head):
        kind, message = match.group(1), match.group(2)
    frames: tuple[str, ...] = ()
    if start >= 0:
        trace = text[text.rfind(TRACEBACK) :]
        frames = _own(_FRAME.findall(trace))
        if not kind:
            lines = [match for match in _LAST_LINE.finditer(trace) if not match.group(0).startswith("Traceback")]
            if lines:
                kind, message = lines[-1].group(1), lines[-1].group(2) or ""
    elif " at " in text[:TEXT_CAP]:
        frames = _own([(path, function) for function, path in reversed(_SCRIPT_FRAME.findall(text))])
    name = kind.rsplit(".", 1)[-1]
    if name == "KeyError":
        # its text is the repr of the key: one word is a key, more is a sentence
        message = _argument(message)
        message = message if " " in message.strip() else "<text>"
    return Fingerprint(name, frames, mask(clean(_line(message))))


def group(texts: Sequence[str], known: Iterable[Known] = (), *, clean: Callable[[str], str] = str) -> list[Pattern]:
    """Sort errors into patterns, the most frequent first.

    Errors with own frames are grouped by type and place. The others by type and message: a tree of depth two (type,
    number of words) whose leaves hold templates; a message joins the template that fits most of its words, at least
    60 %, and what differs becomes `<*>`. Where one beginning up to a colon has many different ends, they are one.

    Args:
        texts: one error each, any length; empty ones are skipped.
        known: patterns of before: what is like them keeps their key, what was merged or split by hand stays so.
        clean: see `fingerprint`.
    """
    tree = _Tree(known)
    cache: dict[str, Pattern] = {}
    for place, text in enumerate(texts):
        if not text:
            continue
        pattern = cache.get(text)
        if pattern is None:
            pattern = cache[text] = tree.place(text, fingerprint(text, clean))
        pattern.count += 1
        pattern.members.append(place)
    return sorted(tree.result(), key=lambda pattern: (-pattern.count, pattern.key))


class _Tree:
    """Patterns by type and number of words."""

    def __init__(self, known: Iterable[Known]) -> None:
        self.by_key: dict[str, Pattern] = {}
        self.exact: dict[tuple[str, tuple[str, ...], str], Pattern] = {}
        self.leaves: dict[tuple[str, int], list[Pattern]] = {}
        self.heads: dict[str, list[Pattern]] = {}
        self.merged: dict[str, str] = {}
        self.splits: dict[str, list[tuple[str, Pattern]]] = {}
        for entry in known:
            mark = Fingerprint(entry.kind, entry.frames, entry.template if entry.frames else mask(entry.template))
            pattern = self.by_key[entry.key] = Pattern(entry.key, mark)
            if entry.merged_into:
                self.merged[entry.key] = entry.merged_into
            if entry.split_of and entry.containing:
                self.splits.setdefault(entry.split_of, []).append((entry.containing.casefold(), pattern))
            else:
                self.add(pattern)

    def add(self, pattern: Pattern) -> None:
        """Let errors be compared with a pattern."""
        mark = pattern.fingerprint
        self.by_key[pattern.key] = pattern
        self.exact[_identity(mark)] = pattern
        words = mark.template.split()
        if mark.frames:
            return
        if words and words[-1] == REST:
            self.heads.setdefault(mark.kind, []).append(pattern)
        else:
            leaf = self.leaves.setdefault((mark.kind, len(words)), [])
            if len(leaf) < MAX_TEMPLATES:
                leaf.append(pattern)

    def place(self, text: str, mark: Fingerprint) -> Pattern:
        """Return the pattern of an error."""
        pattern = (
            self.exact.get(_identity(mark)) or self.by_key.get(mark.key) or (None if mark.frames else self.like(mark))
        )
        if pattern is None:
            pattern = Pattern(mark.key, mark)
            self.add(pattern)
        folded = text[:TEXT_CAP].casefold()
        for containing, part in self.splits.get(pattern.key, ()):
            if containing in folded:
                pattern = part
                break
        for _ in range(20):  # a chain of merges ends; a circle of them must too
            target = self.by_key.get(self.merged.get(pattern.key, ""))
            if target is None:
                break
            pattern = target
        return pattern

    def like(self, mark: Fingerprint) -> Pattern | None:
        """Return the pattern whose template fits the message best, widened to hold it; None where none fits."""
        words = mark.template.split()
        for pattern in self.heads.get(mark.kind, ()):
            head = pattern.fingerprint.template.split()[:-1]
            if words[: len(head)] == head:
                return pattern
        best, fitting = 0.0, None
        for pattern in self.leaves.get((mark.kind, len(words)), ()):
            template = pattern.fingerprint.template.split()
            pairs = list(zip(template, words, strict=True))
            if any(a != b and STATUS in (a[:1], b[:1]) for a, b in pairs):
                continue
            same = sum(a == b for a, b in pairs)
            fits = same + sum(a == ANY != b for a, b in pairs)
            # messages differ where they begin: what varies there must be alone
            needed = SIMILARITY if words and template[0] in (words[0], ANY) else FIRST_SIMILARITY
            if fits >= needed * max(len(words), 1) and same >= CONSTANT * len(words) and same > best:
                best, fitting = same, pattern
        if fitting is not None:
            template = fitting.fingerprint.template.split()
            wider = " ".join(a if a == b else ANY for a, b in zip(template, words, strict=True))
            fitting.fingerprint = Fingerprint(mark.kind, (), wider)
            self.exact[_identity(mark)] = fitting
        return fitting

    def result(self) -> list[Pattern]:
        """Return the patterns that have errors, those that differ in their ends alone made one."""
        found = [pattern for pattern in self.by_key.values() if pattern.count]
        heads: dict[tuple[str, str], list[Pattern]] = {}
        for pattern in found:
            head = _beginning(pattern.fingerprint)
            if head and pattern.key not in self.merged:
                heads.setdefault((pattern.fingerprint.kind, head), []).append(pattern)
        for (kind, head), patterns in heads.items():
            counts = sorted(pattern.count for pattern in patterns)
            lengths = {len(pattern.fingerprint.template.split()) for pattern in patterns}
            if len(patterns) < TAILS or len(lengths) < 3 or counts[len(counts) // 2] > max(2, 0.3 * sum(counts)):
                continue
            first = patterns[0]  # the one that is known longest
            first.fingerprint = Fingerprint(kind, (), f"{head} {REST}")
            first.members = sorted(place for pattern in patterns for place in pattern.members)
            first.count = len(first.members)
            found = [pattern for pattern in found if pattern is first or not any(pattern is one for one in patterns)]
        return found


def _identity(mark: Fingerprint) -> tuple[str, tuple[str, ...], str]:
    return (mark.kind, mark.frames, "" if mark.frames else mark.template)


def split_key(key: str, containing: str) -> str:
    """Return the key of what is taken out of a pattern by a text."""
    return _named(key, containing.casefold())


def _named(*parts: str) -> str:
    return f"e{VERSION}-" + hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:12]


def _beginning(mark: Fingerprint) -> str:
    """Return a template's words up to its first colon, where they are long enough to mean something; else nothing."""
    words = mark.template.split()
    if mark.frames:
        return ""
    for place, word in enumerate(words[:-1]):
        if word.endswith(":"):
            return " ".join(words[: place + 1]) if place + 1 >= MIN_HEAD else ""
    return ""


def _argument(text: str) -> str:
    """Return the first argument of a repr, without its quotes."""
    if match := _QUOTED.match(text):
        return match.group(1)[1:-1].replace("\\n", "\n").replace("\\'", "'").replace('\\"', '"')
    return text.strip().rstrip(")")


def _line(message: str) -> str:
    """Return the line that says what happened: of an API's body its message and code, else the first line."""
    message = message.strip()
    if match := _BODY.search(message):
        said = (match.group(1) or match.group(2)).replace("\\n", " ").replace("\\'", "'").replace('\\"', '"')
        code = _CODE.search(message)
        message = f"{said} ({code.group(1)})" if code else said
    lines = [line.strip() for line in message.split("\n") if line.strip()]
    if not lines:
        return ""
    first = f"{lines[0]} {lines[1]}" if lines[0].endswith(":") and len(lines) > 1 else lines[0]
    return first[:MESSAGE_CAP]


def _own(frames: list[tuple[str, str]]) -> tuple[str, ...]:
    own = [
        f"{_SEPARATOR.split(path)[-1]}:{function.strip() or 'anonymous'}"
        for path, function in frames
        if not _FOREIGN.search(path)
    ]
    return tuple(own[-FRAMES:])
