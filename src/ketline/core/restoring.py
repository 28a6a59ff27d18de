"""Taking up where a predecessor stopped: unfinished jobs, open workloads and usage."""

from __future__ import annotations

from ketline.core import jobs, reasons, workloads
from ketline.core.actions import Prepare
from ketline.core.centre import Centre
from ketline.core.lifecycle import JobStep, WorkloadStep, workload_step
from ketline.core.model import Job, JobStatus, Reason, Stage, Workload
from ketline.core.timers import TimerKind


def restore(
    c: Centre,
    known_jobs: list[Job],
    known_workloads: list[Workload],
    usage: list[tuple[str, float, float]],
    now: float,
    seen_at: float,
) -> None:
    """Fill an empty centre with unfinished jobs, open workloads and usage."""
    if c.jobs or c.workloads:
        raise ValueError("only a scheduler without jobs and workloads can take up another's")
    for instance_id, at, seconds in sorted(usage, key=lambda line: line[1]):
        if instance_id in c.fair.shares:
            c.fair.bill(instance_id, at, seconds)
    for workload in sorted(known_workloads, key=lambda workload: workload.seq):
        c.seq = max(c.seq, workload.seq)
        if workload.qpu_id in c.qpus and workload.instance_id in c.instances:
            workloads.adopt(c, workload)
        else:
            _drop_workload(c, workload, now)
    for job in sorted(known_jobs, key=lambda job: job.seq):
        c.seq = max(c.seq, job.seq)
        _take_up(c, job, now)
    for group in list(c.groups.values()):
        _resume(c, group.noun.workload_id, now, seen_at)
    c.restless_groups.update(c.groups)
    c.restless_qpus.update(c.qpus)
    c.restless_instances.update(dict.fromkeys(c.instances))


def _drop_workload(c: Centre, workload: Workload, now: float) -> None:
    workload_step(workload, WorkloadStep.END, now, c.stories)
    workload.accepting = False
    workload.closed_at = now
    workload.reason = reasons.qpu_gone(workload.qpu_id)
    c.stories.pop(workload.workload_id, None)
    c.changed(workload)


def _take_up(c: Centre, job: Job, now: float) -> None:
    """A job goes back to where it was; one that was at work is prepared again in its lane."""
    lost: Reason | None = None
    if job.qpu_id not in c.qpus or job.instance_id not in c.instances:
        lost = reasons.qpu_gone(job.qpu_id)
    elif job.workload_id is not None and job.workload_id not in c.groups:
        lost = reasons.session_closed(job.workload_id)
    if lost is not None:
        job.status, job.stage, job.reason, job.finished_at = JobStatus.FAILED, Stage.NONE, lost, now
        c.settled(job)
        return
    jobs.join(c, job)
    if job.status is JobStatus.QUEUED:
        return
    qpu, group = c.qpus[job.qpu_id], c.group_of(job)
    qpu.lanes_before = len(qpu.running) + 1
    job.stage = Stage.PREPARING
    job.qpu_seconds = 0.0
    job.locked_at = job.released_at = job.ready_at = None
    jobs.hold_lane(c, job, qpu, group)
    if group is not None and group.holds:
        qpu.holder = job.workload_id
    if job.cancelling:
        jobs.settle(c, job, JobStep.CANCEL, job.reason, now)
        return
    c.changed(job)
    c.do(Prepare(job.job_id))


def _resume(c: Centre, workload_id: str, now: float, seen_at: float) -> None:
    """An active workload keeps its QPU; a session's window is billed until its predecessor's end, and a
    fresh one opens now."""
    group = c.groups[workload_id]
    workload, qpu = group.noun, c.qpus[group.noun.qpu_id]
    if workload.window_started_at is None:
        return
    if group.holds:
        qpu.holder = workload_id
    if workload.idle_at is not None:  # idle time stands still while nobody can submit
        workload.idle_at += now - seen_at
        c.timers.set(TimerKind.IDLE, workload_id, workload.idle_at)
    workloads.reopen_window(c, group, seen_at, now)
