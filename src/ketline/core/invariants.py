"""What must always hold between two events. Tests ask after every one."""

from __future__ import annotations

from ketline.core.centre import Centre, Group, Qpu
from ketline.core.dispatch import drained, enters, next_any, next_of, next_ready, next_single, owns
from ketline.core.model import JobStatus, Mode, Stage, WorkloadState
from ketline.core.timers import TimerKind
from ketline.core.windows import fits, open_to

TOLERANCE_SECONDS = 1e-6


class InvariantError(AssertionError):
    """The scheduler's state contradicts itself."""


def _hold(condition: object, message: str) -> None:
    if not condition:
        raise InvariantError(message)


def check(c: Centre) -> None:
    """Raise `InvariantError` unless every invariant holds. Cost: linear in all there is."""
    for qpu in c.qpus.values():
        _check_qpu(c, qpu)
    _check_jobs(c)
    for group in c.groups.values():
        _check_group(c, group)
    _check_usage(c)
    left = c.restless_groups or c.restless_qpus or c.restless_instances or c.fair.watched
    _hold(not left, "something was left undone")


def _check_qpu(c: Centre, qpu: Qpu) -> None:
    name = qpu.spec.qpu_id
    queued = sum(job.status is JobStatus.QUEUED and job.qpu_id == name for job in c.jobs.values())
    _hold(qpu.queued == queued, f"{name}: counts {qpu.queued} queued jobs, there are {queued}")
    stages = {job_id: job.stage for job_id, job in qpu.running.items()}
    _hold(Stage.NONE not in stages.values(), f"{name}: a job in a lane has no stage")
    waiting = {job_id for job_id, stage in stages.items() if stage is Stage.WAITING_QPU}
    locked = {job_id for job_id, stage in stages.items() if stage is Stage.ON_QPU}
    _hold(waiting == set(qpu.ready), f"{name}: ready {set(qpu.ready)}, but waiting for the QPU {waiting}")
    _hold(locked == set(qpu.locked), f"{name}: on the QPU {set(qpu.locked)}, by their stages {locked}")
    if not qpu.spec.serial:
        _hold(qpu.holder is None, f"{name}: a simulator without a queue has a holder")
        idle = waiting and qpu.starts_work and not qpu.windows
        _hold(not idle, f"{name}: {waiting} wait on a simulator")
        return
    _hold(len(locked) + qpu.calibrating <= 1, f"{name}: {locked} on the QPU, calibrating {qpu.calibrating}")
    allowed = max(qpu.spec.lanes, qpu.lanes_before)
    _hold(len(stages) <= allowed, f"{name}: {len(stages)} jobs in {allowed} lanes")
    holder = None if qpu.holder is None else c.groups.get(qpu.holder)
    _hold(qpu.holder is None or holder is not None, f"{name}: its holder {qpu.holder} is gone")
    if holder is not None and owns(holder):
        foreign = set(qpu.running) - set(holder.running)
        _hold(not foreign, f"{name}: {foreign} beside the active session {qpu.holder}")
        _hold(not qpu.calibrating, f"{name}: calibrates during the active session {qpu.holder}")
    _check_busy(c, qpu, holder)


def _check_busy(c: Centre, qpu: Qpu, holder: Group | None) -> None:
    """No lane is free, and the QPU isn't idle, while something may take it."""
    name = qpu.spec.qpu_id
    if not qpu.starts_work:
        return
    if len(qpu.running) < qpu.spec.lanes:
        first = None if holder is None else next_of(holder)
        if holder is None:
            _hold(next_any(c, qpu, c.now) == (None, None), f"{name}: a lane is free and work waits")
        elif holder.noun.mode is Mode.BATCH or owns(holder):
            stuck = first is None or not fits(qpu, first, c.now)
            _hold(stuck, f"{name}: a lane is free and its holder waits")
        if holder is not None and holder.noun.mode is Mode.BATCH:
            _hold(next_single(c, qpu, c.now) is None, f"{name}: a lane is free and a job waits")
    if holder is not None and enters(holder) and not owns(holder):
        _hold(holder.queued or holder.running, f"{name}: drains for a session without jobs")
        ready = holder.running and drained(qpu, holder) and open_to(qpu, holder.noun.instance_id, c.now)
        _hold(not ready, f"{name}: drained, and its session isn't active")
    if not qpu.locked and not qpu.calibrating:
        job = next_ready(qpu, holder, c.now)
        _hold(job is None, f"{name}: the QPU is idle and {job and job.job_id} is ready")


