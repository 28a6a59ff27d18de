"""What a worker keeps of prepared circuits, so that a job that resembles an earlier one isn't prepared anew.

    memories = Recurring()                                  # one a worker process
    memory = memories.of(tenant)                            # what one tenant's jobs share, and nobody else's
    template = memory.get(("twirled", key, options), make, size_of)

Kept is only what the payload and the device determine: circuits read from their bytes, their compiled forms,
templates and samplexes. Nothing that was drawn at random is kept, so every job draws afresh.

Tenants have memories of their own. What one posts is never found by another, neither by its content nor by
how long a job takes; how much one tenant keeps doesn't drive out what another keeps, unless so many tenants
are active that the least recent one is forgotten as a whole.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

KeptT = TypeVar("KeptT")

_LONGEST_TEXT = 4_000_000
_NODE_BYTES = 4_000


@dataclass(slots=True)
class _Kept:
    value: Any
    size: int
    job: int
    """The last job that used it."""


def key_of(text: str) -> bytes | None:
    """A key that tells one posted text from any other; None for one too long to be worth it."""
    if len(text) > _LONGEST_TEXT:
        return None
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def samplex_bytes(samplex: Any) -> int:
    """Roughly how much memory a samplex takes."""
    return _NODE_BYTES * len(samplex.graph)


class Memory:
    """What one tenant's jobs share: at most ``max_bytes``, the least recently used goes first.

    A job fills half of it at most and drives out nothing of its own: of a job of many circuits the first ones
    are kept, which its like will ask for first, instead of each driving out the one before it.
    """

    def __init__(self, max_bytes: int = 48_000_000) -> None:
        self.max_bytes = max_bytes
        self.used_bytes = 0
        self.hits = 0
        self._job = 0
        self._of_job = 0
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()

    def begin(self) -> None:
        """Another job begins."""
        self._job += 1
        self._of_job = 0

    def get(self, key: Hashable | None, make: Callable[[], KeptT], size_of: Callable[[KeptT], int]) -> KeptT:
        """What is kept under a key, or else what ``make`` gives, which is kept from now on if there is room.

        Args:
            key: Everything that determines the value; None for what must not be kept.
            make: Makes the value, which nobody may change afterwards. What it raises isn't kept.
            size_of: Bytes that the value takes. More than a quarter of the memory isn't kept.
        """
        if key is None:
            return make()
        found = self._kept.get(key)
        if found is not None:
            self.hits += 1
            found.job = self._job
            self._kept.move_to_end(key)
            return cast("KeptT", found.value)
        made = make()
        size = size_of(made)
        if size <= self.max_bytes // 4 and self._make_room(size):
            self._kept[key] = _Kept(made, size, self._job)
            self.used_bytes += size
            self._of_job += size
        return made

    def _make_room(self, size: int) -> bool:
        """Forget what other jobs used least recently; whether there is room for so many bytes then."""
        if self._of_job + size > self.max_bytes // 2:
            return False
        while self.used_bytes + size > self.max_bytes:
            oldest = next(iter(self._kept.values()))
            if oldest.job == self._job:
                return False
            self._kept.popitem(last=False)
            self.used_bytes -= oldest.size
        return True


class Recurring:
    """The memories of all tenants that a worker has lately worked for."""

    def __init__(self, max_tenants: int = 8, max_bytes: int = 48_000_000) -> None:
        self._max_tenants = max_tenants
        self._max_bytes = max_bytes
        self._memories: OrderedDict[str, Memory] = OrderedDict()

    def of(self, tenant: str | None) -> Memory:
        """A tenant's memory for a job that begins; None for a memory that is forgotten with its job."""
        if tenant is None:
            return Memory(self._max_bytes)
        if tenant not in self._memories:
            self._memories[tenant] = Memory(self._max_bytes)
        self._memories.move_to_end(tenant)
        while len(self._memories) > self._max_tenants:
            self._memories.popitem(last=False)
        self._memories[tenant].begin()
        return self._memories[tenant]
