"""What is to be written down in one go, in a form that merges with what others want written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from ketline.store import tables as t
from ketline.store.bulk import Bulk

Row = Mapping[str, Any]
CountKey = tuple[str, str, str, str, bool, str]
"""instance, user, backend, program, outside of any workload, status"""

_COUNT_COLUMNS = ("instance_id", "user_id", "backend", "program", "outside", "status")


def _insert(table: sa.Table) -> Bulk:
    """All columns but the number that the database gives."""
    columns = [c.name for c in table.columns if not (c.primary_key and c.name == "number")]
    return Bulk(sa.insert(table).inline(), columns)


def _update(table: sa.Table, key: str, columns: Sequence[str]) -> Bulk:
    return Bulk(sa.update(table).where(table.c[key] == sa.bindparam(key)), columns)


_NEW_WORKLOADS = _insert(t.workloads)
_NEW_JOBS = _insert(t.jobs)
_NEW_TAGS = _insert(t.job_tags)
_JOB_LIVES = _update(t.jobs, "job_id", t.JOB_LIFE)
_WORKLOAD_LIVES = _update(
    t.workloads, "workload_id", [c.name for c in t.workloads.columns if c.name != "workload_id"]
)
_EVENTS = _insert(t.events)
_USAGE = _insert(t.usage)
_COUNTS = Bulk(
    sa.text(
        "INSERT INTO job_counts (instance_id, user_id, backend, program, outside, status, jobs) "
        "VALUES (:instance_id, :user_id, :backend, :program, :outside, :status, :jobs) "
        "ON CONFLICT (instance_id, user_id, backend, program, outside, status) "
        "DO UPDATE SET jobs = job_counts.jobs + excluded.jobs"
    ),
    (*_COUNT_COLUMNS, "jobs"),
)


class Changes:
    """Rows to insert, replace or delete. When two changes meet, the later one of the same row wins."""

    __slots__ = (
        "calls", "counts", "dropped_jobs", "events", "job_lives", "new_jobs", "new_tags", "new_workloads",
        "usage", "workload_lives",
    )  # fmt: skip

    def __init__(self) -> None:
        self.new_jobs: dict[str, dict[str, Any]] = {}
        self.job_lives: dict[str, Row] = {}
        self.dropped_jobs: list[str] = []
        self.new_tags: list[Row] = []
        self.new_workloads: dict[str, dict[str, Any]] = {}
        self.workload_lives: dict[str, Row] = {}
        self.events: list[Row] = []
        self.usage: list[Row] = []
        self.counts: Counter[CountKey] = Counter()
        self.calls: list[sa.Executable] = []

    def add_job(self, row: dict[str, Any]) -> None:
        """A new job: all columns of ``jobs``."""
        self.new_jobs[row["job_id"]] = row

    def change_job(self, job_id: str, life: Row) -> None:
        """A job's columns of ``tables.JOB_LIFE``, all of them."""
        new = self.new_jobs.get(job_id)
        if new is not None:
            new.update(life)
        else:
            self.job_lives[job_id] = life

    def drop_job(self, job_id: str) -> None:
        """Forget a job and its tags."""
        self.dropped_jobs.append(job_id)

    def add_workload(self, row: dict[str, Any]) -> None:
        """A new session or batch: all columns of ``workloads``."""
        self.new_workloads[row["workload_id"]] = row

    def change_workload(self, row: dict[str, Any]) -> None:
        """A session or batch as a whole: all columns of ``workloads``."""
        if row["workload_id"] in self.new_workloads:
            self.new_workloads[row["workload_id"]] = row
        else:
            self.workload_lives[row["workload_id"]] = row

    def call(self, statement: sa.Executable) -> None:
        """Any other statement; run in the order given, after the rows."""
        self.calls.append(statement)

    def absorb(self, later: Changes) -> None:
        """Take over the changes of ``later``."""
        for row in later.new_jobs.values():
            # A copy: what comes later is folded into it, and ``later`` isn't ours.
            self.add_job(dict(row))
        for job_id, life in later.job_lives.items():
            self.change_job(job_id, life)
        self.new_tags.extend(later.new_tags)
        self.dropped_jobs.extend(later.dropped_jobs)
        for row in later.new_workloads.values():
            self.add_workload(row)
        for life_row in later.workload_lives.values():
            self.change_workload(dict(life_row))
        self.events.extend(later.events)
        self.usage.extend(later.usage)
        self.counts.update(later.counts)
        self.calls.extend(later.calls)

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in self.__slots__)

    def apply(self, connection: sa.Connection) -> None:
        """Send all of it to the database, inside the transaction that is open."""
        for statement, rows in (
            (_NEW_WORKLOADS, list(self.new_workloads.values())),
            (_NEW_JOBS, list(self.new_jobs.values())),
            (_NEW_TAGS, self.new_tags),
            (_JOB_LIVES, [{**life, "job_id": job_id} for job_id, life in self.job_lives.items()]),
            (_WORKLOAD_LIVES, list(self.workload_lives.values())),
            (_EVENTS, self.events),
            (_USAGE, self.usage),
        ):
            if rows:
                statement.run(connection, rows)
        for call in self.calls:
            connection.execute(call)
        if self.dropped_jobs:
            connection.execute(sa.delete(t.jobs).where(t.jobs.c.job_id.in_(self.dropped_jobs)))
            connection.execute(sa.delete(t.job_tags).where(t.job_tags.c.job_id.in_(self.dropped_jobs)))
        counts = [
            dict(zip(_COUNT_COLUMNS, key, strict=True), jobs=change)
            for key, change in self.counts.items()
            if change
        ]
        if counts:
            _COUNTS.run(connection, counts)
