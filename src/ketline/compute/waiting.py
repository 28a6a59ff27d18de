"""The tasks that wait for a worker, and which of them is next."""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from typing import Generic, TypeVar

TaskT = TypeVar("TaskT")

PASSED_OVER = 4
"""How often the more urgent may go before the less urgent that waits."""


class Urgency(IntEnum):
    """How much a task matters to others than the one who asked for it; the lowest goes first."""

    UNDER_WAY = 0
    """The end of what has been on a QPU: it holds a lane, and somebody waits for the result."""
    QPU = 1
    """What a QPU waits for."""
    BACKGROUND = 2
    """Nothing but its own end depends on it, for instance a simulator's job."""


class Waiting(Generic[TaskT]):
    """Tasks by urgency, in each the oldest first.

    The more urgent go first, but nobody starves: where tasks of several urgencies wait, the less urgent have
    every fifth turn.
    """

    def __init__(self) -> None:
        self._queues: dict[Urgency, deque[TaskT]] = {urgency: deque() for urgency in Urgency}
        self._passed_over = dict.fromkeys(Urgency, 0)

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    def add(self, task: TaskT, urgency: Urgency) -> None:
        """Let a task wait behind those that are as urgent."""
        self._queues[urgency].append(task)

    def take(self, least: Urgency) -> TaskT | None:
        """The next task of those that are as urgent as ``least`` or more; None when there is none."""
        there = [urgency for urgency in Urgency if urgency <= least and self._queues[urgency]]
        if not there:
            return None
        chosen = next((u for u in reversed(there) if self._passed_over[u] >= PASSED_OVER), there[0])
        for urgency in there:
            if urgency > chosen:
                self._passed_over[urgency] += 1
        self._passed_over[chosen] = 0
        return self._queues[chosen].popleft()

    def remove(self, task: TaskT) -> None:
        """Forget a task; nothing happens if it doesn't wait."""
        for queue in self._queues.values():
            if task in queue:
                queue.remove(task)

    def clear(self) -> list[TaskT]:
        """Forget all, and return them."""
        every = [task for queue in self._queues.values() for task in queue]
        for queue in self._queues.values():
            queue.clear()
        return every
