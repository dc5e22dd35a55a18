"""One chunk of a validation: both arms of each case side by side, every execution on record before the next."""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import structlog

from agents.validation import end as validation_end
from agents.validation.plan import PlannedCase, chunk_size, layout, pace
from agents.validation.traces import Tracer
from core.clock import utc_now
from core.completion import Grader
from core.errors import TransientError
from core.states import CaseOutcome, ValidationState
from db.models.apps import App
from db.models.validation import GoldenCase, ValidationResult
from db.repositories import golden, validations
from db.session import Sessions
from targets.answers import Answer, Target
from targets.checks import Check, Graded
from targets.evaluators import judge, metrics_of, parse_checks
from targets.spec import Spec, open_target, parse_target

log = structlog.get_logger(__name__)

ARMS = ("baseline", "candidate")
OUTPUT_CAP = 8_000
"""Characters of an answer that are kept."""
ERROR_CAP = 2_000
OUTAGE_ATTEMPTS = 3
"""How often a chunk waits for a target that cannot be asked before its cases count as not run."""


class TargetAwayError(TransientError):
    """The target could not be asked; it may be back in a moment."""


@dataclass(frozen=True)
class Work:
    """A chunk, read from the database."""

    validation_id: int
    source: str
    """Where the app's runs are recorded."""
    spec: Spec
    sla_ms: float
    configs: Mapping[str, Mapping[str, Any]]
    repeats: int
    seed: int
    cases: list[GoldenCase]
    checks: dict[int, list[Check]]
    done: set[tuple[int, str, int]] = field(default_factory=set)

    @property
    def needs_grader(self) -> bool:
        """Whether a check is judged by a model."""
        return any(isinstance(check, Graded) for checks in self.checks.values() for check in checks)


def planned(rows: list[GoldenCase]) -> list[PlannedCase]:
    """Return what the plan needs to know of stored cases."""
    return [PlannedCase(row.id, row.tags, frozenset(metrics_of(parse_checks(row.checks)))) for row in rows]


def chunks_of(validation: ValidationResult, outline: list[tuple[int, dict[str, Any]]]) -> list[list[int]]:
    """Return a run's chunks: always the same for the same run.

    Args:
        outline: id and tags of the set's cases.
    """
    spec = parse_target(validation.target)
    wanted = None if validation.subset is None else set(validation.subset)
    cases = [PlannedCase(i, tags, frozenset()) for i, tags in outline if wanted is None or i in wanted]
    size = chunk_size(spec.timeout_s, validation.repeats, pace(spec.concurrency).lanes)
    return layout(cases, seed=validation.seed, size=size, smoke=validation.smoke)


def load(sessions: Sessions, validation_id: int, chunk: int) -> Work | None:
    """Read a chunk, or return None where the run is over or cancelled."""
    with sessions() as session:
        validation = validations.get(session, validation_id)
        if validation.state is not ValidationState.RUNNING:
            return None
        ids = chunks_of(validation, golden.outline(session, validation.set_id))[chunk]
        rows = golden.some_of(session, ids)
        app = session.get_one(App, validation.app_id)
        return Work(
            validation_id=validation_id,
            source=app.source,
            spec=parse_target(validation.target),
            sla_ms=app.sla_ms,
            configs={"baseline": validation.baseline, "candidate": validation.candidate},
            repeats=validation.repeats,
            seed=validation.seed,
            cases=rows,
            checks={row.id: parse_checks(row.checks) for row in rows},
            done=validations.executed(session, validation_id, ids),
        )


