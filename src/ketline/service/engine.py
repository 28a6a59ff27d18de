"""Feeds the core with what happens, hands out what there is to do, and writes both down.

What the core decides is begun at once; what the outside can see of it waits for the disk. Everything that
happens in one turn of the event loop, or while the writer is busy, goes to the writer together.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

import sqlalchemy as sa

from ketline.core import actions as do
from ketline.core.actions import Action
from ketline.core.events import Event, InstanceRegistered, QpuRegistered, TimerFired, WindowAnnounced
from ketline.core.model import Job, JobStatus, QpuMode, Workload
from ketline.core.scheduler import Scheduler
from ketline.service import records
from ketline.service.board import Board
from ketline.service.clock import Clock
from ketline.service.records import JobRecord
from ketline.store import tables
from ketline.store.changes import Changes, CountKey
from ketline.store.writer import Writer


class Performer(Protocol):
    """Does what the core says; the answers come back through `Engine.feed`."""

    def queued(self, job: Job) -> None:
        """A job waits."""

    def prepare(self, job: Job, record: JobRecord) -> None:
        """Prepare a job."""

    def run(self, job: Job, record: JobRecord, qpu_id: str) -> None:
        """Run a job that is prepared."""

    def finalize(self, job: Job, record: JobRecord) -> None:
        """Finalize a job that has run."""

    def stop(self, job_id: str, qpu_id: str) -> None:
        """Stop a job on the QPU."""

    def abandon(self, job_id: str) -> None:
        """Drop what is being done for a job that is already settled."""

    def settled(self, job: Job, record: JobRecord) -> None:
        """A job's end is durable."""

    def closed(self, workload_id: str) -> None:
        """A session or batch is closed."""

    def calibrate(self, qpu_id: str) -> None:
        """Calibrate a QPU."""

    def paused(self, qpu_id: str, why: str) -> None:
        """The core paused a QPU."""


