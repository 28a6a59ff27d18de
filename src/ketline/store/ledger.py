"""Reading the ledger: totals by whatever they are grouped by, and the lines themselves.

A line belongs to an individual job (no workload), to a job of a batch (both), or to a session's window (no
job). Sums are taken of the lines alone, so that every view of usage agrees with every other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from ketline.store import tables as t

GroupBy = Literal["instance", "backend", "user_id", "date"]
Kind = Literal["individual_jobs", "batch_sessions", "dedicated_sessions"]

_DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class LedgerQuery:
    """Which lines; None means any. A line belongs to the time at which it ended: ``[start, end)``."""

    instances: tuple[str, ...] | None = None
    backends: tuple[str, ...] | None = None
    users: tuple[str, ...] | None = None
    start: float | None = None
    end: float | None = None


@dataclass(frozen=True, slots=True)
class Total:
    """What one group used in one way.

    ``group`` is the instance, the QPU, the user, the first second of the day (UTC), or nothing. ``count``
    is the number of workloads, ``longest_seconds`` the largest line.
    """

    group: str | float | None
    kind: Kind
    count: int
    seconds: float
    longest_seconds: float


@dataclass(frozen=True, slots=True)
class Part:
    """What one group used in one way, in one instance on one QPU; see `Total`."""

    group: str | float | None
    kind: Kind
    instance_id: str
    qpu_id: str
    seconds: float


@dataclass(frozen=True, slots=True)
class QueueTime:
    """How long the jobs of one group waited from submission until they were started, in seconds."""

    group: str | float | None
    jobs: int
    seconds: float
    longest_seconds: float


def totals(connection: sa.Connection, wanted: LedgerQuery, by: GroupBy | None = None) -> list[Total]:
    """Sums of the lines, by group and kind (``modes.md`` 6.2)."""
    c = t.usage.c
    group, kind = _heads(by)
    query = (
        sa.select(
            group,
            kind,
            sa.func.count(sa.distinct(sa.func.coalesce(c.workload_id, c.job_id))),
            sa.func.sum(c.seconds),
            sa.func.max(c.seconds),
        )
        .where(*_lines(wanted))
        .group_by(group, kind)
        .order_by(group, kind)
    )
    return [Total(*row) for row in connection.execute(query)]


def parts(connection: sa.Connection, wanted: LedgerQuery, by: GroupBy | None = None) -> list[Part]:
    """The same sums, each divided by instance and QPU: what prices depend on."""
    c = t.usage.c
    group, kind = _heads(by)
    query = (
        sa.select(group, kind, c.instance_id, c.qpu_id, sa.func.sum(c.seconds))
        .where(*_lines(wanted))
        .group_by(group, kind, c.instance_id, c.qpu_id)
        .order_by(group, kind, c.instance_id, c.qpu_id)
    )
    return [Part(*row) for row in connection.execute(query)]


def _heads(by: GroupBy | None) -> tuple[sa.Label[Any], sa.Label[Any]]:
    """What sums are taken by: the group, and the kind of workload."""
    c = t.usage.c
    kind = sa.case(
        (c.workload_id.is_(None), "individual_jobs"),
        (c.job_id.is_(None), "dedicated_sessions"),
        else_="batch_sessions",
    )
    return _group(by, c.instance_id, c.qpu_id, c.user_id, c.ended_at).label("of"), kind.label("kind")


def queue_times(connection: sa.Connection, wanted: LedgerQuery, by: GroupBy | None = None) -> list[QueueTime]:
    """How long jobs waited that were started, by the group that `totals` puts them in."""
    c = t.jobs.c
    group = _group(by, c.instance_id, c.qpu_id, c.user_id, c.finished_at).label("of")
    waited = c.running_at - c.created_at
    query = (
        sa.select(group, sa.func.count(), sa.func.sum(waited), sa.func.max(waited))
        .where(c.running_at.is_not(None), c.finished_at.is_not(None))
        .where(*_conditions(wanted, c.instance_id, c.qpu_id, c.user_id, c.finished_at))
        .group_by(group)
        .order_by(group)
    )
    return [QueueTime(*row) for row in connection.execute(query)]


def lines(
    connection: sa.Connection, wanted: LedgerQuery, page: int = 1_000, after: int = 0
) -> Iterator[Sequence[sa.RowMapping]]:
    """The lines in the order in which they were billed, a page at a time, from number ``after`` on."""
    c = t.usage.c
    while True:
        query = sa.select(t.usage).where(c.number > after, *_lines(wanted)).order_by(c.number).limit(page)
        found = connection.execute(query).mappings().all()
        if found:
            yield found
        if len(found) < page:
            return
        after = found[-1]["number"]


def members(connection: sa.Connection, instances: tuple[str, ...] | None) -> dict[str, list[str]]:
    """The instances, QPUs and users that the ledger knows."""
    c = t.usage.c
    found = {}
    for name, column in (("instances", c.instance_id), ("backends", c.qpu_id), ("users", c.user_id)):
        query = sa.select(column).where(*_lines(LedgerQuery(instances=instances))).distinct().order_by(column)
        found[name] = [str(value) for (value,) in connection.execute(query)]
    return found


def _lines(wanted: LedgerQuery) -> list[sa.ColumnElement[bool]]:
    c = t.usage.c
    return _conditions(wanted, c.instance_id, c.qpu_id, c.user_id, c.ended_at)


def _conditions(
    wanted: LedgerQuery,
    instance: sa.Column[str],
    backend: sa.Column[str],
    user: sa.Column[str],
    at: sa.Column[float],
) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = [
        column.in_(values)
        for column, values in ((instance, wanted.instances), (backend, wanted.backends), (user, wanted.users))
        if values is not None
    ]
    if wanted.start is not None:
        found.append(at >= wanted.start)
    if wanted.end is not None:
        found.append(at < wanted.end)
    return found


def _group(
    by: GroupBy | None,
    instance: sa.Column[str],
    backend: sa.Column[str],
    user: sa.Column[str],
    at: sa.Column[float],
) -> sa.ColumnElement[Any]:
    if by == "date":
        return sa.cast(sa.func.floor(at / _DAY_SECONDS), sa.BigInteger) * _DAY_SECONDS
    if by == "instance":
        return instance
    if by == "backend":
        return backend
    if by == "user_id":
        return user
    return sa.null()
