"""Every read of the store. Each takes a connection, so that several see one state; rows are mappings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ketline.core.model import JobStatus
from ketline.store import tables as t

Row = sa.RowMapping

_UNFINISHED = tuple(status.value for status in JobStatus if not status.final)


@dataclass(frozen=True, slots=True)
class JobQuery:
    """Which jobs of an instance; None means any. Tags are ANDed."""

    instance_id: str
    pending: bool | None = None
    backend: str | None = None
    program: str | None = None
    tags: tuple[str, ...] = ()
    workload_id: str | None = None
    user_id: str | None = None
    created_after: float | None = None
    created_before: float | None = None
    ascending: bool = False
    limit: int = 200
    offset: int = 0
    without_backends: tuple[str, ...] = ()


_JOB = sa.select(t.jobs).where(t.jobs.c.job_id == sa.bindparam("job_id"))


def job(connection: sa.Connection, job_id: str) -> Row | None:
    """One job by its id (primary key)."""
    return connection.execute(_JOB, {"job_id": job_id}).mappings().first()


def jobs(connection: sa.Connection, wanted: JobQuery) -> tuple[Sequence[Row], int]:
    """A page of jobs, newest first unless ``ascending``, and how many match in all.

    The page walks ``jobs_by_instance`` (or ``jobs_by_workload``, ``jobs_unfinished``) from its end, so it
    costs what it returns. The count is read from ``job_counts`` when that knows the answer; only a search by
    tag, date or workload counts rows, through the index of what was asked for.
    """
    matching = sa.select(t.jobs).where(*_conditions(wanted))
    order = (t.jobs.c.created_at, t.jobs.c.job_id)
    if not wanted.ascending:
        order = tuple(column.desc() for column in order)  # type: ignore[assignment]
    page = matching.order_by(*order).limit(wanted.limit).offset(wanted.offset)
    rows = connection.execute(page).mappings().all()
    if wanted.tags or wanted.workload_id or wanted.created_after or wanted.created_before:
        total = connection.execute(sa.select(sa.func.count()).select_from(matching.subquery())).scalar_one()
    else:
        total = count_jobs(connection, wanted)
    return rows, int(total)


def _conditions(wanted: JobQuery) -> list[sa.ColumnElement[bool]]:
    c = t.jobs.c
    found: list[sa.ColumnElement[bool]] = [c.instance_id == wanted.instance_id]
    for column, value in (
        (c.backend, wanted.backend),
        (c.program, wanted.program),
        (c.workload_id, wanted.workload_id),
        (c.user_id, wanted.user_id),
    ):
        if value is not None:
            found.append(column == value)
    if wanted.without_backends:
        found.append(c.backend.not_in(wanted.without_backends))
    if wanted.pending is not None:
        found.append(c.finished_at.is_(None) if wanted.pending else c.finished_at.is_not(None))
    if wanted.created_after is not None:
        found.append(c.created_at >= wanted.created_after)
    if wanted.created_before is not None:
        found.append(c.created_at <= wanted.created_before)
    tagged = t.job_tags.c
    found.extend(
        c.job_id.in_(
            sa.select(tagged.job_id).where(tagged.instance_id == wanted.instance_id, tagged.tag == tag)
        )
        for tag in wanted.tags
    )
    return found


def count_jobs(connection: sa.Connection, wanted: JobQuery) -> int:
    """How many jobs there are, by what ``job_counts`` is keyed by; other conditions are not looked at."""
    c = t.job_counts.c
    total = sa.select(sa.func.coalesce(sa.func.sum(c.jobs), 0)).where(c.instance_id == wanted.instance_id)
    for column, value in (
        (c.backend, wanted.backend),
        (c.program, wanted.program),
        (c.user_id, wanted.user_id),
    ):
        if value is not None:
            total = total.where(column == value)
    if wanted.without_backends:
        total = total.where(c.backend.not_in(wanted.without_backends))
    if wanted.pending is not None:
        total = total.where(c.status.in_(_UNFINISHED) if wanted.pending else c.status.not_in(_UNFINISHED))
    return int(connection.execute(total).scalar_one())


def known_jobs(connection: sa.Connection, job_ids: Sequence[str]) -> set[str]:
    """Those of some ids that are jobs'."""
    found: set[str] = set()
    for first in range(0, len(job_ids), 500):
        some = t.jobs.c.job_id.in_(job_ids[first : first + 500])
        found.update(connection.execute(sa.select(t.jobs.c.job_id).where(some)).scalars())
    return found


