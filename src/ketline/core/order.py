"""In which order waiting jobs would be taken, if nothing more came: positions in the queue.

Fair share takes the instance with the least ratio and charges it the job's estimate, again and again. So a
job's rank is its instance's ratio at the time when all before it are charged, and accounts merge in the
same way one level up. Computed for one job in one pass over what is ahead of it.

Windows change the order: a job that can't end before its QPU is taken away lets others pass that can, keeps
its place, and is taken afterwards. For that the pass keeps the time at which each job would have the QPU, by
the estimates of those before it.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from math import inf

from ketline.core.centre import Centre, Qpu
from ketline.core.model import Job, JobStatus
from ketline.core.windows import boundary_at, edges, expected, under_way


@dataclass(frozen=True, slots=True)
class Place:
    """A queued job's place: among all of its QPU and among its instance's own (1 is next), and when it would
    have the QPU by the estimates of what is before it; ``inf`` while it is held."""

    position: int
    position_own: int
    starts_at: float


class Line:
    """What an instance has waiting of one kind: its individual jobs, each a unit by itself, or its sessions
    and batches, each selected as a whole with all it has queued. ``unit`` is the oldest."""

    __slots__ = ("_more", "unit")

    def __init__(self, units: Iterable[deque[Job]]) -> None:
        self._more = iter(units)
        self.unit = next(self._more)

    @property
    def seq(self) -> int:
        """The age of its oldest."""
        return self.unit[0].seq

    def rest(self) -> Iterator[deque[Job]]:
        """All its units."""
        yield self.unit
        yield from self._more

    def go_on(self) -> bool:
        """Let the next unit be the oldest; whether there is one."""
        unit = next(self._more, None)
        if unit is not None:
            self.unit = unit
        return unit is not None


@dataclass(slots=True, eq=False)
class Turn:
    """An instance's turns: the lines that may be taken from, those that wait for the next edge of a window,
    and what its turns so far are charged."""

    instance_id: str
    lines: list[Line]
    blocked: list[Line] = field(default_factory=list)
    charged: float = 0.0

    def oldest(self) -> Line:
        """The line whose oldest is the oldest of all."""
        return min(self.lines, key=lambda line: line.seq)


def queue(c: Centre, qpu: Qpu) -> Iterator[tuple[Job, float]]:
    """All queued jobs of a QPU, in the order in which they would be taken, each with the time at which it
    would have the QPU: the holder's, then by fair share. Work that a limit holds comes last, oldest first."""
    soon, later = under_way(qpu, c.now)
    free_at = c.now + soon
    holder = None if qpu.holder is None else c.groups[qpu.holder]
    turns: dict[str, Turn] = {}
    held: list[deque[Job]] = []
    for instance_id, lines in _lines(c, qpu).items():
        if c.fair.shares[instance_id].held:
            held += [unit for line in lines for unit in line.rest()]
        else:
            turns[instance_id] = Turn(instance_id, lines)
    left: deque[Job] = deque()
    if holder is not None:
        left.extend(holder.queued.values())
        free_at = yield from _take_unit(qpu, left, free_at)
    if left:  # the holder's, that can't end before a window: it takes its place in the queue again
        own = turns.setdefault(left[0].instance_id, Turn(left[0].instance_id, []))
        own.lines.append(Line([left]))
    yield from _merge(c, qpu, turns, free_at, later)
    yield from ((job, inf) for unit in sorted(held, key=lambda unit: unit[0].seq) for job in unit)


def _lines(c: Centre, qpu: Qpu) -> dict[str, list[Line]]:
    lines = {
        instance_id: [Line(deque((job,)) for job in jobs.values())]
        for instance_id, jobs in qpu.pool.singles().items()
        if jobs
    }
    for instance_id, names in qpu.pool.groups():
        units = (deque(c.groups[name].queued.values()) for name in names)
        lines.setdefault(instance_id, []).append(Line(sorted(units, key=lambda unit: unit[0].seq)))
    return lines


def _fits(qpu: Qpu, job: Job, at: float) -> bool:
    return at + expected(job) <= boundary_at(qpu, job.instance_id, at)


def _take_unit(qpu: Qpu, unit: deque[Job], at: float) -> Generator[tuple[Job, float], None, float]:
    """The unit's jobs for as long as they fit; returns when the QPU is free then. The rest stays in it."""
    while unit and (not qpu.windows or _fits(qpu, unit[0], at)):
        job = unit.popleft()
        yield job, at
        at += expected(job)
    return at


def _merge(
    c: Centre, qpu: Qpu, turns: dict[str, Turn], at: float, later: float
) -> Iterator[tuple[Job, float]]:
    """By account's ratio, instance's ratio, age; each unit charged to both before the next is taken.

    ``later`` is what jobs in lanes take of the QPU after the next edge of a window.
    """
    now = c.now
    used: dict[str, float] = {}  # charged on the way, by account
    while True:
        accounts: dict[str, list[tuple[float, int, str]]] = {}
        for turn in turns.values():
            if turn.lines:
                share = c.fair.shares[turn.instance_id]
                entry = (share.ratio(now, turn.charged), turn.oldest().seq, turn.instance_id)
                accounts.setdefault(share.spec.account_id, []).append(entry)
        heap: list[tuple[float, float, int, str, str]] = []
        for account_id, inner in accounts.items():
            heapq.heapify(inner)
            ratio = c.fair.accounts[account_id].ratio(now, used.setdefault(account_id, 0.0))
            heap.append((ratio, *inner[0], account_id))
        heapq.heapify(heap)
        next_edge = min((edge for edge in edges(qpu) if edge > at), default=inf)
        while heap and at < next_edge:
            _, _, _, instance_id, account_id = heap[0]
            turn, inner, share = turns[instance_id], accounts[account_id], c.fair.shares[instance_id]
            line = turn.oldest()
            unit = line.unit
            seconds = sum(expected(job) for job in unit)
            at = yield from _take_unit(qpu, unit, at)
            if unit:
                seconds -= sum(expected(job) for job in unit)
                turn.lines.remove(line)
                turn.blocked.append(line)
            elif not line.go_on():
                turn.lines.remove(line)
            turn.charged += seconds
            used[account_id] += seconds
            if turn.lines:
                heapq.heapreplace(inner, (share.ratio(now, turn.charged), turn.oldest().seq, instance_id))
            else:
                heapq.heappop(inner)
            if inner:
                ratio = c.fair.accounts[account_id].ratio(now, used[account_id])
                heapq.heapreplace(heap, (ratio, *inner[0], account_id))
            else:
                heapq.heappop(heap)
        # an edge is passed, or nothing that is left fits before it
        if next_edge < inf:
            at, later = max(at, next_edge) + later, 0.0
        elif not any(turn.lines or turn.blocked for turn in turns.values()):
            return
        for turn in turns.values():
            turn.lines, turn.blocked = turn.lines + turn.blocked, []


def place(c: Centre, job: Job) -> Place | None:
    """A queued job's place; None for one that has started."""
    if job.status is not JobStatus.QUEUED:
        return None
    own = 0
    for position, (other, at) in enumerate(queue(c, c.qpus[job.qpu_id]), 1):
        own += other.instance_id == job.instance_id
        if other.job_id == job.job_id:
            return Place(position, own, at)
    return None
