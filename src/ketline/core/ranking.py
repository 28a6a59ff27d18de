"""A ranking whose keys may grow unseen: a heap that looks again only at what comes to its top."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Generator
from typing import Any

Key = tuple[Any, ...]


class Ranking:
    """Members, by a key that is computed when needed; the least comes first.

    A key that grew is noticed when its member reaches the top. One that shrank, and a new member, must be
    told with `touch`. A member whose key is None drops out until it is touched again. Everything is
    O(log n), amortised.
    """

    __slots__ = ("_heap", "_key", "_recorded")

    def __init__(self, key: Callable[[str], Key | None]) -> None:
        self._key = key
        self._heap: list[tuple[Key, str]] = []
        self._recorded: dict[str, Key] = {}

    def __len__(self) -> int:
        return len(self._recorded)

    def members(self) -> list[str]:
        """All members, in no order; some may drop out when they are looked at."""
        return list(self._recorded)

    def touch(self, member: str) -> None:
        """Take in a member that is new, or whose key may have shrunk."""
        key = self._key(member)
        recorded = self._recorded.get(member)
        if key is None or (recorded is not None and recorded <= key):
            return
        self._recorded[member] = key
        heapq.heappush(self._heap, (key, member))
        if len(self._heap) > 64 + 3 * len(self._recorded):
            self._heap = [(key, member) for member, key in self._recorded.items()]
            heapq.heapify(self._heap)

    def best(self) -> tuple[Key, str] | None:
        """The first member with its key."""
        heap, recorded = self._heap, self._recorded
        while heap:
            key, member = heap[0]
            if recorded.get(member) != key:
                heapq.heappop(heap)
                continue
            current = self._key(member)
            if current is None:
                del recorded[member]
                heapq.heappop(heap)
            elif current > key:
                recorded[member] = current
                heapq.heapreplace(heap, (current, member))
            else:
                return key, member
        return None

    def in_order(self) -> Generator[str]:
        """The members from the first on, each O(log n). Nothing may change while this runs."""
        taken: list[str] = []
        try:
            while (first := self.best()) is not None:
                heapq.heappop(self._heap)
                del self._recorded[first[1]]
                taken.append(first[1])
                yield first[1]
        finally:
            for member in taken:
                self.touch(member)
