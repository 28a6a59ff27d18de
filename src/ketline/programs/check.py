"""What a device takes and what a job may ask for: instruction set, qubits, limits (``modes.md`` 1.4)."""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import (
    Barrier,
    BoxOp,
    BreakLoopOp,
    ContinueLoopOp,
    ForLoopOp,
    IfElseOp,
    ParameterExpression,
    Store,
    SwitchCaseOp,
    WhileLoopOp,
)
from qiskit.circuit.exceptions import CircuitError
from qiskit.circuit.library import get_standard_gate_name_mapping

from ketline.programs.failures import bad_option, beyond_limit, not_isa, rejected
from ketline.programs.wire.guard import guarded

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

    from qiskit.circuit import CircuitInstruction, Parameter, QuantumCircuit

    from ketline.programs.base import Limits, ProgramContext
    from ketline.units.errors import JobError

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
    turns: int = 0
    """Of all loops of known length, however little they do."""

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
        JobError: an operation names a qubit twice, has an angle that isn't a number, or is a delay of unknown
            length; or the circuit waits for input variables (1602).
    """
    if circuit.num_input_vars:
        name = next(iter(circuit.iter_input_vars())).name
        raise rejected(
            field, f"has the input variable {name}, for which a job has no value.", "Use a parameter."
        )
    operations: Operations = Counter()
    angles: list[tuple[float, tuple[int, ...]]] = []
    # Operations are made as they are looked at, and some that were read can't be.
    turns = guarded(
        lambda: _walk(circuit, tuple(range(circuit.num_qubits)), 1, operations, angles, field),
        field,
        "a circuit",
    )
    return Survey(operations, tuple(angles), turns)


def _walk(
    circuit: QuantumCircuit,
    places: tuple[int, ...],
    turns: int,
    operations: Operations,
    angles: list[tuple[float, tuple[int, ...]]],
    field: str,
) -> int:
    """Count what is in a circuit that runs ``turns`` times; the answer is how many turns its loops take."""
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
    total = 0
    for instruction in circuit.data:
        name = instruction.name
        if not instruction.is_standard_gate():
            if name == "delay":
                _check_delay(instruction, field)
            _check_kind(instruction, field)
        if name not in _LOOKED_INTO:
            for value in instruction.params:
                if type(value) is float and not math.isfinite(value):
                    raise rejected(field, f"{name} has the angle {value}, which isn't a number.")
            continue
        qubits = tuple([index[bit] for bit in instruction.qubits])
        if name == "rzz":
            if isinstance(instruction.params[0], (int, float)):
                angles.append((float(instruction.params[0]), qubits))
            continue
        inside = turns
        if name == "for_loop":
            inside = turns * _length(instruction.operation.params[0])
            total += inside
        for block in instruction.operation.blocks:
            total += _walk(block, qubits, inside, operations, angles, field)
    return total


def _length(indices: Sequence[int]) -> int:
    """How many turns a loop takes; Python's ``len`` doesn't tell it of very long ranges."""
    if isinstance(indices, range):
        return max(0, -((indices.start - indices.stop) // indices.step))
    return len(indices)


def _check_kind(instruction: CircuitInstruction, field: str) -> None:
    """Refuse a gate of a payload's own that bears the name of one that is known: devices go by the name."""
    kind = _kinds().get(instruction.name)
    if kind is not None and not isinstance(instruction.operation, kind):
        raise rejected(
            field,
            f"a gate of its own is called {instruction.name}.",
            "Use the gate of that name, or give yours another name and transpile the circuit.",
        )


@cache
def _kinds() -> dict[str, type]:
    """What is meant by a name."""
    gates = {name: type(gate) for name, gate in get_standard_gate_name_mapping().items()}
    return {
        **gates, "barrier": Barrier, "store": Store, "break_loop": BreakLoopOp,
        "continue_loop": ContinueLoopOp, "box": BoxOp, "if_else": IfElseOp, "for_loop": ForLoopOp,
        "while_loop": WhileLoopOp, "switch_case": SwitchCaseOp,
    }  # fmt: skip


