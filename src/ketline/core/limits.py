"""Plans and limits: what may be submitted or opened, and whom a usage limit holds."""

from __future__ import annotations

from math import isfinite

from ketline.core import reasons
from ketline.core.centre import Centre, Group
from ketline.core.events import JobSubmitted, WorkloadOpened
from ketline.core.model import InstanceSpec, Mode, QpuMode, Reason


class Rejection(Exception):
    """A user's event can't be accepted; nothing has changed."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.message)
        self.reason = reason


def _admit(c: Centre, instance_id: str, qpu_id: str) -> InstanceSpec:
    instance = c.instances.get(instance_id)
    if instance is None:
        raise Rejection(reasons.instance_not_found(instance_id))
    if instance.archived:
        raise Rejection(reasons.instance_archived(instance_id))
    qpu = c.specs.get(qpu_id)
    if qpu is None or (instance.qpus is not None and qpu_id not in instance.qpus):
        raise Rejection(reasons.backend_not_found(qpu_id))
    if qpu.mode is QpuMode.RETIRED:
        raise Rejection(reasons.qpu_retired(qpu_id))
    return instance


def _positive(field: str, value: float | None) -> None:
    if value is not None and not (isfinite(value) and value > 0):
        raise Rejection(reasons.invalid(field, f"must be a positive number of seconds, not {value!r}"))


def admit_workload(c: Centre, event: WorkloadOpened) -> InstanceSpec:
    """Check ``POST /sessions``: plan, backend and TTL (C3, S20). Raises `Rejection`."""
    instance = _admit(c, event.instance_id, event.qpu_id)
    if event.mode is Mode.JOB:
        raise Rejection(reasons.invalid("mode", "must be batch or dedicated"))
    if event.mode is Mode.SESSION and not instance.sessions and not instance.open_session_as_jobs:
        raise Rejection(reasons.no_sessions(instance.plan))
    _positive("max_ttl", event.max_ttl_seconds)
    if event.max_ttl_seconds is not None and event.max_ttl_seconds > instance.max_ttl_seconds:
        raise Rejection(
            reasons.invalid(
                "max_ttl",
                f"{event.max_ttl_seconds:g} s is longer than the plan's maximum"
                f" of {instance.max_ttl_seconds:g} s",
            )
        )
    return instance


def admit_job(c: Centre, event: JobSubmitted) -> tuple[InstanceSpec, Group | None]:
    """Check a submission: plan, backend, session, pending jobs (C18, T18). Raises `Rejection`."""
    instance = _admit(c, event.instance_id, event.qpu_id)
    group = None
    if event.workload_id is not None:
        group = c.groups.get(event.workload_id)
        if group is None or group.noun.instance_id != event.instance_id:
            raise Rejection(reasons.session_closed(event.workload_id))
        if not group.noun.accepting:
            raise Rejection(reasons.session_closed(event.workload_id, " and takes no more jobs"))
        if group.noun.qpu_id != event.qpu_id:
            raise Rejection(
                reasons.invalid("backend", f"the session runs on {group.noun.qpu_id}, not on {event.qpu_id}")
            )
    _positive("cost", event.max_execution_seconds)
    most = instance.max_pending_jobs
    if most is not None and len(c.unfinished.get(event.instance_id, ())) >= most:
        raise Rejection(reasons.pending_job_limit(most))
    return instance, group


def job_limit(instance: InstanceSpec, max_execution_seconds: float | None) -> float:
    """The job's effective limit on QPU usage (C10): larger wishes are capped, not refused (A05)."""
    if max_execution_seconds is None:
        return instance.max_execution_seconds
    return min(max_execution_seconds, instance.max_execution_seconds)
