"""What has been asked of the centre, and what became of it, as a trace that the planner reads."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import sqlalchemy as sa

from ketline.core.model import Mode
from ketline.planning.trace import Trace, TraceJob, TraceWorkload, of_job, of_workload
from ketline.service.records import job_from_row, workload_from_row
from ketline.store import tables

IDS_AT_ONCE = 500


def read(
    connection: sa.Connection,
    since: float | None = None,
    until: float | None = None,
    *,
    names: Mapping[str, str] | None = None,
    leave_out: Collection[str] = (),
    newest: int | None = None,
) -> Trace:
    """Jobs that have ended, submitted in ``[since, until]``, with their sessions and batches.

    ``names`` maps instance ids to the names that the trace shows; ``leave_out`` are QPUs whose jobs don't
    count (simulators and dry-run twins have no queue). ``newest`` takes so many jobs, the latest, at most.
    """
    c = tables.jobs.c
    query = (
        sa.select(tables.jobs).where(c.finished_at.is_not(None)).order_by(c.created_at.desc(), c.seq.desc())
    )
    if since is not None:
        query = query.where(c.created_at >= since)
    if until is not None:
        query = query.where(c.created_at <= until)
    if leave_out:
        query = query.where(c.qpu_id.not_in(list(leave_out)))
    if newest is not None:
        query = query.limit(newest)
    found = [job_from_row(row) for row in connection.execute(query).mappings()]
    found.reverse()
    workloads = _workloads(
        connection, sorted({job.workload_id for job in found if job.workload_id is not None})
    )
    known = {} if names is None else names
    jobs: list[TraceJob] = []
    for job in found:
        parent = None if job.workload_id is None else workloads.get(job.workload_id)
        if job.workload_id is not None and parent is None:
            continue
        row = of_job(job, Mode.JOB if parent is None else parent.mode)
        row.instance = known.get(row.instance, row.instance)
        jobs.append(row)
    for workload in workloads.values():
        workload.instance = known.get(workload.instance, workload.instance)
    return Trace(jobs, list(workloads.values()))


def _workloads(connection: sa.Connection, ids: list[str]) -> dict[str, TraceWorkload]:
    found: dict[str, TraceWorkload] = {}
    for start in range(0, len(ids), IDS_AT_ONCE):
        part = ids[start : start + IDS_AT_ONCE]
        query = sa.select(tables.workloads).where(tables.workloads.c.workload_id.in_(part))
        for row in connection.execute(query).mappings():
            found[row["workload_id"]] = of_workload(workload_from_row(row))
    return found
