"""The life of a session or batch: opened, active, idle, inactive, closed (``modes.md`` 2, 3)."""

from __future__ import annotations

from ketline.core import jobs, reasons, usage
from ketline.core.centre import Centre, Group
from ketline.core.lifecycle import JobStep, WorkloadStep, workload_step
from ketline.core.model import Reason, UsageLine, Workload, WorkloadState
from ketline.core.timers import TimerKind

UNUSED_TIMEOUT_SECONDS = 1_800.0
"""A session or batch that has not run a job and has none is closed after 30 minutes (T2)."""


def open_(c: Centre, workload: Workload, now: float) -> None:
    """T1: a session or batch exists; its only timer is that of the unused."""
    workload_step(workload, WorkloadStep.OPEN, now, c.stories)
    adopt(c, workload)
    _await_use(c, workload, now)


def _await_use(c: Centre, workload: Workload, now: float) -> None:
    workload.unused_at = now + UNUSED_TIMEOUT_SECONDS
    c.timers.set(TimerKind.UNUSED, workload.workload_id, workload.unused_at)
    c.changed(workload)


def adopt(c: Centre, workload: Workload) -> Group:
    """Make a new or restored workload known, with its deadlines."""
    holds = c.qpus[workload.qpu_id].spec.serial and not workload.as_jobs
    group = c.groups[workload.workload_id] = Group(workload, holds)
    c.workloads[workload.workload_id] = workload
    c.groups_of.setdefault(workload.instance_id, {})[workload.workload_id] = group
    ending = workload.state is WorkloadState.PENDING_CLOSED
    for kind, at in (
        (TimerKind.UNUSED, workload.unused_at),
        (TimerKind.TTL, None if ending else workload.expires_at),
        (TimerKind.IDLE, workload.idle_at),
    ):
        if at is not None:
            c.timers.set(kind, workload.workload_id, at)
    return group


def submitted(c: Centre, group: Group, now: float) -> None:
    """T3, T5, T7, T9: a job was submitted to it."""
    workload = group.noun
    workload.jobs_submitted += 1
    if workload.unused_at is not None:
        workload.unused_at = None
        c.timers.clear(TimerKind.UNUSED, workload.workload_id)
    _end_idling(c, workload, now)
    c.changed(workload)


def _end_idling(c: Centre, workload: Workload, now: float) -> None:
    if workload.idle_at is not None:
        workload.idle_seconds += max(0.0, now - (workload.idle_at - workload.interactive_ttl_seconds))
        workload.idle_at = None
        c.timers.clear(TimerKind.IDLE, workload.workload_id)


def activate(c: Centre, group: Group, now: float) -> None:
    """T4, T10: it has the QPU from now on; the TTL starts once, a usage window each time."""
    workload = group.noun
    if workload.state is not WorkloadState.PENDING_CLOSED:
        workload_step(workload, WorkloadStep.ACTIVATE, now, c.stories)
    if workload.started_at is None:
        workload.started_at = now
        if workload.state is WorkloadState.ACTIVE:
            workload.expires_at = now + workload.max_ttl_seconds
            c.timers.set(TimerKind.TTL, workload.workload_id, workload.expires_at)
    workload.activated_at = now
    _open_window(c, group, now)
    c.changed(workload)


def _open_window(c: Centre, group: Group, now: float) -> None:
    workload = group.noun
    workload.window_started_at = now
    if group.bills_windows:
        expected = sum(c.charges.get(job_id, 0.0) for job_id in group.running)
        c.fair.shares[workload.instance_id].meter.enter(workload.workload_id, now, expected)
        for job in group.running.values():
            jobs.discharge(c, job)
        c.restless_instances[workload.instance_id] = None


def _end_window(c: Centre, group: Group, at: float) -> None:
    """The usage window ends, and a session's is billed (``modes.md`` 3.4)."""
    workload = group.noun
    _end_idling(c, workload, at)
    since = workload.window_started_at
    if since is not None:
        _close_window(c, group, since, at)


def _close_window(c: Centre, group: Group, since: float, at: float) -> None:
    workload = group.noun
    until = max(since, at)
    workload.window_started_at = None
    workload.windows.append((since, until))
    if not group.bills_windows:
        return
    workload.usage_seconds += until - since
    c.fair.watch(workload.instance_id)
    c.fair.shares[workload.instance_id].meter.leave(workload.workload_id)
    if until > since:
        c.bill(
            UsageLine(
                instance_id=workload.instance_id,
                user_id=workload.user_id,
                qpu_id=workload.qpu_id,
                workload_id=workload.workload_id,
                job_id=None,
                started_at=since,
                ended_at=until,
                seconds=until - since,
                rule=usage.RULE_SESSION_WINDOW,
            )
        )


