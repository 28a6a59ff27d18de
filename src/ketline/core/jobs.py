"""The life of one job: it joins the queue, starts in a lane, has the QPU, ends and is billed."""

from __future__ import annotations

from ketline.core import codes, reasons, usage, windows
from ketline.core.actions import Abandon, Finalize, Prepare, Run, Stop
from ketline.core.centre import Centre, Group, Qpu, twin_of
from ketline.core.lifecycle import IllegalTransition, JobStep, job_step
from ketline.core.model import Failure, FailureKind, Job, JobStatus, Reason, Stage, UsageLine
from ketline.core.timers import TimerKind

SAME_SECONDS = 1e-6
"""What a clock of seconds since the epoch can't tell apart."""


def join(c: Centre, job: Job) -> None:
    """A new or restored job becomes known; a queued one takes its place in the queue."""
    c.jobs[job.job_id] = job
    c.unfinished.setdefault(job.instance_id, {})[job.job_id] = job
    if job.status is JobStatus.QUEUED:
        enqueue(c, job)


def enqueue(c: Centre, job: Job) -> None:
    """Put a queued job where it waits: in its session's or batch's own queue, or in the normal one."""
    qpu, group = c.qpus[job.qpu_id], c.group_of(job)
    qpu.queued += 1
    if group is not None:
        group.queued[job.job_id] = job
    if group is None or not group.holds:
        qpu.pool.add_single(job)
    elif qpu.holder != job.workload_id and len(group.queued) == 1:
        qpu.pool.add_group(job.instance_id, group.noun.workload_id)
    c.restless_qpus[job.qpu_id] = qpu


def leave_queue(c: Centre, job: Job, group: Group | None) -> Job:
    """Take a queued job out of where it waits; returns the record of it that may change from here on.

    That of the queued job stays as it was: copies of the centre share it.
    """
    c.qpus[job.qpu_id].queued -= 1
    if group is not None:
        group.queued.pop(job.job_id, None)
    if group is None or not group.holds:
        c.qpus[job.qpu_id].pool.remove_single(job)
    own = c.jobs[job.job_id] = c.unfinished[job.instance_id][job.job_id] = twin_of(job)
    return own


def replace_queued(c: Centre, record: Job) -> None:
    """Put another record in the place of a queued job, which copies of the centre share."""
    group = c.group_of(record)
    c.jobs[record.job_id] = c.unfinished[record.instance_id][record.job_id] = record
    if group is not None:
        group.queued[record.job_id] = record
    if group is None or not group.holds:
        c.qpus[record.qpu_id].pool.replace_single(record)


def estimated(c: Centre, job: Job, seconds: float) -> None:
    """The usage to expect of a queued job is known."""
    own = twin_of(job)
    own.estimate_seconds = seconds
    replace_queued(c, own)
    c.changed(own)
    if c.qpus[job.qpu_id].windows:  # it may fit before the next one now, or not any more
        c.restless_qpus[job.qpu_id] = c.qpus[job.qpu_id]


def start(c: Centre, job: Job, now: float) -> None:
    """A queued job takes a lane: it is RUNNING from here on, and its estimate is charged."""
    qpu, group = c.qpus[job.qpu_id], c.group_of(job)
    job = leave_queue(c, job, group)
    job_step(job, JobStep.START, now, c.stories)
    hold_lane(c, job, qpu, group)
    job.running_at = now
    if group is not None:
        group.noun.last_job_started_at = now
        c.changed(group.noun)
    c.changed(job)
    c.do(Prepare(job.job_id))


def hold_lane(c: Centre, job: Job, qpu: Qpu, group: Group | None) -> None:
    """Count a running job in its lane, in its group and in its instance's entry charges."""
    qpu.running[job.job_id] = job
    if group is not None:
        group.running[job.job_id] = job
    if group is None or not group.bills_windows or group.noun.window_started_at is None:
        recharge(c, job)


def recharge(c: Centre, job: Job, seconds: float | None = None) -> None:
    """Set a started job's entry charge: its estimate, or the usage that is known by now."""
    if seconds is None:
        seconds = usage.UNKNOWN_ESTIMATE_SECONDS if job.estimate_seconds is None else job.estimate_seconds
        seconds = max(seconds, job.qpu_seconds)
    change = seconds - c.charges.get(job.job_id, 0.0)
    c.charges[job.job_id] = seconds
    _shift(c, job.instance_id, change)


def discharge(c: Centre, job: Job) -> None:
    """Take a job's entry charge back: it is billed now, or its session's window counts instead."""
    charge = c.charges.pop(job.job_id, None)
    if charge is not None:
        _shift(c, job.instance_id, -charge)


