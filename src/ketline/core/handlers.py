"""What each event does to the centre. One function per event, and the table of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ketline.core import events, jobs, limits, operations, reasons, windows, workloads
from ketline.core.centre import Centre
from ketline.core.lifecycle import JobStep
from ketline.core.limits import Rejection
from ketline.core.model import Job, JobStatus, Mode, Stage, Workload

# the centre


def _qpu_registered(c: Centre, event: events.QpuRegistered, now: float) -> None:
    operations.register_qpu(c, event.spec, now)


def _qpu_mode_changed(c: Centre, event: events.QpuModeChanged, now: float) -> None:
    operations.change_mode(c, event.qpu_id, event.mode, event.reason, now)


def _instance_registered(c: Centre, event: events.InstanceRegistered, now: float) -> None:
    operations.register_instance(c, event.spec, now, event.past)


def _calibration_requested(c: Centre, event: events.CalibrationRequested, now: float) -> None:
    operations.request_calibration(c, event.qpu_id)


def _calibration_ended(c: Centre, event: events.CalibrationEnded, now: float) -> None:
    operations.end_calibration(c, event.qpu_id, now, ok=event.ok)


def _window_announced(c: Centre, event: events.WindowAnnounced, now: float) -> None:
    operations.announce_window(c, event.window, now)


def _window_withdrawn(c: Centre, event: events.WindowWithdrawn, now: float) -> None:
    operations.withdraw_window(c, event.qpu_id, event.window_id, now)


def _timer_fired(c: Centre, event: events.TimerFired, now: float) -> None:
    c.timers.woken()


# users


def _workload_opened(c: Centre, event: events.WorkloadOpened, now: float) -> None:
    instance = limits.admit_workload(c, event)
    if event.workload_id in c.workloads:
        raise ValueError(f"workload {event.workload_id} is already open")
    batch = event.mode is Mode.BATCH
    workload = Workload(
        workload_id=event.workload_id,
        mode=event.mode,
        instance_id=event.instance_id,
        user_id=event.user_id,
        qpu_id=event.qpu_id,
        created_at=now,
        seq=c.next_seq(),
        max_ttl_seconds=(
            instance.max_ttl_seconds if event.max_ttl_seconds is None else event.max_ttl_seconds
        ),
        interactive_ttl_seconds=(
            instance.batch_interactive_ttl_seconds if batch else instance.interactive_ttl_seconds
        ),
        as_jobs=not batch and not instance.sessions,
        interrupted_at=windows.next_boundary(c.qpus[event.qpu_id], event.instance_id, now),
    )
    workloads.open_(c, workload, now)


def _close_requested(c: Centre, event: events.WorkloadCloseRequested, now: float) -> None:
    group = c.groups.get(event.workload_id)
    if group is None:
        raise Rejection(reasons.session_not_found(event.workload_id))
    workloads.refuse_more(c, group, reasons.workload_closed(group.noun), now)


def _workload_cancel_requested(c: Centre, event: events.WorkloadCancelRequested, now: float) -> None:
    group = c.groups.get(event.workload_id)
    if group is None:
        raise Rejection(reasons.session_not_found(event.workload_id))
    workloads.cut_off(
        c,
        group,
        reasons.workload_cancelled(group.noun),
        JobStep.CANCEL,
        reasons.job_cancelled_with(group.noun),
        now,
    )


def _job_submitted(c: Centre, event: events.JobSubmitted, now: float) -> None:
    instance, group = limits.admit_job(c, event)
    if event.job_id in c.jobs:
        raise ValueError(f"job {event.job_id} was already submitted")
    job = Job(
        job_id=event.job_id,
        instance_id=event.instance_id,
        user_id=event.user_id,
        qpu_id=event.qpu_id,
        workload_id=event.workload_id,
        program=event.program,
        created_at=now,
        seq=c.next_seq(),
        limit_seconds=limits.job_limit(instance, event.max_execution_seconds),
        estimate_seconds=event.estimate_seconds,
        tags=event.tags,
    )
    if group is not None:
        workloads.submitted(c, group, now)
    jobs.join(c, job)
    c.changed(job)


def _job_cancel_requested(c: Centre, event: events.JobCancelRequested, now: float) -> None:
    job = c.jobs.get(event.job_id)
    if job is None:
        raise Rejection(reasons.not_cancellable(event.job_id))
    if not job.cancelling:
        jobs.cancel(c, job, reasons.job_cancelled(), now)


# the work


def _job_estimated(c: Centre, event: events.JobEstimated, now: float) -> None:
    job = c.jobs.get(event.job_id)
    if job is not None and job.status is JobStatus.QUEUED:
        jobs.estimated(c, job, event.estimate_seconds)


def _job_prepared(c: Centre, event: events.JobPrepared, now: float) -> None:
    job = c.jobs.get(event.job_id)
    if job is not None:
        jobs.prepared(c, job, event.estimate_seconds, now)


def _job_locked(c: Centre, event: events.JobLocked, now: float) -> None:
    job = c.jobs.get(event.job_id)
    if job is not None:
        jobs.expect(c, job, Stage.ON_QPU, "locked")
        jobs.locked(c, job, now)


def _job_released(c: Centre, event: events.JobReleased, now: float) -> None:
    job = c.jobs.get(event.job_id)
    if job is None:
        return
    jobs.expect(c, job, Stage.ON_QPU, "released")
    jobs.leave_qpu(c, job, event.qpu_seconds, now)
    if not job.cancelling and jobs.over_limit(job):
        job.reason = reasons.ran_too_long(job.limit_seconds)
        job.cancelling = True
    if job.cancelling:
        jobs.settle(c, job, JobStep.CANCEL, job.reason, now)
    else:
        jobs.released(c, job, now)


def _job_stopped(c: Centre, event: events.JobStopped, now: float) -> None:
    job = c.jobs.get(event.job_id)
    if job is None:
        return
    jobs.expect(c, job, Stage.ON_QPU, "stopped")
    jobs.leave_qpu(c, job, event.qpu_seconds, now)
    reason = job.reason if job.cancelling else reasons.ran_too_long(job.limit_seconds)
    jobs.settle(c, job, JobStep.CANCEL, reason, now)


def _job_finalized(c: Centre, event: events.JobFinalized, now: float) -> None:
    job = c.jobs.get(event.job_id)
    if job is not None:
        jobs.settle(c, job, JobStep.FINALIZED, None, now)


def _job_failed(c: Centre, event: events.JobFailed, now: float) -> None:
    job = c.jobs.get(event.job_id)
    if job is None:
        return
    if job.stage is Stage.ON_QPU:
        jobs.leave_qpu(c, job, event.qpu_seconds or 0.0, now)
    jobs.fail(c, job, event.failure, now)


def _job_interrupted(c: Centre, event: events.JobInterrupted, now: float) -> None:
    job = c.jobs.get(event.job_id)
    if job is None or job.status is JobStatus.QUEUED:
        return
    if job.cancelling:
        jobs.forgive(c, job)
        jobs.settle(c, job, JobStep.CANCEL, job.reason, now)
    else:
        jobs.interrupted(c, job, now)


HANDLERS: dict[type[events.Event], Callable[[Centre, Any, float], None]] = {
    events.QpuRegistered: _qpu_registered,
    events.QpuModeChanged: _qpu_mode_changed,
    events.InstanceRegistered: _instance_registered,
    events.WorkloadOpened: _workload_opened,
    events.WorkloadCloseRequested: _close_requested,
    events.WorkloadCancelRequested: _workload_cancel_requested,
    events.JobSubmitted: _job_submitted,
    events.JobCancelRequested: _job_cancel_requested,
    events.JobEstimated: _job_estimated,
    events.JobPrepared: _job_prepared,
    events.JobLocked: _job_locked,
    events.JobReleased: _job_released,
    events.JobStopped: _job_stopped,
    events.JobFinalized: _job_finalized,
    events.JobFailed: _job_failed,
    events.JobInterrupted: _job_interrupted,
    events.CalibrationRequested: _calibration_requested,
    events.CalibrationEnded: _calibration_ended,
    events.WindowAnnounced: _window_announced,
    events.WindowWithdrawn: _window_withdrawn,
    events.TimerFired: _timer_fired,
}
