"""The recent past of a centre, from which its near future is drawn.

Who will submit next isn't known, but what was submitted lately is: a replica of the future replays a random
stretch of it, sessions with their users' thinking included.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from ketline.core.model import Mode
from ketline.core.usage import UNKNOWN_ESTIMATE_SECONDS
from ketline.planning.trace import Trace, TraceJob, TraceWorkload

MAX_ROWS = 20_000
SHORTEST_PAST_SECONDS = 600.0


def closed_loop(trace: Trace) -> Trace:
    """The trace with its users' thinking made explicit, from recorded times.

    A job of a session or batch that was submitted after an earlier one of it had finished is taken to have
    waited for the latest such: it gets ``after`` and ``think_seconds``. A workload that was closed after
    its last job is closed so many seconds later in a replay. Other rows stay as they are.
    """
    by_workload: dict[str, list[TraceJob]] = {}
    for job in trace.jobs:
        if job.workload is not None:
            by_workload.setdefault(job.workload, []).append(job)
    changed = {job.job_id: job for jobs in by_workload.values() for job in _chained(jobs)}
    workloads = [
        _closing(workload, by_workload.get(workload.workload_id, [])) for workload in trace.workloads
    ]
    return Trace([changed.get(job.job_id, job) for job in trace.jobs], workloads)


def _chained(jobs: list[TraceJob]) -> Iterable[TraceJob]:
    ended = sorted(
        (job.recorded.finished_at, job.job_id)
        for job in jobs
        if job.recorded is not None and job.recorded.finished_at is not None
    )
    times = np.array([at for at, _ in ended])
    for job in jobs:
        if job.submitted_at is None:
            continue
        place = int(np.searchsorted(times, job.submitted_at, side="right")) - 1
        if place >= 0:
            at, before = ended[place]
            yield replace(job, submitted_at=None, after=before, think_seconds=job.submitted_at - at)


def _closing(workload: TraceWorkload, jobs: list[TraceJob]) -> TraceWorkload:
    closed_at = None if workload.recorded is None else workload.recorded.finished_at
    ends = _ends(workload, jobs)
    if closed_at is None or not ends:
        return workload
    last = max(ends)
    if closed_at > last:
        return replace(workload, close="finished", think_seconds=closed_at - last)
    return replace(workload, close="submitted", think_seconds=0.0)


def _ends(workload: TraceWorkload, jobs: list[TraceJob]) -> list[float]:
    """When the jobs of a closed workload ended; empty unless all of it is known."""
    ends = [None if job.recorded is None else job.recorded.finished_at for job in jobs]
    if workload.recorded is None or workload.recorded.finished_at is None or None in ends:
        return []
    return [end for end in ends if end is not None]


@dataclass(frozen=True, slots=True)
class Step:
    """What the user of a session does after its last job ended: think, then submit a job like this one."""

    think_seconds: float
    job: TraceJob


@dataclass(frozen=True, slots=True)
class Habit:
    """What a user did in a workload: the steps after its first jobs, and when it was closed after the last
    job's end (None: left to its timers)."""

    steps: tuple[Step, ...]
    close_seconds: float | None


