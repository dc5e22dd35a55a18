"""improvement_proposals: what the quick screen saw"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "20261126_screen"
down_revision = "20261126_judges"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column(
        "improvement_proposals",
        sa.Column("screen", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_column("improvement_proposals", "screen")