def _check_jobs(c: Centre) -> None:
    for job_id, job in c.jobs.items():
        qpu, group = c.qpus[job.qpu_id], c.group_of(job)
        _hold(not job.status.final, f"job {job_id} is {job.status} and still here")
        _hold(c.unfinished[job.instance_id].get(job_id) is job, f"job {job_id} isn't its instance's")
        running = job.status is JobStatus.RUNNING
        _hold((job_id in qpu.running) == running, f"job {job_id} is {job.status}; in a lane: {not running}")
        _hold((job.stage is not Stage.NONE) == running, f"job {job_id} is {job.status} in {job.stage}")
        _hold(job.qpu_seconds >= 0.0, f"job {job_id} used {job.qpu_seconds} s")
        _hold(job.workload_id is None or group is not None, f"job {job_id} outlived its workload")
        if group is not None:
            place = group.running if running else group.queued
            _hold(place.get(job_id) is job, f"job {job_id} isn't in its workload's {job.status} jobs")
    total = sum(len(each) for each in c.unfinished.values())
    _hold(total == len(c.jobs), f"{total} unfinished jobs of instances, {len(c.jobs)} in all")


def _check_group(c: Centre, group: Group) -> None:
    workload = group.noun
    name, state = f"workload {workload.workload_id}", workload.state
    qpu = c.qpus[workload.qpu_id]
    holder = qpu.holder == workload.workload_id
    _hold(state is not WorkloadState.CLOSED, f"{name} is closed and still here")
    _hold(not set(group.queued) & set(group.running), f"{name}: a job is queued and running")
    _hold(state is not WorkloadState.ACTIVE or workload.window_started_at is not None, f"{name}: no window")
    if workload.window_started_at is not None:
        _hold(state in (WorkloadState.ACTIVE, WorkloadState.PENDING_CLOSED), f"{name}: {state} with a window")
        _hold(holder or not group.holds, f"{name} is {state} but doesn't hold its QPU")
    elif group.running:
        _hold(holder, f"{name} is {state} with jobs {set(group.running)}")
    if state is WorkloadState.PENDING_CLOSED:
        _hold(group.running and not group.queued, f"{name}: pending closed without a running job")
    _hold(workload.accepting or group.queued or group.running, f"{name}: closes, is empty and still here")
    idle = state is WorkloadState.ACTIVE and not group.running and not group.queued
    _hold((workload.idle_at is not None) == idle, f"{name}: idles {idle}, idle_at {workload.idle_at}")
    for kind, at in (
        (TimerKind.IDLE, workload.idle_at),
        (TimerKind.UNUSED, workload.unused_at),
        (TimerKind.TTL, None if state is WorkloadState.PENDING_CLOSED else workload.expires_at),
    ):
        timer = c.timers.deadlines.get((kind, workload.workload_id))
        _hold(timer == at, f"{name}: its {kind} timer is {timer}, not {at}")
    _check_windows(group)


def _check_windows(group: Group) -> None:
    workload = group.noun
    last = workload.started_at or 0.0
    for since, until in workload.windows:
        _hold(last <= since <= until, f"workload {workload.workload_id}: windows {workload.windows}")
        last = until
    if group.bills_windows:
        total = sum(until - since for since, until in workload.windows)
        _hold(
            abs(total - workload.usage_seconds) < TOLERANCE_SECONDS,
            f"workload {workload.workload_id}: windows {total} s, usage {workload.usage_seconds} s",
        )
    _hold(workload.idle_seconds >= 0.0, f"workload {workload.workload_id} idled {workload.idle_seconds} s")


def _check_usage(c: Centre) -> None:
    _hold(set(c.charges) <= set(c.jobs), "an entry charge outlived its job")
    charged: dict[str, float] = dict.fromkeys(c.instances, 0.0)
    for job_id, seconds in c.charges.items():
        charged[c.jobs[job_id].instance_id] += seconds
    for instance_id, share in c.fair.shares.items():
        used = share.meter.used(c.now)
        _hold(used >= -TOLERANCE_SECONDS, f"instance {instance_id} used {used} s")
        _hold(
            abs(share.meter.charged - charged[instance_id]) < TOLERANCE_SECONDS,
            f"instance {instance_id}: charged {share.meter.charged} s, by its jobs {charged[instance_id]} s",
        )