class Engine:
    """The live scheduler. All methods belong to one event loop."""

    def __init__(self, scheduler: Scheduler, clock: Clock, writer: Writer, board: Board) -> None:
        self.scheduler = scheduler
        self.clock = clock
        self.board = board
        self.records: dict[str, JobRecord] = {}
        self.queue_lengths: Counter[str] = Counter()
        self.known_workloads: set[str] = set()
        self.performer: Performer | None = None
        self.watchers: list[Callable[[Job | Workload], None]] = []
        """Hear of every job that has ended and every session or batch that changed."""
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self._changes = Changes()
        self._after: dict[object, Callable[[], None]] = {}
        self._waiters: list[asyncio.Future[None]] = []
        self._due = self._flushing = self._writing = False
        self._timer: asyncio.TimerHandle | None = None
        self._handlers: dict[type[Action], Callable[[Any, float], None]] = {
            do.Prepare: self._prepare,
            do.Run: self._run,
            do.Finalize: self._finalize,
            do.Stop: self._stop,
            do.Abandon: self._abandon,
            do.JobChanged: self._job_changed,
            do.Settle: self._settle,
            do.WorkloadChanged: self._workload_changed,
            do.Bill: self._bill,
            do.QpuModeSet: self._qpu_mode_set,
            do.Calibrate: self._calibrate,
            do.SetTimer: self._set_timer,
        }

    def feed(self, event: Event) -> None:
        """Tell the core what happened, and begin what it answers.

        Raises:
            Rejection: the core refuses a user's event; nothing has changed.
        """
        now = self.clock.now()
        actions = self.scheduler.handle(event, now)
        if not isinstance(event, TimerFired) or any(not isinstance(a, do.SetTimer) for a in actions):
            self._changes.events.append(records.event_row(event, now))
            self._flush_soon()
        self.perform(actions, now)

    def introduce(self, event: QpuRegistered | InstanceRegistered | WindowAnnounced) -> None:
        """Tell the core a fact that the configuration holds anyway, without logging it."""
        now = self.clock.now()
        self.perform(self.scheduler.handle(event, now), now)

    def perform(self, actions: list[Action], now: float) -> None:
        """Begin what the core says."""
        for action in actions:
            self._handlers[type(action)](action, now)

    def submit(self, job_id: str, event: Event, record: JobRecord) -> None:
        """Like ``feed`` for a new job, which is written down with its record."""
        now = self.clock.now()
        actions = self.scheduler.handle(event, now)
        job = self.scheduler.jobs.get(job_id) or next(
            a.job for a in actions if isinstance(a, do.Settle) and a.job.job_id == job_id
        )
        self.records[job_id] = record
        self.queue_lengths[job.qpu_id] += 1
        self._changes.events.append(records.event_row(event, now))
        self._changes.add_job(records.job_row(job, record))
        self._changes.new_tags += [
            {"instance_id": job.instance_id, "tag": tag, "job_id": job_id} for tag in job.tags
        ]
        self._changes.counts[count_key(job, record, job.status)] += 1
        record.counted_as = job.status
        self._show_job(job, record)
        self.perform(actions, now)
        if job.status is JobStatus.QUEUED:
            self._doer().queued(job)
        self._flush_soon()

    def retag(self, job_id: str, tags: tuple[str, ...]) -> None:
        """Replace the tags of an unfinished job. They decide nothing, so that the core needn't hear of it."""
        job, record = self.scheduler.jobs[job_id], self.records[job_id]
        job.tags = tags
        self._show_job(job, record)
        self._changes.change_job(job_id, records.job_life(job, record))

    # writing

    @property
    def changes(self) -> Changes:
        """What is to be written in this turn; more may be added before `durable` is awaited."""
        self._flush_soon()
        return self._changes

    def after_commit(self, key: object, call: Callable[[], None]) -> None:
        """Call when this turn's changes are durable; a later one of the same key replaces it."""
        self._after.pop(key, None)
        self._after[key] = call
        self._flush_soon()

    async def durable(self) -> None:
        """Wait until all that was decided so far is on the disk and shown."""
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiters.append(waiter)
        self._flush_soon()
        await waiter

    def _flush_soon(self) -> None:
        self._due = True
        if not self._flushing and not self._writing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._due = self._flushing = False
        self._writing = True
        changes, self._changes = self._changes, Changes()
        after, self._after = self._after, {}
        waiters, self._waiters = self._waiters, []

        def done(error: BaseException | None) -> None:
            # In the writer's thread. After an error nothing may be shown any more: the process is ending.
            if error is None:
                self._loop.call_soon_threadsafe(self._written, after, waiters)

        self._writer.write_then(changes, done)

    def _written(self, after: dict[object, Callable[[], None]], waiters: list[asyncio.Future[None]]) -> None:
        self._writing = False
        if self._due:
            self._flush()
        for call in after.values():
            call()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _show_job(self, job: Job, record: JobRecord) -> None:
        record.revision += 1
        view = records.job_view(job, record)
        self.after_commit(("job", job.job_id), lambda: self.board.pin_job(view))

    # what the core says

    def _doer(self) -> Performer:
        assert self.performer is not None
        return self.performer

    def _prepare(self, action: do.Prepare, _now: float) -> None:
        job, record = self.scheduler.jobs[action.job_id], self.records[action.job_id]
        record.attempt += 1
        self._doer().prepare(job, record)

    def _run(self, action: do.Run, _now: float) -> None:
        job, record = self.scheduler.jobs[action.job_id], self.records[action.job_id]
        self._doer().run(job, record, action.qpu_id)

    def _finalize(self, action: do.Finalize, _now: float) -> None:
        self._doer().finalize(self.scheduler.jobs[action.job_id], self.records[action.job_id])

    def _stop(self, action: do.Stop, _now: float) -> None:
        self._doer().stop(action.job_id, action.qpu_id)

    def _abandon(self, action: do.Abandon, _now: float) -> None:
        self._doer().abandon(action.job_id)

    def _job_changed(self, action: do.JobChanged, _now: float) -> None:
        record = self.records[action.job.job_id]
        self._show_job(action.job, record)
        self._changes.change_job(action.job.job_id, records.job_life(action.job, record))
        self._count(action.job, record)

    def _count(self, job: Job, record: JobRecord) -> None:
        if record.counted_as is not job.status:
            self._changes.counts[count_key(job, record, record.counted_as)] -= 1
            self._changes.counts[count_key(job, record, job.status)] += 1
            record.counted_as = job.status

    def _settle(self, action: do.Settle, _now: float) -> None:
        job = action.job
        record = self.records.pop(job.job_id)
        self.queue_lengths[job.qpu_id] -= 1
        self._show_job(job, record)
        self._changes.change_job(job.job_id, records.job_life(job, record))
        self._count(job, record)
        self.after_commit(("settled", job.job_id), lambda: self._doer().settled(job, record))
        for watch in self.watchers:
            watch(job)

    def _workload_changed(self, action: do.WorkloadChanged, _now: float) -> None:
        workload = action.workload
        view = records.workload_view(workload)
        row = records.workload_row(workload)
        if workload.workload_id in self.known_workloads or workload.closed_at is not None:
            self._changes.change_workload(row)
        else:
            self.known_workloads.add(workload.workload_id)
            self._changes.add_workload(row)
        if workload.closed_at is not None:
            self.known_workloads.discard(workload.workload_id)
            self._doer().closed(workload.workload_id)
        self.after_commit(("workload", workload.workload_id), lambda: self.board.pin_workload(view))
        for watch in self.watchers:
            watch(workload)

    def _bill(self, action: do.Bill, _now: float) -> None:
        line = action.line
        self._changes.usage.append(
            {
                "instance_id": line.instance_id,
                "user_id": line.user_id,
                "qpu_id": line.qpu_id,
                "workload_id": line.workload_id,
                "job_id": line.job_id,
                "started_at": line.started_at,
                "ended_at": line.ended_at,
                "seconds": line.seconds,
                "rule": line.rule,
            }
        )

    def _qpu_mode_set(self, action: do.QpuModeSet, now: float) -> None:
        self._doer().paused(action.qpu_id, action.reason.message)
        self.write_qpu_mode(action.qpu_id, QpuMode.PAUSED.value, action.reason.message, now)

    def _calibrate(self, action: do.Calibrate, _now: float) -> None:
        self._doer().calibrate(action.qpu_id)

    def _set_timer(self, action: do.SetTimer, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        # A little late is on time; a little early would be for nothing.
        self._timer = self._loop.call_later(max(0.0, action.at - now) + 0.0005, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self.feed(TimerFired())

    def close(self) -> None:
        """Forget the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def write_qpu_mode(self, qpu_id: str, mode: str, reason: str, now: float) -> None:
        """Write down the mode that a QPU is in."""
        self.changes.call(sa.delete(tables.qpus).where(tables.qpus.c.qpu_id == qpu_id))
        self.changes.call(
            sa.insert(tables.qpus).values(qpu_id=qpu_id, mode=mode, mode_reason=reason, changed_at=now)
        )


def count_key(job: Job, record: JobRecord, status: JobStatus) -> CountKey:
    """Where a job of this status is counted."""
    outside = job.workload_id is None
    return (job.instance_id, job.user_id, record.backend, job.program, outside, status.value)
