"""Golden sets, validation runs and their cases."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from core.states import CaseOutcome, ValidationState, Verdict
from db.base import Base, BigId, Created, Id, Json, state_type


class GoldenSet(Base):
    """A version of a golden set. Never edited in place: a change is a new version."""

    __tablename__ = "golden_sets"

    id: Mapped[Id]
    app_id: Mapped[int] = mapped_column(ForeignKey("apps.id", ondelete="CASCADE"))
    name: Mapped[str]
    version: Mapped[int]
    hash: Mapped[str]
    """SHA-256 over the canonical JSON of its cases."""
    cases: Mapped[int]
    created_at: Mapped[Created]

    __table_args__ = (
        UniqueConstraint("app_id", "name", "version", name="uq_golden_sets_version"),
        UniqueConstraint("app_id", "name", "hash", name="uq_golden_sets_hash"),
    )


class GoldenCase(Base):
    """One question with what a right answer looks like."""

    __tablename__ = "golden_cases"

    id: Mapped[BigId]
    set_id: Mapped[int] = mapped_column(ForeignKey("golden_sets.id", ondelete="CASCADE"))
    key: Mapped[str]
    inputs: Mapped[Json]
    checks: Mapped[list[Json]]
    """Evaluators to apply: see `targets.evaluators`."""
    tags: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    """Slices: {"topic": "balance sheet", "region": "emea"}."""

    __table_args__ = (UniqueConstraint("set_id", "key", name="uq_golden_cases_key"),)


class ValidationResult(Base):
    """One validation: candidate against baseline over a golden set."""

    __tablename__ = "validation_results"

    id: Mapped[Id]
    app_id: Mapped[int] = mapped_column(ForeignKey("apps.id", ondelete="CASCADE"))
    proposal_id: Mapped[int | None] = mapped_column(
        ForeignKey("improvement_proposals.id", ondelete="CASCADE"), index=True
    )
    """NULL for an ad-hoc run."""
    set_id: Mapped[int] = mapped_column(ForeignKey("golden_sets.id"))
    set_hash: Mapped[str]
    state: Mapped[ValidationState] = mapped_column(
        state_type(ValidationState), server_default=ValidationState.QUEUED.value
    )
    verdict: Mapped[Verdict | None] = mapped_column(state_type(Verdict))
    reasons: Mapped[list[str]] = mapped_column(server_default=text("'[]'"))
    target: Mapped[Json]
    baseline: Mapped[Json]
    """The configuration the app runs with."""
    candidate: Mapped[Json]
    """The same with the change applied."""
    repeats: Mapped[int] = mapped_column(server_default="1")
    smoke: Mapped[int] = mapped_column(server_default="0")
    """Cases of the stratified sample that runs first and may stop the rest; 0 for none."""
    total: Mapped[int]
    """Case × arm × repeat executions that this run needs."""
    remaining: Mapped[int]
    """Chunks that have not reported yet; the one that brings it to zero starts `validation.finish`."""
    chunks: Mapped[int] = mapped_column(server_default="0")
    launched: Mapped[int] = mapped_column(server_default="0")
    """Chunks that were sent on their way: few at a time, so that the app is not asked more at once than agreed."""
    subset: Mapped[list[int] | None] = mapped_column(JSONB(none_as_null=True))
    """Ids of the cases, where not the whole set is run. Such a run never moves a proposal."""
    resumed_from: Mapped[int | None] = mapped_column(ForeignKey("validation_results.id", ondelete="SET NULL"))
    """The run whose finished executions this one took over."""
    budget_usd: Mapped[float | None]
    budget_tokens: Mapped[int | None]
    spent_usd: Mapped[float] = mapped_column(server_default="0")
    spent_tokens: Mapped[int] = mapped_column(server_default="0")
    judges: Mapped[list[str]] = mapped_column(server_default=text("'[]'"))
    """Model and prompt that judged by criteria, by version; more than one where it changed on the way."""
    project_id: Mapped[UUID | None]
    """The experiment that both arms are traced to."""
    baseline_metrics: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    candidate_metrics: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    comparison: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    """By metric: delta, interval, p_worse, p_better, p_noninferior, cases."""
    regressions: Mapped[int] = mapped_column(server_default="0")
    regressed: Mapped[list[Json]] = mapped_column(server_default=text("'[]'"))
    """[{"key", "metric", "baseline", "candidate", "baseline_run_id", "candidate_run_id"}]"""
    seed: Mapped[int]
    requested_by: Mapped[str]
    created_at: Mapped[Created]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class ValidationCase(Base):
    """One execution of one case in one arm."""

    __tablename__ = "validation_cases"

    id: Mapped[BigId]
    validation_id: Mapped[int] = mapped_column(ForeignKey("validation_results.id", ondelete="CASCADE"))
    case_id: Mapped[int] = mapped_column(ForeignKey("golden_cases.id"))
    arm: Mapped[str]
    """`baseline` or `candidate`."""
    repeat: Mapped[int]
    outcome: Mapped[CaseOutcome] = mapped_column(state_type(CaseOutcome))
    output: Mapped[str | None]
    """What the target answered, capped."""
    scores: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    """By metric: a number in [0, 1] for pass/fail metrics, or a measurement."""
    latency_ms: Mapped[float | None]
    cost: Mapped[float | None]
    """USD."""
    tokens: Mapped[int | None]
    error: Mapped[str | None]
    run_id: Mapped[str | None]
    created_at: Mapped[Created]

    __table_args__ = (
        UniqueConstraint("validation_id", "case_id", "arm", "repeat", name="uq_validation_cases_execution"),
    )
