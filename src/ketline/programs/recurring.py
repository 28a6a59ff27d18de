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
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit

KeptT = TypeVar("KeptT")

_LONGEST_TEXT = 4_000_000
_INSTRUCTION_BYTES = 600
_CIRCUIT_BYTES = 20_000
_NODE_BYTES = 4_000


def key_of(text: str) -> bytes | None:
    """A key that tells one posted text from any other; None for one too long to be worth it."""
    if len(text) > _LONGEST_TEXT:
        return None
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def circuit_bytes(circuit: QuantumCircuit) -> int:
    """Roughly how much memory a circuit takes, its qubits and the tables over them included."""
    return _CIRCUIT_BYTES + 200 * circuit.num_qubits + _INSTRUCTION_BYTES * len(circuit.data)


def samplex_bytes(samplex: Any) -> int:
    """Roughly how much memory a samplex takes."""
    return _NODE_BYTES * len(samplex.graph)


class Memory:
    """What one tenant's jobs share: at most ``max_bytes``, the least recently used goes first."""

    def __init__(self, max_bytes: int = 48_000_000) -> None:
        self.max_bytes = max_bytes
        self.used_bytes = 0
        self.hits = 0
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()

    def get(self, key: Hashable | None, make: Callable[[], KeptT], size_of: Callable[[KeptT], int]) -> KeptT:
        """What is kept under a key, or else what ``make`` gives, which is kept from now on.

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
            self._kept.move_to_end(key)
            return cast("KeptT", found[0])
        made = make()
        size = size_of(made)
        if size <= self.max_bytes // 4:
            self._kept[key] = (made, size)
            self.used_bytes += size
            while self.used_bytes > self.max_bytes:
                _, (_, gone) = self._kept.popitem(last=False)
                self.used_bytes -= gone
        return made


class Recurring:
    """The memories of all tenants that a worker has lately worked for."""

    def __init__(self, max_tenants: int = 8, max_bytes: int = 48_000_000) -> None:
        self._max_tenants = max_tenants
        self._max_bytes = max_bytes
        self._memories: OrderedDict[str, Memory] = OrderedDict()

    def of(self, tenant: str | None) -> Memory:
        """A tenant's memory; None for a memory that is forgotten with its job."""
        if tenant is None:
            return Memory(self._max_bytes)
        if tenant not in self._memories:
            self._memories[tenant] = Memory(self._max_bytes)
        self._memories.move_to_end(tenant)
        while len(self._memories) > self._max_tenants:
            self._memories.popitem(last=False)
        return self._memories[tenant]
