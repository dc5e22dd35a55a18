"""What research proposes, and what people decide about it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from core.states import ProposalStatus
from db.base import Base, Created, Id, Json, state_type


class ImprovementProposal(Base):
    """A typed change with its reason, its price and its promise."""

    __tablename__ = "improvement_proposals"

    id: Mapped[Id]
    app_id: Mapped[int] = mapped_column(ForeignKey("apps.id", ondelete="CASCADE"))
    alert_id: Mapped[int | None] = mapped_column(ForeignKey("monitoring_alerts.id", ondelete="SET NULL"))
    rank: Mapped[int] = mapped_column(server_default="1")
    """1 is what would be tried first: by research, as the quick screen corrected it. The next one is validated only
    where the one before fell."""
    status: Mapped[ProposalStatus] = mapped_column(
        state_type(ProposalStatus), server_default=ProposalStatus.PROPOSED.value
    )
    kind: Mapped[str] = mapped_column(server_default="")
    """Kind of fix, the class that its promise and its effort are scored with: `revert`, `route_around` …"""
    title: Mapped[str]
    root_cause: Mapped[str]
    """The deterministic sentence."""
    explanation: Mapped[str | None]
    """The model's prose, where one is configured and kept to its packet."""
    explained_by: Mapped[str] = mapped_column(server_default="statistics")
    cause: Mapped[Json]
    """{"conditions": {attribute: value}, "excess", "explained", "precision", "p_value", "aliases", "onset"}."""
    hypotheses: Mapped[list[Json]] = mapped_column(server_default=text("'[]'"))
    """All of them, the rejected ones with their reason."""
    evidence: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    change: Mapped[Json]
    """{"type": "prompt|parameter|routing|code", "key", "from", "to", "note"}: see `agents.change`."""
    change_hash: Mapped[str]
    """What an approval is bound to."""
    metric: Mapped[str]
    """The metric that the prediction is about."""
    ceiling_pct: Mapped[float | None]
    """What a perfect fix would be worth; the prediction is a share of it."""
    predicted_pct: Mapped[float]
    predicted_low: Mapped[float]
    predicted_high: Mapped[float]
    effort_hours: Mapped[float]
    effort_hours_p80: Mapped[float]
    effort_basis: Mapped[str] = mapped_column(server_default="uncalibrated")
    """What the estimate stands on: `uncalibrated`, or how many fixes of its class."""
    spent_hours: Mapped[float | None]
    """Hours that it really took, where somebody wrote them down."""
    impact: Mapped[str]
    """`low`: policy may approve what validation passed; `high`: a person must."""
    risk: Mapped[str] = mapped_column(server_default="")
    screen: Mapped[Json | None] = mapped_column(JSONB(none_as_null=True))
    """What the quick screen saw of it, or why it did not look: see `agents.screening`. None where there was none."""
    reviewed_by: Mapped[str | None]
    reviewed_at: Mapped[datetime | None]
    review_reason: Mapped[str | None]
    approved_hash: Mapped[str | None]
    created_at: Mapped[Created]
    updated_at: Mapped[Created]

    __table_args__ = (
        UniqueConstraint("alert_id", "change_hash", name="uq_improvement_proposals_change"),
        CheckConstraint("impact IN ('low', 'high')", name="impact"),
        Index("ix_improvement_proposals_status", "app_id", "status"),
    )