def _check_delay(instruction: CircuitInstruction, field: str) -> None:
    if not instruction.params:
        return
    if isinstance(instruction.params[0], ParameterExpression):
        raise rejected(
            field,
            f"the length of a delay is the parameter {str(instruction.params[0])[:80]}.",
            "Bind the parameters of delays before the circuit is submitted.",
        )
    try:
        length = instruction.operation.duration
    except CircuitError as error:
        raise rejected(
            field, f"the length {instruction.params[0]} of a delay can't be read: {error}", "Use whole dt."
        ) from None
    if isinstance(length, (int, float)) and not 0 <= length < math.inf:
        raise rejected(field, f"the length {length} of a delay isn't a number of at least 0.")


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

    ``values`` are the circuit's parameter sets, columns in the order of ``circuit.parameters``. Parameters of
    loops count too, with every value that they take.
    """
    if context.simulator or "rzz" not in context.device.target.operation_names:
        return
    columns = {parameter: column for column, parameter in enumerate(circuit.parameters)}
    for expression, qubits, loops in _rzz(circuit, tuple(range(circuit.num_qubits)), {}):
        own = [parameter for parameter in expression.parameters if parameter in columns]
        turning = [parameter for parameter in expression.parameters if parameter in loops]
        rows = np.unique(values[:, [columns[parameter] for parameter in own]], axis=0).tolist()
        turns = itertools.product(*(loops[parameter] for parameter in turning))
        for row, turn in itertools.product(rows, turns):
            bound = dict(zip([*own, *turning], [*row, *turn], strict=True))
            try:
                angle = float(expression.bind(bound))
            except (TypeError, ZeroDivisionError, OverflowError, RuntimeError):
                angle = math.nan
            if not _in_range(angle):
                raise not_isa(f"rzz({angle:g})", qubits)


def _rzz(
    circuit: QuantumCircuit, places: tuple[int, ...], loops: dict[Parameter, Sequence[int]]
) -> Iterator[tuple[ParameterExpression, tuple[int, ...], dict[Parameter, Sequence[int]]]]:
    """Every rzz whose angle is an expression, its qubits, and the values of the loops around it."""
    index = dict(zip(circuit.qubits, places, strict=True))
    for instruction in circuit.data:
        qubits = tuple(index[qubit] for qubit in instruction.qubits)
        if instruction.name == "rzz" and isinstance(instruction.params[0], ParameterExpression):
            yield instruction.params[0], qubits, loops
        elif instruction.name in _CONTROL or instruction.name == "box":
            inner = loops
            if instruction.name == "for_loop" and instruction.params[1] is not None:
                inner = {**loops, instruction.params[1]: instruction.params[0]}
            for block in instruction.operation.blocks:
                yield from _rzz(block, qubits, inner)


def _in_range(angle: float) -> bool:
    return -1e-9 <= angle <= math.pi / 2 + 1e-9


def most_sets(limits: Limits) -> int:
    """More parameter sets than this exceed the limit on instructions with whatever circuit is measured."""
    return limits.max_instructions_per_qubit // (INIT_WEIGHT + WEIGHTS["measure"])


def check_folding(
    found: Survey, factors: Sequence[float], sets: int, context: ProgramContext, field: str
) -> None:
    """Refuse noise factors that fold a circuit beyond a limit, before it is folded.

    Two-qubit gates count as often as the sum of the factors says; ``sets`` is how often each folded circuit
    is run at least.
    """
    gates: dict[int, int] = defaultdict(int)
    for (name, qubits), count in found.operations.items():
        if len(qubits) == 2 and name not in _FREE and name not in _CONTROL:
            for qubit in qubits:
                gates[qubit] += count
    for what, value, limit in (
        ("two-qubit gates", found.two_qubit_gates() * max(factors), context.limits.max_two_qubit_gates),
        (
            "low-level instructions on a qubit",
            WEIGHTS["cz"] * max(gates.values(), default=0) * sum(factors) * sets,
            context.limits.max_instructions_per_qubit,
        ),
    ):
        if value > limit:
            raise beyond_limit(
                f"{field}: {what} after folding by options.resilience.zne.noise_factors",
                value,
                limit,
                "Use smaller noise factors.",
            )


def check_executions(executions: int, context: ProgramContext) -> None:
    """Refuse sampler jobs of too many executions (circuits after broadcasting times shots)."""
    if executions > context.limits.max_executions:
        raise beyond_limit(
            "executions (circuits after broadcasting times shots)",
            executions,
            context.limits.max_executions,
            "Use fewer shots or parameter sets, or split the job.",
        )


class GateLimits:
    """The limits on gates, for circuits that come one after the other, after everything is expanded."""

    def __init__(self, context: ProgramContext) -> None:
        self._limits = context.limits
        self._total: dict[int, int] = defaultdict(int)
        self._count = 0
        self._beyond: JobError | None = None

    def add(self, found: Survey, sets: int) -> None:
        """Count a circuit; each of its parameter sets counts as a circuit of its own."""
        limits = self._limits
        for name, gates, limit in (
            ("rz gates", found.gates("rz"), limits.max_rz_gates),
            ("sx gates", found.gates("sx"), limits.max_sx_gates),
            ("two-qubit gates", found.two_qubit_gates(), limits.max_two_qubit_gates),
            ("turns of loops", found.turns, limits.max_instructions_per_qubit),
        ):
            if gates > limit and self._beyond is None:
                self._beyond = beyond_limit(
                    f"{name} in circuit {self._count}", gates, limit, "Use a shorter circuit."
                )
        self._count += 1
        for qubit, weight in found.instructions_per_qubit().items():
            self._total[qubit] += weight * sets

    def check(self) -> None:
        """Refuse a job beyond a limit.

        Raises:
            JobError: naming the circuit or the qubit.
        """
        if self._beyond is not None:
            raise self._beyond
        limit = self._limits.max_instructions_per_qubit
        if self._total and (most := max(self._total.values())) > limit:
            qubit = next(qubit for qubit, weight in self._total.items() if weight == most)
            raise beyond_limit(
                f"low-level instructions on qubit {qubit}",
                most,
                limit,
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


def check_result_size(size_bytes: int, context: ProgramContext) -> None:
    """Refuse jobs whose results wouldn't fit."""
    if size_bytes > context.limits.max_result_bytes:
        raise beyond_limit(
            "bytes of measured data",
            size_bytes,
            context.limits.max_result_bytes,
            "Use fewer shots or parameter sets.",
        )
