"""A long queue with less to play: successive jobs of one instance, or of one batch, are played as one.

Fair share asks for an instance's turn and its usage, and not for how many jobs it splits the turn into. So
jobs that are far from the one that is asked about, in time, may be taken together: a bundle lasts at most a
share of that distance, and near the job everything is played one by one. The core decides all the same.
A bundle takes the sum of its jobs' times, in preparation, on the QPU and in finalizing, so that lanes and QPU
are busy for as long. It never mixes instances, batches or sessions, and stays short where a long one would
be in the way: of calibrations, windows, times to live and usage limits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import inf

import numpy as np
from numpy.typing import NDArray

from ketline.core.model import Job, JobStatus
from ketline.core.scheduler import Scheduler
from ketline.core.windows import expected
from ketline.planning.durations import SHORTEST_SECONDS

Floats = NDArray[np.float64]

FINEST, COARSEST = 0.004, 0.8
"""A bundle's length relative to the time between it and the job that is asked about."""
LUMP = 1.0
"""How much of its usage an instance may add at once, relative to the coarseness: that is its error in fair
share. The errors of many instances are independent, so that each may be larger."""
WINDOW_GRAIN_SECONDS = 60.0
"""How long a bundle may be on a QPU with windows ahead: no more is left idle before one begins."""

Line = tuple[str, str | None]
"""Jobs that start in the order of submission: of an instance, or of its session or batch."""


@dataclass(frozen=True, slots=True)
class Alike:
    """Jobs of a bundle that are of one program and all have an estimate, or all none.

    ``relative`` are their estimates over the first's, ``limits`` the seconds that they may have the QPU; both
    of shape ``(jobs,)``.
    """

    first: Job
    relative: Floats
    limits: Floats


@dataclass(frozen=True, slots=True)
class Bundle:
    """Jobs that are played as one, in their order and by what they are alike in."""

    jobs: tuple[Job, ...]
    parts: tuple[Alike, ...]


@dataclass(frozen=True, slots=True)
class Condensed:
    """A scheduler with the same work in fewer jobs.

    ``bundles`` are there by the id of their first job, which stands for the others. ``played`` is how
    many jobs and bundles are expected to start before the wanted jobs do, ``wait_seconds`` how long that
    takes by their estimates.
    """

    scheduler: Scheduler
    bundles: Mapping[str, Bundle]
    played: float
    wait_seconds: float


@dataclass(slots=True)
class _Turn:
    since: float
    seconds: float
    jobs: list[Job]


@dataclass(slots=True)
class _Queue:
    """The queued jobs of a QPU in their order, with the seconds until they have the QPU, and what their
    instances will have used by then. ``marks`` are the times of the wanted jobs."""

    jobs: list[Job]
    times: list[float]
    marks: list[float]
    used: list[float] = field(default_factory=list)


def condense(scheduler: Scheduler, wanted: Mapping[str, Job], at_most: int) -> Condensed:
    """A copy of the scheduler in which about ``at_most`` jobs and bundles precede the wanted jobs.

    More than that precede them when they are of that many instances and batches. ``scheduler`` isn't changed.
    """
    queues = [_queue(scheduler, qpu_id, wanted) for qpu_id in scheduler.qpus]
    wait = max((mark for queue in queues for mark in queue.marks), default=0.0)
    played = sum(at <= max(queue.marks, default=wait) for queue in queues for at in queue.times)
    if played <= at_most:
        return Condensed(scheduler.copy(), {}, played, wait)
    caps: dict[Line, float] = {}
    share, instances = FINEST, _note_usage(scheduler, queues)
    while True:
        part = min(0.5, LUMP * share * instances**0.5)
        turns = [(queue, _turns(scheduler, queue, share, part, caps)) for queue in queues]
        played = sum(turn.since <= max(queue.marks, default=wait) for queue, found in turns for turn in found)
        if played <= at_most or share == COARSEST:
            break
        share = min(COARSEST, share * max(1.3, 1.2 * played / at_most))
    bundles: dict[str, Bundle] = {}
    stand_ins: dict[str, Job | None] = {}
    for turn in (turn for _, found in turns for turn in found if len(turn.jobs) > 1):
        first = turn.jobs[0].job_id
        stand_ins |= dict.fromkeys((job.job_id for job in turn.jobs[1:]), None)
        stand_ins[first] = _stand_in(turn)
        bundles[first] = _bundle(turn.jobs)
    return Condensed(scheduler.condensed(stand_ins), bundles, played, wait)


