"""Items: a circuit with arguments, broadcast over a shape; from the wire to work and back to arrays.

All programs speak of what they run as items. A *circuit item* has parameter values; a *samplex item* draws
them (twirling, noise injection, …) and keeps what undoes the draw, such as ``measurement_flips.c``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ketline.programs.base import check_depth
from ketline.programs.failures import rejected
from ketline.programs.sampling import sample
from ketline.units.work import WorkItem

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit
    from samplomatic.samplex import Samplex
    from samplomatic.tensor_interface import TensorInterface

    from ketline.programs.base import ProgramContext
    from ketline.units.work import ItemOutcome

PARAMETERS = "parameter_values"


@dataclass(slots=True)
class Item:
    """One circuit, run once for every element of ``shape`` with ``shots`` shots.

    ``arguments`` is float64 of a shape that broadcasts to ``(*shape, circuit.num_parameters)``. With a
    ``samplex`` it is None: ``samplex_arguments`` are bound then, and their own shape broadcasts to ``shape``.
    ``key`` tells the circuit from others in the tenant's memory; None: it isn't kept.
    """

    circuit: QuantumCircuit
    shape: tuple[int, ...]
    shots: int
    arguments: NDArray[np.float64] | None = None
    samplex: Samplex | None = None
    samplex_arguments: TensorInterface | None = None
    chunk_size: int | None = None
    key: Hashable | None = None


@dataclass(slots=True)
class Drawn:
    """An item ready to be run, and what else was drawn: arrays of shape ``(*item.shape, …)``."""

    work: WorkItem
    extras: dict[str, NDArray[Any]]


def expand(item: Item, rng: np.random.Generator, field: str) -> Drawn:
    """Make an item's parameter sets, in C order of its shape.

    Raises:
        JobError: the samplex can't be sampled, or draws something else than the circuit takes.
    """
    size = math.prod(item.shape)
    count = item.circuit.num_parameters
    extras: dict[str, NDArray[Any]] = {}
    if item.samplex is None:
        assert item.arguments is not None
        values = np.broadcast_to(item.arguments, (*item.shape, count)).reshape(size, count)
    else:
        assert item.samplex_arguments is not None
        extras = sample(item.samplex, item.samplex_arguments, item.shape, rng, field)
        values = extras.pop(PARAMETERS, np.empty((*item.shape, 0))).reshape(size, -1)
        if values.shape[1] != count:
            raise rejected(field, f"the samplex draws {values.shape[1]} parameters; the circuit has {count}.")
    work = WorkItem(item.circuit, np.ascontiguousarray(values, dtype=np.float64), item.shots, item.chunk_size)
    return Drawn(work, extras)


def bits_of(outcome: ItemOutcome, name: str, size: int, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """A register's bits: bool ``(*shape, shots, size)``, the last axis by clbit index."""
    packed = outcome.bits[name]
    sets, shots = packed.shape[:2]
    bits = np.unpackbits(packed[..., ::-1], axis=-1, count=size, bitorder="little")
    assert sets == math.prod(shape)
    return bits.view(np.bool_).reshape(*shape, shots, size)


def packed_of(outcome: ItemOutcome, name: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """A register's bits as `qiskit.primitives.BitArray` packs them: uint8 ``(*shape, shots, bytes)``."""
    packed = outcome.bits[name]
    return packed.reshape(*shape, *packed.shape[1:])


def pack_flips(flips: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Flips ``(…, size)`` by clbit index, packed as `packed_of` packs bits, to be applied with ``^``."""
    return np.packbits(flips, axis=-1, bitorder="little")[..., ::-1]


def metadata_text(circuit: QuantumCircuit, context: ProgramContext, field: str) -> str:
    """A circuit's metadata as JSON text, which keeps whatever JSON of a user's can hold, until the result.

    Raises:
        JobError: it is nested too deeply.
    """
    check_depth(circuit.metadata or {}, context.limits.max_depth, f"{field} circuit metadata")
    return json.dumps(circuit.metadata or {})


def registers(circuit: QuantumCircuit) -> dict[str, int]:
    """Classical registers by name, with their sizes."""
    return {register.name: register.size for register in circuit.cregs}
