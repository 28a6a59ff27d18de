"""Deadlines: one heap, and which of its entries still hold."""

from __future__ import annotations

import heapq
from enum import StrEnum


class TimerKind(StrEnum):
    """What a deadline is for; the id that goes with it is a workload's, a job's, an instance's or a QPU's."""

    UNUSED = "unused"
    TTL = "ttl"
    IDLE = "idle"
    JOB_LIMIT = "job limit"
    USAGE_LIMIT = "usage limit"
    CALIBRATION = "calibration"
    WINDOW = "window"


Timer = tuple[TimerKind, str]


class Timers:
    """At most one deadline for each (kind, id). Setting, clearing and taking the next are O(log n)."""

    def __init__(self) -> None:
        self.deadlines: dict[Timer, float] = {}
        self._heap: list[tuple[float, Timer]] = []
        self._announced: float | None = None

    def set(self, kind: TimerKind, key: str, at: float) -> None:
        """Set or move a deadline."""
        timer = (kind, key)
        if self.deadlines.get(timer) == at:
            return
        self.deadlines[timer] = at
        heapq.heappush(self._heap, (at, timer))
        if len(self._heap) > 64 + 3 * len(self.deadlines):
            self._heap = [(when, live) for live, when in self.deadlines.items()]
            heapq.heapify(self._heap)

    def clear(self, kind: TimerKind, key: str) -> None:
        """Drop a deadline, if there is one."""
        self.deadlines.pop((kind, key), None)

    def earliest(self) -> float | None:
        """The next deadline."""
        heap = self._heap
        while heap:
            at, timer = heap[0]
            if self.deadlines.get(timer) == at:
                return at
            heapq.heappop(heap)
        return None

    def take_due(self, now: float) -> tuple[float, TimerKind, str] | None:
        """Take the earliest deadline that ``now`` has reached, with its time."""
        at = self.earliest()
        if at is None or at > now:
            return None
        _, (kind, key) = heapq.heappop(self._heap)
        del self.deadlines[kind, key]
        return at, kind, key

    def announce(self, now: float) -> float | None:
        """The time to ask a wake-up for, or None when the one asked for still serves.

        A deadline that moved later isn't announced again: the earlier wake-up does no harm and asks for
        the next one.
        """
        at = self.earliest()
        if self._announced is not None and self._announced <= now:
            self._announced = None
        if at is None or (self._announced is not None and self._announced <= at):
            return None
        self._announced = at
        return at

    def woken(self) -> None:
        """The wake-up came, early or late: ask for the next one."""
        self._announced = None

    def copy(self) -> Timers:
        """The same deadlines, nothing announced."""
        twin = Timers()
        twin.deadlines = dict(self.deadlines)
        twin._heap = [(at, timer) for timer, at in self.deadlines.items()]
        heapq.heapify(twin._heap)
        return twin
