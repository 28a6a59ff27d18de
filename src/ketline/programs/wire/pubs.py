"""PUBs of the sampler and the estimator (``rest.md`` E.2, E.3), from the client or written by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ketline.programs.failures import rejected, unreadable
from ketline.programs.mitigation.circuits import place
from ketline.programs.wire.arrays import real_array
from ketline.programs.wire.circuits import recurring_circuit
from ketline.programs.wire.fields import a_list
from ketline.programs.wire.guard import guarded
from ketline.programs.wire.observables import Observables, read_observables
from ketline.programs.wire.unpack import Budget
from ketline.programs.wire.values import finite, read_array, read_bindings
from ketline.units.errors import JobError

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit

    from ketline.programs.recurring import Memory


@dataclass(slots=True)
class SamplerPub:
    """``values`` is float64 ``(*shape, circuit.num_parameters)``; ``shots`` None means the default.

    ``key`` tells the circuit from others, for `ketline.programs.recurring`; nobody may change the circuit.
    """

    circuit: QuantumCircuit
    values: NDArray[np.float64]
    shots: int | None
    key: bytes | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the parameter sweep."""
        return self.values.shape[:-1]


@dataclass(slots=True)
class EstimatorPub:
    """Like `SamplerPub`, with observables that broadcast against the sweep."""

    circuit: QuantumCircuit
    observables: Observables
    values: NDArray[np.float64]
    precision: float | None
    key: bytes | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The broadcast shape of observables and parameter values."""
        return np.broadcast_shapes(self.observables.shape, self.values.shape[:-1])


def read_sampler_pubs(value: object, budget: Budget, memory: Memory) -> Iterator[SamplerPub]:
    """The PUBs of a sampler job, each opened when it is its turn.

    Raises:
        JobError: one of them can't be read; the message says which.
    """
    for number, pub in enumerate(_pubs(value)):
        field = f"pubs[{number}]"
        parts = _parts(pub, 3, field)
        circuit, key = recurring_circuit(parts[0], budget, memory, f"{field} circuit")
        values = read_values(parts[1], circuit, budget, f"{field} parameter values")
        shots = parts[2]
        if shots is not None and (type(shots) is not int or shots < 1):
            raise unreadable(f"{field} shots", f"{shots!r} isn't a whole number of at least 1.")
        yield SamplerPub(*_without_phase(circuit, values), shots, key)


def read_estimator_pubs(
    value: object, budget: Budget, memory: Memory, device_width: int
) -> Iterator[EstimatorPub]:
    """The PUBs of an estimator job, each opened when it is its turn.

    OpenQASM text says nothing of the qubits that it doesn't use: with observables as wide as the device
    (``device_width`` qubits) it is a circuit of the whole device.

    Raises:
        JobError: one of them can't be read; the message says which.
    """
    for number, pub in enumerate(_pubs(value)):
        field = f"pubs[{number}]"
        parts = _parts(pub, 4, field)
        circuit, key = recurring_circuit(parts[0], budget, memory, f"{field} circuit")
        observables, width = _observables(parts, circuit.num_qubits, device_width, field)
        if width > circuit.num_qubits:
            circuit, key = place(circuit, range(circuit.num_qubits), width), key and key + b"wide"
        values = read_values(parts[2], circuit, budget, f"{field} parameter values")
        precision = parts[3]
        if precision is not None and not (finite(precision) and precision > 0):
            raise unreadable(f"{field} precision", f"{precision!r} isn't a number greater than 0.")
        circuit, values = _without_phase(circuit, values)
        made = EstimatorPub(circuit, observables, values, precision, key)
        try:
            shape = made.shape
        except ValueError:
            raise unreadable(
                field,
                f"observables {observables.shape} and parameter sets {values.shape[:-1]} don't broadcast.",
            ) from None
        if 0 in shape:
            raise rejected(field, f"the shape {shape} is empty.", "Give at least one observable and one set.")
        yield made


def _observables(parts: list[Any], width: int, device_width: int, field: str) -> tuple[Observables, int]:
    """The observables of a PUB, and how many qubits they have."""
    try:
        return read_observables(parts[1], width, f"{field} observables"), width
    except JobError:
        if not isinstance(parts[0], str) or device_width <= width:
            raise
        with suppress(JobError):
            return read_observables(parts[1], device_width, f"{field} observables"), device_width
        raise


def read_values(value: object, circuit: QuantumCircuit, budget: Budget, field: str) -> NDArray[np.float64]:
    """Parameter values: an array, nested lists, names with values, or nothing; by Qiskit's rules.

    Returns float64 ``(*shape, circuit.num_parameters)``, columns in the order of ``circuit.parameters``.

    Raises:
        JobError: they don't fit the circuit.
    """
    from qiskit.primitives.containers.bindings_array import BindingsArray

    parameters = tuple(circuit.parameters)
    given: dict[Any, NDArray[np.float64]]
    if value is None:
        given = {}
    elif isinstance(value, dict) and value.get("__type__") != "ndarray":
        given = {
            _expanded(names, circuit): real_array(part, field)
            for names, part in read_bindings(value, budget, field).items()
        }
    else:
        array = real_array(read_array(value, budget, field), field)
        if not parameters:
            if array.ndim == 0 or array.shape[-1] != 0:
                raise unreadable(field, "the circuit has no parameters.", "Leave the parameter values out.")
            if 0 in array.shape[:-1]:
                raise rejected(field, f"the shape {array.shape[:-1]} is empty.", "Give at least one set.")
            return array
        given = {tuple(parameter.name for parameter in parameters): array}
    bound = guarded(lambda: BindingsArray(given), field, "parameter values")
    names = {name for key in given for name in ([key] if isinstance(key, str) else key)}
    wanted = {parameter.name for parameter in parameters}
    if names != wanted:
        odd = min(names ^ wanted)
        how = "isn't a parameter of the circuit" if odd in names else "has no value"
        raise unreadable(field, f"{odd!r} {how}.", "Give exactly the circuit's parameters.")
    if not parameters:
        return np.zeros((0,))
    values: NDArray[np.float64] = guarded(
        lambda: np.asarray(bound.as_array([p.name for p in parameters]), dtype=np.float64),
        field,
        "parameter values",
    )
    if 0 in values.shape:
        raise rejected(field, f"the shape {values.shape[:-1]} is empty.", "Give at least one set.")
    return values


def _without_phase(
    circuit: QuantumCircuit, values: NDArray[np.float64]
) -> tuple[QuantumCircuit, NDArray[np.float64]]:
    """The same without a global phase that is a parameter, and without parameters that are nowhere else.

    Nothing that is measured depends on it.
    """
    if isinstance(circuit.global_phase, (int, float)):
        return circuit, values
    bare = circuit.copy()
    bare.global_phase = 0.0
    left = set(bare.parameters)
    columns = [column for column, parameter in enumerate(circuit.parameters) if parameter in left]
    return bare, values[..., columns]


def _expanded(names: tuple[str, ...], circuit: QuantumCircuit) -> str | tuple[str, ...]:
    """A vector's name stands for its elements; a single name for itself."""
    if len(names) > 1:
        return names
    elements = [
        p.name
        for p in circuit.parameters
        if getattr(p, "vector", None) is not None and p.vector.name == names[0]
    ]
    return tuple(elements) if elements else names[0]


def _pubs(value: object) -> list[Any]:
    pubs = a_list(value, "pubs")
    if not pubs:
        raise unreadable("pubs", "there are none.", "Give at least one PUB.")
    return pubs


def _parts(pub: object, most: int, field: str) -> list[Any]:
    if isinstance(pub, (str, dict)):
        pub = [pub]
    parts = a_list(pub, field)
    if not 1 <= len(parts) <= most:
        raise unreadable(field, f"{len(parts)} parts; a PUB has 1 to {most}.")
    return parts + [None] * (most - len(parts))
