"""Queues as somebody may see them: all of it for an administrator, else the own instance's."""

from __future__ import annotations

from datetime import datetime

from ketline.core.model import Job, Workload
from ketline.core.scheduler import Scheduler
from ketline.service.clock import as_datetime
from ketline.service.house import House
from ketline.service.prospects import OpenWorkload, QpuQueue, QueuedJob
from ketline.service.views import Principal


class QueueViews:
    """Makes views of one state of the core for one principal."""

    def __init__(self, house: House, scheduler: Scheduler, principal: Principal) -> None:
        self._house, self._scheduler, self._principal = house, scheduler, principal

    def of(self, qpu_id: str, limit: int) -> QpuQueue:
        """A QPU, its lanes and the first ``limit`` jobs of its queue."""
        scheduler = self._scheduler
        spec, holder = scheduler.qpus[qpu_id], scheduler.holder(qpu_id)
        queued = [scheduler.jobs[job_id] for job_id in scheduler.queue(qpu_id)[:limit]]
        workloads = [
            w for w in scheduler.workloads.values() if w.qpu_id == qpu_id and self._sees(w.instance_id)
        ]
        return QpuQueue(
            backend=qpu_id,
            mode=spec.mode.value,
            mode_reason=spec.mode_reason,
            calibrating=scheduler.calibrating(qpu_id),
            lanes=spec.lanes,
            queue_length=scheduler.queue_length(qpu_id),
            running=tuple(self._shown(scheduler.jobs[job_id]) for job_id in scheduler.lanes(qpu_id)),
            queued=tuple(self._shown(job) for job in queued),
            workloads=tuple(self._open(w, holds=w.workload_id == holder) for w in workloads),
        )

    def _sees(self, instance_id: str) -> bool:
        who = self._principal
        return who.role == "administrator" or instance_id == who.instance_id

    def _name(self, instance_id: str) -> str:
        instance = self._house.instances.get(instance_id)
        return instance_id if instance is None else instance.name

    def _shown(self, job: Job) -> QueuedJob:
        since = as_datetime(job.created_at if job.running_at is None else job.running_at)
        if not self._sees(job.instance_id):
            return QueuedJob(False, None, None, None, None, job.stage, since, None, "")
        return QueuedJob(
            job.instance_id == self._principal.instance_id,
            job.job_id,
            job.workload_id,
            job.program,
            self._name(job.instance_id),
            job.stage,
            since,
            job.estimate_seconds,
            self._scheduler.reason(job.job_id).message,
        )

    def _open(self, workload: Workload, *, holds: bool) -> OpenWorkload:
        def at(seconds: float | None) -> datetime | None:
            return None if seconds is None else as_datetime(seconds)

        return OpenWorkload(
            workload.workload_id,
            workload.mode,
            self._name(workload.instance_id),
            workload.state,
            holds,
            workload.accepting,
            workload.jobs_submitted,
            at(workload.expires_at),
            at(workload.idle_at),
            at(workload.unused_at),
        )