def _shift(c: Centre, instance_id: str, change: float) -> None:
    if change < 0.0:
        c.fair.watch(instance_id)
    if change:
        c.fair.shares[instance_id].meter.charge(change)


def prepared(c: Centre, job: Job, estimate_seconds: float | None, now: float) -> None:
    """The job is ready for the QPU: the first time, or for another round."""
    job_step(job, JobStep.PREPARED, now, c.stories)
    if estimate_seconds is not None:
        job.estimate_seconds = estimate_seconds
        if job.job_id in c.charges:
            recharge(c, job)
    job.ready_at = now
    qpu = c.qpus[job.qpu_id]
    qpu.ready[job.job_id] = job
    if qpu.windows:
        windows.arm(c, qpu, now)
    c.restless_qpus[job.qpu_id] = qpu
    c.changed(job)


def run(c: Centre, job: Job, qpu: Qpu, now: float) -> None:
    """Give the QPU to a ready job."""
    job_step(job, JobStep.RUN, now, c.stories)
    del qpu.ready[job.job_id]
    qpu.locked[job.job_id] = job
    c.changed(job)
    c.do(Run(job.job_id, job.qpu_id, job.limit_seconds - job.qpu_seconds))


def locked(c: Centre, job: Job, now: float) -> None:
    """The QPU is locked for the job: usage and its limit run from now on."""
    if job.locked_at is not None and job.released_at is None:
        return  # told twice
    job.locked_at = now
    job.released_at = None
    if not job.cancelling:
        c.timers.set(TimerKind.JOB_LIMIT, job.job_id, now + job.limit_seconds - job.qpu_seconds)
    if _billed_by_job(c, job):
        c.fair.shares[job.instance_id].meter.lock(now)
        c.restless_instances[job.instance_id] = None
    c.changed(job)


def stop(c: Centre, job: Job, reason: Reason) -> None:
    """Have a job stopped on the QPU; it ends Cancelled with this reason whatever comes back."""
    job.cancelling = True
    job.reason = reason
    c.timers.clear(TimerKind.JOB_LIMIT, job.job_id)
    c.changed(job)
    c.do(Stop(job.job_id, job.qpu_id))


def leave_qpu(c: Centre, job: Job, qpu_seconds: float, now: float) -> None:
    """The QPU is free again; what the job used of it is known."""
    qpu = c.qpus[job.qpu_id]
    del qpu.locked[job.job_id]
    c.timers.clear(TimerKind.JOB_LIMIT, job.job_id)
    c.restless_qpus[job.qpu_id] = qpu
    seconds = max(0.0, qpu_seconds)
    if job.locked_at is None or job.released_at is not None:  # given to the QPU, but never heard locked
        if seconds == 0.0:
            return
        locked(c, job, max(now - seconds, job.created_at))
        c.timers.clear(TimerKind.JOB_LIMIT, job.job_id)
    since = now if job.locked_at is None else job.locked_at
    if _billed_by_job(c, job):
        c.fair.shares[job.instance_id].meter.unlock(since, seconds)
        c.restless_instances[job.instance_id] = None
    if abs(now - seconds - since) > SAME_SECONDS:
        # The QPU's own watch decides: news of the lock may have been late. What had the QPU before was
        # released before the order to run, so that spans of one QPU never overlap.
        since = job.locked_at = now - seconds
    job.released_at = now
    job.qpu_seconds += seconds
    c.spans.setdefault(job.job_id, []).append((since, now, seconds))
    group = c.group_of(job)
    if group is not None:
        group.noun.qpu_seconds += seconds
        c.changed(group.noun)


def released(c: Centre, job: Job, now: float) -> None:
    """The job left the QPU unharmed and is finalized."""
    job_step(job, JobStep.RELEASED, now, c.stories)
    if job.job_id in c.charges:
        recharge(c, job, job.qpu_seconds)
    c.changed(job)
    c.do(Finalize(job.job_id))


def over_limit(job: Job) -> bool:
    """Whether the job has used more of the QPU than it may."""
    return job.qpu_seconds > job.limit_seconds


def expect(c: Centre, job: Job, stage: Stage, what: str) -> None:
    """Raise `IllegalTransition` unless the job is in this stage."""
    if job.stage is not stage:
        raise IllegalTransition(
            f"job {job.job_id}", what, f"{job.status}/{job.stage}", c.stories.get(job.job_id, [])
        )


def interrupted(c: Centre, job: Job, now: float) -> None:
    """What the job was doing was lost: prepare it again, in its lane, with nothing used so far."""
    job_step(job, JobStep.INTERRUPTED, now, c.stories)
    forgive(c, job)
    job.ready_at = None
    if job.job_id in c.charges:
        recharge(c, job)
    c.changed(job)
    c.do(Prepare(job.job_id))