@dataclass(slots=True)
class History:
    """Jobs and workloads of the last ``memory_seconds``, as traces with recorded times.

    `add` takes what has ended, in any order; `future` and `continuation` draw from it.
    """

    memory_seconds: float = 86_400.0
    _jobs: deque[TraceJob] = field(default_factory=lambda: deque(maxlen=MAX_ROWS))
    _workloads: deque[TraceWorkload] = field(default_factory=lambda: deque(maxlen=MAX_ROWS))
    _members: dict[str, list[TraceJob]] = field(default_factory=dict)
    _habits: dict[tuple[Mode, str], list[Habit]] = field(default_factory=dict)
    _started_at: float | None = None

    def add(self, trace: Trace) -> None:
        """Take in jobs and closed workloads; a workload's jobs before or together with it."""
        for job in trace.jobs:
            self._jobs.append(job)
            if job.workload is not None:
                self._members.setdefault(job.workload, []).append(job)
            self._saw(job.submitted_at)
        for workload in trace.workloads:
            members = self._members.pop(workload.workload_id, [])
            self._workloads.append(workload)
            self._saw(workload.submitted_at)
            steps = tuple(
                Step(job.think_seconds, job) for job in _chained(members) if job.submitted_at is None
            )
            close_seconds = _closing(workload, members).think_seconds if _ends(workload, members) else None
            known = self._habits.setdefault((workload.mode, workload.instance), [])
            known.append(Habit(steps, close_seconds))
            del known[:-200]

    def _saw(self, at: float | None) -> None:
        if at is not None:
            self._started_at = at if self._started_at is None else min(self._started_at, at)

    def forget(self, now: float) -> None:
        """Drop what was submitted before the memory's span."""
        edge = now - self.memory_seconds
        while self._jobs and (self._jobs[0].submitted_at or 0.0) < edge:
            self._jobs.popleft()
        while self._workloads and self._workloads[0].submitted_at < edge:
            self._workloads.popleft()
        if self._started_at is not None:
            self._started_at = max(self._started_at, edge)

    def per_second(self, now: float) -> float:
        """Jobs that were submitted a second, 0 while the past is shorter than ten minutes."""
        self.forget(now)
        if self._started_at is None or now - self._started_at < SHORTEST_PAST_SECONDS:
            return 0.0
        return len(self._jobs) / (now - self._started_at)

    def future(
        self, rng: np.random.Generator, now: float, seconds: float, name: str, at_most: int | None = None
    ) -> Trace:
        """New workloads for the next ``seconds``: a random stretch of the past, turned around its end.

        ``name`` begins all ids. With ``at_most``, individual jobs that are more stand for several in a row of
        their instance on their QPU, with the times of all. Nothing is invented while the past is shorter than
        ten minutes.
        """
        self.forget(now)
        if self._started_at is None or now - self._started_at < SHORTEST_PAST_SECONDS:
            return Trace()
        since, span = self._started_at, now - self._started_at
        origin = float(rng.uniform(0.0, span))
        members: dict[str, list[TraceJob]] = {}
        for job in self._jobs:
            if job.workload is not None:
                members.setdefault(job.workload, []).append(job)
        found = Trace()
        alone: list[_Newcomer] = []
        for lap in range(int(seconds // span) + 1):
            offset = now + lap * span
            mark = f"{name}{lap}-"
            for job in self._jobs:
                if job.submitted_at is None or job.workload is not None:
                    continue
                at = offset + (job.submitted_at - since - origin) % span
                if at <= now + seconds:
                    alone.append((at, mark, job))
            for workload in self._workloads:
                at = offset + (workload.submitted_at - since - origin) % span
                if at <= now + seconds:
                    _again(found, workload, members.get(workload.workload_id, []), at, mark)
        found.jobs += _newcomers(alone, len(alone) if at_most is None else at_most)
        return found

    def continuation(self, rng: np.random.Generator, mode: Mode, instance: str, done: int) -> Habit:
        """What the user of an open workload with ``done`` jobs may still do, drawn from workloads like it.

        Those of the same instance count when there are any; of them, those that had so many jobs at least.
        Where nothing like it is known the workload is left to its timers.
        """
        candidates = self._habits.get((mode, instance)) or [
            habit for (other, _), known in self._habits.items() if other is mode for habit in known
        ]
        longer = [habit for habit in candidates if len(habit.steps) + 1 >= done]
        if not longer:
            return Habit((), None)
        habit = longer[int(rng.integers(len(longer)))]
        return replace(habit, steps=habit.steps[max(0, done - 1) :])


_Newcomer = tuple[float, str, TraceJob]
"""When a job like a past one will be submitted, and how its id begins."""


def _newcomers(alone: list[_Newcomer], at_most: int) -> list[TraceJob]:
    """The jobs, or about ``at_most`` that stand for them: each in the middle of those that it stands for."""
    count = -(-len(alone) // max(1, at_most))
    lines: dict[tuple[str, str], list[_Newcomer]] = {}
    for newcomer in alone:
        lines.setdefault((newcomer[2].instance, newcomer[2].qpu), []).append(newcomer)
    found = []
    for line in lines.values():
        line.sort(key=lambda newcomer: newcomer[0])
        for start in range(0, len(line), max(1, count)):
            part = line[start : start + count]
            at, mark, job = part[len(part) // 2]
            like = replace(job, job_id=mark + job.job_id, submitted_at=at, recorded=None)
            found.append(like if len(part) == 1 else _standing_for(like, [each[2] for each in part]))
    return found


def _standing_for(job: TraceJob, all_of_them: list[TraceJob]) -> TraceJob:
    limits = [each.limit_seconds for each in all_of_them if each.limit_seconds is not None]
    return replace(
        job,
        prepare_seconds=sum(each.prepare_seconds for each in all_of_them),
        qpu_seconds=sum(each.qpu_seconds for each in all_of_them),
        finalize_seconds=sum(each.finalize_seconds for each in all_of_them),
        estimate_seconds=sum(
            UNKNOWN_ESTIMATE_SECONDS if each.estimate_seconds is None else each.estimate_seconds
            for each in all_of_them
        ),
        limit_seconds=sum(limits) if len(limits) == len(all_of_them) else None,
        outcome="completed",
        cancel_after_seconds=None,
    )


def _again(found: Trace, row: TraceWorkload, jobs: list[TraceJob], at: float, mark: str) -> None:
    """Append a past workload with its jobs, opened at ``at``."""
    part = closed_loop(Trace(jobs, [row]))
    shift = at - row.submitted_at
    for job in part.jobs:
        moved = None if job.submitted_at is None else job.submitted_at + shift
        after = None if job.after is None else mark + job.after
        found.jobs.append(
            replace(
                job, job_id=mark + job.job_id, submitted_at=moved, workload=mark + row.workload_id,
                after=after, recorded=None,
            )
        )  # fmt: skip
    found.workloads.append(
        replace(part.workloads[0], workload_id=mark + row.workload_id, submitted_at=at, recorded=None)
    )
