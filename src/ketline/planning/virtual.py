"""Performs the core's actions on a virtual clock.

`Performer` does what the service does with real machines: it answers ``Prepare``, ``Run``, ``Finalize`` and
``Calibrate`` with the events that the core waits for, after the durations that it is told, and fires the
timer. It decides nothing. Who submits, and when, is the caller's: `ketline.planning.users` for a trace,
`ketline.planning.forecast` for a queue that is already there.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ketline.core import actions, codes, events
from ketline.core.model import Failure, FailureKind, Job, Reason, UsageLine, Workload, WorkloadState
from ketline.core.scheduler import Rejection, Scheduler


class Work(Protocol):
    """How long a job's parts take, and whether it fails; `ketline.planning.trace.TraceJob` is one."""

    @property
    def prepare_seconds(self) -> float:
        """Classical seconds before the QPU."""

    @property
    def qpu_seconds(self) -> float:
        """Seconds on the QPU."""

    @property
    def finalize_seconds(self) -> float:
        """Classical seconds after the QPU."""

    @property
    def outcome(self) -> str:
        """``completed``, ``failed``, ``system_failure`` or ``cancelled``."""


@dataclass(frozen=True, slots=True)
class Given:
    """Durations known as numbers. ``held_seconds`` is how much longer than it uses it a job keeps the QPU
    from others: one that stands for several, which the lanes don't prepare quickly enough."""

    prepare_seconds: float
    qpu_seconds: float
    finalize_seconds: float
    outcome: str = "completed"
    held_seconds: float = 0.0


@dataclass(slots=True)
class Record:
    """What happened: settled jobs, closed workloads, ledger lines, calibrations as (qpu, from, to)."""

    jobs: list[Job] = field(default_factory=list)
    workloads: list[Workload] = field(default_factory=list)
    lines: list[UsageLine] = field(default_factory=list)
    calibrations: list[tuple[str, float, float]] = field(default_factory=list)
    rejected: list[tuple[str, Reason]] = field(default_factory=list)


_CALL, _TIMER = "(call)", "(timer)"
_TIMER_FIRED = events.TimerFired()

_FAILURES = {
    "failed": Failure(Reason(codes.INVALID_REQUEST, "The trace says so."), FailureKind.USER),
    "system_failure": Failure(Reason(9999, "The trace says so."), FailureKind.SYSTEM),
}


