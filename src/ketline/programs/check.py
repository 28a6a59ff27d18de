"""What a device takes and what a job may ask for: instruction set, qubits, limits (``modes.md`` 1.4)."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ketline.programs.failures import bad_option, beyond_limit, not_isa, rejected

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from qiskit.circuit import QuantumCircuit

    from ketline.programs.base import ProgramContext

WEIGHTS = {"rz": 1, "delay": 1, "sx": 2, "x": 2, "cx": 5, "cz": 5, "ecr": 5, "measure": 10, "reset": 17}
"""Low-level instructions that an operation takes on a qubit; any other gate on one qubit 2, on two 5."""
INIT_WEIGHT = 50
_FREE = frozenset({"barrier", "store", "box", "break_loop", "continue_loop"})
_CONTROL = frozenset({"if_else", "for_loop", "while_loop", "switch_case"})
_LOOKED_INTO = _CONTROL | {"box", "rzz"}
_NAME_AND_QUBITS = attrgetter("name", "qubits")

Operations = Counter[tuple[str, tuple[int, ...]]]


@dataclass(frozen=True, slots=True)
class Survey:
    """How often each operation stands on which qubits; a loop of known length counts every turn."""

    operations: Operations
    rzz_angles: tuple[tuple[float, tuple[int, ...]], ...]

    def instructions_per_qubit(self) -> dict[int, int]:
        """Weighted low-level instructions on each qubit that is used, its initialisation included."""
        weights: dict[int, int] = defaultdict(lambda: INIT_WEIGHT)
        for (name, qubits), count in self.operations.items():
            if name in _FREE or name in _CONTROL:
                continue
            weight = WEIGHTS.get(name, 2 if len(qubits) == 1 else 5)
            for qubit in qubits:
                weights[qubit] += weight * count
        return weights

    def gates(self, name: str) -> int:
        """How many operations of this name there are."""
        return sum(count for (found, _), count in self.operations.items() if found == name)

    def two_qubit_gates(self) -> int:
        """How many operations on two qubits there are."""
        return sum(
            count
            for (name, qubits), count in self.operations.items()
            if len(qubits) == 2 and name not in _FREE and name not in _CONTROL
        )


def survey(circuit: QuantumCircuit, field: str) -> Survey:
    """Count a circuit's operations, inside boxes and control flow too.

    Raises:
        JobError: an operation names a qubit twice (1602).
    """
    operations: Operations = Counter()
    angles: list[tuple[float, tuple[int, ...]]] = []
    _walk(circuit, tuple(range(circuit.num_qubits)), 1, operations, angles, field)
    return Survey(operations, tuple(angles))


def _walk(
    circuit: QuantumCircuit,
    places: tuple[int, ...],
    turns: int,
    operations: Operations,
    angles: list[tuple[float, tuple[int, ...]]],
    field: str,
) -> None:
    if len(circuit.qubits) != len(places):
        raise rejected(field, "a block inside has another width than the operation that holds it.")
    index = dict(zip(circuit.qubits, places, strict=True))
    # Counting what is alike first leaves little to look at, however long the circuit is.
    counted = Counter(map(_NAME_AND_QUBITS, circuit.data))
    for (name, bits), count in counted.items():
        qubits = tuple([index[bit] for bit in bits])
        if len(qubits) > 1 and len(set(qubits)) != len(qubits):
            raise rejected(field, f"{name} names a qubit twice: {qubits}.")
        operations[(name, qubits)] += turns * count
    if _LOOKED_INTO.isdisjoint(name for name, _ in counted):
        return
    for instruction in circuit.data:
        name = instruction.name
        if name not in _LOOKED_INTO:
            continue
        qubits = tuple([index[bit] for bit in instruction.qubits])
        if name == "rzz":
            if isinstance(instruction.params[0], (int, float)):
                angles.append((float(instruction.params[0]), qubits))
            continue
        inside = turns
        if name == "for_loop":
            values = instruction.operation.params[0]
            inside = turns * (len(values) if hasattr(values, "__len__") else 1)
        for block in instruction.operation.blocks:
            _walk(block, qubits, inside, operations, angles, field)


def check_isa(found: Survey, context: ProgramContext, field: str) -> None:
    """Refuse what isn't in the device's instruction set, faulty qubits and gates included (1517).

    A simulator takes every circuit. ``field`` names the circuit in the message.
    """
    if context.simulator:
        return
    target = context.device.target
    known = target.operation_names
    for name, qubits in found.operations:
        if qubits and max(qubits) >= context.device.num_qubits:
            raise rejected(
                field,
                f"qubit {max(qubits)} is used; {context.device.name} has {context.device.num_qubits} qubits.",
                "Transpile the circuit for this backend.",
            )
        if name in _FREE:
            continue
        if name not in known:
            raise not_isa(name, qubits)
        if name not in _CONTROL and not target.instruction_supported(name, qubits):
            raise not_isa(name, qubits)
    for angle, qubits in found.rzz_angles:
        if not _in_range(angle):
            raise not_isa(f"rzz({angle:g})", qubits)


def surveyed(circuit: QuantumCircuit, key: Hashable | None, context: ProgramContext, field: str) -> Survey:
    """A circuit's survey, found to be in the device's instruction set; once for each ``key``.

    Raises:
        JobError: as `survey` and `check_isa`.
    """

    def make() -> Survey:
        found = survey(circuit, field)
        check_isa(found, context, field)
        return found

    place = None if key is None else ("survey", key, context.device_key)
    return context.memory.get(place, make, lambda made: 1000 + 300 * len(made.operations))


def check_rzz(circuit: QuantumCircuit, values: NDArray[np.float64], context: ProgramContext) -> None:
    """Refuse rzz angles that come from parameters and leave 0 to pi/2, for which alone it is calibrated.

    ``values`` are the circuit's parameter sets, columns in the order of ``circuit.parameters``.
    """
    if context.simulator or "rzz" not in circuit.count_ops():
        return
    columns = {parameter: column for column, parameter in enumerate(circuit.parameters)}
    for instruction in circuit.data:
        if instruction.name != "rzz" or isinstance(instruction.params[0], (int, float)):
            continue
        expression = instruction.params[0]
        own = [parameter for parameter in expression.parameters if parameter in columns]
        rows = np.unique(values[:, [columns[parameter] for parameter in own]], axis=0)
        for row in rows:
            angle = float(expression.bind(dict(zip(own, row.tolist(), strict=True))))
            if not _in_range(angle):
                qubits = tuple(circuit.find_bit(qubit).index for qubit in instruction.qubits)
                raise not_isa(f"rzz({angle:g})", qubits)


def _in_range(angle: float) -> bool:
    return -1e-9 <= angle <= math.pi / 2 + 1e-9


def check_executions(executions: int, context: ProgramContext) -> None:
    """Refuse sampler jobs of too many executions (circuits after broadcasting times shots)."""
    if executions > context.limits.max_executions:
        raise beyond_limit(
            "executions (circuits after broadcasting times shots)",
            executions,
            context.limits.max_executions,
            "Use fewer shots or parameter sets, or split the job.",
        )


def check_limits(surveys: Sequence[Survey], sets: Sequence[int], context: ProgramContext) -> None:
    """Refuse jobs beyond the limits on gates, counted after everything is expanded.

    ``sets`` are the parameter sets of each circuit; each of them counts as a circuit of its own.
    """
    limits = context.limits
    total: dict[int, int] = defaultdict(int)
    for number, (found, count) in enumerate(zip(surveys, sets, strict=True)):
        for name, gates, limit in (
            ("rz gates", found.gates("rz"), limits.max_rz_gates),
            ("sx gates", found.gates("sx"), limits.max_sx_gates),
            ("two-qubit gates", found.two_qubit_gates(), limits.max_two_qubit_gates),
        ):
            if gates > limit:
                raise beyond_limit(f"{name} in circuit {number}", gates, limit, "Use a shorter circuit.")
        for qubit, weight in found.instructions_per_qubit().items():
            total[qubit] += weight * count
    if total and (most := max(total.values())) > limits.max_instructions_per_qubit:
        qubit = next(qubit for qubit, weight in total.items() if weight == most)
        raise beyond_limit(
            f"low-level instructions on qubit {qubit}",
            most,
            limits.max_instructions_per_qubit,
            "Use shorter circuits or fewer parameter sets, or split the job.",
        )


def check_rep_delay(
    value: object, context: ProgramContext, name: str = "execution.rep_delay"
) -> float | None:
    """A pause between shots in seconds, in the device's range; None stays None.

    Raises:
        JobError: not a number, or out of range.
    """
    if value is None:
        return None
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise bad_option(name, f"{value!r} isn't a number of seconds.")
    shortest, longest = context.device.rep_delay_range_seconds
    if not shortest - 1e-12 <= value <= longest + 1e-12:
        raise bad_option(
            name, f"{value:g} s isn't in the device's range from {shortest:g} s to {longest:g} s."
        )
    return float(value)


def check_result_size(sizes: Iterable[int], context: ProgramContext) -> None:
    """Refuse jobs whose results wouldn't fit; ``sizes`` are bytes."""
    total = sum(sizes)
    if total > context.limits.max_result_bytes:
        raise beyond_limit(
            "bytes of measured data",
            total,
            context.limits.max_result_bytes,
            "Use fewer shots or parameter sets.",
        )
