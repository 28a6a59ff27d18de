"""What a QPU does next: which job takes a free lane, and which ready job gets the QPU (``modes.md`` 5.4)."""

from __future__ import annotations

from functools import partial

from ketline.core import jobs, windows, workloads
from ketline.core.actions import Calibrate
from ketline.core.centre import Centre, Group, Qpu
from ketline.core.model import Job, Mode, QpuMode


def dispatch(c: Centre, qpu: Qpu, now: float) -> None:
    """Start whatever may start on this QPU now."""
    if not qpu.spec.serial:
        _dispatch_all(c, qpu, now)
        return
    _yield_if_stuck(c, qpu, now)
    if qpu.starts_work:
        _fill_lanes(c, qpu, now)
        _feed(c, qpu, now)


def enters(group: Group) -> bool:
    """Whether it has to wait for the lanes to drain before it is active: sessions only (3.5)."""
    return group.holds and group.noun.mode is Mode.SESSION


def owns(group: Group) -> bool:
    """Whether a session has the QPU for itself, so that not even a calibration may start (S06)."""
    return enters(group) and group.noun.window_started_at is not None


def next_any(c: Centre, qpu: Qpu, now: float) -> tuple[str | None, str | None]:
    """The next individual job, or session or batch, that may start: (job id, None) or (None, workload id)."""
    if not qpu.windows:
        return qpu.pool.next_any()
    accept = partial(_accepts, c, qpu, now)
    window = windows.present(qpu, now)
    if window is None:
        return qpu.pool.next_any(accept)
    if window.instance_id is None:
        return None, None
    found = qpu.pool.next_of(window.instance_id)
    return found if found != (None, None) and accept(*found) else (None, None)


def next_single(c: Centre, qpu: Qpu, now: float) -> str | None:
    """The next individual job that may start."""
    if not qpu.windows:
        return qpu.pool.next_single()
    accept = partial(_accepts, c, qpu, now)
    window = windows.present(qpu, now)
    if window is None:
        return qpu.pool.next_single(accept)
    job_id = None if window.instance_id is None else qpu.pool.next_single_of(window.instance_id)
    return job_id if job_id is not None and accept(job_id, None) else None


def _accepts(c: Centre, qpu: Qpu, now: float, job_id: str | None, workload_id: str | None) -> bool:
    """Whether a job, or the first of a session or batch, may start where windows leave a choice."""
    job = c.jobs[job_id] if job_id is not None else None
    if job is None and workload_id is not None:
        job = next_of(c.groups[workload_id])
    return job is not None and windows.fits(qpu, job, now)


def next_of(group: Group) -> Job | None:
    """The oldest queued job of a session or batch."""
    return next(iter(group.queued.values()), None)


def _dispatch_all(c: Centre, qpu: Qpu, now: float) -> None:
    """A simulator without a queue: everything starts at once, side by side."""
    if not qpu.starts_work:
        return
    while (job_id := next_single(c, qpu, now)) is not None:
        _start(c, c.jobs[job_id], now)
    for job in list(qpu.ready.values()):
        if windows.fits_qpu(qpu, job, now):
            jobs.run(c, job, qpu, now)


def _start(c: Centre, job: Job, now: float) -> None:
    jobs.start(c, job, now)
    group = c.group_of(job)
    if group is not None and group.noun.window_started_at is None and not enters(group):
        workloads.activate(c, group, now)


def _yield_if_stuck(c: Centre, qpu: Qpu, now: float) -> None:
    """Don't let the holder hold, or be billed for, a QPU that isn't there for it."""
    if qpu.holder is None:
        return
    group = c.groups[qpu.holder]
    if windows.open_to(qpu, group.noun.instance_id, now):
        first = next_of(group)
        stuck = not group.running and first is not None and not windows.fits(qpu, first, now)
    else:
        locked = any(job_id in qpu.locked for job_id in group.running)
        stuck = not group.running or (owns(group) and not locked)
    if stuck:
        workloads.suspend(c, group, now)


def _fill_lanes(c: Centre, qpu: Qpu, now: float) -> None:
    while True:
        group = None if qpu.holder is None else c.groups[qpu.holder]
        if group is not None and enters(group) and not owns(group):
            _admit_session(c, qpu, group, now)
            if not owns(group):
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
    if not windows.open_to(qpu, group.noun.instance_id, now):
        return
    if not group.running and len(qpu.running) < qpu.spec.lanes:
        job = next_of(group)
        if job is not None:
            jobs.start(c, job, now)
    if group.running and drained(qpu, group):
        workloads.activate(c, group, now)


def drained(qpu: Qpu, group: Group) -> bool:
    """Whether nothing but the session's own jobs is left in the lanes."""
    return not qpu.calibrating and len(qpu.running) == len(group.running)


def _select(c: Centre, qpu: Qpu, group: Group | None, now: float) -> Job | None:
    """The next job for a free lane. Selecting a session or batch makes it the holder; a session then
    yields None, since it has to be admitted first."""
    if group is not None:
        job = next_of(group)
        if job is not None and windows.fits(qpu, job, now):
            return job
        if group.noun.mode is Mode.SESSION:
            return None
        job_id = next_single(c, qpu, now)
        return None if job_id is None else c.jobs[job_id]
    job_id, workload_id = next_any(c, qpu, now)
    if job_id is not None:
        return c.jobs[job_id]
    if workload_id is None:
        return None
    chosen = c.groups[workload_id]
    qpu.holder = workload_id
    return None if enters(chosen) else next_of(chosen)


def _feed(c: Centre, qpu: Qpu, now: float) -> None:
    """Give the free QPU to a calibration that is due, or to the first ready job, the holder's first."""
    if qpu.locked or qpu.calibrating:
        return
    group = None if qpu.holder is None else c.groups[qpu.holder]
    if qpu.calibration_due and _may_calibrate(qpu, group, now):
        qpu.calibration_due = False
        qpu.calibrating = True
        c.do(Calibrate(qpu.spec.qpu_id))
        return
    chosen = next_ready(qpu, group, now)
    if chosen is not None:
        jobs.run(c, chosen, qpu, now)


def _may_calibrate(qpu: Qpu, group: Group | None, now: float) -> bool:
    """Never during an active session, and not while the QPU is under maintenance."""
    if qpu.spec.mode is not QpuMode.ONLINE or (group is not None and owns(group)):
        return False
    window = windows.present(qpu, now)
    return window is None or window.instance_id is not None


def next_ready(qpu: Qpu, group: Group | None, now: float) -> Job | None:
    """The ready job that gets the QPU next: the holder's first, then first ready, first served.

    A session that waits for the lanes to drain doesn't run its job yet (S29).
    """
    first: Job | None = None
    for job in qpu.ready.values():
        if not windows.fits_qpu(qpu, job, now):
            continue
        if group is not None and job.job_id in group.running:
            if not enters(group) or owns(group):
                return job
        elif first is None:
            first = job
    return first
