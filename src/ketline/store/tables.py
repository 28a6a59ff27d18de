"""The tables: what must survive. Times are seconds since the epoch (UTC); lists are JSON text.

Both SQLite and PostgreSQL are served; the migrations in ``migrations/`` build exactly this (a test compares).
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

metadata = MetaData()

# SQLite numbers rows by itself only for a column of type INTEGER; PostgreSQL needs the long kind.
_ROW_NUMBER = BigInteger().with_variant(Integer(), "sqlite")

settings = Table(
    "settings",
    metadata,
    Column("name", String(100), primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

instances = Table(
    "instances",
    metadata,
    Column("instance_id", String(64), primary_key=True),
    Column("crn", String(255), nullable=False, unique=True),
    Column("name", String(100), nullable=False, unique=True),
    Column("plan", String(100), nullable=False),
    Column("account_id", String(100), nullable=False),
    Column("region", String(32), nullable=False),
    Column("tags", Text, nullable=False),
    # Figures of the plan that this instance overrides, as a JSON object.
    Column("overrides", Text, nullable=False),
    Column("archived", Boolean, nullable=False),
    Column("created_at", Double, nullable=False),
)

users = Table(
    "users",
    metadata,
    Column("user_id", String(64), primary_key=True),
    Column("name", String(100), nullable=False, unique=True),
    Column("role", String(32), nullable=False),
    Column("created_at", Double, nullable=False),
)

keys = Table(
    "keys",
    metadata,
    Column("key_id", String(64), primary_key=True),
    Column("user_id", String(64), nullable=False),
    Column("name", String(100), nullable=False),
    Column("secret_hash", LargeBinary, nullable=False),
    # Instance ids that the key may enter, as a JSON list; an empty list means all.
    Column("instances", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("revoked_at", Double),
    Column("last_used_at", Double),
    Index("keys_by_user", "user_id"),
)

qpus = Table(
    "qpus",
    metadata,
    Column("qpu_id", String(100), primary_key=True),
    Column("mode", String(16), nullable=False),
    Column("mode_reason", Text, nullable=False),
    Column("changed_at", Double, nullable=False),
)

calibrations = Table(
    "calibrations",
    metadata,
    Column("number", _ROW_NUMBER, primary_key=True, autoincrement=True),
    Column("qpu_id", String(100), nullable=False),
    Column("measured_at", Double, nullable=False),
    # The properties in wire form, as they were from then on.
    Column("properties", LargeBinary, nullable=False),
    Index("calibrations_by_qpu", "qpu_id", "measured_at"),
)

workloads = Table(
    "workloads",
    metadata,
    Column("workload_id", String(64), primary_key=True),
    Column("mode", String(16), nullable=False),
    Column("instance_id", String(64), nullable=False),
    Column("user_id", String(64), nullable=False),
    Column("backend", String(100), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),
    # What has become of it: pending, in_progress, completed or canceled.
    Column("progress", String(16), nullable=False),
    Column("closed_at", Double),
    Column("usage_seconds", Double, nullable=False),
    # All fields of `ketline.core.model.Workload` as a JSON object: its timers, windows and history.
    Column("facts", Text, nullable=False),
    Index("workloads_by_instance", "instance_id", "created_at", "workload_id"),
)
Index(
    "workloads_unclosed",
    workloads.c.seq,
    sqlite_where=workloads.c.closed_at.is_(None),
    postgresql_where=workloads.c.closed_at.is_(None),
)

jobs = Table(
    "jobs",
    metadata,
    Column("job_id", String(64), primary_key=True),
    Column("instance_id", String(64), nullable=False),
    Column("user_id", String(64), nullable=False),
    Column("qpu_id", String(100), nullable=False),
    Column("backend", String(100), nullable=False),
    Column("program", String(64), nullable=False),
    Column("workload_id", String(64)),
    Column("created_at", Double, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("limit_seconds", Double, nullable=False),
    Column("private", Boolean, nullable=False),
    Column("calibration_id", String(100)),
    Column("log_level", String(16), nullable=False),
    Column("caller", Text, nullable=False),
    # From here on: what changes in a job's life.
    Column("tags", Text, nullable=False),
    Column("estimate_seconds", Double),
    Column("status", String(16), nullable=False),
    Column("stage", String(16), nullable=False),
    Column("running_at", Double),
    Column("ready_at", Double),
    Column("locked_at", Double),
    Column("released_at", Double),
    Column("finished_at", Double),
    Column("qpu_seconds", Double, nullable=False),
    Column("billed_seconds", Double, nullable=False),
    Column("cancelling", Boolean, nullable=False),
    Column("reason_code", Integer),
    Column("reason_message", Text),
    Column("reason_solution", Text),
    Column("result_bytes", BigInteger),
    Column("revision", Integer, nullable=False),
    Index("jobs_by_instance", "instance_id", "created_at", "job_id"),
    Index("jobs_by_workload", "workload_id", "created_at"),
)
Index(
    "jobs_unfinished",
    jobs.c.seq,
    sqlite_where=jobs.c.finished_at.is_(None),
    postgresql_where=jobs.c.finished_at.is_(None),
)
Index(
    "jobs_outside",
    jobs.c.instance_id,
    jobs.c.created_at,
    sqlite_where=jobs.c.workload_id.is_(None),
    postgresql_where=jobs.c.workload_id.is_(None),
)

job_tags = Table(
    "job_tags",
    metadata,
    Column("instance_id", String(64), primary_key=True),
    Column("tag", String(100), primary_key=True),
    Column("job_id", String(64), primary_key=True),
    Index("job_tags_by_job", "job_id"),
)

# How many jobs there are of each kind, so that a page of a long list needn't count them one by one.
job_counts = Table(
    "job_counts",
    metadata,
    Column("instance_id", String(64), primary_key=True),
    Column("user_id", String(64), primary_key=True),
    Column("backend", String(100), primary_key=True),
    Column("program", String(64), primary_key=True),
    # Whether they belong to no session or batch.
    Column("outside", Boolean, primary_key=True),
    Column("status", String(16), primary_key=True),
    Column("jobs", BigInteger, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("number", _ROW_NUMBER, primary_key=True, autoincrement=True),
    Column("at", Double, nullable=False),
    Column("kind", String(40), nullable=False),
    Column("subject", String(100), nullable=False),
    # The event's fields as a JSON object.
    Column("facts", Text, nullable=False),
    Index("events_by_subject", "subject"),
)

usage = Table(
    "usage",
    metadata,
    Column("number", _ROW_NUMBER, primary_key=True, autoincrement=True),
    Column("instance_id", String(64), nullable=False),
    Column("user_id", String(64), nullable=False),
    Column("qpu_id", String(100), nullable=False),
    Column("workload_id", String(64)),
    Column("job_id", String(64)),
    Column("started_at", Double, nullable=False),
    Column("ended_at", Double, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("rule", String(100), nullable=False),
    Index("usage_by_instance", "instance_id", "ended_at", "seconds"),
    Index("usage_by_job", "job_id"),
    Index("usage_by_workload", "workload_id"),
)

# Who administered what; append-only.
audit = Table(
    "audit",
    metadata,
    Column("number", _ROW_NUMBER, primary_key=True, autoincrement=True),
    Column("at", Double, nullable=False),
    Column("actor", String(64), nullable=False),
    Column("key_id", String(64), nullable=False),
    Column("action", String(64), nullable=False),
    Column("subject", String(200), nullable=False),
    # What was asked for, as a JSON object; never a secret.
    Column("facts", Text, nullable=False),
    Index("audit_by_subject", "subject"),
)

# Maintenance and reservations of QPUs, those to come and those that were.
qpu_windows = Table(
    "qpu_windows",
    metadata,
    Column("window_id", String(64), primary_key=True),
    Column("qpu_id", String(100), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("instance_id", String(64)),
    Column("starts_at", Double, nullable=False),
    Column("ends_at", Double, nullable=False),
    Column("note", Text, nullable=False),
    Index("qpu_windows_by_end", "ends_at"),
)

JOB_LIFE = tuple(c.name for c in list(jobs.columns)[list(jobs.columns).index(jobs.c.tags) :])
"""The columns of a job that change after its submission."""
