"""In which order waiting jobs would be taken, if nothing more came: positions in the queue.

Fair share takes the instance with the least ratio and charges it the job's estimate, again and again. So a
job's rank is its instance's ratio at the time when all before it are charged, and accounts merge in the
same way one level up. Computed for one job in one pass over what is ahead of it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

from ketline.core.centre import Centre, Group, Qpu
from ketline.core.model import Job, JobStatus
from ketline.core.windows import expected


@dataclass(frozen=True, slots=True)
class Unit:
    """What is selected as a whole: an individual job, or a session or batch with all it has queued."""

    jobs: tuple[Job, ...]
    seconds: float

    @property
    def seq(self) -> int:
        """Its age."""
        return self.jobs[0].seq


def queue(c: Centre, qpu: Qpu) -> Iterator[Job]:
    """All queued jobs of a QPU, in the order in which they would be taken: the holder's, then by fair
    share. Work that a limit holds comes last, oldest first."""
    holder = None if qpu.holder is None else c.groups[qpu.holder]
    if holder is not None:
        yield from holder.queued.values()
    accounts: dict[str, dict[str, list[Unit]]] = {}
    held: list[Unit] = []
    for instance_id, units in _units(c, qpu).items():
        share = c.fair.shares[instance_id]
        if share.held:
            held += units
        else:
            accounts.setdefault(share.spec.account_id, {})[instance_id] = units
    yield from (job for unit in _merge(c, accounts) for job in unit.jobs)
    yield from (job for unit in sorted(held, key=lambda unit: unit.seq) for job in unit.jobs)


def _units(c: Centre, qpu: Qpu) -> dict[str, list[Unit]]:
    singles, groups = qpu.pool.waiting()
    units = {
        instance_id: [Unit((job,), expected(job)) for job in jobs] for instance_id, jobs in singles.items()
    }
    for instance_id, names in groups.items():
        own = units.setdefault(instance_id, [])
        own += [_unit(c.groups[name]) for name in names]
        own.sort(key=lambda unit: unit.seq)
    return {instance_id: own for instance_id, own in units.items() if own}


def _unit(group: Group) -> Unit:
    jobs = tuple(group.queued.values())
    return Unit(jobs, sum(expected(job) for job in jobs))


def _merge(c: Centre, accounts: dict[str, dict[str, list[Unit]]]) -> Iterator[Unit]:
    """Units by account's ratio, instance's ratio, age; each charged to both before the next is taken."""
    now = c.now
    lines: list[tuple[float, float, int, str, str]] = []
    inner: dict[str, list[tuple[float, int, str]]] = {}
    place: dict[str, int] = {}
    used: dict[str, float] = {}  # charged on the way, by account
    charged: dict[str, float] = {}  # and by instance
    for account_id, instances in accounts.items():
        heap = inner[account_id] = []
        for instance_id, units in instances.items():
            place[instance_id] = 0
            charged[instance_id] = 0.0
            heap.append((c.fair.shares[instance_id].ratio(now), units[0].seq, instance_id))
        heapq.heapify(heap)
        used[account_id] = 0.0
        lines.append((c.fair.accounts[account_id].ratio(now), *heap[0], account_id))
    heapq.heapify(lines)
    while lines:
        _, _, _, instance_id, account_id = lines[0]
        heap, units, share = inner[account_id], accounts[account_id][instance_id], c.fair.shares[instance_id]
        unit = units[place[instance_id]]
        yield unit
        place[instance_id] += 1
        used[account_id] += unit.seconds
        if place[instance_id] < len(units):
            following = units[place[instance_id]]
            charged[instance_id] += unit.seconds
            heapq.heapreplace(heap, (share.ratio(now, charged[instance_id]), following.seq, instance_id))
        else:
            heapq.heappop(heap)
        if heap:
            account = c.fair.accounts[account_id]
            heapq.heapreplace(lines, (account.ratio(now, used[account_id]), *heap[0], account_id))
        else:
            heapq.heappop(lines)


def positions(c: Centre, job: Job) -> tuple[int, int] | None:
    """A queued job's position among all of its QPU and among its instance's own; 1 is next."""
    if job.status is not JobStatus.QUEUED:
        return None
    own = 0
    for place, other in enumerate(queue(c, c.qpus[job.qpu_id]), 1):
        own += other.instance_id == job.instance_id
        if other is job:
            return place, own
    return None
