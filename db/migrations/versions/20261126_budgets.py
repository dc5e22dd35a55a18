"""validations: budgets, windows of chunks, runs that take over, experiments"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "20261126_budgets"
down_revision = "20261126_people"
branch_labels = None
depends_on = None

STATES = ("queued", "running", "finished", "cancelled")


def upgrade() -> None:
    """Apply."""
    op.add_column("validation_results", sa.Column("chunks", sa.Integer(), server_default="0", nullable=False))
    op.add_column("validation_results", sa.Column("launched", sa.Integer(), server_default="0", nullable=False))
    op.add_column("validation_results", sa.Column("subset", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.add_column("validation_results", sa.Column("resumed_from", sa.Integer(), nullable=True))
    op.create_foreign_key(
        op.f("fk_validation_results_resumed_from"),
        "validation_results",
        "validation_results",
        ["resumed_from"],
        ["id"],
        ondelete="SET NULL",
    )
    op.add_column("validation_results", sa.Column("budget_usd", sa.Float(), nullable=True))
    op.add_column("validation_results", sa.Column("budget_tokens", sa.Integer(), nullable=True))
    op.add_column("validation_results", sa.Column("spent_usd", sa.Float(), server_default="0", nullable=False))
    op.add_column("validation_results", sa.Column("spent_tokens", sa.Integer(), server_default="0", nullable=False))
    op.add_column("validation_results", sa.Column("project_id", sa.Uuid(), nullable=True))
    op.add_column("validation_cases", sa.Column("tokens", sa.Integer(), nullable=True))
    _states((*STATES, "stopped"))
    # A run that is under way has sent all its chunks already; one that waits is cut when it is made.
    op.execute("UPDATE validation_results SET chunks = remaining, launched = remaining WHERE state = 'running'")
    op.execute("UPDATE validation_results SET chunks = remaining WHERE state = 'queued'")


def downgrade() -> None:
    """Take back. Runs that stopped at their budget become cancelled ones."""
    op.execute("UPDATE validation_results SET state = 'cancelled' WHERE state = 'stopped'")
    _states(STATES)
    op.drop_column("validation_cases", "tokens")
    op.drop_constraint(op.f("fk_validation_results_resumed_from"), "validation_results", type_="foreignkey")
    for column in (
        "chunks", "launched", "subset", "resumed_from", "budget_usd", "budget_tokens", "spent_usd", "spent_tokens", "project_id",
    ):  # fmt: skip
        op.drop_column("validation_results", column)


def _states(states: tuple[str, ...]) -> None:
    op.drop_constraint(op.f("ck_validation_results_validationstate"), "validation_results", type_="check")
    named = ", ".join(f"'{state}'" for state in states)
    op.create_check_constraint(
        op.f("ck_validation_results_validationstate"), "validation_results", f"state IN ({named})"
    )