def forgive(c: Centre, job: Job) -> None:
    """Forget what the job used: it was lost through no fault of its own, and isn't billed."""
    _forget_usage(c, job)
    job.qpu_seconds = 0.0
    job.locked_at = job.released_at = None


def _forget_usage(c: Centre, job: Job) -> None:
    """Drop what is noted of a job's rounds on the QPU: it is billed now, or forgiven."""
    qpu = c.qpus[job.qpu_id]
    qpu.ready.pop(job.job_id, None)
    by_job = _billed_by_job(c, job)
    meter = c.fair.shares[job.instance_id].meter
    if qpu.locked.pop(job.job_id, None) is not None:
        if by_job and job.locked_at is not None and job.released_at is None:
            meter.unlock(job.locked_at, 0.0)
        c.timers.clear(TimerKind.JOB_LIMIT, job.job_id)
        c.restless_qpus[job.qpu_id] = qpu
    for _, _, seconds in c.spans.pop(job.job_id, ()):
        if by_job:
            meter.forget(seconds)
    c.restless_instances[job.instance_id] = None


def _billed_by_job(c: Centre, job: Job) -> bool:
    group = c.group_of(job)
    return group is None or not group.bills_windows


def fail(c: Centre, job: Job, failure: Failure, now: float) -> None:
    """The job failed; one that is being cancelled ends as cancelled all the same."""
    if job.cancelling:
        settle(c, job, JobStep.CANCEL, job.reason or reasons.job_cancelled(), now)
    else:
        settle(c, job, JobStep.FAIL, failure.reason, now, failure.kind)


def cancel(c: Centre, job: Job, reason: Reason, now: float) -> None:
    """Cancel a job: at once, or after the QPU gave it up."""
    if job.stage is Stage.ON_QPU:
        stop(c, job, reason)
        return
    if job.status is JobStatus.RUNNING:
        c.do(Abandon(job.job_id))
    settle(c, job, JobStep.CANCEL, reason, now)


def settle(
    c: Centre, job: Job, step: JobStep, reason: Reason | None, now: float, kind: FailureKind | None = None
) -> None:
    """A job reaches its final state: it leaves its lane, is billed, and is forgotten here."""
    qpu, group = c.qpus[job.qpu_id], c.group_of(job)
    if job.status is JobStatus.QUEUED:
        job = leave_queue(c, job, group)
        if qpu.windows:  # the next of its instance may fit before one
            c.restless_qpus[job.qpu_id] = qpu
    job_step(job, step, now, c.stories)
    discharge(c, job)
    spans = c.spans.get(job.job_id, [])
    _forget_usage(c, job)
    job.reason = reason
    job.cancelling = False
    job.finished_at = now
    _bill(c, job, qpu, group, spans, kind)
    if qpu.running.pop(job.job_id, None) is not None:
        c.restless_qpus[job.qpu_id] = qpu
    if group is not None:
        group.running.pop(job.job_id, None)
        group.noun.last_job_completed_at = now
        group.noun.jobs_completed += job.status is JobStatus.COMPLETED
        c.restless_groups[group.noun.workload_id] = group
        c.changed(group.noun)
    del c.jobs[job.job_id]
    del c.unfinished[job.instance_id][job.job_id]
    c.stories.pop(job.job_id, None)
    c.settled(job)


def _bill(
    c: Centre,
    job: Job,
    qpu: Qpu,
    group: Group | None,
    spans: list[tuple[float, float, float]],
    kind: FailureKind | None,
) -> None:
    too_long = job.reason is not None and job.reason.code == codes.RAN_TOO_LONG
    cost, rule = usage.billable_seconds(job, qpu.spec, job.status, kind, too_long=too_long)
    if group is not None:
        group.noun.batch_seconds += cost
        if group.bills_windows:
            return
        group.noun.usage_seconds += cost
    job.billed_seconds = cost
    if cost <= 0.0:
        return
    overhead = cost - job.qpu_seconds
    spans = [span for span in spans if span[2] > 0.0] or spans[-1:]
    for number, (since, until, seconds) in enumerate(spans, 1):
        last = number == len(spans)
        c.bill(
            UsageLine(
                instance_id=job.instance_id,
                user_id=job.user_id,
                qpu_id=job.qpu_id,
                workload_id=job.workload_id,
                job_id=job.job_id,
                started_at=since,
                ended_at=until,
                seconds=seconds + overhead if last else seconds,
                rule=rule if last else usage.RULE_QPU_TIME,
            )
        )