class Chunk:
    """A chunk under way: lanes that take pair after pair until none is left or the run is over.

    A pair is both arms of one case, once. They start in an order that the seed decides and run side by side, so that
    whatever the machine is busy with falls on both.

    Args:
        opener: opens a target; one per arm and lane.
        grader: the model that judges by criteria, where one is configured.
        tracer: records both arms as an experiment.
        attempt: how often the chunk has been tried, from 1.
    """

    def __init__(
        self,
        sessions: Sessions,
        work: Work,
        *,
        opener: Callable[[Spec], Target] = open_target,
        grader: Grader | None = None,
        tracer: Tracer | None = None,
        attempt: int = OUTAGE_ATTEMPTS,
    ) -> None:
        self.sessions = sessions
        self.work = work
        self.opener = opener
        self.grader = grader
        self.tracer = tracer
        self.attempt = attempt
        self.over = threading.Event()
        self._next = threading.Lock()
        self._pairs = self._left()
        shares = pace(work.spec.concurrency)
        rate = work.spec.rate_per_minute
        self._lanes = max(1, min(shares.lanes, len(work.cases)))
        self._interval = 60 * shares.window / rate if rate else 0.0
        self._free_at = time.monotonic()

    def run(self) -> None:
        """Run what is missing. Pairs that are on record already are not run again.

        Raises:
            TargetAwayError: the target could not be asked, and this is not the last attempt at it.
        """
        with ThreadPoolExecutor(self._lanes, thread_name_prefix="lane") as lanes:
            running = [lanes.submit(self._lane) for _ in range(self._lanes)]
        for lane in running:
            lane.result()

    def _left(self) -> Iterator[tuple[GoldenCase, int, tuple[str, ...]]]:
        for repeat, case in itertools.product(range(self.work.repeats), self.work.cases):
            order = _order(self.work.seed, case.id, repeat)
            arms = tuple(arm for arm in order if (case.id, arm, repeat) not in self.work.done)
            if arms:
                yield case, repeat, arms

    def _take(self) -> tuple[GoldenCase, int, tuple[str, ...]] | None:
        """Return the next pair when its turn has come; None where nothing is left to do."""
        with self._next:
            pair = None if self.over.is_set() else next(self._pairs, None)
            turn = max(self._free_at, time.monotonic())
            self._free_at = turn + self._interval
        if pair is None or self.over.wait(max(turn - time.monotonic(), 0) if self._interval else 0):
            return None
        return pair

    def _lane(self) -> None:
        targets = {arm: self.opener(self.work.spec) for arm in ARMS}
        pools = {arm: ThreadPoolExecutor(1, thread_name_prefix=arm) for arm in ARMS}
        try:
            while (pair := self._take()) is not None:
                self._ask(*pair, targets, pools)
        except BaseException:
            self.over.set()
            raise
        finally:
            for arm in ARMS:
                # On its own thread: the kernel ends a sandbox when the thread that started it does.
                pools[arm].submit(targets[arm].close).result()
                pools[arm].shutdown()

    def _ask(
        self,
        case: GoldenCase,
        repeat: int,
        arms: tuple[str, ...],
        targets: Mapping[str, Target],
        pools: Mapping[str, ThreadPoolExecutor],
    ) -> None:
        asked = {arm: pools[arm].submit(targets[arm].ask, case.inputs, self.work.configs[arm]) for arm in arms}
        answers = {arm: future.result() for arm, future in asked.items()}
        away = next((a for a in answers.values() if a.outcome is CaseOutcome.NOT_RUN), None)
        if away is not None and self.attempt < OUTAGE_ATTEMPTS:
            # The other arm's answer is dropped as well: a pair is asked at one time or not at all.
            raise TargetAwayError(away.error or "the target could not be asked")
        rows = [self._row(case, repeat, arm, answer) for arm, answer in answers.items()]
        now = utc_now()
        with self.sessions() as session, session.begin():
            ledger = validations.add_executions(session, self.work.validation_id, rows, judge=self._judge(case))
            if ledger.over_budget:
                validation_end.stop_at_budget(session, self.work.validation_id, now=now)
        if ledger.over_budget or not ledger.running:
            self.over.set()

    def _judge(self, case: GoldenCase) -> str | None:
        """Return which model judges the case; None where none does."""
        asked = any(isinstance(check, Graded) for check in self.work.checks[case.id])
        return self.grader.version if self.grader is not None and asked else None

    def _row(self, case: GoldenCase, repeat: int, arm: str, answer: Answer) -> dict[str, Any]:
        judged = judge(
            answer,
            self.work.checks[case.id],
            sla_ms=self.work.sla_ms,
            grader=self.grader,
            question=case.inputs,
        )
        row: dict[str, Any] = {
            "case_id": case.id,
            "arm": arm,
            "repeat": repeat,
            "outcome": judged.outcome,
            "output": storable(answer.output),
            "scores": judged.scores,
            "latency_ms": answer.latency_ms,
            "cost": answer.cost,
            "tokens": answer.tokens,
            "error": _clean(judged.error)[:ERROR_CAP] if judged.error else None,
            "run_id": answer.run_id,
        }
        if self.tracer is not None and answer.latency_ms is not None:
            took = timedelta(milliseconds=answer.latency_ms)
            row["run_id"] = self.tracer.trace(case.key, case.inputs, row, end=utc_now(), took=took)
        return row


def _order(seed: int, case_id: int, repeat: int) -> tuple[str, ...]:
    rng = random.Random(f"{seed}:{case_id}:{repeat}")  # noqa: S311 - an order, no secret
    return ARMS if rng.random() < 0.5 else ARMS[::-1]


def storable(output: Any) -> str | None:
    """Return an answer as text that Postgres takes, capped."""
    if output is None:
        return None
    text = output if isinstance(output, str) else json.dumps(output, ensure_ascii=False, default=str)
    return _clean(text)[:OUTPUT_CAP]


def _clean(text: str) -> str:
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
