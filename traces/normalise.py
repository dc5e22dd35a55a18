"""From what a client sends to what is stored: times by the run's own clock, usage found, everything capped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID, uuid4

import orjson

from db.payloads import pack
from db.repositories.feedback import FeedbackOp
from db.repositories.run_statements import TAG_SEPARATOR
from db.repositories.runs import RunOp
from traces import clean
from traces.clean import BadFieldError

OLDEST = timedelta(days=400)
FURTHEST = timedelta(days=2)
"""A run may state a start from `OLDEST` ago to `FURTHEST` ahead; beyond, its clock is absurd and ours is taken.

Between what is kept and `OLDEST` it is history that retention would drop at once, and refused: counted as of today it
would be an incident, and every day of it would be a partition.
"""

DISAGREEMENT = timedelta(days=1)
"""Where start_time and dotted_order differ by more, dotted_order is believed: it decides the partition."""

ERROR_CHARS = 16_000
NAME_CHARS = 500
DOTTED_CHARS = 20_000
TAGS = 50
TAG_CHARS = 200
METADATA_BYTES = 64_000
METADATA_KEYS = 200
METADATA_CHARS = 200
COMMENT_CHARS = 8_000
KEY_CHARS = 200
JSON_BYTES = 64_000

_STAMP_CHARS = 22  # 20260102T030405000000Z

PAYLOADS = ("inputs", "outputs", "events", "error", "serialized")
FIELDS = (*PAYLOADS, "extra")
"""What may travel in a part of its own."""


@dataclass(slots=True)
class RawRun:
    """A post or a patch as it came: the run without its large fields, and those as JSON bytes."""

    posted: bool
    body: dict[str, Any]
    blobs: dict[str, bytes] = field(default_factory=dict)


@dataclass(slots=True)
class Addressed:
    """A run and the project that it names, by id or by name, or by neither."""

    op: RunOp
    project: str | None
    project_id: UUID | None


def run_op(raws: Sequence[RawRun], *, now: datetime, kept: timedelta = OLDEST) -> Addressed:
    """Return the cleaned run that the posts and patches of one upload make together.

    A patch goes before a post, a later patch before an earlier one; null says nothing.

    Args:
        raws: the posts and patches in the order of the upload.
        now: when they were received.
        kept: how long runs are kept.

    Raises:
        BadFieldError: a field cannot be understood, or the run is older than what is kept; nothing of this run may be
            stored then.
    """
    raw = raws[0] if len(raws) == 1 else _joined(raws)
    body = raw.body
    run_id = clean.uuid_or_none(body.get("id"), "id")
    if run_id is None:
        raise BadFieldError("a run must have an id")
    documents: dict[str, Any] = {}
    stored: dict[str, bytes] = {}
    for name in PAYLOADS:
        if name in raw.blobs:
            documents[name], stored[name] = clean.document(raw.blobs[name], name)
        elif body.get(name) is not None:
            documents[name] = body[name]
            if name != "error":
                stored[name] = clean.stored_json(body[name])
    extra, metadata = _extra(raws)
    usage = _usage(body, metadata, documents.get("outputs"))
    op = RunOp(
        id=run_id,
        posted=raw.posted,
        trace_id=clean.uuid_or_none(body.get("trace_id"), "trace_id"),
        parent_run_id=clean.uuid_or_none(body.get("parent_run_id"), "parent_run_id"),
        name=clean.text(body.get("name"), NAME_CHARS),
        run_type=clean.text(body.get("run_type"), 50),
        error=clean.text(documents.get("error"), ERROR_CHARS),
        tags=_tags(body.get("tags")),
        metadata=_metadata(metadata) if metadata else {},
        reference_example_id=clean.uuid_or_none(body.get("reference_example_id"), "reference_example_id"),
        inputs=_packed(stored, documents, "inputs"),
        outputs=_packed(stored, documents, "outputs"),
        events=_packed(stored, documents, "events"),
        serialized=_packed(stored, documents, "serialized"),
        **usage,
    )
    if len(raws) > 1:
        op.split = lambda: _split(op, raws, now)
    _place(op, body, now, kept)
    if op.duration is not None and op.posted:
        extra = {**extra, "metamon": {"client_start_time": clean.text(body.get("start_time"), 50)}}
    if extra:
        op.extra = pack(clean.stored_json(extra))
    session_id = clean.uuid_or_none(body.get("session_id"), "session_id")
    return Addressed(op, clean.text(body.get("session_name"), 250), session_id)


def _split(op: RunOp, raws: Sequence[RawRun], now: datetime) -> Sequence[RunOp]:
    try:
        return [run_op([each], now=now).op for each in raws]
    except BadFieldError:
        return [op]  # a field that a later statement replaces is not understood: together they are


def _ranked(raws: Sequence[RawRun]) -> list[RawRun]:
    """Return posts and patches from the one that gives way to the one that goes before all."""
    return [raw for raw in reversed(raws) if raw.posted] + [raw for raw in raws if not raw.posted]


def _joined(raws: Sequence[RawRun]) -> RawRun:
    whole = RawRun(any(raw.posted for raw in raws), {})
    for raw in _ranked(raws):
        whole.body.update([item for item in raw.body.items() if item[1] is not None])
        whole.blobs.update(raw.blobs)
    return whole


def _extra(raws: Sequence[RawRun]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return `extra` without its metadata, and the metadata, joined by key: it has a column of its own."""
    extra: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    for raw in _ranked(raws) if len(raws) > 1 else raws:
        if "extra" in raw.blobs:
            document, _ = clean.document(raw.blobs["extra"], "extra")
        else:
            document = raw.body.get("extra")
        if not isinstance(document, dict):
            continue
        stated = document.get("metadata")
        if isinstance(stated, dict):
            metadata = {**metadata, **stated}
        extra = {key: value for key, value in document.items() if key != "metadata"} or extra
    return extra, metadata


