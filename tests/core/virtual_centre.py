"""A centre on a virtual clock: plays everyone but the scheduler, and checks it after every event."""

from __future__ import annotations

import copy
import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import pytest

from ketline.core import actions, events
from ketline.core.model import (
    Failure,
    InstanceSpec,
    Job,
    JobStatus,
    Mode,
    QpuMode,
    QpuSpec,
    Stage,
    UsageLine,
    Workload,
)  # fmt: skip
from ketline.core.scheduler import Rejection, Scheduler


@dataclass
class Work:
    """What a job really takes: seconds of preparation, on the QPU (one figure a round), of finalizing."""

    prep: float = 1.0
    run: tuple[float, ...] = (10.0,)
    fin: float = 0.0
    fails: Failure | None = None
    fails_in: Stage = Stage.ON_QPU


class Latest:
    """A job by its latest record: the scheduler puts another in place when it leaves the queue."""

    def __init__(self, jobs: dict[str, Job], job_id: str) -> None:
        self._jobs, self._job_id = jobs, job_id

    def __getattr__(self, name: str) -> Any:
        return getattr(self._jobs[self._job_id], name)


@dataclass
class VirtualCentre:
    """Performs the scheduler's actions in virtual time. ``t`` is the present."""

    t: float = 0.0
    scheduler: Scheduler = field(default_factory=Scheduler)
    work: dict[str, Work] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    workloads: dict[str, Workload] = field(default_factory=dict)
    bills: list[UsageLine] = field(default_factory=list)
    log: list[tuple[float, actions.Action]] = field(default_factory=list)
    started: list[str] = field(default_factory=list)
    ran: list[tuple[str, float, float]] = field(default_factory=list)
    calibrated: list[tuple[str, float, float]] = field(default_factory=list)
    settled: set[str] = field(default_factory=set)
    checking: bool = True
    calibration_seconds: float = 5.0
    calibration_ok: bool = True
    keep_log: bool = True
    lives: int = 0
    shadow: Scheduler | None = None  # a copy that hears of everything, and must decide alike
    wake_at: float | None = None

    def __post_init__(self) -> None:
        self._agenda: list[tuple[float, int, str, Callable[[], None]]] = []
        self._count = 0
        self._attempt: dict[str, int] = {}
        self._rounds: dict[str, int] = {}
        self._locks: dict[str, float] = {}

    # setting up

    def qpu(self, qpu_id: str = "q", **facts: Any) -> None:
        self.send(events.QpuRegistered(QpuSpec(qpu_id, **facts)))

    def instance(self, instance_id: str = "i", **figures: Any) -> None:
        self.send(events.InstanceRegistered(InstanceSpec(instance_id, **figures)))

    # users

    def submit(
        self,
        job_id: str,
        *,
        to: str | None = None,
        instance: str = "i",
        qpu: str = "q",
        cost: float | None = None,
        estimate: float | None = None,
        prep: float = 1.0,
        run: float | tuple[float, ...] = 10.0,
        fin: float = 0.0,
        fails: Failure | None = None,
        fails_in: Stage = Stage.ON_QPU,
        user: str = "u",
    ) -> Job:
        rounds = run if isinstance(run, tuple) else (run,)
        self.work[job_id] = Work(prep, rounds, fin, fails, fails_in)
        self.send(events.JobSubmitted(job_id, instance, user, qpu, "sampler", to, cost, estimate))
        return cast("Job", Latest(self.jobs, job_id))

    def open(
        self,
        workload_id: str,
        mode: Mode = Mode.SESSION,
        *,
        instance: str = "i",
        qpu: str = "q",
        max_ttl: float | None = None,
    ) -> Workload:
        self.send(events.WorkloadOpened(workload_id, mode, instance, "u", qpu, max_ttl))
        return self.workloads[workload_id]

    def batch(self, workload_id: str, **wishes: Any) -> Workload:
        return self.open(workload_id, Mode.BATCH, **wishes)

    def close(self, workload_id: str) -> None:
        self.send(events.WorkloadCloseRequested(workload_id))

    def cancel_workload(self, workload_id: str) -> None:
        self.send(events.WorkloadCancelRequested(workload_id))

    def cancel(self, job_id: str) -> None:
        self.send(events.JobCancelRequested(job_id))

    def mode(self, mode: QpuMode, qpu: str = "q") -> None:
        self.send(events.QpuModeChanged(qpu, mode, "as the test wants"))

    # time

    def at(self, t: float, what: Callable[[], Any]) -> None:
        """Do something later."""
        self._count += 1
        heapq.heappush(self._agenda, (t, self._count, "", what))

    def until(self, t: float) -> None:
        """Let time pass, and all that is due by then happen; at ``t`` itself, too."""
        while True:
            due = self._agenda[0][0] if self._agenda else None
            wake = self.wake_at
            if wake is not None and (due is None or wake <= due):
                if wake > t:
                    break
                self.t, self.wake_at = max(self.t, wake), None
                self.send(events.TimerFired())
            elif due is not None and due <= t:
                self.t, _, _, what = heapq.heappop(self._agenda)
                what()
            else:
                break
        self.t = max(self.t, t)

    def drain(self, horizon: float = 1e7) -> None:
        """Let time pass until nothing is under way."""
        while self._agenda and self._agenda[0][0] <= horizon:
            self.until(self._agenda[0][0])

    # the performer

    def send(self, event: events.Event) -> None:
        try:
            doings = self.scheduler.handle(event, self.t)
        except Rejection:
            if self.shadow is not None:
                with pytest.raises(Rejection):
                    self.shadow.handle(event, self.t)
            raise
        finally:
            if self.checking:
                self.scheduler.check()
        if self.shadow is not None:
            assert told(self.shadow.handle(event, self.t)) == told(doings), "a copy decides otherwise"
        self.perform(doings)

    def perform(self, doings: list[actions.Action]) -> None:
        seen: set[tuple[str, int]] = set()
        for doing in doings:
            if self.keep_log:
                self.log.append((self.t, doing))
            match doing:
                case actions.Settle(job) | actions.JobChanged(job):
                    assert ("job", id(job)) not in seen, "a noun was told twice"
                    seen.add(("job", id(job)))
                    self.jobs[job.job_id] = job
                    if isinstance(doing, actions.Settle):
                        assert job.job_id not in self.settled, f"{job.job_id} settled twice"
                        assert job.status.final
                        assert job.status is JobStatus.COMPLETED or (job.reason and job.reason.solution)
                        self.settled.add(job.job_id)
                        self._drop(job.job_id)
                    else:
                        assert job.job_id not in self.settled, f"{job.job_id} changed after it was settled"
                case actions.WorkloadChanged(workload):
                    assert ("workload", id(workload)) not in seen, "a noun was told twice"
                    seen.add(("workload", id(workload)))
                    self.workloads[workload.workload_id] = workload
                case actions.Bill(line):
                    assert line.seconds > 0
                    self.bills.append(line)
                case actions.Prepare(job_id):
                    self.started.append(job_id)
                    self._prepare(job_id)
                case actions.Run(job_id):
                    self._run(job_id)
                case actions.Finalize(job_id):
                    self._finalize(job_id)
                case actions.Stop(job_id):
                    self._stop(job_id)
                case actions.Abandon(job_id):
                    self._drop(job_id)
                case actions.Calibrate(qpu_id):
                    self.calibrated.append((qpu_id, self.t, self.t + self.calibration_seconds))
                    self.at(self.t + self.calibration_seconds, partial(self._calibrated, qpu_id, self.lives))
                case actions.SetTimer(at):
                    self.wake_at = at
                case actions.QpuModeSet():
                    pass
                case _:
                    raise AssertionError(f"nobody performs {doing}")

    def _calibrated(self, qpu_id: str, life: int) -> None:
        if life == self.lives:
            self.send(events.CalibrationEnded(qpu_id, ok=self.calibration_ok))

    def crash(self) -> None:
        """All work is lost, and the scheduler with it; `succeed` puts another in its place."""
        for job_id in self.scheduler.jobs:
            self._drop(job_id)
            self._locks.pop(job_id, None)
        self.lives += 1
        self.calibrated = [(qpu_id, since, min(until, self.t)) for qpu_id, since, until in self.calibrated]

    def succeed(self, outage: float = 0.0) -> None:
        """Another scheduler takes up what a store would know, after a while."""
        old, self.scheduler, self.wake_at, self.shadow = self.scheduler, Scheduler(), None, None
        seen_at, self.t = self.t, self.t + outage
        for qpu in old.qpus.values():
            self.send(events.QpuRegistered(qpu))
        for instance in old.instances.values():
            self.send(events.InstanceRegistered(instance))
        jobs = copy.deepcopy(list(old.jobs.values()))
        workloads = copy.deepcopy(list(old.workloads.values()))
        usage = [(line.instance_id, line.ended_at, line.seconds) for line in self.bills]
        self.perform(self.scheduler.restore(jobs, workloads, usage, self.t, seen_at))
        self.scheduler.check()

    def _drop(self, job_id: str) -> None:
        self._attempt[job_id] = self._attempt.get(job_id, 0) + 1

    def _later(self, job_id: str, seconds: float, what: Callable[[], None]) -> None:
        attempt = self._attempt[job_id] = self._attempt.get(job_id, 0) + 1

        def still_wanted() -> None:
            if self._attempt[job_id] == attempt:
                what()

        self.at(self.t + seconds, still_wanted)

    def _fail(self, job_id: str, work: Work, seconds: float | None) -> None:
        assert work.fails is not None
        if seconds is not None:
            self._unlock(job_id)
        self.send(events.JobFailed(job_id, work.fails, seconds))

    def _prepare(self, job_id: str) -> None:
        work = self.work[job_id]
        self._rounds[job_id] = 0
        if work.fails is not None and work.fails_in is Stage.PREPARING:
            self._later(job_id, work.prep, lambda: self._fail(job_id, work, None))
        else:
            self._later(job_id, work.prep, lambda: self.send(events.JobPrepared(job_id)))

    def _run(self, job_id: str) -> None:
        work = self.work[job_id]
        seconds = work.run[self._rounds[job_id]]
        self._rounds[job_id] += 1
        self._locks[job_id] = self.t
        if work.fails is not None and work.fails_in is Stage.ON_QPU:
            self._later(job_id, seconds, lambda: self._fail(job_id, work, seconds))
        else:
            self._later(job_id, seconds, lambda: self._release(job_id, seconds))
        self.send(events.JobLocked(job_id))

    def _unlock(self, job_id: str) -> float:
        since = self._locks.pop(job_id)
        self.ran.append((job_id, since, self.t))
        return self.t - since

    def _release(self, job_id: str, seconds: float) -> None:
        self._unlock(job_id)
        self.send(events.JobReleased(job_id, seconds))

    def _stop(self, job_id: str) -> None:
        self._later(job_id, 0.0, lambda: self.send(events.JobStopped(job_id, self._unlock(job_id))))

    def interrupt(self, job_id: str) -> None:
        self._drop(job_id)
        self._locks.pop(job_id, None)
        self.send(events.JobInterrupted(job_id))

    def _finalize(self, job_id: str) -> None:
        work = self.work[job_id]
        if work.fails is not None and work.fails_in is Stage.FINALIZING:
            self._later(job_id, work.fin, lambda: self._fail(job_id, work, None))
        elif self._rounds[job_id] < len(work.run):
            self._later(job_id, work.fin, lambda: self.send(events.JobPrepared(job_id)))
        else:
            self._later(job_id, work.fin, lambda: self.send(events.JobFinalized(job_id)))

    # looking

    def status(self, job_id: str) -> JobStatus:
        return self.jobs[job_id].status

    def code(self, job_id: str) -> int | None:
        reason = self.jobs[job_id].reason
        return None if reason is None else reason.code

    def billed(self, noun_id: str) -> float:
        return sum(line.seconds for line in self.bills if noun_id in (line.job_id, line.workload_id))

    def refused(self, what: Callable[[], Any]) -> int:
        """The code with which something is refused."""
        with pytest.raises(Rejection) as caught:
            what()
        assert caught.value.reason.message
        assert caught.value.reason.solution
        return caught.value.reason.code


def told(doings: list[actions.Action]) -> list[str]:
    """Actions in words; wake-ups aside, which depend on the ones that were asked for before."""
    return [repr(doing) for doing in doings if not isinstance(doing, actions.SetTimer)]


def a_centre(**qpu: Any) -> VirtualCentre:
    """One QPU ``q`` with five lanes, and one premium instance ``i``."""
    centre = VirtualCentre()
    centre.qpu(**qpu)
    centre.instance()
    return centre


def with_session(**facts: Any) -> VirtualCentre:
    """A centre with an open session ``s``."""
    c = a_centre(**facts)
    c.open("s")
    return c
