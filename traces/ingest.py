"""An upload becomes rows: cleaned, addressed, written in one transaction, durable when this returns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, OperationalError, ProgrammingError

from db.repositories import feedback as feedback_rows
from db.repositories import partitions, projects, runs
from db.repositories.feedback import FeedbackOp
from db.session import Sessions
from traces import clean, normalise
from traces.clean import BadFieldError
from traces.normalise import FIELDS, Addressed, RawRun
from traces.wire import MAX_BODY_BYTES, MAX_RUNS, Part, TooLargeError

ATTEMPTS = 4
ATTACHMENT = "attachment"


@dataclass
class Upload:
    """The runs and the feedback of one upload, and what could not be read of it, by the part's name.

    `kept` is how long runs and feedback are kept: what is older is refused.
    """

    kept: timedelta = normalise.OLDEST
    runs: list[Addressed] = field(default_factory=list)
    feedback: list[FeedbackOp] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    refused_rows: int = 0

    @property
    def stored(self) -> int:
        """How many runs and pieces of feedback are in the store once `store` has returned."""
        return len(self.runs) + len(self.feedback) - self.refused_rows

    def add_run(self, raws: Sequence[RawRun], name: str, *, now: datetime) -> None:
        """Take a run in, all its posts and patches or none, or note why not; other runs are not affected."""
        try:
            self.runs.append(normalise.run_op(raws, now=now, kept=self.kept))
        except BadFieldError as error:
            self.errors[name] = str(error)

    def add_feedback(self, body: Any, name: str, *, now: datetime) -> None:
        """Take feedback in, or note why not."""
        try:
            if not isinstance(body, dict):
                raise BadFieldError("feedback must be a JSON object")
            self.feedback.append(normalise.feedback_op(body, now=now, kept=self.kept))
        except BadFieldError as error:
            self.errors[name] = str(error)


def from_parts(parts: Iterable[Part], *, now: datetime, kept: timedelta = normalise.OLDEST) -> Upload:
    """Return the upload that the parts of a multipart body make.

    A part that cannot be read costs its own run only. Attachments are not kept: nothing here looks at them.
    """
    upload = Upload(kept=kept)
    runs: dict[str, list[RawRun]] = {}
    last: dict[str, RawRun] = {}
    early: dict[str, dict[str, bytes]] = {}
    refused: set[str] = set()
    for part in parts:
        kind, _, rest = part.name.partition(".")
        if kind == ATTACHMENT:
            continue
        run_id, _, payload = rest.partition(".")
        name = f"{kind}.{run_id}"
        try:
            if len(part.data) > MAX_BODY_BYTES:
                raise BadFieldError(f"a part has at most {MAX_BODY_BYTES} bytes")
            if kind == "feedback":
                upload.add_feedback(clean.document(part.data, part.name)[0], part.name, now=now)
            elif kind not in ("post", "patch"):
                raise BadFieldError("a part is post.<id>, patch.<id>, feedback.<id> or attachment.<id>.<name>")
            elif payload in FIELDS:
                (last[name].blobs if name in last else early.setdefault(name, {}))[payload] = part.data
            elif payload:
                raise BadFieldError(f"a run has no part {payload[:50]!r}; known: {', '.join(FIELDS)}")
            else:
                body = clean.document(part.data, part.name)[0]
                if not isinstance(body, dict):
                    raise BadFieldError("a run must be a JSON object")
                body.setdefault("id", run_id)
                last[name] = RawRun(kind == "post", body, early.pop(name, {}))
                runs.setdefault(run_id, []).append(last[name])
        except BadFieldError as error:
            upload.errors[part.name] = str(error)
            refused.add(run_id)
    for name in early:
        upload.errors.setdefault(name, "the run's own part is missing; its payloads alone say nothing")
    for run_id, raws in runs.items():
        if run_id not in refused:
            upload.add_run(raws, f"{'post' if raws[0].posted else 'patch'}.{run_id}", now=now)
    return upload


def from_batch(document: Any, *, now: datetime, kept: timedelta = normalise.OLDEST) -> Upload:
    """Return the upload that a `{"post": […], "patch": […]}` document makes.

    Raises:
        BadFieldError: it is no such document.
        TooLargeError: it has more than `MAX_RUNS` posts and patches.
    """
    if not isinstance(document, dict):
        raise BadFieldError("a batch is a JSON object with the lists post and patch")
    upload = Upload(kept=kept)
    runs: dict[str, list[RawRun]] = {}
    names: dict[str, str] = {}
    batch = {kind: document.get(kind) or [] for kind in ("post", "patch")}
    for kind, bodies in batch.items():
        if not isinstance(bodies, list):
            raise BadFieldError(f"{kind} must be a list of runs")
    count = sum(map(len, batch.values()))
    if count > MAX_RUNS:
        raise TooLargeError(f"the batch has {count} posts and patches, more than {MAX_RUNS}; send fewer runs at once")
    for kind, bodies in batch.items():
        for number, body in enumerate(bodies):
            name = f"{kind}[{number}]"
            if isinstance(body, dict):
                key = str(body.get("id", name))
                names.setdefault(key, name)
                runs.setdefault(key, []).append(RawRun(kind == "post", body))
            else:
                upload.errors[name] = "a run must be a JSON object"
    for key, raws in runs.items():
        upload.add_run(raws, names[key], now=now)
    return upload


def store(sessions: Sessions, upload: Upload, *, now: datetime) -> None:
    """Write the upload in one transaction and return when it is durable.

    What Postgres refuses is split off and named in `upload.errors`; the rest is kept. Sending it again is harmless.
    """
    refused: dict[str, str] = {}
    _store(sessions, upload.runs, upload.feedback, refused, now)
    upload.errors |= refused
    upload.refused_rows = len(refused)


def _store(
    sessions: Sessions, addressed: Sequence[Addressed], feedback: Sequence[FeedbackOp], errors: dict[str, str],
    now: datetime,
) -> None:  # fmt: skip
    if not addressed and not feedback:
        return
    try:
        _with_retries(sessions, addressed, feedback, now)
    except DataError as error:
        if len(addressed) + len(feedback) == 1:
            name = str(addressed[0].op.id if addressed else feedback[0].id)
            errors[name] = f"the database refuses it: {str(error.orig).splitlines()[0][:200]}"
            return
        half, feedback_half = len(addressed) // 2, len(feedback) // 2
        if addressed and feedback:
            _store(sessions, addressed, [], errors, now)
            _store(sessions, [], feedback, errors, now)
        else:
            _store(sessions, addressed[:half], feedback[:feedback_half], errors, now)
            _store(sessions, addressed[half:], feedback[feedback_half:], errors, now)


def _with_retries(
    sessions: Sessions, addressed: Sequence[Addressed], feedback: Sequence[FeedbackOp], now: datetime
) -> None:
    careful = False
    attempt = 1
    while True:
        try:
            _write(sessions, addressed, feedback, now, careful=careful)
        except runs.NotNewError:
            careful = True  # once: a careful write meets nothing that it takes for new
        except (IntegrityError, ProgrammingError, OperationalError) as error:
            # A partition that retention dropped, a project that somebody deleted, a dead-lock: look again.
            if attempt == ATTEMPTS or not _worth_another_try(error):
                raise
            attempt += 1
            partitions.forget(sessions)
            projects.forget(sessions)
        else:
            return


def _worth_another_try(error: DBAPIError) -> bool:
    state = getattr(error.orig, "sqlstate", None) or ""
    return state in ("42P01", "23514", "23503", "40P01", "40001")


def _write(
    sessions: Sessions,
    addressed: Sequence[Addressed],
    feedback: Sequence[FeedbackOp],
    now: datetime,
    *,
    careful: bool,
) -> None:
    homed = {item.op.id for item in addressed if item.project or item.project_id}
    names = {item.project for item in addressed if item.project}
    if any(item.op.id not in homed for item in addressed):
        names.add(projects.DEFAULT)
    ids = {item.project_id for item in addressed if item.project_id is not None and not item.project}
    known = projects.ensure(sessions, names, ids)
    ops = []
    for item in addressed:
        key = item.project or (str(item.project_id) if item.project_id else None)
        item.op.project_id = known[key] if key else None
        ops.append(item.op)
    days = {op.day for op in ops if op.day is not None} | {op.day for op in feedback}
    if any(op.day is None for op in ops):
        days.add(now.date())
    partitions.ensure(sessions, days)
    with sessions() as session, session.begin():
        touched = (
            runs.write(session, ops, now=now, default_project=known.get(projects.DEFAULT), careful=careful)
            if ops
            else set()
        )
        touched_too, unknown = feedback_rows.write(session, feedback, now=now)
        runs.note_changes(session, touched | touched_too)
    if unknown:
        with sessions() as session, session.begin():
            feedback_rows.settle(session, unknown, now=now)