def unfinished_jobs(connection: sa.Connection) -> Sequence[Row]:
    """All jobs that aren't final, in the order of submission (index ``jobs_unfinished``)."""
    return (
        connection.execute(sa.select(t.jobs).where(t.jobs.c.finished_at.is_(None)).order_by(t.jobs.c.seq))
        .mappings()
        .all()
    )


def unclosed_workloads(connection: sa.Connection) -> Sequence[Row]:
    """All sessions and batches that aren't closed (index ``workloads_unclosed``)."""
    return (
        connection.execute(
            sa.select(t.workloads).where(t.workloads.c.closed_at.is_(None)).order_by(t.workloads.c.seq)
        )
        .mappings()
        .all()
    )


def last_event_at(connection: sa.Connection) -> float:
    """When the last event was written down; 0 if there is none (end of the primary key)."""
    last = sa.select(t.events.c.at).order_by(t.events.c.number.desc()).limit(1)
    return float(connection.execute(last).scalar() or 0.0)


def usage_by_minute(
    connection: sa.Connection, instance_id: str, since: float | None, before: float | None = None
) -> list[tuple[float, float]]:
    """What an instance used since then (None: ever) and before (None: until now), summed up by the minute:
    (newest end, seconds).

    Read from the covering index ``usage_by_instance`` alone.
    """
    c = t.usage.c
    minute = sa.func.floor(c.ended_at / 60.0)
    query = (
        sa.select(sa.func.max(c.ended_at), sa.func.sum(c.seconds))
        .where(c.instance_id == instance_id)
        .group_by(minute)
        .order_by(minute)
    )
    if since is not None:
        query = query.where(c.ended_at >= since)
    if before is not None:
        query = query.where(c.ended_at < before)
    return [(float(at), float(seconds)) for at, seconds in connection.execute(query)]


def usage_lines(connection: sa.Connection, job_id: str) -> Sequence[Row]:
    """The ledger's lines of one job."""
    return (
        connection.execute(sa.select(t.usage).where(t.usage.c.job_id == job_id).order_by(t.usage.c.number))
        .mappings()
        .all()
    )


def workload(connection: sa.Connection, workload_id: str) -> Row | None:
    """One session or batch by its id."""
    query = sa.select(t.workloads).where(t.workloads.c.workload_id == workload_id)
    return connection.execute(query).mappings().first()


def tags_in_use(connection: sa.Connection, instance_id: str, search: str, limit: int = 100) -> list[str]:
    """Tags of the instance's jobs that contain ``search``, in alphabetical order."""
    c = t.job_tags.c
    query = (
        sa.select(c.tag)
        .distinct()
        .where(c.instance_id == instance_id, c.tag.contains(search, autoescape=True))
        .order_by(c.tag)
        .limit(limit)
    )
    return [str(tag) for (tag,) in connection.execute(query)]


def events_of(connection: sa.Connection, subject: str) -> Sequence[Row]:
    """What happened to a job, workload, QPU or instance, in order."""
    return (
        connection.execute(
            sa.select(t.events).where(t.events.c.subject == subject).order_by(t.events.c.number)
        )
        .mappings()
        .all()
    )


def instances(connection: sa.Connection) -> Sequence[Row]:
    """All instances, oldest first."""
    query = sa.select(t.instances).order_by(t.instances.c.created_at, t.instances.c.name)
    return connection.execute(query).mappings().all()


def users(connection: sa.Connection) -> Sequence[Row]:
    """All users, oldest first."""
    return connection.execute(sa.select(t.users).order_by(t.users.c.created_at)).mappings().all()


