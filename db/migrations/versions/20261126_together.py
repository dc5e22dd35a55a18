"""monitoring_alerts: alerts that one mail told of, and where they are over"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "20261126_together"
down_revision = "20261126_budgets"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("monitoring_alerts", sa.Column("group_id", sa.Integer(), nullable=True))
    op.add_column("monitoring_alerts", sa.Column("recovers_at", sa.Float(), nullable=True))
    op.create_foreign_key(
        op.f("fk_monitoring_alerts_group_id"),
        "monitoring_alerts",
        "monitoring_alerts",
        ["group_id"],
        ["id"],
        ondelete="SET NULL",
    )
    op.create_index(op.f("ix_monitoring_alerts_group_id"), "monitoring_alerts", ["group_id"])


def downgrade() -> None:
    """Take back."""
    op.drop_column("monitoring_alerts", "recovers_at")
    op.drop_column("monitoring_alerts", "group_id")
