"""A job as the wire shows it (``rest.md`` B.4, B.5, C.1)."""

from __future__ import annotations

from typing import Any

from ketline.api.replies import moment, whole
from ketline.core.model import JobStatus
from ketline.errors import RAN_TOO_LONG
from ketline.service.views import JobView

STATUS_WORDS = {
    JobStatus.QUEUED: "Queued",
    JobStatus.RUNNING: "Running",
    JobStatus.COMPLETED: "Completed",
    JobStatus.FAILED: "Failed",
    JobStatus.CANCELLED: "Cancelled",
}
"""The only five words that the client understands; any other would make it poll for ever."""


def job_response(job: JobView) -> dict[str, Any]:
    """The job without its params; absent values are left out."""
    word = STATUS_WORDS[job.status]
    state: dict[str, Any] = {"status": word}
    flat = word
    if job.reason is not None:
        state["reason"] = job.reason.message
        state["reason_code"] = job.reason.code
        if job.reason.solution:
            state["reason_solution"] = job.reason.solution
        if job.status is JobStatus.CANCELLED and job.reason.code == RAN_TOO_LONG.code:
            flat = "Cancelled - Ran too long"
    shown: dict[str, Any] = {
        "id": job.job_id,
        "backend": job.backend,
        "state": state,
        "status": flat,
        "program": {"id": job.program},
        "created": moment(job.created_at),
        "runtime": "",  # The image of a job, which can't be chosen here; the client reads the field.
        "cost": whole(job.cost_seconds),
        "tags": list(job.tags),
        "user_id": job.user_id,
        "usage": usage_of(job),
    }
    if job.workload_id is not None:
        shown["session_id"] = job.workload_id
    if job.estimate_seconds is not None:
        shown["estimated_running_time_seconds"] = job.estimate_seconds
    if job.private:
        shown["private"] = True
    if job.calibration_id is not None:
        shown["calibration_id"] = job.calibration_id
    return shown


def usage_of(job: JobView) -> dict[str, Any]:
    """The billed seconds, under the present name and the two that older clients read."""
    return {
        "qpu_charge_time_seconds": job.usage_seconds,
        "quantum_seconds": job.usage_seconds,
        "seconds": job.usage_seconds,
        "status": "complete" if job.status.final else "pending",
    }