def feedback_op(body: dict[str, Any], *, now: datetime, kept: timedelta = OLDEST) -> FeedbackOp:
    """Return the cleaned feedback.

    Args:
        body: the feedback as it came.
        now: when it was received.
        kept: how long feedback is kept.

    Raises:
        BadFieldError: a field cannot be understood, neither run nor trace nor project is named, or the feedback is
            older than what is kept.
    """
    created = clean.time_or_none(body.get("created_at"), "created_at") or now
    if not now - OLDEST <= created <= now + FURTHEST:
        created = now
    _check_kept(created.date(), "created_at", now, kept)
    key = clean.text(body.get("key"), KEY_CHARS)
    if key is None:
        raise BadFieldError("feedback must have a key, such as 'fact_accuracy'")
    op = FeedbackOp(
        id=clean.uuid_or_none(body.get("id"), "id") or uuid4(),
        day=created.date(),
        key=key,
        created_at=created,
        modified_at=now,
        run_id=clean.uuid_or_none(body.get("run_id"), "run_id"),
        trace_id=clean.uuid_or_none(body.get("trace_id"), "trace_id"),
        project_id=clean.uuid_or_none(body.get("session_id"), "session_id"),
        score=clean.score_or_none(body.get("score")),
        value=json_value(body.get("value"), "value"),
        comment=clean.text(body.get("comment"), COMMENT_CHARS),
        correction=json_value(body.get("correction"), "correction"),
        source=json_value(body.get("feedback_source"), "feedback_source"),
    )
    if op.target is None and op.project_id is None:
        raise BadFieldError("feedback must name a run_id, a trace_id or a session_id")
    return op


def json_value(value: Any, what: str) -> Any:
    """Return a JSON value of feedback as it can be stored.

    Raises:
        BadFieldError: it is too large.
    """
    if value is None:
        return None
    value = clean.clean(value)
    if len(orjson.dumps(value)) > JSON_BYTES:
        raise BadFieldError(f"{what} has more than {JSON_BYTES} bytes")
    return value


def _packed(stored: dict[str, bytes], documents: dict[str, Any], name: str) -> bytes | None:
    raw = stored.get(name)
    return None if raw is None or documents[name] is None else pack(raw)


def _check_kept(day: date, what: str, now: datetime, kept: timedelta) -> None:
    if day < (now - kept).date():
        raise BadFieldError(
            f"{what} is of {day}, and no more than {kept.days} days are kept; METAMON_RETENTION_DAYS says how many"
        )


def _place(op: RunOp, body: dict[str, Any], now: datetime, kept: timedelta) -> None:
    """Set when the run happened, which day it is stored under, and what the dotted order tells of its trace."""
    start = clean.time_or_none(body.get("start_time"), "start_time")
    end = clean.time_or_none(body.get("end_time"), "end_time")
    dotted = body.get("dotted_order")
    root = last = None
    if isinstance(dotted, str) and dotted and len(dotted) <= DOTTED_CHARS:
        segments = dotted.split(".")
        root, last = _segment(segments[0]), _segment(segments[-1])
        if root and last:
            op.dotted_order = dotted
            op.trace_id = op.trace_id or root[1]
            if len(segments) > 1 and op.parent_run_id is None:
                parent = _segment(segments[-2])
                op.parent_run_id = parent[1] if parent else None
    if last is not None and (start is None or abs(start - last[0]) > DISAGREEMENT):
        start = last[0]
    op.start_time, op.end_time = start, end
    if start is None:
        return
    if now - OLDEST <= start <= now + FURTHEST:
        op.day = (last[0] if last else start).date()
        _check_kept(op.day, "start_time", now, kept)
        op.trace_start = root[0] if root and now - kept <= root[0] <= now + FURTHEST else None
        return
    # An absurd clock. The time is ours; how long the run took is still the client's to say.
    op.start_time = now
    op.duration = timedelta(0)
    if end is not None:
        op.duration = max(timedelta(0), end - start)
        op.end_time = now + min(op.duration, timedelta(days=1))