def key(connection: sa.Connection, key_id: str) -> Row | None:
    """One key with its owner's name and role."""
    query = (
        sa.select(t.keys, t.users.c.role, t.users.c.name.label("user_name"))
        .join(t.users, t.users.c.user_id == t.keys.c.user_id)
        .where(t.keys.c.key_id == key_id)
    )
    return connection.execute(query).mappings().first()


def keys(connection: sa.Connection, user_id: str | None = None) -> Sequence[Row]:
    """All keys, or those of one user, with their owners' names and roles, oldest first."""
    query = (
        sa.select(t.keys, t.users.c.role, t.users.c.name.label("user_name"))
        .join(t.users, t.users.c.user_id == t.keys.c.user_id)
        .order_by(t.keys.c.created_at)
    )
    if user_id is not None:
        query = query.where(t.keys.c.user_id == user_id)
    return connection.execute(query).mappings().all()


def qpus(connection: sa.Connection) -> Sequence[Row]:
    """The modes of the QPUs as they were left."""
    return connection.execute(sa.select(t.qpus)).mappings().all()


def properties(connection: sa.Connection, qpu_id: str, before: float | None) -> bytes | None:
    """The newest properties of a QPU, not later than ``before``."""
    c = t.calibrations.c
    query = (
        sa.select(c.properties)
        .where(c.qpu_id == qpu_id)
        .order_by(c.measured_at.desc(), c.number.desc())
        .limit(1)
    )
    if before is not None:
        query = query.where(c.measured_at <= before)
    return connection.execute(query).scalar()


def setting(connection: sa.Connection, name: str) -> bytes | None:
    """A small secret or fact that the service keeps."""
    return connection.execute(sa.select(t.settings.c.value).where(t.settings.c.name == name)).scalar()


@dataclass(frozen=True, slots=True)
class ItemQuery:
    """Which jobs outside of workloads, sessions and batches of an instance; None means any.

    ``modes`` holds ``job``, ``dedicated``, ``batch``; ``job_statuses`` are values of ``jobs.status`` and
    ``progresses`` of ``workloads.progress``. ``after`` is the (time, id) of the last item of the page before,
    or with ``backwards`` of the first item of the page after.
    """

    instance_id: str
    modes: tuple[str, ...] = ("job", "dedicated", "batch")
    job_statuses: tuple[str, ...] | None = None
    progresses: tuple[str, ...] | None = None
    backend: str | None = None
    without_backends: tuple[str, ...] = ()
    user_id: str | None = None
    search: str | None = None
    tags: tuple[str, ...] = ()
    created_after: float | None = None
    created_before: float | None = None
    ascending: bool = False
    backwards: bool = False
    after: tuple[float, str] | None = None
    limit: int = 10


def items(connection: sa.Connection, wanted: ItemQuery) -> tuple[list[tuple[str, Row]], int]:
    """A page of ``("job", row)`` and ``("workload", row)`` by time of creation, and how many match in all."""
    found: list[tuple[str, Row]] = []
    total = 0
    descending = wanted.ascending == wanted.backwards
    for kind, table, identity, query in _item_queries(wanted):
        if kind == "job" and _counted(wanted):
            total += _count_outside(connection, wanted)
        else:
            count = sa.select(sa.func.count()).select_from(query.with_only_columns(identity).subquery())
            total += int(connection.execute(count).scalar_one())
        created = table.c.created_at
        if wanted.after is not None:
            at, last = wanted.after
            beyond = created < at if descending else created > at
            same = identity < last if descending else identity > last
            query = query.where(sa.or_(beyond, sa.and_(created == at, same)))
        order = (created.desc(), identity.desc()) if descending else (created, identity)
        page = connection.execute(query.order_by(*order).limit(wanted.limit)).mappings()
        found.extend((kind, row) for row in page)
    found.sort(key=_item_order, reverse=descending)
    found = found[: wanted.limit]
    if wanted.backwards:
        found.reverse()
    return found, total


def _counted(wanted: ItemQuery) -> bool:
    """Whether ``job_counts`` knows how many jobs match."""
    return not (wanted.search or wanted.tags or wanted.created_after or wanted.created_before)