def reopen_window(c: Centre, group: Group, until: float, now: float) -> None:
    """End the open window of a restored workload at ``until``, and go on with a fresh one.

    A workload that idles when this happens keeps idling; its idle time is counted in both windows.
    """
    workload = group.noun
    if workload.window_started_at is not None:
        _close_window(c, group, workload.window_started_at, until)
        _open_window(c, group, now)
        c.changed(workload)


def _let_go(c: Centre, group: Group) -> None:
    """It doesn't hold its QPU any more, and others may start."""
    qpu = c.qpus[group.noun.qpu_id]
    if qpu.holder == group.noun.workload_id:
        qpu.holder = None
        c.restless_qpus[qpu.spec.qpu_id] = qpu


def review(c: Centre, group: Group, at: float) -> None:
    """See whether it has run out of work: then it idles (T6), or closes when it takes no more (T12, T13)."""
    workload = group.noun
    if workload.state is WorkloadState.CLOSED or group.running or group.queued:
        return
    if not workload.accepting:
        end(c, group, workload.reason, at)
    elif workload.state is WorkloadState.ACTIVE:
        if workload.idle_at is None:
            workload.idle_at = at + workload.interactive_ttl_seconds
            c.timers.set(TimerKind.IDLE, workload.workload_id, workload.idle_at)
            c.changed(workload)
    else:
        _let_go(c, group)  # a session whose first job ended while others drained
        if workload.state is WorkloadState.OPEN and workload.unused_at is None:
            _await_use(c, workload, at)  # T17: it stays open, but not forever


def idle_out(c: Centre, group: Group, at: float) -> None:
    """T8: idle for the interactive TTL; the window ends and the normal queue goes on."""
    workload_step(group.noun, WorkloadStep.IDLE_TIMEOUT, at, c.stories)
    _end_window(c, group, at)
    _let_go(c, group)
    c.changed(group.noun)


def suspend(c: Centre, group: Group, now: float) -> None:
    """Its QPU isn't there for it: the window ends, so that the time isn't billed.

    With jobs in lanes it keeps its claim and is activated again when it can be. Without, it lets go, and
    what it has queued waits in the normal queue. TTL keeps running.
    """
    workload = group.noun
    if workload.window_started_at is not None:
        if workload.state is WorkloadState.ACTIVE:
            workload_step(workload, WorkloadStep.SUSPEND, now, c.stories)
        _end_window(c, group, now)
        if group.bills_windows:
            for job in group.running.values():
                jobs.recharge(c, job)
        c.changed(workload)
    if not group.running:
        _let_go(c, group)
        if group.queued:
            c.qpus[workload.qpu_id].pool.add_group(workload.instance_id, workload.workload_id)


def refuse_more(c: Centre, group: Group, reason: Reason, at: float) -> None:
    """T11-T13: close. Nothing new; what was submitted goes on with priority."""
    workload = group.noun
    if not workload.accepting:
        return
    workload.accepting = False
    workload.reason = reason
    c.changed(workload)
    review(c, group, at)


def cut_off(c: Centre, group: Group, reason: Reason, step: JobStep, job_reason: Reason, at: float) -> None:
    """T14, T15: nothing new, queued jobs end with ``step``, running ones finish."""
    workload = group.noun
    if workload.state in (WorkloadState.PENDING_CLOSED, WorkloadState.CLOSED):
        return
    workload.accepting = False
    workload.reason = reason
    c.changed(workload)
    for job in list(group.queued.values()):
        jobs.settle(c, job, step, job_reason, at)
    if group.running:
        _disarm(c, workload)
        workload_step(workload, WorkloadStep.END_BUSY, at, c.stories)
    else:
        end(c, group, reason, at)


def expire(c: Centre, group: Group, at: float) -> None:
    """T15: the TTL is reached."""
    cut_off(
        c, group, reasons.workload_expired(group.noun), JobStep.EXPIRE, reasons.job_expired(group.noun), at
    )


def _disarm(c: Centre, workload: Workload) -> None:
    for kind in (TimerKind.UNUSED, TimerKind.TTL):
        c.timers.clear(kind, workload.workload_id)


def end(c: Centre, group: Group, reason: Reason | None, at: float) -> None:
    """It is closed for good, its last window is billed, and it is forgotten here."""
    workload = group.noun
    workload_step(workload, WorkloadStep.END, at, c.stories)
    _end_window(c, group, at)
    _disarm(c, workload)
    _let_go(c, group)
    workload.accepting = False
    workload.reason = reason
    workload.closed_at = at
    workload.unused_at = None
    c.changed(workload)
    workload_id = workload.workload_id
    del c.groups[workload_id], c.workloads[workload_id], c.groups_of[workload.instance_id][workload_id]
    c.stories.pop(workload_id, None)
    c.restless_groups.pop(workload_id, None)