class Performer:
    """An event loop over a scheduler.

    ``work`` maps a job's id to its `Work`; a mapping with ``__missing__`` may draw it when it is asked.
    ``on_settled`` and ``on_closed`` hear of jobs and workloads that have come to their end, ``on_prepare``
    of jobs that begin to run and ``on_locked`` of jobs that get the QPU, with their seconds; all of them may
    push more events. Not thread-safe.
    """

    def __init__(self, scheduler: Scheduler, work: MutableMapping[str, Work], now: float) -> None:
        self.scheduler = scheduler
        self.work = work
        self.now = now
        self.record = Record()
        self.events_handled = 0
        self.on_settled: list[Callable[[Job], None]] = []
        self.on_closed: list[Callable[[Workload], None]] = []
        self.on_prepare: Callable[[str], None] | None = None
        self.on_locked: Callable[[str, float], None] | None = None
        self._heap: list[tuple[float, int, str | None, Any]] = []
        self._order = 0
        self._answers: dict[str, int] = {}
        self._on_qpu: dict[str, float] = {}
        self._timer_at = float("inf")
        self._timer_order = 0
        self._stopped = False
        self._perform: dict[type[actions.Action], Callable[..., None]] = {
            actions.Prepare: self._prepare,
            actions.Run: self._run,
            actions.Finalize: self._finalize,
            actions.Stop: self._stop,
            actions.Abandon: self._abandon,
            actions.Settle: self._settle,
            actions.WorkloadChanged: self._workload_changed,
            actions.Bill: self._bill,
            actions.Calibrate: self._calibrate,
            actions.SetTimer: self._set_timer,
        }
        # a wake-up that the scheduler asked for earlier went elsewhere: have it ask again
        self.push(now, _TIMER_FIRED)

    def push(self, at: float, event: events.Event) -> None:
        """Let something happen at a time, ``now`` at the earliest."""
        self._order += 1
        heapq.heappush(self._heap, (max(at, self.now), self._order, None, event))

    def call(self, at: float, do: Callable[[], None]) -> None:
        """Call something at a time, ``now`` at the earliest."""
        self._order += 1
        heapq.heappush(self._heap, (max(at, self.now), self._order, _CALL, do))

    def answer(self, job_id: str, at: float, event: events.Event) -> None:
        """Answer the job's last action at a time; ``Abandon``, ``Stop`` or a later answer take it back."""
        self._order = order = self._order + 1
        self._answers[job_id] = order
        heapq.heappush(self._heap, (at, order, job_id, event))

    @property
    def stopped(self) -> bool:
        """Whether `stop` ended the latest `run`."""
        return self._stopped

    def stop(self) -> None:
        """End `run` after the event that is being handled."""
        self._stopped = True

    def handle(self, event: events.Event) -> None:
        """Hand one event to the scheduler now and perform its answer; a refusal is recorded."""
        self.events_handled += 1
        try:
            answer = self.scheduler.handle(event, self.now)
        except Rejection as refusal:
            subject = getattr(event, "job_id", "") or getattr(event, "workload_id", "")
            self.record.rejected.append((subject, refusal.reason))
            return
        self.perform(answer)

    def perform(self, answer: list[actions.Action]) -> None:
        """Perform actions in their order."""
        perform = self._perform
        for action in answer:
            do = perform.get(type(action))
            if do is not None:
                do(action)

    def run(self, until: float = float("inf")) -> None:
        """Play events up to and including ``until``, or until nothing is left to happen or `stop`."""
        heap, answers, scheduler, perform = self._heap, self._answers, self.scheduler, self._perform
        handle, on_qpu = scheduler.handle, self._on_qpu
        self._stopped = False
        count = 0
        while heap and not self._stopped:
            at, order, job_id, event = heap[0]
            if at > until:
                break
            heapq.heappop(heap)
            if job_id is not None:
                if job_id is _CALL:
                    self.now = at
                    event()
                    continue
                if job_id is _TIMER:
                    if order != self._timer_order:
                        continue
                    self._timer_at = float("inf")
                elif answers.get(job_id) != order:
                    continue
                else:
                    del answers[job_id]
                    on_qpu.pop(job_id, None)
            self.now = at
            count += 1
            try:
                answer = handle(event, at)
            except Rejection:
                self.handle(event)  # refused again, and recorded
                continue
            for action in answer:
                do = perform.get(type(action))
                if do is not None:
                    do(action)
        self.events_handled += count
        if not self._stopped and until != float("inf"):
            self.now = max(self.now, until)

    # ------------------------------------------------------------------ actions

    def _prepare(self, action: actions.Prepare) -> None:
        work = self.work[action.job_id]
        if self.on_prepare is not None:
            self.on_prepare(action.job_id)
        event: events.Event
        if work.qpu_seconds <= 0.0 and work.outcome in _FAILURES:
            event = events.JobFailed(action.job_id, _FAILURES[work.outcome])
        else:
            event = events.JobPrepared(action.job_id)
        self.answer(action.job_id, self.now + work.prepare_seconds, event)

    def _run(self, action: actions.Run) -> None:
        job_id = action.job_id
        self._on_qpu[job_id] = self.now
        work = self.work[job_id]
        seconds = work.qpu_seconds
        self._order += 1
        heapq.heappush(self._heap, (self.now, self._order, None, events.JobLocked(job_id)))
        event: events.Event
        if work.outcome in _FAILURES:
            event = events.JobFailed(job_id, _FAILURES[work.outcome], seconds)
        else:
            event = events.JobReleased(job_id, seconds)
        held = work.held_seconds if type(work) is Given else 0.0
        self.answer(job_id, self.now + seconds + held, event)
        if self.on_locked is not None:
            self.on_locked(job_id, seconds)

    def resume_preparing(self, job_id: str, ready_at: float) -> None:
        """Take up a job whose preparation began before this performer did."""
        self.answer(job_id, max(self.now, ready_at), events.JobPrepared(job_id))

    def resume_finalizing(self, job_id: str, finished_at: float) -> None:
        """Take up a job whose finalizing began before this performer did."""
        self.answer(job_id, max(self.now, finished_at), events.JobFinalized(job_id))

    def start_on_qpu(self, job_id: str, qpu_id: str) -> None:
        """Take up a job that was given to the QPU and isn't known to be locked yet."""
        self._run(actions.Run(job_id, qpu_id, float("inf")))

    def resume_calibration(self, qpu_id: str, ends_at: float) -> None:
        """Take up a calibration that began before this performer did."""
        self.push(ends_at, events.CalibrationEnded(qpu_id))

    def resume_on_qpu(self, job_id: str, locked_at: float, seconds: float) -> None:
        """Take up a job that was locked before this performer began; it is released ``seconds`` after."""
        self._on_qpu[job_id] = locked_at
        self.answer(job_id, max(self.now, locked_at + seconds), events.JobReleased(job_id, seconds))

    def _finalize(self, action: actions.Finalize) -> None:
        work = self.work[action.job_id]
        self.answer(action.job_id, self.now + work.finalize_seconds, events.JobFinalized(action.job_id))

    def _stop(self, action: actions.Stop) -> None:
        locked_at = self._on_qpu.get(action.job_id)
        if locked_at is not None:
            self.answer(action.job_id, self.now, events.JobStopped(action.job_id, self.now - locked_at))

    def _abandon(self, action: actions.Abandon) -> None:
        self._answers.pop(action.job_id, None)

    def _settle(self, action: actions.Settle) -> None:
        job = action.job
        self._answers.pop(job.job_id, None)
        self.record.jobs.append(job)
        for listen in self.on_settled:
            listen(job)

    def _workload_changed(self, action: actions.WorkloadChanged) -> None:
        if action.workload.state is WorkloadState.CLOSED:
            self.record.workloads.append(action.workload)
            for listen in self.on_closed:
                listen(action.workload)

    def _bill(self, action: actions.Bill) -> None:
        self.record.lines.append(action.line)

    def _calibrate(self, action: actions.Calibrate) -> None:
        end = self.now + self.scheduler.qpus[action.qpu_id].calibration_seconds
        self.record.calibrations.append((action.qpu_id, self.now, end))
        self.push(end, events.CalibrationEnded(action.qpu_id))

    def _set_timer(self, action: actions.SetTimer) -> None:
        if action.at == self._timer_at:
            return
        self._timer_at = action.at
        self._order += 1
        self._timer_order = self._order
        heapq.heappush(self._heap, (max(action.at, self.now), self._order, _TIMER, _TIMER_FIRED))
