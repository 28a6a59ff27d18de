"""One possible future of a live queue: a copy of the real core, run ahead with drawn durations and users."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ketline.core import events
from ketline.core.model import Job, Stage, Workload, WorkloadState
from ketline.core.scheduler import Scheduler
from ketline.planning.condense import Bundle
from ketline.planning.durations import DurationModel, Part, log_seconds
from ketline.planning.history import Habit, History
from ketline.planning.users import Users
from ketline.planning.virtual import Given, Performer, Work

Floats = NDArray[np.float64]
_BLOCK = 256
LONGEST_LOG = 20.0
"""The logarithm of the longest time that is drawn: years."""


Kind = tuple[str, bool]
"""What jobs of a QPU are alike in: the program, and whether there is an estimate."""


def kind_of(job: Job) -> Kind:
    """A job's kind."""
    return job.program, job.estimate_seconds is not None


class DrawnWork(dict[str, Work]):
    """Durations by job id, drawn when they are first asked for.

    All jobs of a (program, QPU) share one drawn mean and spread: what isn't known of a program makes the
    waiting behind many of its jobs uncertain, and not only that behind one. The times of ``bundles`` are
    those of all their jobs, on QPUs with so many ``lanes``.
    """

    def __init__(
        self,
        model: DurationModel,
        jobs: Mapping[str, Job],
        rng: np.random.Generator,
        bundles: Mapping[str, Bundle],
        lanes: Mapping[str, int],
        *,
        central: bool = False,
    ) -> None:
        super().__init__()
        self._model, self._jobs, self._rng, self._central = model, jobs, rng, central
        self._bundles, self._lanes = bundles, lanes
        self._parameters: dict[tuple[Part | None, str, str], tuple[float, float]] = {}
        self._normals: list[float] = []
        self._sums: dict[str, dict[Kind, tuple[float, float]]] = {}

    def __missing__(self, job_id: str) -> Work:
        """Draw the times of a job that the scheduler knows."""
        job = self._jobs[job_id]
        bundle = self._bundles.get(job_id)
        if bundle is None:
            work = Given(
                self.draw(job, Part.PREPARE), self.draw(job, Part.QPU), self.draw(job, Part.FINALIZE)
            )
        else:
            work = self._draw_together(job_id, bundle)
        self[job_id] = work
        return work

    def _draw_together(self, job_id: str, bundle: Bundle) -> Given:
        """Times of a bundle: it is prepared and finalized as one job, and has the QPU until the lanes would
        have let all of its jobs through."""
        sums: dict[Kind, tuple[float, float]] = {}
        in_lanes = on_qpu = 0.0
        prepare = finalize = 0.0
        for alike in bundle.parts:
            first, count = alike.first, len(alike.limits)
            prepares = self._draws(first, Part.PREPARE, count)
            finalizes = self._draws(first, Part.FINALIZE, count)
            seconds = np.minimum(self._draws(first, Part.QPU, count) * alike.relative, alike.limits)
            total = float(seconds.sum())
            sums[kind_of(first)] = total, float(np.square(seconds).sum())
            on_qpu += total
            in_lanes += total + float(prepares.sum() + finalizes.sum())
            prepare, finalize = float(prepares[0]), float(finalizes[0])
        self._sums[job_id] = sums
        held = (in_lanes - prepare - finalize) / self._lanes[self._jobs[job_id].qpu_id]
        return Given(prepare, on_qpu, finalize, held_seconds=max(0.0, held - on_qpu))

    def _draws(self, job: Job, part: Part, count: int) -> Floats:
        """Times of ``count`` jobs like this one, in seconds."""
        mean, sigma = self.parameters(part, job)
        drawn: Floats = np.exp(np.minimum(mean + sigma * self._rng.standard_normal(count), LONGEST_LOG))
        return drawn

    def sums(self, job: Job, seconds: float) -> Mapping[Kind, tuple[float, float]]:
        """Sum and sum of squares of the QPU seconds of a job, or of the jobs of a bundle, by their kind."""
        known = self._sums.get(job.job_id)
        if known is not None:
            return known
        return {kind_of(job): (seconds, seconds * seconds)}

    def parameters(self, part: Part, job: Job) -> tuple[float, float]:
        """Mean and standard deviation of the logarithm of a job's time in this replica."""
        known = None if part is Part.QPU and job.estimate_seconds is None else part
        key = (known, job.program, job.qpu_id)
        found = self._parameters.get(key)
        if found is None:
            belief = self._model.belief(known, job.program, job.qpu_id)
            found = self._parameters[key] = belief.centre() if self._central else belief.draw(self._rng)
        if known is Part.QPU and job.estimate_seconds is not None:
            return found[0] + log_seconds(job.estimate_seconds), found[1]
        return found

    def draw(self, job: Job, part: Part) -> float:
        """A time in seconds."""
        if not self._normals:
            self._normals = self._rng.standard_normal(_BLOCK).tolist()
        mean, sigma = self.parameters(part, job)
        return math.exp(min(mean + sigma * self._normals.pop(), LONGEST_LOG))

    def draw_beyond(self, job: Job, part: Part, elapsed: float) -> float:
        """A time in seconds that is larger than what has passed already."""
        for _ in range(20):
            seconds = self.draw(job, part)
            if seconds > elapsed:
                return seconds
        return elapsed * float(1.0 + 0.1 * self._rng.exponential())


@dataclass(frozen=True, slots=True)
class Present:
    """What is going on that the core doesn't tell: since when each QPU that calibrates does so."""

    calibrating_since: Mapping[str, float]


_NO_BUNDLES: Mapping[str, Bundle] = {}


