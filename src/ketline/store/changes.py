"""What is to be written down in one go, in a form that merges with what others want written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from ketline.store import tables as t

Row = Mapping[str, Any]
CountKey = tuple[str, str, str, str, bool, str]
"""instance, user, backend, program, outside of any workload, status"""

_COUNT_COLUMNS = ("instance_id", "user_id", "backend", "program", "outside", "status")

_UPDATE_JOB = (
    sa.update(t.jobs)
    .where(t.jobs.c.job_id == sa.bindparam("b_job_id"))
    .values({name: sa.bindparam(f"b_{name}") for name in t.JOB_LIFE})
)
_WORKLOAD_LIFE = tuple(c.name for c in t.workloads.columns if c.name != "workload_id")
_UPDATE_WORKLOAD = (
    sa.update(t.workloads)
    .where(t.workloads.c.workload_id == sa.bindparam("b_workload_id"))
    .values({name: sa.bindparam(f"b_{name}") for name in _WORKLOAD_LIFE})
)
_COUNT_HERE = sa.and_(*(t.job_counts.c[name] == sa.bindparam(f"b_{name}") for name in _COUNT_COLUMNS))
_ADD_COUNT = (
    sa.update(t.job_counts).where(_COUNT_HERE).values(jobs=t.job_counts.c.jobs + sa.bindparam("b_jobs"))
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
        if self.new_workloads:
            connection.execute(sa.insert(t.workloads), list(self.new_workloads.values()))
        if self.new_jobs:
            connection.execute(sa.insert(t.jobs), list(self.new_jobs.values()))
        if self.new_tags:
            connection.execute(sa.insert(t.job_tags), self.new_tags)
        if self.job_lives:
            connection.execute(
                _UPDATE_JOB,
                [
                    {"b_job_id": job_id, **{f"b_{name}": value for name, value in life.items()}}
                    for job_id, life in self.job_lives.items()
                ],
            )
        if self.workload_lives:
            connection.execute(
                _UPDATE_WORKLOAD,
                [{f"b_{name}": value for name, value in row.items()} for row in self.workload_lives.values()],
            )
        if self.events:
            connection.execute(sa.insert(t.events), self.events)
        if self.usage:
            connection.execute(sa.insert(t.usage), self.usage)
        for statement in self.calls:
            connection.execute(statement)
        if self.dropped_jobs:
            connection.execute(sa.delete(t.jobs).where(t.jobs.c.job_id.in_(self.dropped_jobs)))
            connection.execute(sa.delete(t.job_tags).where(t.job_tags.c.job_id.in_(self.dropped_jobs)))
        self._count(connection)

    def _count(self, connection: sa.Connection) -> None:
        for key, change in self.counts.items():
            if change == 0:
                continue
            values = dict(zip(_COUNT_COLUMNS, key, strict=True))
            found = connection.execute(
                _ADD_COUNT, {f"b_{name}": v for name, v in values.items()} | {"b_jobs": change}
            )
            if found.rowcount == 0:
                connection.execute(sa.insert(t.job_counts), {**values, "jobs": change})