@lru_cache(maxsize=4096)
def _segment(segment: str) -> tuple[datetime, UUID] | None:
    """Return time and run id of a segment of a dotted order, or None where it is none."""
    stamp = segment[:_STAMP_CHARS]
    try:
        # cached, since a root's segment comes back in every part of every run of its trace
        at = datetime(
            int(stamp[:4]), int(stamp[4:6]), int(stamp[6:8]), int(stamp[9:11]), int(stamp[11:13]), int(stamp[13:15]),
            int(stamp[15:21]), UTC,
        )  # fmt: skip
        run_id = clean.uuid_or_none(segment[_STAMP_CHARS:], "dotted_order")
    except (ValueError, BadFieldError):
        return None
    return (at, run_id) if run_id is not None and stamp[8] == "T" and stamp[21:] == "Z" else None


def _tags(value: Any) -> list[str] | None:
    if not isinstance(value, list) or not value:
        return None
    tags = (clean.text(tag, TAG_CHARS) for tag in value[:TAGS])
    return [tag.replace(TAG_SEPARATOR, " ") for tag in tags if tag] or None


def _metadata(value: dict[str, Any]) -> dict[str, Any]:
    """Return metadata that Postgres can hold; too much of it is cut to its first keys and their first characters."""
    try:
        raw = orjson.dumps(value)
    except TypeError:
        raw = b"\\u0000"
    if len(raw) <= METADATA_BYTES and b"\\u0000" not in raw:
        return value
    value = clean.clean(value)
    if len(raw) <= METADATA_BYTES:
        return value
    scalars = {
        key[:METADATA_CHARS]: item[:METADATA_CHARS] if isinstance(item, str) else item
        for key, item in value.items()
        if isinstance(item, str | int | float | bool)
    }
    return {**dict(list(scalars.items())[:METADATA_KEYS]), "metamon_truncated": True}


_OWN_USAGE = {"prompt_tokens", "completion_tokens", "total_tokens", "total_cost"}


def _usage(body: dict[str, Any], metadata: dict[str, Any], outputs: Any) -> dict[str, Any]:
    """Return tokens and cost from where the SDK and LangChain put them: outputs, else metadata, else the run itself."""
    usage = outputs.get("usage_metadata") if isinstance(outputs, dict) else None
    if not isinstance(usage, dict):
        usage = metadata.get("usage_metadata")
    if not isinstance(usage, dict):
        usage = _langchain_usage(outputs)
    if not usage and not _OWN_USAGE & body.keys():
        return {}  # most runs are no model calls
    prompt = clean.count_or_none(usage.get("input_tokens", usage.get("prompt_tokens", body.get("prompt_tokens"))))
    completion = clean.count_or_none(
        usage.get("output_tokens", usage.get("completion_tokens", body.get("completion_tokens")))
    )
    total = clean.count_or_none(usage.get("total_tokens", body.get("total_tokens")))
    if total is None and (prompt is not None or completion is not None):
        total = (prompt or 0) + (completion or 0)
    cost = clean.cost_or_none(usage.get("total_cost", body.get("total_cost")))
    if cost is None:
        parts = [clean.cost_or_none(usage.get(name)) for name in ("input_cost", "output_cost")]
        cost = sum(part or 0.0 for part in parts) if any(part is not None for part in parts) else None
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total, "total_cost": cost}


def _langchain_usage(outputs: Any) -> dict[str, Any]:
    """Return the usage in the outputs of LangChain's tracer: in the message, or in `llm_output`."""
    if not isinstance(outputs, dict):
        return {}
    try:
        usage = outputs["generations"][0][0]["message"]["kwargs"]["usage_metadata"]
        if isinstance(usage, dict):
            return usage
    except (KeyError, IndexError, TypeError):
        pass
    llm_output = outputs.get("llm_output")
    usage = llm_output.get("token_usage") if isinstance(llm_output, dict) else None
    return usage if isinstance(usage, dict) else {}
