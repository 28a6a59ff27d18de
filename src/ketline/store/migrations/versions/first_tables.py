"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Step forward."""
    op.create_table(
        "audit",
        sa.Column(
            "number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("key_id", sa.String(length=64), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_index("audit_by_subject", "audit", ["subject"], unique=False)
    op.create_table(
        "calibrations",
        sa.Column(
            "number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("qpu_id", sa.String(length=100), nullable=False),
        sa.Column("measured_at", sa.Double(), nullable=False),
        sa.Column("properties", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_index("calibrations_by_qpu", "calibrations", ["qpu_id", "measured_at"], unique=False)
    op.create_table(
        "events",
        sa.Column(
            "number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("subject", sa.String(length=100), nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_index("events_by_subject", "events", ["subject"], unique=False)
    op.create_table(
        "instances",
        sa.Column("instance_id", sa.String(length=64), nullable=False),
        sa.Column("crn", sa.String(length=255), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("plan", sa.String(length=100), nullable=False),
        sa.Column("account_id", sa.String(length=100), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("overrides", sa.Text(), nullable=False),
        sa.Column("archived", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("instance_id"),
        sa.UniqueConstraint("crn"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "job_counts",
        sa.Column("instance_id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("backend", sa.String(length=100), nullable=False),
        sa.Column("program", sa.String(length=64), nullable=False),
        sa.Column("outside", sa.Boolean(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("jobs", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("instance_id", "user_id", "backend", "program", "outside", "status"),
    )
    op.create_table(
        "job_tags",
        sa.Column("instance_id", sa.String(length=64), nullable=False),
        sa.Column("tag", sa.String(length=100), nullable=False),
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("instance_id", "tag", "job_id"),
    )
    op.create_index("job_tags_by_job", "job_tags", ["job_id"], unique=False)
    op.create_table(
        "jobs",
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("instance_id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("qpu_id", sa.String(length=100), nullable=False),
        sa.Column("backend", sa.String(length=100), nullable=False),
        sa.Column("program", sa.String(length=64), nullable=False),
        sa.Column("workload_id", sa.String(length=64), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("limit_seconds", sa.Double(), nullable=False),
        sa.Column("private", sa.Boolean(), nullable=False),
        sa.Column("calibration_id", sa.String(length=100), nullable=True),
        sa.Column("log_level", sa.String(length=16), nullable=False),
        sa.Column("runtime", sa.Text(), nullable=False),
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("estimate_seconds", sa.Double(), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("stage", sa.String(length=16), nullable=False),
        sa.Column("running_at", sa.Double(), nullable=True),
        sa.Column("ready_at", sa.Double(), nullable=True),
        sa.Column("locked_at", sa.Double(), nullable=True),
        sa.Column("released_at", sa.Double(), nullable=True),
        sa.Column("finished_at", sa.Double(), nullable=True),
        sa.Column("qpu_seconds", sa.Double(), nullable=False),
        sa.Column("billed_seconds", sa.Double(), nullable=False),
        sa.Column("cancelling", sa.Boolean(), nullable=False),
        sa.Column("reason_code", sa.Integer(), nullable=True),
        sa.Column("reason_message", sa.Text(), nullable=True),
        sa.Column("reason_solution", sa.Text(), nullable=True),
        sa.Column("result_bytes", sa.BigInteger(), nullable=True),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("job_id"),
    )
    op.create_index("jobs_by_instance", "jobs", ["instance_id", "created_at", "job_id"], unique=False)
    op.create_index("jobs_by_workload", "jobs", ["workload_id", "created_at"], unique=False)
    op.create_index(
        "jobs_outside",
        "jobs",
        ["instance_id", "created_at"],
        unique=False,
        sqlite_where=sa.text("workload_id IS NULL"),
        postgresql_where=sa.text("workload_id IS NULL"),
    )
    op.create_index(
        "jobs_unfinished",
        "jobs",
        ["seq"],
        unique=False,
        sqlite_where=sa.text("finished_at IS NULL"),
        postgresql_where=sa.text("finished_at IS NULL"),
    )
    op.create_table(
        "keys",
        sa.Column("key_id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("instances", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("revoked_at", sa.Double(), nullable=True),
        sa.Column("last_used_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("key_id"),
    )
    op.create_index("keys_by_user", "keys", ["user_id"], unique=False)
    op.create_table(
        "qpu_windows",
        sa.Column("window_id", sa.String(length=64), nullable=False),
        sa.Column("qpu_id", sa.String(length=100), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("instance_id", sa.String(length=64), nullable=True),
        sa.Column("starts_at", sa.Double(), nullable=False),
        sa.Column("ends_at", sa.Double(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("window_id"),
    )
    op.create_index("qpu_windows_by_end", "qpu_windows", ["ends_at"], unique=False)
    op.create_table(
        "qpus",
        sa.Column("qpu_id", sa.String(length=100), nullable=False),
        sa.Column("mode", sa.String(length=16), nullable=False),
        sa.Column("mode_reason", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("qpu_id"),
    )
    op.create_table(
        "settings",
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "usage",
        sa.Column(
            "number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("instance_id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("qpu_id", sa.String(length=100), nullable=False),
        sa.Column("workload_id", sa.String(length=64), nullable=True),
        sa.Column("job_id", sa.String(length=64), nullable=True),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("rule", sa.String(length=100), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_index("usage_by_instance", "usage", ["instance_id", "ended_at", "seconds"], unique=False)
    op.create_index("usage_by_job", "usage", ["job_id"], unique=False)
    op.create_index("usage_by_workload", "usage", ["workload_id"], unique=False)
    op.create_table(
        "users",
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("role", sa.String(length=32), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("user_id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "workloads",
        sa.Column("workload_id", sa.String(length=64), nullable=False),
        sa.Column("mode", sa.String(length=16), nullable=False),
        sa.Column("instance_id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("backend", sa.String(length=100), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("progress", sa.String(length=16), nullable=False),
        sa.Column("closed_at", sa.Double(), nullable=True),
        sa.Column("usage_seconds", sa.Double(), nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("workload_id"),
    )
    op.create_index(
        "workloads_by_instance", "workloads", ["instance_id", "created_at", "workload_id"], unique=False
    )
    op.create_index(
        "workloads_unclosed",
        "workloads",
        ["seq"],
        unique=False,
        sqlite_where=sa.text("closed_at IS NULL"),
        postgresql_where=sa.text("closed_at IS NULL"),
    )


def downgrade() -> None:
    """Step back."""
    op.drop_index(
        "workloads_unclosed",
        table_name="workloads",
        sqlite_where=sa.text("closed_at IS NULL"),
        postgresql_where=sa.text("closed_at IS NULL"),
    )
    op.drop_index("workloads_by_instance", table_name="workloads")
    op.drop_table("workloads")
    op.drop_table("users")
    op.drop_index("usage_by_workload", table_name="usage")
    op.drop_index("usage_by_job", table_name="usage")
    op.drop_index("usage_by_instance", table_name="usage")
    op.drop_table("usage")
    op.drop_table("settings")
    op.drop_table("qpus")
    op.drop_index("qpu_windows_by_end", table_name="qpu_windows")
    op.drop_table("qpu_windows")
    op.drop_index("keys_by_user", table_name="keys")
    op.drop_table("keys")
    op.drop_index(
        "jobs_unfinished",
        table_name="jobs",
        sqlite_where=sa.text("finished_at IS NULL"),
        postgresql_where=sa.text("finished_at IS NULL"),
    )
    op.drop_index(
        "jobs_outside",
        table_name="jobs",
        sqlite_where=sa.text("workload_id IS NULL"),
        postgresql_where=sa.text("workload_id IS NULL"),
    )
    op.drop_index("jobs_by_workload", table_name="jobs")
    op.drop_index("jobs_by_instance", table_name="jobs")
    op.drop_table("jobs")
    op.drop_index("job_tags_by_job", table_name="job_tags")
    op.drop_table("job_tags")
    op.drop_table("job_counts")
    op.drop_table("instances")
    op.drop_index("events_by_subject", table_name="events")
    op.drop_table("events")
    op.drop_index("calibrations_by_qpu", table_name="calibrations")
    op.drop_table("calibrations")
    op.drop_index("audit_by_subject", table_name="audit")
    op.drop_table("audit")