def _count_outside(connection: sa.Connection, wanted: ItemQuery) -> int:
    c = t.job_counts.c
    total = sa.select(sa.func.coalesce(sa.func.sum(c.jobs), 0)).where(
        c.instance_id == wanted.instance_id, c.outside
    )
    if wanted.job_statuses is not None:
        total = total.where(c.status.in_(wanted.job_statuses))
    if wanted.backend is not None:
        total = total.where(c.backend == wanted.backend)
    if wanted.without_backends:
        total = total.where(c.backend.not_in(wanted.without_backends))
    if wanted.user_id is not None:
        total = total.where(c.user_id == wanted.user_id)
    return int(connection.execute(total).scalar_one())


def _item_order(item: tuple[str, Row]) -> tuple[float, str]:
    kind, row = item
    return row["created_at"], row["job_id" if kind == "job" else "workload_id"]


def _item_queries(
    wanted: ItemQuery,
) -> list[tuple[str, sa.Table, sa.Column[str], sa.Select[Any]]]:
    found: list[tuple[str, sa.Table, sa.Column[str], sa.Select[Any]]] = []
    if "job" in wanted.modes:
        query = _common(sa.select(t.jobs).where(t.jobs.c.workload_id.is_(None)), t.jobs, wanted)
        if wanted.job_statuses is not None:
            query = query.where(t.jobs.c.status.in_(wanted.job_statuses))
        tagged = t.job_tags.c
        for tag in wanted.tags:
            query = query.where(
                t.jobs.c.job_id.in_(
                    sa.select(tagged.job_id).where(
                        tagged.instance_id == wanted.instance_id, tagged.tag == tag
                    )
                )
            )
        if wanted.search:
            query = query.where(
                sa.or_(
                    t.jobs.c.job_id.contains(wanted.search, autoescape=True),
                    t.jobs.c.tags.contains(wanted.search, autoescape=True),
                )
            )
        found.append(("job", t.jobs, t.jobs.c.job_id, query))
    modes = tuple(mode for mode in wanted.modes if mode != "job")
    # Sessions and batches carry no tags of their own.
    if modes and not wanted.tags:
        query = _common(sa.select(t.workloads).where(t.workloads.c.mode.in_(modes)), t.workloads, wanted)
        if wanted.progresses is not None:
            query = query.where(t.workloads.c.progress.in_(wanted.progresses))
        if wanted.search:
            query = query.where(t.workloads.c.workload_id.contains(wanted.search, autoescape=True))
        found.append(("workload", t.workloads, t.workloads.c.workload_id, query))
    return found


def _common(query: sa.Select[Any], table: sa.Table, wanted: ItemQuery) -> sa.Select[Any]:
    c = table.c
    query = query.where(c.instance_id == wanted.instance_id)
    if wanted.backend is not None:
        query = query.where(c.backend == wanted.backend)
    if wanted.without_backends:
        query = query.where(c.backend.not_in(wanted.without_backends))
    if wanted.user_id is not None:
        query = query.where(c.user_id == wanted.user_id)
    if wanted.created_after is not None:
        query = query.where(c.created_at >= wanted.created_after)
    if wanted.created_before is not None:
        query = query.where(c.created_at <= wanted.created_before)
    return query


def audit(connection: sa.Connection, subject: str | None, before: int | None, limit: int) -> Sequence[Row]:
    """The audit trail, newest first: lines numbered below ``before``, of one subject if it is named."""
    c = t.audit.c
    query = sa.select(t.audit).order_by(c.number.desc()).limit(limit)
    if subject is not None:
        query = query.where(c.subject == subject)
    if before is not None:
        query = query.where(c.number < before)
    return connection.execute(query).mappings().all()


def windows(connection: sa.Connection, now: float) -> Sequence[Row]:
    """Maintenance and reservations that aren't over (index ``qpu_windows_by_end``)."""
    query = sa.select(t.qpu_windows).where(t.qpu_windows.c.ends_at > now).order_by(t.qpu_windows.c.starts_at)
    return connection.execute(query).mappings().all()
