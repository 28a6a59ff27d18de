"""Between three forms of one thing: the core's noun, the store's row and the outside's view."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import orjson

from ketline.core import codes
from ketline.core.events import Event, InstanceRegistered, JobSubmitted
from ketline.core.model import Job, JobStatus, Mode, Reason, Stage, Workload, WorkloadState
from ketline.service.clock import as_datetime, maybe_datetime
from ketline.service.views import JobRequest, JobView, Principal, WorkloadView
from ketline.store.queries import Row


@dataclass(slots=True)
class JobRecord:
    """What the service knows of a job beyond the core's noun.

    ``attempt`` counts how often its work was begun, so that each has a folder of its own. ``counted_as`` is
    the status under which the job is in ``job_counts``.
    """

    backend: str
    private: bool
    calibration_id: str | None
    log_level: str
    caller: str
    revision: int = 0
    result_bytes: int | None = None
    attempt: int = 0
    counted_as: JobStatus = JobStatus.QUEUED


def submission(job_id: str, principal: Principal, request: JobRequest) -> JobSubmitted:
    """A submission as the core hears of it."""
    return JobSubmitted(
        job_id=job_id,
        instance_id=principal.instance_id,
        user_id=principal.user_id,
        qpu_id=request.backend,
        program=request.program,
        workload_id=request.workload_id,
        max_execution_seconds=request.cost_seconds,
        tags=request.tags,
    )


def job_row(job: Job, record: JobRecord) -> dict[str, Any]:
    """All columns of a job."""
    return {
        "job_id": job.job_id,
        "instance_id": job.instance_id,
        "user_id": job.user_id,
        "qpu_id": job.qpu_id,
        "backend": record.backend,
        "program": job.program,
        "workload_id": job.workload_id,
        "created_at": job.created_at,
        "seq": job.seq,
        "limit_seconds": job.limit_seconds,
        "private": record.private,
        "calibration_id": record.calibration_id,
        "log_level": record.log_level,
        "caller": record.caller,
        **job_life(job, record),
    }


def job_life(job: Job, record: JobRecord) -> dict[str, Any]:
    """The columns of a job that change (`ketline.store.tables.JOB_LIFE`)."""
    reason = job.reason
    return {
        "tags": orjson.dumps(job.tags).decode(),
        "estimate_seconds": job.estimate_seconds,
        "status": job.status.value,
        "stage": job.stage.value,
        "running_at": job.running_at,
        "ready_at": job.ready_at,
        "locked_at": job.locked_at,
        "released_at": job.released_at,
        "finished_at": job.finished_at,
        "qpu_seconds": job.qpu_seconds,
        "billed_seconds": job.billed_seconds,
        "cancelling": job.cancelling,
        "reason_code": reason.code if reason else None,
        "reason_message": reason.message if reason else None,
        "reason_solution": reason.solution if reason else None,
        "result_bytes": record.result_bytes,
        "revision": record.revision,
    }


def job_from_row(row: Row) -> Job:
    """The core's noun of a job that was written down."""
    return Job(
        job_id=row["job_id"],
        instance_id=row["instance_id"],
        user_id=row["user_id"],
        qpu_id=row["qpu_id"],
        workload_id=row["workload_id"],
        program=row["program"],
        created_at=row["created_at"],
        seq=row["seq"],
        limit_seconds=row["limit_seconds"],
        estimate_seconds=row["estimate_seconds"],
        tags=tuple(orjson.loads(row["tags"])),
        status=JobStatus(row["status"]),
        stage=Stage(row["stage"]),
        running_at=row["running_at"],
        ready_at=row["ready_at"],
        locked_at=row["locked_at"],
        released_at=row["released_at"],
        finished_at=row["finished_at"],
        qpu_seconds=row["qpu_seconds"],
        billed_seconds=row["billed_seconds"],
        reason=_reason(row),
        cancelling=row["cancelling"],
    )


def record_from_row(row: Row) -> JobRecord:
    """The service's part of a job that was written down."""
    return JobRecord(
        backend=row["backend"],
        private=row["private"],
        calibration_id=row["calibration_id"],
        log_level=row["log_level"],
        caller=row["caller"],
        revision=row["revision"],
        result_bytes=row["result_bytes"],
        counted_as=JobStatus(row["status"]),
    )


def _reason(row: Row) -> Reason | None:
    if row["reason_code"] is None:
        return None
    return Reason(row["reason_code"], row["reason_message"] or "", row["reason_solution"] or "")


