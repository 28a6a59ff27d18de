"""Circuits that wait, packed: open ones take up to a hundred times the room.

Qiskit takes some 130 bytes an instruction, and 30 kB for a circuit of 156 qubits that does nothing. Packed it
is compressed QPY, a few bytes an instruction, from which it is read again when somebody looks at it.
"""

from __future__ import annotations

import gc
import io
import json
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, overload

from ketline.units.work import WorkItem

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from qiskit.circuit import QuantumCircuit

OPEN_BYTES = 4_000_000
"""Circuits of about so many bytes stay open, so that a small job's are never packed."""

WASTE_BYTES = 12_000_000
"""Circuits of about so many bytes may wait to be found as garbage."""

_INSTRUCTION_BYTES = 600
_CIRCUIT_BYTES = 20_000
_QUBIT_BYTES = 200


def circuit_bytes(circuit: QuantumCircuit) -> int:
    """Roughly how much memory a circuit takes, with what Qiskit keeps of it once it was looked at."""
    return _CIRCUIT_BYTES + _QUBIT_BYTES * circuit.num_qubits + _INSTRUCTION_BYTES * len(circuit.data)


class _Waste:
    """Counts what is done with since Python last looked for garbage."""

    def __init__(self) -> None:
        self.left_bytes = WASTE_BYTES

    def add(self, size_bytes: int) -> None:
        self.left_bytes -= size_bytes
        if self.left_bytes < 0:
            gc.collect()
            self.left_bytes = WASTE_BYTES


_waste = _Waste()


def done_with(size_bytes: int) -> None:
    """Tell that circuits of about so many bytes aren't needed any more.

    Circuits refer to themselves, so they stay until Python looks for garbage, which it does after so many
    objects, however large they are: a few long circuits could fill the memory meanwhile.
    """
    _waste.add(size_bytes)


class _NoMetadata(json.JSONEncoder):
    """Leaves a circuit's metadata out: a QPU has no use for it, and it may hold anything."""

    def encode(self, o: Any) -> str:
        return "{}"


def _factories(boxed: bool) -> dict[str, Any]:
    """The annotation serialisers that QPY needs for boxes, imported only when there are any."""
    if not boxed:
        return {}
    from ibm_quantum_schemas.common.annotation_serializer import AnnotationSerializer

    return {"annotation_factories": {"samplomatic": AnnotationSerializer}}


class PackedCircuit:
    """A circuit without its metadata: ``content`` is zlib around QPY; ``boxed`` says that it has boxes."""

    __slots__ = ("boxed", "content")

    def __init__(self, content: bytes | memoryview, *, boxed: bool) -> None:
        self.content = content
        self.boxed = boxed

    @classmethod
    def of(cls, circuit: QuantumCircuit) -> PackedCircuit:
        """Pack a circuit."""
        from qiskit import qpy

        boxed = "box" in circuit.count_ops()
        stream = io.BytesIO()
        qpy.dump(circuit, stream, metadata_serializer=_NoMetadata, **_factories(boxed))
        return cls(zlib.compress(stream.getbuffer(), 1), boxed=boxed)

    def open(self) -> QuantumCircuit:
        """The circuit, read anew each time."""
        from qiskit import qpy

        stream = io.BytesIO(zlib.decompress(self.content))
        circuit: QuantumCircuit = qpy.load(stream, **_factories(self.boxed))[0]
        return circuit


class PackedItem(WorkItem):
    """An item whose circuit is opened when it is first asked for, and stays open while the item lives."""

    __slots__ = ("packed",)

    def __init__(
        self, packed: PackedCircuit, parameter_values: NDArray[np.float64], shots: int, chunk_sets: int | None
    ) -> None:
        # `circuit` stays unset, for `__getattr__` to find it missing.
        self.packed = packed
        self.parameter_values = parameter_values
        self.shots = shots
        self.chunk_sets = chunk_sets

    def __getattr__(self, name: str) -> Any:
        if name != "circuit":
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        self.circuit = self.packed.open()
        return self.circuit

    def closed(self) -> PackedItem:
        """The same item, not opened yet."""
        return PackedItem(self.packed, self.parameter_values, self.shots, self.chunk_sets)


def packed(item: WorkItem) -> PackedCircuit:
    """An item's circuit, packed."""
    return item.packed if isinstance(item, PackedItem) else PackedCircuit.of(item.circuit)


class Room:
    """Room for `OPEN_BYTES` of open circuits: the first ones find some."""

    def __init__(self) -> None:
        self._left = OPEN_BYTES

    def takes(self, circuit: QuantumCircuit) -> bool:
        """Whether a circuit may stay open; one that may not is as good as done with."""
        size = circuit_bytes(circuit)
        self._left -= size
        if self._left < 0:
            done_with(size)
        return self._left >= 0


class Shelved:
    """A circuit that will be wanted again, packed unless there is room for it."""

    __slots__ = ("_kept",)

    def __init__(self, circuit: QuantumCircuit, room: Room) -> None:
        self._kept = circuit if room.takes(circuit) else PackedCircuit.of(circuit)

    def open(self) -> QuantumCircuit:
        """The circuit; without its metadata if it was packed."""
        return self._kept.open() if isinstance(self._kept, PackedCircuit) else self._kept


class Items(Sequence[WorkItem]):
    """The items of a unit: the first ones open, the others packed, and opened again each time they are taken.

    Who goes through them one by one, and keeps none, holds no more than one circuit.
    """

    def __init__(self) -> None:
        self._room = Room()
        self._items: list[WorkItem] = []

    def append(self, item: WorkItem) -> None:
        """Add an item."""
        if not isinstance(item, PackedItem) and not self._room.takes(item.circuit):
            item = PackedItem(packed(item), item.parameter_values, item.shots, item.chunk_sets)
        self._items.append(item)

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, index: int) -> WorkItem: ...

    @overload
    def __getitem__(self, index: slice) -> list[WorkItem]: ...

    def __getitem__(self, index: int | slice) -> WorkItem | list[WorkItem]:
        if isinstance(index, slice):
            return [_taken(item) for item in self._items[index]]
        return _taken(self._items[index])


def _taken(item: WorkItem) -> WorkItem:
    return item.closed() if isinstance(item, PackedItem) else item
