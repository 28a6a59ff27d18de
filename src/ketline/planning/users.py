"""The users of a trace: they submit, think, wait for results, close and cancel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from ketline.core import events
from ketline.core.model import Job, Workload
from ketline.planning.trace import Trace, TraceJob, TraceWorkload
from ketline.planning.virtual import Performer


@dataclass(slots=True)
class _Open:
    """A workload and what its user still has to do in it."""

    row: TraceWorkload
    qpu_id: str
    to_submit: int
    to_finish: int
    closed: bool = False


@dataclass(slots=True)
class Users:
    """Plays a trace into a `Performer`.

    A job that names no QPU goes to the one with the fewest unfinished jobs at its submission, as a
    client's ``least_busy`` would choose, in turns where several have as few. A job that is refused counts
    as over: whoever waits for it goes on, except in the same workload, where nothing more is submitted.
    ``on_submitted`` hears of every accepted job, with its number.
    """

    performer: Performer
    trace: Trace
    ends: bool = True
    on_submitted: Callable[[str, int], None] | None = None
    _rows: dict[str, TraceJob] = field(default_factory=dict)
    _next: dict[str, list[TraceJob]] = field(default_factory=dict)
    _workloads: dict[str, _Open] = field(default_factory=dict)
    _load: dict[str, int] = field(default_factory=dict)
    _given: dict[str, int] = field(default_factory=dict)
    _left: int = 0
    _accepted: int = 0
    _due: list[tuple[float, int, TraceJob | TraceWorkload]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Lay out every submission whose time is known."""
        performer = self.performer
        self._load = dict.fromkeys(performer.scheduler.qpus, 0)
        self._given = dict.fromkeys(performer.scheduler.qpus, 0)
        for job in performer.scheduler.jobs.values():
            self._load[job.qpu_id] = self._load.get(job.qpu_id, 0) + 1
        performer.on_settled.append(self._settled)
        performer.on_closed.append(self._closed)
        counts: dict[str, int] = {}
        for row in self.trace.jobs:
            self._rows[row.job_id] = row
            performer.work[row.job_id] = row
            if row.workload is not None:
                counts[row.workload] = counts.get(row.workload, 0) + 1
            if row.after is not None:
                self._next.setdefault(row.after, []).append(row)
        for workload in self.trace.workloads:
            count = counts.get(workload.workload_id, 0)
            self._workloads[workload.workload_id] = _Open(workload, workload.qpu, count, count)
        self._left = len(self._rows) + len(self._workloads)

    def begin(self) -> None:
        """Make every submission due at its time; from here on the performer does the rest."""
        known: list[tuple[float, int, TraceJob | TraceWorkload]] = [
            (row.submitted_at, 1, row) for row in self.trace.jobs if row.submitted_at is not None
        ]
        known += [(row.submitted_at, 0, row) for row in self.trace.workloads]
        known.sort(key=lambda item: item[:2], reverse=True)
        self._due = known
        self._call_next()

    def run(self, until: float = float("inf")) -> None:
        """Begin, and let the performer play.

        It ends when every job of the trace is over and every workload closed (unless ``ends`` is False), or
        at ``until``.
        """
        self.begin()
        if self._left or not self.ends:
            self.performer.run(until)

    def _call_next(self) -> None:
        if self._due:
            self.performer.call(self._due[-1][0], self._arrive)

    def _arrive(self) -> None:
        now = self.performer.now
        while self._due and self._due[-1][0] <= now:
            row = self._due.pop()[2]
            if isinstance(row, TraceJob):
                self._submit(row)
            else:
                self._open(row)
        self._call_next()

    def count(self, qpu_id: str) -> None:
        """Know of a job that somebody else submitted."""
        self._load[qpu_id] = self._load.get(qpu_id, 0) + 1

    def _one_less(self) -> None:
        self._left -= 1
        if self._left == 0 and self.ends:
            self.performer.stop()

    # ------------------------------------------------------------------ what users do

    def _open(self, row: TraceWorkload) -> None:
        state = self._workloads[row.workload_id]
        if not state.qpu_id:
            state.qpu_id = self._least_busy()
        self.performer.handle(
            events.WorkloadOpened(
                row.workload_id, row.mode, row.instance, row.user, state.qpu_id, row.max_ttl_seconds
            )
        )
        if row.workload_id not in self.performer.scheduler.workloads:
            self._end(state)
        elif state.to_submit == 0:
            self._finish_workload(state)

    def _submit(self, row: TraceJob) -> None:
        workload = self._workloads[row.workload] if row.workload is not None else None
        if workload is not None:
            workload.to_submit -= 1
            if workload.closed:
                self._over(row)
                return
        qpu_id = workload.qpu_id if workload is not None else row.qpu or self._least_busy()
        performer = self.performer
        performer.handle(
            events.JobSubmitted(
                row.job_id, row.instance, row.user, qpu_id, row.program, row.workload,
                row.limit_seconds, row.estimate_seconds,
            )
        )  # fmt: skip
        if row.job_id in performer.scheduler.jobs:
            self._load[qpu_id] += 1
            self._accepted += 1
            if self.on_submitted is not None:
                self.on_submitted(row.job_id, self._accepted)
            if row.cancel_after_seconds is not None:
                performer.push(
                    performer.now + row.cancel_after_seconds, events.JobCancelRequested(row.job_id)
                )
        else:
            self._over(row)
        if workload is not None and workload.to_submit == 0 and workload.row.close in ("submitted", "cancel"):
            self._finish_workload(workload)

    def _settled(self, job: Job) -> None:
        self._load[job.qpu_id] -= 1
        row = self._rows.get(job.job_id)
        if row is not None:
            self._over(row)

    def _over(self, row: TraceJob) -> None:
        performer = self.performer
        self._one_less()
        for waiting in self._next.get(row.job_id, ()):
            performer.call(performer.now + waiting.think_seconds, partial(self._submit, waiting))
        if row.workload is not None:
            workload = self._workloads[row.workload]
            workload.to_finish -= 1
            if workload.to_finish == 0 and workload.row.close == "finished":
                self._finish_workload(workload)

    def _finish_workload(self, state: _Open) -> None:
        if state.closed or state.row.close == "never":
            return
        event: events.Event
        if state.row.close == "cancel":
            event = events.WorkloadCancelRequested(state.row.workload_id)
        else:
            event = events.WorkloadCloseRequested(state.row.workload_id)
        self.performer.push(self.performer.now + state.row.think_seconds, event)

    def _closed(self, workload: Workload) -> None:
        state = self._workloads.get(workload.workload_id)
        if state is not None:
            self._end(state)

    def _end(self, state: _Open) -> None:
        if not state.closed:
            state.closed = True
            self._one_less()

    def _least_busy(self) -> str:
        load, given = self._load, self._given
        qpu_id = min(load, key=lambda name: (load[name], given[name]))
        given[qpu_id] += 1
        return qpu_id