def job_view(job: Job, record: JobRecord) -> JobView:
    """A job as the outside sees it."""
    return JobView(
        job_id=job.job_id,
        instance_id=job.instance_id,
        user_id=job.user_id,
        backend=record.backend,
        program=job.program,
        status=job.status,
        stage=job.stage,
        reason=job.reason,
        created_at=as_datetime(job.created_at),
        running_at=maybe_datetime(job.running_at),
        ready_at=maybe_datetime(job.ready_at),
        locked_at=maybe_datetime(job.locked_at),
        released_at=maybe_datetime(job.released_at),
        finished_at=maybe_datetime(job.finished_at),
        workload_id=job.workload_id,
        tags=job.tags,
        cost_seconds=job.limit_seconds,
        estimate_seconds=job.estimate_seconds,
        usage_seconds=job.billed_seconds,
        qpu_seconds=job.qpu_seconds,
        private=record.private,
        calibration_id=record.calibration_id,
        caller=record.caller,
        revision=record.revision,
        result_bytes=record.result_bytes,
    )


def job_view_from_row(row: Row) -> JobView:
    """A job that was written down, as the outside sees it."""
    return job_view(job_from_row(row), record_from_row(row))


def progress(workload: Workload) -> str:
    """What has become of a session or batch, in a word.

    One that was cancelled counts as completed all the same when jobs of it did (``modes.md`` 2.3).
    """
    if workload.state in (WorkloadState.OPEN, WorkloadState.INACTIVE):
        return "pending"
    if workload.state is not WorkloadState.CLOSED:
        return "in_progress"
    cancelled = workload.reason is not None and workload.reason.code == codes.WORKLOAD_CANCELLED
    return "canceled" if cancelled and not workload.jobs_completed else "completed"


def workload_row(workload: Workload) -> dict[str, Any]:
    """All columns of a session or batch."""
    return {
        "workload_id": workload.workload_id,
        "mode": workload.mode.value,
        "instance_id": workload.instance_id,
        "user_id": workload.user_id,
        "backend": workload.qpu_id,
        "created_at": workload.created_at,
        "seq": workload.seq,
        "state": workload.state.value,
        "progress": progress(workload),
        "closed_at": workload.closed_at,
        "usage_seconds": workload.usage_seconds,
        "facts": orjson.dumps(workload).decode(),
    }


def workload_from_row(row: Row) -> Workload:
    """The core's noun of a session or batch that was written down."""
    facts = orjson.loads(row["facts"])
    facts["mode"] = Mode(facts["mode"])
    facts["state"] = WorkloadState(facts["state"])
    facts["windows"] = [(start, end) for start, end in facts["windows"]]
    facts["history"] = [(WorkloadState(state), at) for state, at in facts["history"]]
    if facts["reason"] is not None:
        facts["reason"] = Reason(**facts["reason"])
    known = {f.name for f in dataclasses.fields(Workload)}
    return Workload(**{name: value for name, value in facts.items() if name in known})


def workload_view(workload: Workload) -> WorkloadView:
    """A session or batch as the outside sees it."""
    return WorkloadView(
        workload_id=workload.workload_id,
        mode=workload.mode,
        instance_id=workload.instance_id,
        user_id=workload.user_id,
        backend=workload.qpu_id,
        state=workload.state,
        reason=workload.reason,
        accepting=workload.accepting,
        max_ttl_seconds=workload.max_ttl_seconds,
        active_ttl_seconds=workload.max_ttl_seconds,
        interactive_ttl_seconds=workload.interactive_ttl_seconds,
        created_at=as_datetime(workload.created_at),
        started_at=maybe_datetime(workload.started_at),
        activated_at=maybe_datetime(workload.activated_at),
        closed_at=maybe_datetime(workload.closed_at),
        last_job_started_at=maybe_datetime(workload.last_job_started_at),
        last_job_completed_at=maybe_datetime(workload.last_job_completed_at),
        usage_seconds=workload.usage_seconds,
        history=tuple((state, as_datetime(at)) for state, at in workload.history),
        interrupted_at=maybe_datetime(workload.interrupted_at),
    )


def event_row(event: Event, now: float) -> dict[str, Any]:
    """An event as it is logged: its kind, whom it is about, and its fields."""
    subject = ""
    for name in ("job_id", "workload_id", "qpu_id"):
        if name in event.__slots__:
            subject = getattr(event, name)
            break
    else:
        about = getattr(event, "spec", None) or getattr(event, "window", None)
        if about is not None:
            subject = getattr(about, "qpu_id", None) or about.instance_id
    if isinstance(event, InstanceRegistered):
        event = InstanceRegistered(event.spec)  # the past stands in the ledger
    return {
        "at": now,
        "kind": type(event).__name__,
        "subject": subject,
        "facts": orjson.dumps(event, default=_plain).decode(),
    }


def _plain(value: object) -> object:
    if isinstance(value, frozenset):
        return sorted(value)
    raise TypeError(f"not JSON: {value!r}")
