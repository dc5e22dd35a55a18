"""One chunk of a validation: both arms of each case side by side, every execution on record before the next."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import structlog

from agents.validation_plan import PlannedCase, chunk_size, layout
from core.errors import TransientError
from core.states import CaseOutcome, ValidationState
from db.models.apps import App
from db.models.validation import GoldenCase, ValidationResult
from db.repositories import golden, validations
from db.session import Sessions
from targets.answers import Answer, Target
from targets.checks import Check
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
    spec: Spec
    sla_ms: float
    configs: Mapping[str, Mapping[str, Any]]
    repeats: int
    seed: int
    cases: list[GoldenCase]
    checks: dict[int, list[Check]]
    done: set[tuple[int, str, int]] = field(default_factory=set)


def planned(rows: list[GoldenCase]) -> list[PlannedCase]:
    """Return what the plan needs to know of stored cases."""
    return [PlannedCase(row.id, row.tags, frozenset(metrics_of(parse_checks(row.checks)))) for row in rows]


def chunks_of(validation: ValidationResult, rows: list[GoldenCase]) -> list[list[int]]:
    """Return a run's chunks: always the same for the same run."""
    spec = parse_target(validation.target)
    size = chunk_size(spec.timeout_s, validation.repeats)
    return layout(planned(rows), seed=validation.seed, size=size, smoke=validation.smoke)


def load(sessions: Sessions, validation_id: int, chunk: int) -> Work | None:
    """Read a chunk, or return None where the run is over or cancelled."""
    with sessions() as session:
        validation = validations.get(session, validation_id)
        if validation.state is not ValidationState.RUNNING:
            return None
        rows = golden.cases_of(session, validation.set_id)
        ids = chunks_of(validation, rows)[chunk]
        by_id = {row.id: row for row in rows}
        app = session.get_one(App, validation.app_id)
        return Work(
            validation_id=validation_id,
            spec=parse_target(validation.target),
            sla_ms=app.sla_ms,
            configs={"baseline": validation.baseline, "candidate": validation.candidate},
            repeats=validation.repeats,
            seed=validation.seed,
            cases=[by_id[case_id] for case_id in ids],
            checks={case_id: parse_checks(by_id[case_id].checks) for case_id in ids},
            done=validations.executed(session, validation_id, ids),
        )


def run_chunk(
    sessions: Sessions,
    work: Work,
    *,
    attempt: int = OUTAGE_ATTEMPTS,
    opener: Callable[[Spec], Target] = open_target,
) -> None:
    """Run what is missing of a chunk. Cases that are on record already are not run again.

    The arms of a case start in an order that the seed decides and run side by side, so that whatever the machine is
    busy with falls on both.

    Raises:
        TargetAwayError: the target could not be asked, and this is not the last attempt at it.
    """
    targets = {arm: opener(work.spec) for arm in ARMS}
    pools = {arm: ThreadPoolExecutor(1, thread_name_prefix=arm) for arm in ARMS}
    try:
        for repeat in range(work.repeats):
            for case in work.cases:
                arms = [arm for arm in _order(work.seed, case.id, repeat) if (case.id, arm, repeat) not in work.done]
                if not arms:
                    continue
                asked = {arm: pools[arm].submit(targets[arm].ask, case.inputs, work.configs[arm]) for arm in arms}
                answers = {arm: future.result() for arm, future in asked.items()}
                away = next((a for a in answers.values() if a.outcome is CaseOutcome.NOT_RUN), None)
                if away is not None and attempt < OUTAGE_ATTEMPTS:
                    # The other arm's answer is dropped as well: a pair is asked at one time or not at all.
                    raise TargetAwayError(away.error or "the target could not be asked")
                if not _record(sessions, work, case, repeat, answers):
                    return
    finally:
        for arm in ARMS:
            # On its own thread: the kernel ends a sandbox when the thread that started it does.
            pools[arm].submit(targets[arm].close).result()
            pools[arm].shutdown()


def _record(sessions: Sessions, work: Work, case: GoldenCase, repeat: int, answers: Mapping[str, Answer]) -> bool:
    """Write the pair in one short transaction; False where the run was cancelled meanwhile."""
    rows = []
    for arm, answer in answers.items():
        judged = judge(answer, work.checks[case.id], sla_ms=work.sla_ms)
        rows.append(
            {
                "case_id": case.id,
                "arm": arm,
                "repeat": repeat,
                "outcome": judged.outcome,
                "output": storable(answer.output),
                "scores": judged.scores,
                "latency_ms": answer.latency_ms,
                "cost": answer.cost,
                "error": _clean(judged.error)[:ERROR_CAP] if judged.error else None,
                "run_id": answer.run_id,
            }
        )
    with sessions() as session, session.begin():
        if not validations.is_running(session, work.validation_id):
            return False
        validations.add_executions(session, work.validation_id, rows)
    return True


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
