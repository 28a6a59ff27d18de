"""What a QPU does next: which job takes a free lane, and which ready job gets the QPU (``modes.md`` 5.4)."""

from __future__ import annotations

from ketline.core import jobs, workloads
from ketline.core.actions import Calibrate
from ketline.core.centre import Centre, Group, Qpu
from ketline.core.model import Job, Mode


def dispatch(c: Centre, qpu: Qpu, now: float) -> None:
    """Start whatever may start on this QPU now."""
    if not qpu.spec.serial:
        _dispatch_all(c, qpu, now)
        return
    if qpu.starts_work:
        _fill_lanes(c, qpu, now)
        _feed(c, qpu, now)


def _dispatch_all(c: Centre, qpu: Qpu, now: float) -> None:
    """A simulator without a queue: everything starts at once, side by side."""
    if not qpu.starts_work:
        return
    while (job_id := qpu.pool.next_single()) is not None:
        _start(c, c.jobs[job_id], now)
    for job in list(qpu.ready.values()):
        jobs.run(c, job, qpu, now)


def _start(c: Centre, job: Job, now: float) -> None:
    jobs.start(c, job, now)
    group = c.group_of(job)
    if group is not None and group.noun.window_started_at is None and not _enters(group):
        workloads.activate(c, group, now)


def _enters(group: Group) -> bool:
    """Whether it has to wait for the lanes to drain before it is active: sessions only (3.5)."""
    return group.holds and group.noun.mode is Mode.SESSION


def _next_of(group: Group) -> Job | None:
    return next(iter(group.queued.values()), None)


def owns(group: Group) -> bool:
    """Whether a session has the QPU for itself, so that not even a calibration may start (S06)."""
    return _enters(group) and group.noun.window_started_at is not None


def drained(qpu: Qpu, group: Group) -> bool:
    """Whether nothing but the session's own jobs is left in the lanes."""
    return not qpu.calibrating and len(qpu.running) == len(group.running)


def _fill_lanes(c: Centre, qpu: Qpu, now: float) -> None:
    while True:
        group = None if qpu.holder is None else c.groups[qpu.holder]
        if group is not None and _enters(group) and group.noun.window_started_at is None:
            _admit_session(c, qpu, group, now)
            if group.noun.window_started_at is None:
                return
        if len(qpu.running) >= qpu.spec.lanes:
            return
        job = _select(c, qpu, group, now)
        if job is not None:
            _start(c, job, now)
        elif qpu.holder is None or group is not None:
            return


def _admit_session(c: Centre, qpu: Qpu, group: Group, now: float) -> None:
    """A selected session: its first job may be prepared while others drain; then it is active (S29)."""
    if not group.running and len(qpu.running) < qpu.spec.lanes:
        job = _next_of(group)
        if job is not None:
            jobs.start(c, job, now)
    if group.running and drained(qpu, group):
        workloads.activate(c, group, now)


def _select(c: Centre, qpu: Qpu, group: Group | None, now: float) -> Job | None:
    """The next job for a free lane. Selecting a session or batch makes it the holder; a session then
    yields None, since it has to be admitted first."""
    if group is not None:
        job = _next_of(group)
        if job is not None or group.noun.mode is Mode.SESSION:
            return job
        job_id = qpu.pool.next_single()
        return None if job_id is None else c.jobs[job_id]
    job_id, workload_id = qpu.pool.next_any()
    if job_id is not None:
        return c.jobs[job_id]
    if workload_id is None:
        return None
    chosen = c.groups[workload_id]
    qpu.holder = workload_id
    return None if _enters(chosen) else _next_of(chosen)


def _feed(c: Centre, qpu: Qpu, now: float) -> None:
    """Give the free QPU to a calibration that is due, or to the first ready job, the holder's first."""
    if qpu.locked or qpu.calibrating:
        return
    group = None if qpu.holder is None else c.groups[qpu.holder]
    if qpu.calibration_due and not (group is not None and owns(group)):
        qpu.calibration_due = False
        qpu.calibrating = True
        c.do(Calibrate(qpu.spec.qpu_id))
        return
    chosen: Job | None = None
    for job in qpu.ready.values():
        own = group is not None and job.workload_id == group.noun.workload_id
        if own and group is not None and _enters(group) and not owns(group):
            continue
        if own or (chosen is None):
            chosen = job
        if own or group is None:
            break
    if chosen is not None:
        jobs.run(c, chosen, qpu, now)
