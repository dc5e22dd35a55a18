"""Validation runs as people read them: the list, one run with its comparison, its cases, how far it is."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

from pydantic import BaseModel
from sqlalchemy import Float, Select, case, cast, distinct, func, select, true, tuple_
from sqlalchemy.orm import Session, aliased

from core.errors import NotFoundError
from core.states import CaseOutcome, ValidationState, Verdict
from db.models.apps import App
from db.models.validation import GoldenCase, GoldenSet, ValidationCase, ValidationResult
from db.queries.paging import ASCENDING, DESCENDING, Key, after
from db.queries.proposals import ScreenRecord, screen_of


class ValidationRecord(BaseModel):
    """One run in a list."""

    id: int
    proposal_id: int | None
    app: str
    state: ValidationState
    verdict: Verdict | None
    cases: int
    repeats: int
    regressions: int
    reasons: list[str]
    budget_usd: float | None
    budget_tokens: int | None
    spent_usd: float
    spent_tokens: int
    resumed_from: int | None
    requested_by: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class Regressed(BaseModel):
    """A case whose score fell, with both answers."""

    key: str
    metric: str
    baseline: float
    candidate: float
    baseline_output: str = ""
    candidate_output: str = ""
    baseline_error: str | None = None
    candidate_error: str | None = None
    baseline_run_id: str | None = None
    candidate_run_id: str | None = None
    baseline_url: str | None = None
    candidate_url: str | None = None


class ValidationDetail(ValidationRecord):
    """One run with all that it found."""

    golden_set: str
    golden_version: int
    golden_hash: str
    judges: list[str]
    """Versions of the model that judged by criteria; empty where no check asks one."""
    screen: ScreenRecord | None
    """What the quick screen saw of its proposal before: no part of this run."""
    changed: dict[str, dict[str, Any]]
    """What differs between the arms: {"key": {"from", "to"}}."""
    comparison: dict[str, dict[str, Any]]
    regressed: list[Regressed]
    seed: int
    total: int
    smoke: int


class CaseRecord(BaseModel):
    """One execution."""

    case_id: int
    key: str
    arm: str
    repeat: int
    outcome: CaseOutcome
    scores: dict[str, float]
    latency_ms: float | None
    cost: float | None
    tokens: int | None
    output: str | None
    error: str | None
    run_id: str | None
    tags: dict[str, Any]


class Progress(BaseModel):
    """How far a run is, in executions of the candidate and the baseline together."""

    id: int
    state: ValidationState
    verdict: Verdict | None
    total: int
    done: int
    ok: int
    failed: int
    judge_errors: int
    not_run: int
    regressed: int
    """Pairs so far whose candidate scored less than its baseline on some metric."""
    spent_usd: float
    started_at: datetime | None


def list_validations(
    session: Session,
    *,
    app: str | None = None,
    proposal_id: int | None = None,
    key: Key | None = None,
    limit: int = 100,
) -> list[ValidationRecord]:
    """Return runs, newest first.

    Args:
        key: (id,) of the last one seen.
    """
    statement = _base()
    if app is not None:
        statement = statement.where(App.name == app)
    if proposal_id is not None:
        statement = statement.where(ValidationResult.proposal_id == proposal_id)
    statement = after(statement, (ValidationResult.id, DESCENDING), key=key, limit=limit)
    return [_record(row, name) for row, name, _ in session.execute(statement)]


def show_validation(session: Session, validation_id: int) -> ValidationDetail:
    """Return one run.

    Raises:
        NotFoundError: there is no such run.
    """
    found = session.execute(_base().where(ValidationResult.id == validation_id)).one_or_none()
    if found is None:
        raise _missing(validation_id)
    row, name, golden = found
    keys = sorted({*row.baseline, *row.candidate})
    return ValidationDetail(
        **_record(row, name).model_dump(),
        golden_set=golden.name,
        golden_version=golden.version,
        golden_hash=row.set_hash,
        judges=row.judges,
        screen=screen_of(session, row.proposal_id),
        changed={
            key: {"from": row.baseline.get(key), "to": row.candidate.get(key)}
            for key in keys
            if row.baseline.get(key) != row.candidate.get(key)
        },
        comparison=row.comparison,
        regressed=[Regressed.model_validate(entry) for entry in row.regressed],
        seed=row.seed,
        total=row.total,
        smoke=row.smoke,
    )


def list_cases(
    session: Session,
    validation_id: int,
    *,
    outcome: CaseOutcome | None = None,
    arm: str | None = None,
    key: Key | None = None,
    limit: int = 1000,
) -> list[CaseRecord]:
    """Return a run's executions, by case, repeat and arm.

    Args:
        key: (case's id, repeat, arm) of the last one seen.

    Raises:
        NotFoundError: there is no such run.
    """
    if session.get(ValidationResult, validation_id) is None:
        raise _missing(validation_id)
    statement = (
        select(ValidationCase, GoldenCase.key, GoldenCase.tags)
        .join(GoldenCase, GoldenCase.id == ValidationCase.case_id)
        .where(ValidationCase.validation_id == validation_id)
    )
    if outcome is not None:
        statement = statement.where(ValidationCase.outcome == outcome)
    if arm is not None:
        statement = statement.where(ValidationCase.arm == arm)
    order = ((column, ASCENDING) for column in (ValidationCase.case_id, ValidationCase.repeat, ValidationCase.arm))
    statement = after(statement, *order, key=key, limit=limit)
    return [
        CaseRecord(
            key=key,
            tags=tags,
            **{
                name: getattr(row, name)
                for name in (
                    "case_id",
                    "arm",
                    "repeat",
                    "outcome",
                    "scores",
                    "latency_ms",
                    "cost",
                    "tokens",
                    "output",
                    "error",
                    "run_id",
                )
            },
        )
        for row, key, tags in session.execute(statement)
    ]


def progress(session: Session, validation_id: int) -> Progress:
    """Return how far a run is.

    Raises:
        NotFoundError: there is no such run.
    """
    row = session.get(ValidationResult, validation_id)
    if row is None:
        raise _missing(validation_id)
    counts: Counter[CaseOutcome] = Counter()
    for outcome, count in session.execute(
        select(ValidationCase.outcome, func.count())
        .where(ValidationCase.validation_id == validation_id)
        .group_by(ValidationCase.outcome)
    ):
        counts[outcome] = count
    return Progress(
        id=row.id,
        state=row.state,
        verdict=row.verdict,
        total=row.total,
        done=counts.total(),
        ok=counts[CaseOutcome.OK],
        failed=counts[CaseOutcome.FAILED],
        judge_errors=counts[CaseOutcome.JUDGE_ERROR],
        not_run=counts[CaseOutcome.NOT_RUN] + counts[CaseOutcome.SKIPPED],
        regressed=_regressed_so_far(session, validation_id),
        spent_usd=row.spent_usd,
        started_at=row.started_at,
    )


def _regressed_so_far(session: Session, validation_id: int) -> int:
    """Count the pairs that got worse. One pass over the run's rows by their unique key."""
    base, other = aliased(ValidationCase), aliased(ValidationCase)
    score = func.jsonb_each_text(base.scores).table_valued("key", "value", joins_implicitly=True)
    fell = cast(other.scores[score.c.key].astext, Float) < cast(score.c.value, Float)
    return (
        session.scalar(
            select(func.count(distinct(tuple_(base.case_id, base.repeat))))
            .select_from(base)
            .join(
                other,
                (other.validation_id == base.validation_id)
                & (other.case_id == base.case_id)
                & (other.repeat == base.repeat)
                & (other.arm == "candidate"),
            )
            .join(score, true())
            .where(base.validation_id == validation_id, base.arm == "baseline", fell)
        )
        or 0
    )


def case_results(session: Session, validation_id: int) -> list[tuple[str, str | None, str | None]]:
    """Return (key, error of judging or running, what regressed) per golden case, for a report in JUnit's form."""
    detail = show_validation(session, validation_id)
    silent = case((ValidationCase.outcome.in_((CaseOutcome.JUDGE_ERROR, CaseOutcome.NOT_RUN)), ValidationCase.error))
    rows = session.execute(
        select(GoldenCase.key, func.max(silent))
        .join(ValidationCase, ValidationCase.case_id == GoldenCase.id)
        .where(ValidationCase.validation_id == validation_id)
        .group_by(GoldenCase.id, GoldenCase.key)
        .order_by(GoldenCase.id)
    )
    worse: dict[str, list[str]] = {}
    for entry in detail.regressed:
        said = entry.candidate_error or entry.candidate_output
        worse.setdefault(entry.key, []).append(f"{entry.metric} {entry.baseline:g} → {entry.candidate:g}: {said}")
    return [(key, error, "\n".join(worse[key]) if key in worse else None) for key, error in rows]


def _base() -> Select[ValidationResult, str, GoldenSet]:
    return (
        select(ValidationResult, App.name, GoldenSet)
        .join(App, App.id == ValidationResult.app_id)
        .join(GoldenSet, GoldenSet.id == ValidationResult.set_id)
    )


def _record(row: ValidationResult, app: str) -> ValidationRecord:
    return ValidationRecord(
        id=row.id,
        proposal_id=row.proposal_id,
        app=app,
        state=row.state,
        verdict=row.verdict,
        cases=row.total // (2 * row.repeats),
        repeats=row.repeats,
        regressions=row.regressions,
        reasons=row.reasons,
        budget_usd=row.budget_usd,
        budget_tokens=row.budget_tokens,
        spent_usd=row.spent_usd,
        spent_tokens=row.spent_tokens,
        resumed_from=row.resumed_from,
        requested_by=row.requested_by,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )


def _missing(validation_id: int) -> NotFoundError:
    return NotFoundError(f"there is no validation {validation_id}; `metamon validate list` shows what there is")
