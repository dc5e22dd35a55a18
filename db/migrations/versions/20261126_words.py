"""evaluation: a model's words on an impact"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "20261126_words"
down_revision = "20261126_detectors"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("improvement_impact", sa.Column("explanation", sa.String(), nullable=True))
    op.add_column("improvement_impact", sa.Column("explained_by", sa.String(), nullable=True))


def downgrade() -> None:
    """Take back."""
    op.drop_column("improvement_impact", "explained_by")
    op.drop_column("improvement_impact", "explanation")
