"""The daily score, and what a deployed change was really worth."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import ForeignKey, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base, BigId, Created, Id, Json


class MetaEvaluationRun(Base):
    """One app's day: score and metrics against the day before and the baseline."""

    __tablename__ = "meta_evaluation_runs"

    id: Mapped[Id]
    app_id: Mapped[int] = mapped_column(ForeignKey("apps.id", ondelete="CASCADE"))
    day: Mapped[date]
    """The app's local date."""
    window_start: Mapped[datetime]
    window_end: Mapped[datetime]
    runs: Mapped[int]
    quality_score: Mapped[float | None]
    """Weighted mean of the quality metrics, 0–1; NULL on a day without data."""
    fact_accuracy: Mapped[float | None]
    guardrail_pass_rate: Mapped[float | None]
    sla_compliance: Mapped[float | None]
    error_rate: Mapped[float | None]
    latency_p95_s: Mapped[float | None]
    cost: Mapped[float | None]
    metrics: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    vs_previous_day: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    """By metric: {"value", "delta", "interval": [low, high], "significant"}."""
    vs_baseline: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    summary: Mapped[str] = mapped_column(server_default="")
    created_at: Mapped[Created]

    __table_args__ = (UniqueConstraint("app_id", "day", name="uq_meta_evaluation_runs_day"),)


class ImprovementImpact(Base):
    """Predicted against measured for one deployed proposal."""

    __tablename__ = "improvement_impact"

    id: Mapped[Id]
    proposal_id: Mapped[int] = mapped_column(ForeignKey("improvement_proposals.id", ondelete="CASCADE"), unique=True)
    rollout_id: Mapped[int] = mapped_column(ForeignKey("rollouts.id", ondelete="CASCADE"))
    metric: Mapped[str]
    method: Mapped[str]
    """`holdback` (a randomised contrast); without one `placebo` (a test over time) or `description`: not causal."""
    before: Mapped[Json]
    """Hold-back arm: {"value", "units"}; where nobody was held back, the days before: {"value", "units": 0, "days"}."""
    after: Mapped[Json]
    """Candidate arm: {"value", "units"}."""
    predicted_pct: Mapped[float]
    measured_pct: Mapped[float | None]
    measured_low: Mapped[float | None]
    measured_high: Mapped[float | None]
    p_value: Mapped[float | None]
    significant: Mapped[bool]
    within_prediction: Mapped[bool | None]
    benefit: Mapped[float | None]
    cost: Mapped[float | None]
    roi: Mapped[float | None]
    roi_low: Mapped[float | None]
    roi_high: Mapped[float | None]
    assumptions: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    """Value of a good answer, price of an hour: what the ROI stands on."""
    explanation: Mapped[str | None]
    """The model's prose, where one is configured and kept to its packet."""
    explained_by: Mapped[str | None]
    """Name of that model, and where its prompt came from."""
    window_start: Mapped[datetime]
    window_end: Mapped[datetime]
    created_at: Mapped[Created]


class ModelUsage(Base):
    """What a language model was asked on our own behalf: the spend of one piece of work."""

    __tablename__ = "model_usage"

    id: Mapped[BigId]
    app_id: Mapped[int | None] = mapped_column(ForeignKey("apps.id", ondelete="CASCADE"))
    at: Mapped[Created] = mapped_column(index=True)
    purpose: Mapped[str]
    """`research` or `impact`."""
    model: Mapped[str]
    calls: Mapped[int]
    tokens: Mapped[int]
    token_cap: Mapped[int]
    """What it might have spent."""
    cost: Mapped[float] = mapped_column(server_default="0")
    """USD, by the prices in the settings."""
    outcome: Mapped[str] = mapped_column(server_default="answered")
    """`reserved` while it is under way (a crash leaves it so: its caps stay spent), `answered`, `failed`."""
