"""The live state of a centre, and the outbox of what was decided about it.

Everything here is data and its bookkeeping; decisions live in `jobs`, `workloads` and `dispatch`.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field, fields
from operator import attrgetter

from ketline.core.actions import (
    Action,
    Bill,
    Finalize,
    JobChanged,
    Prepare,
    Run,
    SetTimer,
    Settle,
    Stop,
    WorkloadChanged,
)
from ketline.core.fairshare import FairShare, Share
from ketline.core.lifecycle import Story
from ketline.core.model import InstanceSpec, Job, Mode, QpuMode, QpuSpec, QpuWindow, UsageLine, Workload
from ketline.core.pool import Pool
from ketline.core.timers import Timers

_facts_of_job = attrgetter(*(field.name for field in fields(Job)))


def twin_of(job: Job) -> Job:
    """A record of its own with the same facts."""
    return Job(*_facts_of_job(job))


@dataclass(slots=True)
class Qpu:
    """A QPU at work. ``running`` are the jobs that hold its lanes, in the order in which they started;
    ``ready`` those of them that wait for the QPU, ``locked`` the one that is on it (several on a simulator).

    ``holder`` is the session or batch with priority: one that is active, or a session that was selected and
    waits for the lanes to drain. ``lanes_before`` is how many jobs ran when the lanes were made fewer,
    ``queued`` counts the queued jobs, ``windows`` are those that aren't over.
    """

    spec: QpuSpec
    pool: Pool
    running: dict[str, Job] = field(default_factory=dict)
    ready: dict[str, Job] = field(default_factory=dict)
    locked: dict[str, Job] = field(default_factory=dict)
    holder: str | None = None
    calibrating: bool = False
    calibration_due: bool = False
    lanes_before: int = 0
    queued: int = 0
    windows: dict[str, QpuWindow] = field(default_factory=dict)

    @property
    def starts_work(self) -> bool:
        """Whether jobs start. A retired QPU still works off its queue (``modes.md`` 5.5)."""
        return self.spec.mode in (QpuMode.ONLINE, QpuMode.RETIRED)


@dataclass(slots=True)
class Group:
    """The jobs of a session or batch. ``holds`` is false where it holds no QPU: on a simulator without a
    queue, and for a session whose jobs run in job mode."""

    noun: Workload
    holds: bool
    queued: OrderedDict[str, Job] = field(default_factory=OrderedDict)
    running: dict[str, Job] = field(default_factory=dict)

    @property
    def bills_windows(self) -> bool:
        """Whether usage is counted by windows (sessions) instead of by jobs."""
        return self.noun.mode is Mode.SESSION and not self.noun.as_jobs


@dataclass(slots=True)
class Outbox:
    """What was decided and isn't told yet: lines of the ledger, nouns by id, and what is to be done."""

    bills: list[Action] = field(default_factory=list)
    settled: dict[str, Job] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    workloads: dict[str, Workload] = field(default_factory=dict)
    deeds: list[Action] = field(default_factory=list)

    def actions(self) -> list[Action]:
        """The ledger and the facts first, then what is to be done about them; a noun once."""
        actions = self.bills
        actions += [Settle(job) for job in self.settled.values()]
        actions += [JobChanged(job) for job in self.jobs.values()]
        actions += [WorkloadChanged(workload) for workload in self.workloads.values()]
        actions += self.deeds
        return actions


class Centre:
    """All QPUs, instances, sessions, batches and unfinished jobs."""

    def __init__(self) -> None:
        self.now = 0.0
        self.seq = 0
        self.jobs: dict[str, Job] = {}
        self.workloads: dict[str, Workload] = {}
        self.instances: dict[str, InstanceSpec] = {}
        self.specs: dict[str, QpuSpec] = {}
        self.qpus: dict[str, Qpu] = {}
        self.groups: dict[str, Group] = {}
        self.fair = FairShare(self.shrunk)
        self.timers = Timers()
        self.unfinished: dict[str, dict[str, Job]] = {}
        self.groups_of: dict[str, dict[str, Group]] = {}
        self.charges: dict[str, float] = {}
        self.spans: dict[str, list[tuple[float, float, float]]] = {}
        self.stories: dict[str, Story] = {}
        # what is to be looked at again before the event is done with
        self.restless_groups: dict[str, Group] = {}
        self.restless_qpus: dict[str, Qpu] = {}
        self.restless_instances: dict[str, None] = {}
        self.outbox = Outbox()

    def pool(self) -> Pool:
        """An empty queue for a QPU."""
        return Pool(self.fair, self.age_of_group)

    def shrunk(self, share: Share, ratio: float, of_account: float) -> None:
        """An instance's or account's ratio became smaller: its place in every queue is better now."""
        for qpu in self.qpus.values():
            qpu.pool.shrunk(share, ratio, of_account)

    def touch(self, instance_id: str) -> None:
        """An instance's figures changed, or its limit lets go of it: see where it stands in every queue."""
        for qpu in self.qpus.values():
            qpu.pool.touch(instance_id)

    def next_seq(self) -> int:
        """The next sequence number."""
        self.seq += 1
        return self.seq

    def age_of_group(self, workload_id: str) -> int | None:
        """The age of a waiting session or batch: its oldest queued job's; None when it doesn't wait."""
        group = self.groups.get(workload_id)
        if group is None or not group.queued or self.qpus[group.noun.qpu_id].holder == workload_id:
            return None
        return next(iter(group.queued.values())).seq

    def group_of(self, job: Job) -> Group | None:
        """The session or batch of a job."""
        return None if job.workload_id is None else self.groups.get(job.workload_id)

    # the outbox

    def do(self, action: Action) -> None:
        """Order something to be done."""
        self.outbox.deeds.append(action)

    def bill(self, line: UsageLine) -> None:
        """Write a line of the ledger, and count it."""
        self.outbox.bills.append(Bill(line))
        self.fair.bill(line.instance_id, line.ended_at, line.seconds)
        self.restless_instances[line.instance_id] = None

    def changed(self, noun: Job | Workload) -> None:
        """Note that a noun's facts changed."""
        if isinstance(noun, Job):
            self.outbox.jobs[noun.job_id] = noun
        else:
            self.outbox.workloads[noun.workload_id] = noun

    def settled(self, job: Job) -> None:
        """Note that a job is final: what was ordered for it just before is off."""
        orders = (Prepare, Run, Finalize, Stop)
        self.outbox.deeds = [
            deed for deed in self.outbox.deeds if not (isinstance(deed, orders) and deed.job_id == job.job_id)
        ]
        self.outbox.jobs.pop(job.job_id, None)
        self.outbox.settled[job.job_id] = job

    def take(self) -> list[Action]:
        """Empty the outbox."""
        actions = self.outbox.actions()
        self.outbox = Outbox()
        at = self.timers.announce(self.now)
        if at is not None:
            actions.append(SetTimer(at))
        return actions