class Replica:
    """A `Performer` over a copy of the core, taken up in the middle of everything.

    ``scheduler`` is consumed: hand over a copy. Work under way goes on for as long as is drawn beyond what
    has passed; users of open sessions go on as users of past ones did; newcomers are drawn from the recent
    past for ``horizon_seconds``, in ``newcomers`` jobs at most outside of sessions and batches. ``bundles``
    are queued jobs that stand for several. ``central`` takes the most likely mean and spread of every program
    instead of drawn ones.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        present: Present,
        model: DurationModel,
        history: History,
        now: float,
        rng: np.random.Generator,
        horizon_seconds: float,
        *,
        bundles: Mapping[str, Bundle] = _NO_BUNDLES,
        newcomers: int | None = None,
        central: bool = False,
    ) -> None:
        self._rng, self._history = rng, history
        lanes = {qpu_id: spec.lanes for qpu_id, spec in scheduler.qpus.items()}
        self.work = DrawnWork(model, scheduler.jobs, rng, bundles, lanes, central=central)
        self.performer = Performer(scheduler, self.work, now)
        future = history.future(rng, now, horizon_seconds, "future-", newcomers)
        known = set(scheduler.instances)
        future.jobs = [job for job in future.jobs if job.instance in known and job.qpu in scheduler.qpus]
        future.workloads = [w for w in future.workloads if w.instance in known and w.qpu in scheduler.qpus]
        self._habits: dict[str, Habit] = {}
        self._members: dict[str, int] = {}
        self._take_up(present)
        self.users = Users(self.performer, future, ends=False)
        self.performer.on_settled.append(self._settled)
        self._follow_sessions()

    def run(self, until: float = float("inf")) -> None:
        """Play until `Performer.stop`, or until nothing is left to happen."""
        self.users.run(until)

    def _take_up(self, present: Present) -> None:
        performer, now = self.performer, self.performer.now
        qpus = performer.scheduler.qpus
        for qpu_id, since in present.calibrating_since.items():
            performer.resume_calibration(qpu_id, max(now, since + qpus[qpu_id].calibration_seconds))
        for job in list(performer.scheduler.jobs.values()):
            if job.stage is Stage.PREPARING:
                began = now if job.running_at is None else job.running_at
                performer.resume_preparing(
                    job.job_id, began + self.work.draw_beyond(job, Part.PREPARE, now - began)
                )
            elif job.stage is Stage.FINALIZING:
                began = now if job.released_at is None else job.released_at
                performer.resume_finalizing(
                    job.job_id, began + self.work.draw_beyond(job, Part.FINALIZE, now - began)
                )
            elif job.stage is Stage.ON_QPU:
                self._take_up_on_qpu(job, now)

    def _take_up_on_qpu(self, job: Job, now: float) -> None:
        if job.locked_at is None or job.released_at is not None:
            self.performer.start_on_qpu(job.job_id, job.qpu_id)
        elif job.cancelling:
            self.performer.resume_on_qpu(job.job_id, job.locked_at, now - job.locked_at)
        else:
            seconds = self.work.draw_beyond(job, Part.QPU, now - job.locked_at)
            self.performer.resume_on_qpu(job.job_id, job.locked_at, seconds)

    # ------------------------------------------------------- users of sessions that are open already

    def _follow_sessions(self) -> None:
        scheduler = self.performer.scheduler
        for job in scheduler.jobs.values():
            if job.workload_id is not None:
                self._members[job.workload_id] = self._members.get(job.workload_id, 0) + 1
        for workload in scheduler.workloads.values():
            if not workload.accepting or workload.state is WorkloadState.PENDING_CLOSED:
                continue
            done = workload.jobs_submitted
            self._habits[workload.workload_id] = self._history.continuation(
                self._rng, workload.mode, workload.instance_id, done
            )
            if not self._members.get(workload.workload_id):
                self._go_on(workload, workload.last_job_completed_at)

    def _settled(self, job: Job) -> None:
        if job.workload_id not in self._habits:
            return
        self._members[job.workload_id] -= 1
        workload = self.performer.scheduler.workloads.get(job.workload_id)
        if workload is not None and self._members[job.workload_id] == 0:
            self._go_on(workload, self.performer.now)

    def _go_on(self, workload: Workload, since: float | None) -> None:
        """The user has seen the last result: think, then submit the next job or close."""
        habit, performer = self._habits[workload.workload_id], self.performer
        began = performer.now if since is None else since
        if not habit.steps:
            if habit.close_seconds is not None and workload.jobs_submitted:
                performer.push(
                    began + habit.close_seconds, events.WorkloadCloseRequested(workload.workload_id)
                )
            return
        step = habit.steps[0]
        self._habits[workload.workload_id] = replace(habit, steps=habit.steps[1:])
        performer.call(began + step.think_seconds, partial(self._submit, workload, len(habit.steps)))
        self.work[f"{workload.workload_id}-{len(habit.steps)}"] = step.job

    def _submit(self, workload: Workload, number: int) -> None:
        job_id = f"{workload.workload_id}-{number}"
        row = self.work[job_id]
        performer = self.performer
        performer.handle(
            events.JobSubmitted(
                job_id, workload.instance_id, workload.user_id, workload.qpu_id,
                getattr(row, "program", "sampler"), workload.workload_id, None,
                getattr(row, "estimate_seconds", None),
            )
        )  # fmt: skip
        if job_id in performer.scheduler.jobs:
            self._members[workload.workload_id] = self._members.get(workload.workload_id, 0) + 1
            self.users.count(workload.qpu_id)
