"""people who sign in, changes to be told, pauses, looks of the guard"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "20261126_people"
down_revision = "20261126_mail"
branch_labels = None
depends_on = None

NOTE_ROW = """
CREATE FUNCTION metamon_note_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    subject_id bigint;
    change_id bigint;
BEGIN
    IF TG_ARGV[0] = 'impact' THEN
        subject_id := NEW.proposal_id;
    ELSE
        subject_id := NEW.id;
    END IF;
    INSERT INTO changes (subject, subject_id, at) VALUES (TG_ARGV[0], subject_id, clock_timestamp())
        RETURNING id INTO change_id;
    PERFORM pg_notify('metamon_changes', change_id || ' ' || TG_ARGV[0] || ' ' || subject_id);
    RETURN NULL;
END $$
"""
NOTE_BUCKETS = """
CREATE FUNCTION metamon_note_buckets() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    change record;
BEGIN
    FOR change IN
        INSERT INTO changes (subject, subject_id, at) SELECT DISTINCT 'app', app_id, clock_timestamp() FROM touched
            RETURNING id, subject_id
    LOOP
        PERFORM pg_notify('metamon_changes', change.id || ' app ' || change.subject_id);
    END LOOP;
    RETURN NULL;
END $$
"""

WATCHED = {
    "monitoring_alerts": "alert",
    "improvement_proposals": "proposal",
    "validation_results": "validation",
    "rollouts": "rollout",
    "meta_evaluation_runs": "evaluation",
    "improvement_impact": "impact",
    "apps": "app",
}
"""Tables whose every write is told."""
BY_STATE = {"jobs": "job", "emails": "mail"}
"""Tables of which only a new state is told: leases and attempts change all the time."""


def upgrade() -> None:
    """Apply."""
    op.add_column("users", sa.Column("password_hash", sa.String(), nullable=True))
    op.add_column("users", sa.Column("time_zone", sa.String(), server_default="UTC", nullable=False))
    op.create_table(
        "user_sessions",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("address", sa.String(), server_default="", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_user_sessions_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user_sessions")),
        sa.UniqueConstraint("hash", name=op.f("uq_user_sessions_hash")),
    )
    op.create_index(op.f("ix_user_sessions_user_id"), "user_sessions", ["user_id"])
    op.create_index(op.f("ix_user_sessions_expires_at"), "user_sessions", ["expires_at"])
    op.create_table(
        "login_attempts",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_login_attempts")),
    )
    op.create_index(op.f("ix_login_attempts_since"), "login_attempts", ["since"])
    op.create_table(
        "changes",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("subject_id", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_changes")),
    )
    op.create_index("ix_changes_at", "changes", ["at"])
    op.create_table(
        "queue_pauses",
        sa.Column("queue", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("paused_by", sa.String(), nullable=False),
        sa.Column("paused_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("queue", name=op.f("pk_queue_pauses")),
    )
    op.create_table(
        "rollout_looks",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("rollout_id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("percent", sa.Integer(), nullable=False),
        sa.Column("evidence", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(
            ["rollout_id"], ["rollouts.id"], name=op.f("fk_rollout_looks_rollout_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rollout_looks")),
    )
    op.create_index("ix_rollout_looks_rollout", "rollout_looks", ["rollout_id", "at"])
    op.create_index("ix_jobs_dead", "jobs", ["id"], postgresql_where=sa.text("state = 'dead'"))
    op.create_index("ix_audit_log_subject", "audit_log", ["subject", "id"])
    op.create_index("ix_audit_log_actor", "audit_log", ["actor", "id"])

    op.execute(NOTE_ROW)
    op.execute(NOTE_BUCKETS)
    for table, subject in WATCHED.items():
        op.execute(
            f"CREATE TRIGGER note_change AFTER INSERT OR UPDATE ON {table} "
            f"FOR EACH ROW EXECUTE FUNCTION metamon_note_change('{subject}')"
        )
    for table, subject in BY_STATE.items():
        # beat's own ticks come several times a minute and are all alike
        no_tick = "AND NEW.key NOT LIKE 'tick:%'" if table == "jobs" else ""
        op.execute(
            f"CREATE TRIGGER note_new AFTER INSERT ON {table} FOR EACH ROW WHEN (true {no_tick}) "
            f"EXECUTE FUNCTION metamon_note_change('{subject}')"
        )
        op.execute(
            f"CREATE TRIGGER note_change AFTER UPDATE ON {table} "
            f"FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state {no_tick}) "
            f"EXECUTE FUNCTION metamon_note_change('{subject}')"
        )
    for event in ("INSERT", "UPDATE"):
        op.execute(
            f"CREATE TRIGGER note_{event.lower()} AFTER {event} ON metric_buckets "
            "REFERENCING NEW TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION metamon_note_buckets()"
        )


def downgrade() -> None:
    """Take back."""
    for event in ("insert", "update"):
        op.execute(f"DROP TRIGGER note_{event} ON metric_buckets")
    for table in BY_STATE:
        op.execute(f"DROP TRIGGER note_new ON {table}")
    for table in (*WATCHED, *BY_STATE):
        op.execute(f"DROP TRIGGER note_change ON {table}")
    op.execute("DROP FUNCTION metamon_note_buckets")
    op.execute("DROP FUNCTION metamon_note_change")
    op.drop_index("ix_audit_log_actor", "audit_log")
    op.drop_index("ix_audit_log_subject", "audit_log")
    op.drop_index("ix_jobs_dead", "jobs", postgresql_where=sa.text("state = 'dead'"))
    for table in ("rollout_looks", "queue_pauses", "changes", "login_attempts", "user_sessions"):
        op.drop_table(table)
    op.drop_column("users", "time_zone")
    op.drop_column("users", "password_hash")