def _queue(scheduler: Scheduler, qpu_id: str, wanted: Mapping[str, Job]) -> _Queue:
    jobs = [scheduler.jobs[job_id] for job_id in scheduler.queue(qpu_id)]
    times, marks, at = [], [], 0.0
    for job in jobs:
        times.append(at)
        if job.job_id in wanted:
            marks.append(at)
        at += expected(job)
    if any(job.qpu_id == qpu_id and job.status is not JobStatus.QUEUED for job in wanted.values()):
        marks.append(0.0)
    return _Queue(jobs, times, marks)


def _turns(
    scheduler: Scheduler, queue: _Queue, share: float, part: float, caps: dict[Line, float]
) -> list[_Turn]:
    """The queue in turns: within a line they follow each other, and none holds a wanted job and another."""
    found: list[_Turn] = []
    latest: dict[Line, _Turn] = {}
    for job, at, used in zip(queue.jobs, queue.times, queue.used, strict=True):
        line = (job.instance_id, job.workload_id)
        cap = caps.get(line)
        if cap is None:
            cap = caps[line] = _longest(scheduler, job)
        seconds = expected(job)
        turn = latest.get(line)
        if (
            turn is not None
            and turn.seconds + seconds <= min(cap, part * used)
            and at - turn.since <= share * _distance(queue.marks, turn.since, at)
        ):
            turn.seconds += seconds
            turn.jobs.append(job)
        else:
            latest[line] = turn = _Turn(at, seconds, [job])
            found.append(turn)
    return found


def _note_usage(scheduler: Scheduler, queues: list[_Queue]) -> int:
    """Note at each job what its instance will have used on all QPUs by then; returns how many have any."""
    used = {name: scheduler.usage(name).used_seconds for name in scheduler.instances}
    waiting: set[str] = set()
    places = [(at, number, place) for number, q in enumerate(queues) for place, at in enumerate(q.times)]
    for queue in queues:
        queue.used = [0.0] * len(queue.jobs)
    for _, number, place in sorted(places):
        job = queues[number].jobs[place]
        queues[number].used[place] = used[job.instance_id]
        used[job.instance_id] += expected(job)
        waiting.add(job.instance_id)
    return len(waiting)


def _distance(marks: Iterable[float], since: float, until: float) -> float:
    """How far a span is from the nearest mark; 0 when it holds one, infinite without marks."""
    near = inf
    for mark in marks:
        near = min(near, since - mark if mark < since else mark - until if mark > until else 0.0)
    return near


def _longest(scheduler: Scheduler, job: Job) -> float:
    """How many seconds a bundle of a line may have: a fraction of what may cut through it."""
    qpu, instance = scheduler.qpus[job.qpu_id], scheduler.instances[job.instance_id]
    cap = inf
    if qpu.calibration_interval_seconds is not None and qpu.calibration_seconds > 0.0:
        # each calibration waits for half a bundle: what they take together is off by a hundredth of all time
        cap = 0.02 * qpu.calibration_interval_seconds**2 / qpu.calibration_seconds
    if scheduler.windows(job.qpu_id):
        cap = min(cap, WINDOW_GRAIN_SECONDS)
    if instance.limit_seconds is not None:
        cap = min(cap, instance.limit_seconds / 50.0)
    if job.workload_id is not None:
        workload = scheduler.workloads[job.workload_id]
        # jobs of a session in job mode wait between those of their instance, and stay where they are
        cap = 0.0 if workload.as_jobs else min(cap, workload.max_ttl_seconds / 50.0)
    return cap


def _stand_in(turn: _Turn) -> Job:
    """The first of a turn's jobs with the expectations and limits of all."""
    return replace(
        turn.jobs[0],
        estimate_seconds=turn.seconds,
        limit_seconds=sum(job.limit_seconds for job in turn.jobs),
    )


def _bundle(jobs: list[Job]) -> Bundle:
    kinds: dict[tuple[str, bool], list[Job]] = {}
    for job in jobs:
        kinds.setdefault((job.program, job.estimate_seconds is not None), []).append(job)
    parts = (
        Alike(
            alike[0],
            np.array([_known(job) for job in alike]) / _known(alike[0]),
            np.array([job.limit_seconds for job in alike]),
        )
        for alike in kinds.values()
    )
    return Bundle(tuple(jobs), tuple(parts))


def _known(job: Job) -> float:
    return 1.0 if job.estimate_seconds is None else max(job.estimate_seconds, SHORTEST_SECONDS)
