"""Where the time of a session or batch went, from what the scheduler noted of it.

Nothing is taken from the records of its jobs: these can be deleted, and say nothing of a restart, during
which a session isn't billed.
"""

from __future__ import annotations

from collections.abc import Sequence

from ketline.core.model import Job, Stage, Workload
from ketline.service.views import SessionSplit


def split(workload: Workload, unfinished: Sequence[Job], now: float) -> SessionSplit:
    """Divide the windows of a session or batch (``modes.md`` 3.4).

    Args:
        workload: with its windows, closed ones and the open one.
        unfinished: its jobs that haven't ended.
        now: until when an open window, and a job that is on the QPU, are counted.
    """
    windows = list(workload.windows)
    idle = workload.idle_seconds
    if workload.window_started_at is not None:
        windows.append((workload.window_started_at, max(workload.window_started_at, now)))
    if workload.idle_at is not None:
        idle += max(0.0, now - (workload.idle_at - workload.interactive_ttl_seconds))
    held = {job.job_id: _held(job, now) for job in unfinished}
    active = sum(end - start for start, end in windows)
    idle = min(idle, active)
    on_qpu = min(workload.qpu_seconds + sum(held.values()), active - idle)
    return SessionSplit(
        active_seconds=active,
        on_qpu_seconds=on_qpu,
        classical_seconds=active - idle - on_qpu,
        idle_seconds=idle,
        billed_seconds=workload.usage_seconds,
        as_batch_seconds=workload.batch_seconds
        + sum(job.qpu_seconds + held[job.job_id] for job in unfinished),
    )


def _held(job: Job, now: float) -> float:
    """For how long the job has had the QPU this time."""
    if job.stage is not Stage.ON_QPU or job.locked_at is None or job.released_at is not None:
        return 0.0
    return max(0.0, now - job.locked_at)
