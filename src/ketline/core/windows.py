"""Maintenance and reservations: spans in which a QPU isn't there for everyone (``modes.md`` 5.3, 5.4)."""

from __future__ import annotations

from math import inf

from ketline.core import usage
from ketline.core.centre import Centre, Qpu
from ketline.core.model import Job, QpuWindow, Stage
from ketline.core.timers import TimerKind

MOMENT_SECONDS = 0.001


def announce(c: Centre, qpu: Qpu, window: QpuWindow, now: float) -> None:
    """Take in a window, or its changed times; open sessions and batches of the QPU are told."""
    if not window.starts_at < window.ends_at < inf:
        raise ValueError(f"window {window.window_id}: it must end after it starts")
    qpu.windows[window.window_id] = window
    look_again(c, qpu, now)


def withdraw(c: Centre, qpu: Qpu, window_id: str, now: float) -> None:
    """Forget a window."""
    if qpu.windows.pop(window_id, None) is not None:
        look_again(c, qpu, now)


def look_again(c: Centre, qpu: Qpu, now: float) -> None:
    """A window was changed, begins or ends: drop what is over, and see what may start now."""
    for window_id in [name for name, window in qpu.windows.items() if window.ends_at <= now]:
        del qpu.windows[window_id]
    arm(c, qpu, now)
    for group in c.groups.values():
        if group.noun.qpu_id == qpu.spec.qpu_id:
            boundary = next_boundary(qpu, group.noun.instance_id, now)
            if group.noun.interrupted_at != boundary:
                group.noun.interrupted_at = boundary
                c.changed(group.noun)
    c.restless_qpus[qpu.spec.qpu_id] = qpu


def arm(c: Centre, qpu: Qpu, now: float) -> None:
    """Look again when a window begins or ends, or when a ready job can't end before one any more: others may
    then go before it."""
    ahead = edges(qpu)
    for job in qpu.ready.values():
        boundary = next_boundary(qpu, job.instance_id, now)
        if boundary is not None:
            ahead.append(boundary - expected(job) + MOMENT_SECONDS)
    ahead = [at for at in ahead if at > now]
    if ahead:
        c.timers.set(TimerKind.WINDOW, qpu.spec.qpu_id, min(ahead))
    else:
        c.timers.clear(TimerKind.WINDOW, qpu.spec.qpu_id)


def present(qpu: Qpu, now: float) -> QpuWindow | None:
    """The window that is going on; maintenance before a reservation."""
    going = [window for window in qpu.windows.values() if window.starts_at <= now < window.ends_at]
    return min(going, key=lambda window: (window.instance_id is not None, window.window_id), default=None)


def open_to(qpu: Qpu, instance_id: str, now: float) -> bool:
    """Whether an instance's work may start on the QPU at all."""
    if not qpu.starts_work:
        return False
    window = present(qpu, now) if qpu.windows else None
    return window is None or window.instance_id == instance_id


def next_boundary(qpu: Qpu, instance_id: str, now: float) -> float | None:
    """When the QPU is next taken away from an instance."""
    starts = [
        window.starts_at
        for window in qpu.windows.values()
        if window.starts_at > now and window.instance_id != instance_id
    ]
    return min(starts, default=None)


def edges(qpu: Qpu) -> list[float]:
    """All times at which a window begins or ends."""
    return [edge for window in qpu.windows.values() for edge in (window.starts_at, window.ends_at)]


def boundary_at(qpu: Qpu, instance_id: str, at: float) -> float:
    """Until when the QPU is there for an instance at a time to come; ``-inf`` when it isn't."""
    window = present(qpu, at)
    if window is not None and window.instance_id != instance_id:
        return -inf
    boundary = next_boundary(qpu, instance_id, at)
    return inf if boundary is None else boundary


def expected(job: Job) -> float:
    """The QPU time that a job is expected to need still, from its next round on."""
    if job.estimate_seconds is None:
        return usage.UNKNOWN_ESTIMATE_SECONDS
    return max(0.0, job.estimate_seconds - job.qpu_seconds)


def under_way(qpu: Qpu, now: float) -> tuple[float, float]:
    """The QPU time that the jobs in the lanes are expected to need still: now, and after the next edge of a
    window, of those that are ready and can't end before it. These wait, and others may go before them."""
    total = later = 0.0
    for job in qpu.running.values():
        if job.stage is Stage.ON_QPU:
            total += max(0.0, expected(job) - (now - (now if job.locked_at is None else job.locked_at)))
        elif qpu.windows and job.stage is Stage.WAITING_QPU and not fits_qpu(qpu, job, now):
            later += expected(job)
        elif job.stage is not Stage.FINALIZING:
            total += expected(job)
    return total, later


def fits(qpu: Qpu, job: Job, now: float) -> bool:
    """Whether a queued job may start: the QPU is there for it, and until it has ended by its estimate."""
    if not open_to(qpu, job.instance_id, now):
        return False
    boundary = next_boundary(qpu, job.instance_id, now) if qpu.windows else None
    return boundary is None or now + under_way(qpu, now)[0] + expected(job) <= boundary


def fits_qpu(qpu: Qpu, job: Job, now: float) -> bool:
    """Whether a ready job may have the QPU now."""
    if not open_to(qpu, job.instance_id, now):
        return False
    boundary = next_boundary(qpu, job.instance_id, now) if qpu.windows else None
    return boundary is None or now + expected(job) <= boundary
