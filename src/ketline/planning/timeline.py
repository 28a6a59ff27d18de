"""What ran when, laid out for a picture: spans of jobs and windows, lanes, waiting, idle time.

The input is plain spans in seconds on any one clock, so that a live centre, a forecast and a simulation are
drawn alike by `ketline.planning.timeline_picture`.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class JobSpan:
    """One job's life; None means not (yet).

    ``workload`` is the name under which the job is coloured, ``locks`` the spans in which the QPU was locked
    for it.
    """

    job_id: str
    workload: str
    created_at: float
    running_at: float | None = None
    finished_at: float | None = None
    ready_at: float | None = None
    locks: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Window:
    """A span in which a session or a batch was active. A session's is exclusive and billed as a whole.

    ``members`` names the workloads of the jobs that belong to it.
    """

    members: frozenset[str]
    started_at: float
    ended_at: float
    exclusive: bool
    label: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One stretch of time on one QPU.

    ``others`` names the workloads that belong to somebody else; they are drawn in grey. ``summary`` is
    printed at the right of the title.
    """

    title: str
    explanation: str
    jobs: tuple[JobSpan, ...]
    windows: tuple[Window, ...] = ()
    lanes: int = 5
    others: frozenset[str] = frozenset()
    summary: str = ""

    @property
    def start(self) -> float:
        """When the first job was submitted."""
        return min(job.created_at for job in self.jobs)

    @property
    def end(self) -> float:
        """When the last span ends."""
        times = [job.created_at for job in self.jobs]
        times += [job.finished_at for job in self.jobs if job.finished_at is not None]
        times += [end for job in self.jobs for _, end in job.locks]
        times += [window.ended_at for window in self.windows]
        return max(times)

    @property
    def workloads(self) -> tuple[str, ...]:
        """The names of the workloads, in the order of their first submissions."""
        return tuple(dict.fromkeys(job.workload for job in sorted(self.jobs, key=lambda j: j.created_at)))


def assign_lanes(jobs: Sequence[JobSpan], until: float) -> dict[str, int]:
    """A lane for each job that has started: the lowest that is free from its start to its end."""
    lanes: dict[str, int] = {}
    free: list[int] = []
    busy: list[tuple[float, int]] = []
    started = ((j.running_at, j) for j in jobs if j.running_at is not None)
    for start, job in sorted(started, key=lambda item: item[0]):
        while busy and busy[0][0] <= start:
            heapq.heappush(free, heapq.heappop(busy)[1])
        lane = heapq.heappop(free) if free else len(busy)
        heapq.heappush(busy, (until if job.finished_at is None else job.finished_at, lane))
        lanes[job.job_id] = lane
    return lanes


def stack_waiting(jobs: Sequence[JobSpan], until: float) -> dict[str, int]:
    """A thin row for each job while it waits for a lane: the first that is free again."""
    rows: dict[str, int] = {}
    ends: list[float] = []
    for job in sorted(jobs, key=lambda j: j.created_at):
        row = next((n for n, end in enumerate(ends) if end <= job.created_at), len(ends))
        ends[row : row + 1] = [until if job.running_at is None else job.running_at]
        rows[job.job_id] = row
    return rows


def idle_spans(window: Window, jobs: Sequence[JobSpan]) -> list[tuple[float, float]]:
    """The parts of a window in which no job of its members held the QPU."""
    idle = []
    at = window.started_at
    for start, end in sorted(lock for job in jobs if job.workload in window.members for lock in job.locks):
        if end <= window.started_at or start >= window.ended_at:
            continue
        if start > at:
            idle.append((at, start))
        at = max(at, end)
    if at < window.ended_at:
        idle.append((at, window.ended_at))
    return idle
