"""The scheduler of a whole centre: ``handle(event, now) -> actions``, with no I/O and no clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ketline.core import events, jobs, operations, order, reasons, restoring, workloads
from ketline.core.actions import Action
from ketline.core.centre import Centre
from ketline.core.copying import copy, stand_in
from ketline.core.dispatch import dispatch
from ketline.core.explain import Explanation, Waiting, explain, reason
from ketline.core.handlers import HANDLERS
from ketline.core.invariants import check
from ketline.core.limits import Rejection, admit_job
from ketline.core.model import InstanceSpec, Job, QpuSpec, QpuWindow, Workload
from ketline.core.timers import TimerKind

__all__ = ["InstanceUsage", "Rejection", "Scheduler"]


@dataclass(frozen=True, slots=True)
class InstanceUsage:
    """Usage of an instance inside its window: ``billed_seconds`` of the ledger's lines that ended in it,
    ``used_seconds`` with what runs now. ``ratio`` is that of fair share. ``held`` says that the limit keeps
    pending work waiting, ``released_at`` when usage next leaves the window."""

    billed_seconds: float
    used_seconds: float
    ratio: float
    held: bool
    released_at: float | None


class Scheduler:
    """Decides for any number of QPUs, instances, sessions, batches and jobs.

    ``jobs`` holds the unfinished jobs and ``workloads`` the sessions and batches that aren't closed. The
    nouns in actions are the live ones: they are right when `handle` returns and change with later events
    (a queued job is left as it was; the one that starts is another record of it).

    ``now`` never runs backwards inside: an event with an earlier time counts as happening at the latest
    time seen. Deadlines that have passed take effect at their own time, before the event.
    """

    jobs: Mapping[str, Job]
    workloads: Mapping[str, Workload]
    instances: Mapping[str, InstanceSpec]
    qpus: Mapping[str, QpuSpec]

    def __init__(self, centre: Centre | None = None) -> None:
        self._c = centre = Centre() if centre is None else centre
        self.jobs = centre.jobs
        self.workloads = centre.workloads
        self.instances = centre.instances
        self.qpus = centre.specs

    def handle(self, event: events.Event, now: float) -> list[Action]:
        """Take in what happened and answer with what to do about it.

        Raises `Rejection` for a user's event that can't be accepted, `IllegalTransition` for an event that
        can't happen in the job's state; neither changes anything. Events of jobs that are settled already
        are late answers and change nothing.
        """
        c = self._c
        now = c.now = max(now, c.now)
        for instance_id in c.fair.advance(now):
            c.restless_instances[instance_id] = None
        self._settle_down(now)
        HANDLERS[type(event)](c, event, now)
        self._settle_down(now)
        return c.take()

    def admit(self, event: events.JobSubmitted) -> None:
        """Raise `Rejection` where ``handle`` would; nothing is submitted."""
        admit_job(self._c, event)

    def unfinished(self, instance_id: str) -> int:
        """How many jobs of an instance aren't final."""
        return len(self._c.unfinished.get(instance_id, ()))

    def restore(
        self,
        jobs: list[Job],
        workloads: list[Workload],
        usage: list[tuple[str, float, float]],
        now: float,
        seen_at: float | None = None,
    ) -> list[Action]:
        """Take up the unfinished jobs and open workloads that a predecessor left behind.

        QPUs and instances are registered before. ``usage`` holds (instance, time, seconds) of what was
        billed inside the windows, by the end of the span. Jobs that were preparing, running or finalizing
        are done again from preparation on, in place. ``seen_at`` is the last time at which the predecessor
        was alive (None: until ``now``): what lies between isn't billed to sessions, and their idle time
        stands still. The answer is what there is to do now.
        """
        c = self._c
        now = c.now = max(now, c.now)
        restoring.restore(c, jobs, workloads, usage, now, now if seen_at is None else min(seen_at, now))
        c.fair.advance(now)
        self._settle_down(now)
        return c.take()

    def copy(self) -> Scheduler:
        """An independent scheduler in the same state, for running ahead on a virtual clock."""
        return Scheduler(copy(self._c))

    def condensed(self, stand_ins: Mapping[str, Job | None]) -> Scheduler:
        """A copy in which queued jobs have other records, or (None) aren't there, by their ids.

        For playing less: a record may stand for jobs that are left out. It keeps id, instance, QPU, session
        and place of the job that it replaces; `ValueError` for a job that isn't queued.
        """
        twin = copy(self._c)
        stand_in(twin, stand_ins)
        return Scheduler(twin)

    def check(self) -> None:
        """Raise ``InvariantError`` unless every invariant holds."""
        check(self._c)

    # looking

    def explain(self, job_id: str) -> Explanation:
        """Position, reason and story of an unfinished job; KeyError for any other."""
        return explain(self._c, self._c.jobs[job_id])

    def reason(self, job_id: str) -> Waiting:
        """What an unfinished job waits for; KeyError for any other. Quicker than `explain`."""
        return reason(self._c, self._c.jobs[job_id])

    def jobs_of(self, workload_id: str) -> list[Job]:
        """The unfinished jobs of a session or batch that isn't closed."""
        group = self._c.groups[workload_id]
        return [*group.running.values(), *group.queued.values()]

    def queue_length(self, qpu_id: str) -> int:
        """Queued jobs of a QPU."""
        return self._c.qpus[qpu_id].queued

    def queue(self, qpu_id: str) -> list[str]:
        """The ids of a QPU's queued jobs, in the order in which they would start if nothing more came."""
        return [job.job_id for job, _ in order.queue(self._c, self._c.qpus[qpu_id])]

    def lanes(self, qpu_id: str) -> list[str]:
        """The ids of the jobs in a QPU's lanes, in the order in which they started."""
        return list(self._c.qpus[qpu_id].running)

    def holder(self, qpu_id: str) -> str | None:
        """The session or batch that has priority on a QPU, or for which its lanes are emptied."""
        return self._c.qpus[qpu_id].holder

    def calibrating(self, qpu_id: str) -> bool:
        """Whether a QPU is being calibrated."""
        return self._c.qpus[qpu_id].calibrating

    def windows(self, qpu_id: str) -> list[QpuWindow]:
        """The maintenance and reservations of a QPU that aren't over, by their start."""
        return sorted(self._c.qpus[qpu_id].windows.values(), key=lambda window: window.starts_at)

    def usage(self, instance_id: str, now: float | None = None) -> InstanceUsage:
        """What an instance has used, as limits and fair share see it (None: at the last event)."""
        share = self._c.fair.shares[instance_id]
        now = self._c.now if now is None else max(now, self._c.now)
        billed = share.meter.counted_at(now)
        return InstanceUsage(
            billed_seconds=billed,
            used_seconds=billed + share.meter.running(now),
            ratio=share.ratio(now),
            held=share.held,
            released_at=share.meter.next_expiry() if share.held else None,
        )

    # after an event

    def _settle_down(self, now: float) -> None:
        """Look again at all that the event, or a deadline, has touched, until nothing is left to do."""
        c = self._c
        while True:
            if c.restless_groups:
                _, group = c.restless_groups.popitem()
                workloads.review(c, group, now)
            elif (due := c.timers.take_due(now)) is not None:
                self._fire(*due, now)
            elif c.restless_instances:
                instance_id, _ = c.restless_instances.popitem()
                operations.review_limit(c, instance_id, now)
            elif c.fair.watched:
                c.fair.look()
            elif c.restless_qpus:
                _, qpu = c.restless_qpus.popitem()
                dispatch(c, qpu, now)
            else:
                return

    def _fire(self, at: float, kind: TimerKind, key: str, now: float) -> None:
        c = self._c
        if kind is TimerKind.JOB_LIMIT:
            job = c.jobs[key]
            jobs.stop(c, job, reasons.ran_too_long(job.limit_seconds))
        elif kind is TimerKind.UNUSED:
            group = c.groups[key]
            workloads.end(c, group, reasons.workload_unused(group.noun), at)
        elif kind is TimerKind.IDLE:
            workloads.idle_out(c, c.groups[key], at)
        elif kind is TimerKind.TTL:
            workloads.expire(c, c.groups[key], at)
        else:
            operations.fire(c, kind, key, now)
