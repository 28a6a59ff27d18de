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
    O(log n), amortised. ``lead`` gives the first part of a member's key at less cost than the whole: most
    of those that grew are put back with that alone.
    """

    __slots__ = ("_heap", "_key", "_lead", "_recorded")

    def __init__(self, key: Callable[[str], Key | None], lead: Callable[[str], float] | None = None) -> None:
        self._key = key
        self._lead = lead
        self._heap: list[tuple[Key, str]] = []
        self._recorded: dict[str, Key] = {}

    def __len__(self) -> int:
        return len(self._recorded)

    def copy_from(self, other: Ranking) -> None:
        """Take over another's members and what is known of their keys, which must be the same here."""
        self._heap = list(other._heap)
        self._recorded = dict(other._recorded)

    def members(self) -> list[str]:
        """All members, in no order; some may drop out when they are looked at."""
        return list(self._recorded)

    def touch(self, member: str) -> None:
        """Take in a member that is new, or whose key may have shrunk."""
        key = self._key(member)
        recorded = self._recorded.get(member)
        if key is not None and (recorded is None or key < recorded):
            self._put(member, key)

    def recorded(self, member: str) -> Key | None:
        """A bound that a member's key isn't below; None when it isn't in the ranking."""
        return self._recorded.get(member)

    def floor(self) -> Key | None:
        """A bound that no member's key is below."""
        return self._heap[0][0] if self._heap else None

    def lower(self, member: str, bound: Key) -> None:
        """A member's key may have shrunk, to ``bound`` at most. Cheaper than `touch`: the key isn't looked at
        until the member reaches the top. One that isn't in the ranking stays outside."""
        recorded = self._recorded.get(member)
        if recorded is not None and bound < recorded:
            self._put(member, bound)

    def _put(self, member: str, key: Key) -> None:
        self._recorded[member] = key
        heapq.heappush(self._heap, (key, member))
        if len(self._heap) > 64 + 3 * len(self._recorded):
            self._heap = [(key, member) for member, key in self._recorded.items()]
            heapq.heapify(self._heap)

    def best(self) -> tuple[Key, str] | None:
        """The first member with its key."""
        heap, recorded, lead = self._heap, self._recorded, self._lead
        while heap:
            key, member = heap[0]
            if recorded.get(member) != key:
                heapq.heappop(heap)
                continue
            if lead is not None and (first := lead(member)) > key[0]:
                recorded[member] = key = (first, *key[1:])
                heapq.heapreplace(heap, (key, member))
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
