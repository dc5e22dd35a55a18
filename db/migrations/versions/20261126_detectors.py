"""monitoring: what the detectors of an app remember"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "20261126_detectors"
down_revision = "20261126_screen"
branch_labels = None
depends_on = None

JSONB = postgresql.JSONB(astext_type=sa.Text())


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "detector_states",
        sa.Column("app_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("settled_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("step_s", sa.Integer(), nullable=False),
        sa.Column("metrics", JSONB, nullable=False),
        sa.Column("state", JSONB, nullable=False),
        sa.Column("learning_since", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("note", sa.String(), server_default="", nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["app_id"], ["apps.id"], name=op.f("fk_detector_states_app_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("app_id", "name", name=op.f("pk_detector_states")),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("detector_states")
