"""research: history of fixes, model spend, error patterns"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "20261126_research"
down_revision = "20261126_together"
branch_labels = None
depends_on = None

JSONB = postgresql.JSONB(astext_type=sa.Text())


def upgrade() -> None:
    """Apply."""
    op.add_column("improvement_proposals", sa.Column("kind", sa.String(), server_default="", nullable=False))
    op.add_column("improvement_proposals", sa.Column("ceiling_pct", sa.Float(), nullable=True))
    op.add_column(
        "improvement_proposals", sa.Column("effort_basis", sa.String(), server_default="uncalibrated", nullable=False)
    )
    op.add_column("improvement_proposals", sa.Column("spent_hours", sa.Float(), nullable=True))
    op.execute(
        "UPDATE improvement_proposals SET kind = coalesce((SELECT idea->>'kind' "
        "FROM jsonb_array_elements(hypotheses) AS idea WHERE idea->'change' = change LIMIT 1), '')"
    )
    op.add_column("model_usage", sa.Column("cost", sa.Float(), server_default="0", nullable=False))
    op.add_column("model_usage", sa.Column("outcome", sa.String(), server_default="answered", nullable=False))
    op.create_table(
        "error_patterns",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("app_id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("frames", JSONB, server_default=sa.text("'[]'"), nullable=False),
        sa.Column("template", sa.String(), nullable=False),
        sa.Column("merged_into", sa.String(), nullable=True),
        sa.Column("split_of", sa.String(), nullable=True),
        sa.Column("containing", sa.String(), nullable=True),
        sa.Column("first_seen", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["app_id"], ["apps.id"], name=op.f("fk_error_patterns_app_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_error_patterns")),
        sa.UniqueConstraint("app_id", "key", name="uq_error_patterns_key"),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("error_patterns")
    op.drop_column("model_usage", "outcome")
    op.drop_column("model_usage", "cost")
    for column in ("kind", "ceiling_pct", "effort_basis", "spent_hours"):
        op.drop_column("improvement_proposals", column)
