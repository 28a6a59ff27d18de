"""Reasons in words: what happened to whom, and what to do next. One function per code of `codes`."""

from __future__ import annotations

from ketline.core import codes
from ketline.core.model import Mode, Reason, Workload


def noun(mode: Mode) -> str:
    """How a user calls a workload."""
    return "batch" if mode is Mode.BATCH else "session"


def invalid(field: str, problem: str) -> Reason:
    """A field of a request makes no sense."""
    return Reason(
        codes.INVALID_REQUEST,
        f"{field}: {problem}",
        f"Correct the field {field} and send the request again.",
    )


def backend_not_found(qpu_id: str) -> Reason:
    """The QPU doesn't exist, or not for this instance."""
    return Reason(
        codes.BACKEND_NOT_FOUND,
        f"There is no backend {qpu_id!r} for this instance.",
        "List the backends with GET /backends or `ketline qpus list`.",
    )


def instance_not_found(instance_id: str) -> Reason:
    """The instance doesn't exist."""
    return Reason(
        codes.INSTANCE_NOT_FOUND,
        f"There is no instance {instance_id!r}.",
        "List the instances with `ketline instances list`.",
    )


def instance_archived(instance_id: str) -> Reason:
    """The instance takes and runs nothing any more (``modes.md`` 5.5)."""
    return Reason(
        codes.INSTANCE_ARCHIVED,
        f"Instance {instance_id!r} is archived.",
        "Use another instance, or ask an administrator to reactivate this one.",
    )


def qpu_retired(qpu_id: str) -> Reason:
    """A retired QPU takes nothing new (``modes.md`` 5.5)."""
    return Reason(codes.QPU_RETIRED, f"Backend {qpu_id!r} is retired.", "Choose another backend.")


def qpu_gone(qpu_id: str) -> Reason:
    """The QPU that a job waited for isn't part of the centre any more."""
    return Reason(
        codes.QPU_GONE, f"Backend {qpu_id!r} was removed while the job waited.", "Submit to another backend."
    )


def session_not_found(workload_id: str) -> Reason:
    """No open session or batch of this id."""
    return Reason(
        codes.SESSION_NOT_FOUND,
        f"There is no open session or batch {workload_id!r}.",
        "Check the id, and the instance that the request names.",
    )


def session_closed(workload_id: str, why: str = "") -> Reason:
    """A job can't be part of this session or batch (T11, T15, T18)."""
    return Reason(
        codes.SESSION_CLOSED,
        f"Session {workload_id} has been closed{why}.",
        "Open another session or batch and submit there.",
    )


def job_expired(workload: Workload) -> Reason:
    """A queued job whose session or batch reached its TTL (T15, C4)."""
    return session_closed(
        workload.workload_id, f": its maximum time to live of {workload.max_ttl_seconds:g} s was reached"
    )


def no_sessions(plan: str) -> Reason:
    """The plan has no dedicated sessions (C3)."""
    return Reason(
        codes.NO_SESSIONS_ON_PLAN,
        f"You are not authorized to run a session when using the {plan} plan.",
        "Create an instance of a different plan type or use a different execution mode.",
    )


def pending_job_limit(limit: int) -> Reason:
    """The instance has as many unfinished jobs as its plan allows (C18)."""
    return Reason(
        codes.PENDING_JOB_LIMIT,
        f"The limit of {limit} unfinished jobs is reached.",
        "Wait until a job has finished, or cancel one.",
    )


def ran_too_long(limit_seconds: float) -> Reason:
    """The job used up its limit on the QPU (``modes.md`` 1.3)."""
    return Reason(
        codes.RAN_TOO_LONG,
        f"Ran too long: the job reached its limit of {limit_seconds:g} s on the QPU.",
        "Raise max_execution_time, or split the job.",
    )


def cost_limit_stop(limit_seconds: float) -> Reason:
    """A running job was stopped by its instance's cost limit (C6)."""
    return Reason(
        codes.RAN_TOO_LONG,
        f"Ran too long: the instance reached its cost limit of {limit_seconds:g} s.",
        "Raise the instance's limit, then submit the job again.",
    )


def not_cancellable(job_id: str) -> Reason:
    """The job is final, or was never here."""
    return Reason(
        codes.JOB_NOT_CANCELLABLE,
        f"Job {job_id} is not running or queued.",
        "Nothing is left to be cancelled.",
    )


def job_cancelled() -> Reason:
    """Its user cancelled the job."""
    return Reason(
        codes.JOB_CANCELLED, "The job was cancelled on request.", "Submit it again if it is still wanted."
    )


def job_cancelled_with(workload: Workload) -> Reason:
    """A queued job whose session or batch was cancelled (T14)."""
    return Reason(
        codes.WORKLOAD_CANCELLED,
        f"The {noun(workload.mode)} {workload.workload_id} was cancelled before the job started.",
        "Submit it again outside, or in another session or batch.",
    )


def workload_cancelled(workload: Workload) -> Reason:
    """A session or batch was cancelled (T14)."""
    return Reason(
        codes.WORKLOAD_CANCELLED,
        f"The {noun(workload.mode)} was cancelled: queued jobs were dropped, running ones finish.",
        "Open another one for further jobs.",
    )


def workload_closed(workload: Workload) -> Reason:
    """A session or batch was closed by its user (T11-T13)."""
    return Reason(
        codes.WORKLOAD_CLOSED,
        f"The {noun(workload.mode)} was closed by its user.",
        "Open another one for further jobs.",
    )


def workload_unused(workload: Workload) -> Reason:
    """A session or batch never saw a job (T2)."""
    return Reason(
        codes.WORKLOAD_UNUSED,
        f"The {noun(workload.mode)} had no job to run for 30 minutes.",
        "Open another one when jobs are ready.",
    )


def workload_expired(workload: Workload) -> Reason:
    """A session or batch reached its TTL (T15)."""
    return Reason(
        codes.WORKLOAD_EXPIRED,
        f"The {noun(workload.mode)} reached its maximum time to live of {workload.max_ttl_seconds:g} s.",
        "Open another one for further jobs; a longer max_time gives them longer.",
    )


def workload_cost_limit(workload: Workload, limit_seconds: float) -> Reason:
    """A session or batch was closed by its instance's cost limit (T16)."""
    return Reason(
        codes.USAGE_LIMIT,
        f"The {noun(workload.mode)} was closed: the instance reached its cost limit of {limit_seconds:g} s.",
        "Raise the instance's limit, then open another one.",
    )


def workload_archived(workload: Workload) -> Reason:
    """A session or batch of an instance that was archived."""
    return Reason(
        codes.INSTANCE_ARCHIVED,
        f"The {noun(workload.mode)} was closed: its instance {workload.instance_id!r} was archived.",
        "Use another instance.",
    )
